/* SPDX-License-Identifier: Apache-2.0 */
/* Graph nodes and features: registration, frames, errors. */
#include "shim.h"
#include <stdlib.h>

/* Trace formatters by node: VPP's own formatter gets a va_list, which Rust
 * cannot read. */
typedef struct
{
  vlib_node_registration_t *registration;
  hns_format_fn format;
} hns_tracer_t;
#define HNS_MAX_NODES 32
static hns_tracer_t tracers[HNS_MAX_NODES];
static u32 n_tracers;

static u8 *
hns_append (u8 *s, hns_format_fn format, const void *trace)
{
  u8 text[512];
  uword n = format (trace, text, sizeof (text));
  vec_add (s, text, n);
  return s;
}

static u8 *
hns_format_trace (u8 *s, va_list *args)
{
  CLIB_UNUSED (vlib_main_t * vm) = va_arg (*args, vlib_main_t *);
  vlib_node_t *node = va_arg (*args, vlib_node_t *);
  void *trace = va_arg (*args, void *);
  for (u32 i = 0; i < n_tracers; i++)
    if (tracers[i].registration->index == node->index)
      return hns_append (s, tracers[i].format, trace);
  return s;
}

void *
hns_register_node (const hns_node_desc_t *d)
{
  vlib_global_main_t *vgm = vlib_get_global_main ();
  vlib_node_registration_t *r;
  ASSERT (n_tracers < HNS_MAX_NODES);
  r = calloc (1, sizeof (*r) + d->n_next_nodes * sizeof (char *));
  r->name = d->name;
  r->function = d->function;
  r->format_trace = hns_format_trace;
  r->n_errors = d->n_errors;
  r->error_strings = d->error_strings;
  r->flags = VLIB_NODE_FLAG_TRACE_SUPPORTED;
  if (d->is_input)
    {
      r->type = VLIB_NODE_TYPE_INPUT;
      r->state = VLIB_NODE_STATE_INTERRUPT;
      r->sibling_of = "device-input";
    }
  else
    {
      r->type = VLIB_NODE_TYPE_INTERNAL;
      r->vector_size = sizeof (u32);
      r->n_next_nodes = d->n_next_nodes;
      for (u32 i = 0; i < d->n_next_nodes; i++)
	r->next_nodes[i] = d->next_nodes[i];
    }
  r->next_registration = vgm->node_registrations;
  vgm->node_registrations = r;
  if (d->format_trace)
    {
      tracers[n_tracers].registration = r;
      tracers[n_tracers].format = d->format_trace;
      n_tracers++;
    }
  return r;
}

u32
hns_node_index (const void *registration)
{
  return ((const vlib_node_registration_t *) registration)->index;
}

void
hns_register_feature (char *arc, char *node, char **runs_before)
{
  vnet_feature_main_t *fm = &feature_main;
  vnet_feature_registration_t *r = calloc (1, sizeof (*r));
  r->arc_name = arc;
  r->node_name = node;
  r->runs_before = runs_before;
  r->next = fm->next_feature;
  fm->next_feature = r;
}

u32
hns_frame_buffers (vlib_frame_t *frame, u32 **buffers)
{
  *buffers = vlib_frame_vector_args (frame);
  return frame->n_vectors;
}

void
hns_enqueue_to_next (vlib_main_t *vm, vlib_node_runtime_t *node, u32 *buffers, u16 *nexts, uword n)
{
  vlib_buffer_enqueue_to_next (vm, node, buffers, nexts, n);
}

void
hns_error_count (vlib_main_t *vm, vlib_node_runtime_t *node, u32 error, u64 n)
{
  vlib_node_increment_counter (vm, node->node_index, error, n);
}

/* Summed over all threads, as vlib/error.c does for each. */
void
hns_node_errors (const char *prefix, hns_error_fn fn, void *ctx)
{
  vlib_main_t *vm = vlib_get_first_main ();
  uword len = strlen (prefix);
  for (u32 ni = 0; ni < vec_len (vm->node_main.nodes); ni++)
    {
      vlib_node_t *n = vlib_get_node (vm, ni);
      if (vec_len (n->name) < len || memcmp (n->name, prefix, len))
	continue;
      for (u32 code = 0; code < n->n_errors; code++)
	{
	  u32 i = n->error_heap_index + code;
	  u64 sum = 0;
	  foreach_vlib_main ()
	    {
	      vlib_error_main_t *em = &this_vlib_main->error_main;
	      if (i < vec_len (em->counters))
		sum += em->counters[i];
	      if (i < vec_len (em->counters_last_clear))
		sum -= em->counters_last_clear[i];
	    }
	  if (sum)
	    fn (ctx, n->name, vec_len (n->name), vm->error_main.counters_heap[i].desc, sum);
	}
    }
}

u32
hns_thread_index (const vlib_main_t *vm)
{
  return vm->thread_index;
}

f64
hns_now (vlib_main_t *vm)
{
  return vlib_time_now (vm);
}

int
hns_feature_enable (const char *arc, const char *node, u32 sw_if_index, int enable)
{
  return vnet_feature_enable_disable (arc, node, sw_if_index, enable, 0, 0);
}

int
hns_feature_is_enabled (const char *arc, const char *node, u32 sw_if_index)
{
  return vnet_feature_is_enabled (arc, node, sw_if_index);
}
