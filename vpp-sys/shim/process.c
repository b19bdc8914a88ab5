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
  uword *data = 0;
  /* Once at the start: there may be work from startup.conf. */
  f64 timeout = process_fn (vm);
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

/* The event that wakes a sleeping command. VPP's one-time events, made for
 * this, never wake anybody: the signal skips their state
 * (vlib_process_signal_event_helper, 26.06). */
#define HNS_WAKE ((uword) 0x686f73746e6574)

u32
hns_current_process (vlib_main_t *vm)
{
  return vlib_get_current_process (vm)->node_runtime.node_index;
}

void
hns_wait (vlib_main_t *vm)
{
  /* Other events of the process, such as input of its CLI session, wait. */
  vlib_process_wait_for_event_with_type (vm, 0, HNS_WAKE);
}

void
hns_wake (vlib_main_t *vm, u32 node_index)
{
  vlib_process_signal_event (vm, node_index, HNS_WAKE, 0);
}
