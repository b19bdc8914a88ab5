/* SPDX-License-Identifier: Apache-2.0 */
/* Threads, process nodes and the barrier. The waits are setjmp inlines: they
 * must stand in a C frame that lives while the process sleeps. */
#include "shim.h"
#include <stdlib.h>
#include <vppinfra/unix.h>

u32
hns_threads (void)
{
  return vlib_get_n_threads ();
}

i32
hns_thread_cpu (u32 thread)
{
  return vlib_worker_threads[thread].cpu_id;
}

/* VPP's main() asks before it pins itself; the answer is kept
 * (vppinfra/unix-misc.c). */
void
hns_given_cpus (hns_cpu_fn fn, void *ctx)
{
  clib_bitmap_t *given = os_get_cpu_affinity_bitmap ();
  uword cpu;
  clib_bitmap_foreach (cpu, given)
    fn (ctx, cpu);
  clib_bitmap_free (given);
}

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

/* Longer than a tick of VPP's timer wheel (10 us), or there is no sleep. */
#define HNS_ONCE_ROUND 1.5e-5

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
      else if (timeout < 0)
	vlib_process_wait_for_event (vm);
      else
	{
	  /* A main loop that is busy looks at its files every 1024 rounds alone
	   * (vlib_file_poll): rounds that we make long would keep whatever waits for
	   * a file, interrupts of interfaces among it, for seconds. */
	  vm->file_poll_skip_loops = 0;
	  /* To let the main loop go round. A process that signals itself goes on
	   * at once: with an event there is no wait (vlib/node_funcs.h:821), and
	   * nobody else has a turn. After vlib_process_yield an idle main loop
	   * first sleeps for its files, up to 10 ms (vlib/file.c:108); that sleep
	   * heeds timers. */
	  vlib_process_suspend (vm, HNS_ONCE_ROUND);
	}
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

/* From a worker by VPP's way of calls to its main thread. */
void
hns_process_signal_mt (vlib_main_t *vm, u32 node_index)
{
  vlib_process_signal_event_mt (vm, node_index, 0, 0);
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
