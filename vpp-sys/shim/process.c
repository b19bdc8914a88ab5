/* SPDX-License-Identifier: Apache-2.0 */
/* Process nodes and the barrier. The waits are setjmp inlines: they must stand
 * in a C frame that lives while the process sleeps. */
#include "shim.h"
#include <stdlib.h>

void
hns_barrier_sync (vlib_main_t *vm)
{
  vlib_worker_thread_barrier_sync (vm);
}

void
hns_barrier_release (vlib_main_t *vm)
{
  vlib_worker_thread_barrier_release (vm);
}

static hns_process_fn process_fn;

static uword
hns_process_loop (vlib_main_t *vm, vlib_node_runtime_t *rt, vlib_frame_t *f)
{
  f64 timeout = 0;
  uword *data = 0;
  while (1)
    {
      if (timeout > 0)
	vlib_process_wait_for_event_or_clock (vm, timeout);
      else
	vlib_process_wait_for_event (vm);
      vlib_process_get_events (vm, &data);
      vec_reset_length (data);
      timeout = process_fn (vm);
    }
  return 0;
}

void *
hns_register_process (char *name, u32 log2_stack_bytes, hns_process_fn fn)
{
  vlib_global_main_t *vgm = vlib_get_global_main ();
  vlib_node_registration_t *r = calloc (1, sizeof (*r));
  process_fn = fn;
  r->name = name;
  r->function = hns_process_loop;
  r->type = VLIB_NODE_TYPE_PROCESS;
  r->process_log2_n_stack_bytes = log2_stack_bytes;
  r->next_registration = vgm->node_registrations;
  vgm->node_registrations = r;
  return r;
}

void
hns_process_signal (vlib_main_t *vm, u32 node_index)
{
  vlib_process_signal_event (vm, node_index, 0, 0);
}

int
hns_in_process (vlib_main_t *vm)
{
  return vlib_in_process_context (vm);
}

void
hns_wait (vlib_main_t *vm, hns_waiter_t *w)
{
  vlib_one_time_waiting_process_t p = { 0 };
  vlib_process_t *self = vlib_get_current_process (vm);
  p.node_index = self->node_runtime.node_index;
  p.one_time_event = vlib_process_create_one_time_event (vm, p.node_index, ~0);
  w->node_index = p.node_index;
  w->one_time_event = p.one_time_event;
  vlib_process_wait_for_one_time_event (vm, 0, p.one_time_event);
}

void
hns_wake (vlib_main_t *vm, const hns_waiter_t *w)
{
  vlib_process_signal_one_time_event (vm, w->node_index, w->one_time_event, 0);
}

f64
hns_time_now (vlib_main_t *vm)
{
  return vlib_time_now (vm);
}
