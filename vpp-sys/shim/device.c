/* SPDX-License-Identifier: Apache-2.0 */
/* VPP's framework of device drivers (vnet/dev). Each device has a process of
 * its own that does the work; whoever asks for it sleeps meanwhile. So there
 * is a process here that asks, one job at a time, and nobody else sleeps. */
#include "shim.h"
#include <stdlib.h>
#include <vnet/dev/dev.h>
#include <vnet/dev/api.h>
#include <vnet/dev/bus/pci.h>

static hns_device_job_t job;
static hns_device_work_fn job_work;
static hns_device_done_fn job_done;
static vlib_node_registration_t *job_process;

static void
hns_device_fail (hns_device_job_t *j, const char *what, vnet_dev_rv_t rv)
{
  u8 *s = format (0, "%s: %U%c", what, format_vnet_dev_rv, rv, 0);
  clib_memcpy (j->error, s, clib_min (vec_len (s), sizeof (j->error) - 1));
  vec_free (s);
}

static vnet_dev_driver_t *
hns_device_driver (vlib_main_t *vm, char *id, vnet_dev_probe_args_t *pa, u8 **description)
{
  vnet_dev_bus_t *bus = vnet_dev_find_device_bus (vm, id);
  vnet_dev_driver_t *driver, *found = 0;
  void *info = bus ? vnet_dev_get_device_info (vm, id) : 0;
  if (!info)
    return 0;
  *pa = (vnet_dev_probe_args_t){ .bus_index = bus->index, .device_info = info };
  vec_foreach (driver, vnet_dev_main.drivers)
    if (driver->bus_index == bus->index && driver->ops.probe &&
	(*description = driver->ops.probe (vm, pa)))
      {
	found = driver;
	break;
      }
  bus->ops.free_device_info (vm, info);
  return found;
}

int
hns_device_probe (vlib_main_t *vm, const char *id, u8 *name, uword room)
{
  vnet_dev_device_id_t device_id = {};
  vnet_dev_probe_args_t pa;
  u8 *description = 0;
  vnet_dev_driver_t *driver;
  strncpy (device_id, id, sizeof (device_id) - 1);
  driver = hns_device_driver (vm, device_id, &pa, &description);
  vec_free (description);
  if (!driver)
    return 0;
  strncpy ((char *) name, driver->registration->name, room - 1);
  return 1;
}

int
hns_device_drivers (void)
{
  return vec_len (vnet_dev_main.drivers);
}

/* VPP 26.06 never notes that the card is open, and so never closes it. */
static void
hns_device_note_open (vnet_dev_t *dev)
{
  vnet_dev_bus_pci_device_data_t *pdd = vnet_dev_get_bus_pci_device_data (dev);
  pdd->pci_handle_valid = !pdd->is_passive;
}

/* VPP 26.06 goes on polling the queues of a port that was stopped, while their
 * driver empties them and when they are freed. So they belong to no thread
 * before that: VPP does not bring them back then. */
static void
hns_device_unpoll (vlib_main_t *vm, vnet_dev_port_t *port)
{
  u32 node_index = vnet_dev_get_port_rx_node_index (port);
  vlib_worker_thread_barrier_sync (vm);
  foreach_vnet_dev_port_rx_queue (q, port)
    q->rx_thread_index = ~0;
  for (u32 i = 0; i < vlib_get_n_threads (); i++)
    {
      vlib_main_t *tvm = vlib_get_main_by_index (i);
      vnet_dev_rx_node_runtime_t *rtd = vlib_node_get_runtime_data (tvm, node_index);
      rtd->first_rx_queue = 0;
      vlib_node_set_state (tvm, node_index, VLIB_NODE_STATE_DISABLED);
    }
  vlib_worker_thread_barrier_release (vm);
}

void
hns_device_deleted (vlib_main_t *vm, u32 sw_if_index)
{
  vnet_dev_port_t *port = vnet_dev_get_port_from_sw_if_index (sw_if_index);
  if (port)
    hns_device_unpoll (vm, port);
}

/* VPP 26.06 keeps the nodes of a deleted interface for the next one only where
 * its class has a transmit function. A class of the framework has it by port,
 * set after VPP looked: the nodes stayed, with their names, and the next
 * interface of the same name made VPP abort. */
static void
hns_device_recycle_tx (vlib_main_t *vm, vnet_dev_t *dev)
{
  vnet_dev_driver_t *driver = pool_elt_at_index (vnet_dev_main.drivers, dev->driver_index);
  vnet_device_class_t *c = vnet_get_device_class (vnet_get_main (), driver->dev_class_index);
  foreach_vnet_dev_port (p, dev)
    if (p->tx_node.registrations)
      c->tx_function = vlib_node_get_preferred_node_fn_variant (vm, p->tx_node.registrations);
}

/* VPP 26.06 changes the function of a receive node that it uses again, but not
 * what its threads call: the function of the driver that had it before. The
 * port is not started yet. */
static void
hns_device_renew_rx (vlib_main_t *vm, vnet_dev_port_t *port)
{
  u32 node_index = vnet_dev_get_port_rx_node_index (port);
  for (u32 i = 0; i < vlib_get_n_threads (); i++)
    vlib_node_get_runtime (vlib_get_main_by_index (i), node_index)->function =
      vlib_get_node (vm, node_index)->function;
}

/* In the device's own process, as vnet_dev_detach is. */
static void
hns_device_give_up (vlib_main_t *vm, vnet_dev_t *dev)
{
  vnet_dev_bus_t *bus = pool_elt_at_index (vnet_dev_main.buses, dev->bus_index);
  foreach_vnet_dev_port (p, dev)
    if (p->interfaces)
      {
	if (p->rx_node_assigned)
	  hns_device_unpoll (vm, p);
	vnet_dev_port_if_remove (vm, p);
      }
  if (dev->initialized)
    vnet_dev_deinit (vm, dev);
  else
    {
      if (vnet_dev_get_bus_pci_device_data (dev)->pci_handle_valid)
	bus->ops.device_close (vm, dev);
      vnet_dev_process_quit (vm, dev);
    }
  vnet_dev_free (vm, dev);
}

/* vnet_dev_api_attach, but for what that leaves behind where the driver
 * refuses: the open card, and the device's process, whose name makes VPP abort
 * when the card is attached again. */
static vnet_dev_t *
hns_device_attach (vlib_main_t *vm, hns_device_job_t *j)
{
  vnet_dev_probe_args_t pa;
  vnet_dev_driver_t *driver;
  vnet_dev_t *dev;
  vnet_dev_rv_t rv;
  u8 *description = 0;
  int users;

  if (vnet_dev_by_id (j->id))
    {
      hns_device_fail (j, "attach", VNET_DEV_ERR_ALREADY_IN_USE);
      return 0;
    }
  if (!(driver = hns_device_driver (vm, j->id, &pa, &description)))
    {
      hns_device_fail (j, "attach", VNET_DEV_ERR_DRIVER_NOT_AVAILABLE);
      return 0;
    }
  if (!(dev = vnet_dev_alloc (vm, j->id, driver)))
    {
      vec_free (description);
      hns_device_fail (j, "attach", VNET_DEV_ERR_BUG);
      return 0;
    }
  dev->description = description;
  dev->probe_handle = pa.probe_handle;
  if (driver->registration->device.args)
    dev->args = clib_args_init (driver->registration->device.args);
  dev->poll_stats = 1;
  users = hns_vfio_users (j->group);
  rv = vnet_dev_process_call_op (vm, dev, vnet_dev_init);
  if (hns_vfio_users (j->group) > users)
    hns_device_note_open (dev);
  if (rv == VNET_DEV_OK)
    return dev;
  hns_device_fail (j, "attach", rv);
  vnet_dev_process_call_op_no_rv (vm, dev, hns_device_give_up);
  return 0;
}

static void
hns_device_configure (vlib_main_t *vm, hns_device_job_t *j)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnm, j->sw_if_index);
  u32 hw_if_index = hi->hw_if_index;
  clib_error_t *e = 0;
  uword n;
  /* Each may sleep: what was looked up before is looked up again. */
  if (memcmp (hi->hw_address, j->mac, sizeof (j->mac)))
    e = vnet_hw_interface_change_mac_address (vnm, hw_if_index, j->mac);
  if (!e)
    {
      e = vnet_hw_interface_set_mtu (vnm, hw_if_index, j->mtu);
      if (e && vnet_sw_interface_get_mtu (vnm, j->sw_if_index, VNET_MTU_L3) >= j->mtu)
	{
	  clib_error_free (e);
	  e = 0;
	}
    }
  if (!e)
    {
      vnet_sw_interface_set_mtu (vnm, j->sw_if_index, j->mtu);
      e = vnet_sw_interface_set_flags (vnm, j->sw_if_index, VNET_SW_INTERFACE_FLAG_ADMIN_UP);
    }
  n = hns_error_take (e, j->error, sizeof (j->error) - 1);
  j->error[n] = 0;
}

static void
hns_device_do (vlib_main_t *vm, hns_device_job_t *j)
{
  vnet_dev_t *dev;
  vnet_dev_port_t *port;
  vnet_dev_rv_t rv;
  if (j->detach)
    {
      /* What it says is of no use: the interface goes. */
      job_work (vm, ~0, j->error, sizeof (j->error));
      j->error[0] = 0;
      dev = vnet_dev_by_id (j->id);
      rv = dev ? vnet_dev_process_call_op_no_rv (vm, dev, hns_device_give_up) : VNET_DEV_OK;
      if (rv != VNET_DEV_OK)
	hns_device_fail (j, "detach", rv);
      return;
    }
  /* With the workers at rest, as VPP's own command has them. */
  vlib_worker_thread_barrier_sync (vm);
  dev = hns_device_attach (vm, j);
  if (dev)
    hns_device_recycle_tx (vm, dev);
  vlib_worker_thread_barrier_release (vm);
  if (!dev)
    return;
  vnet_dev_api_create_port_if_args_t a = { .dev_index = dev->index };
  clib_memcpy (a.intf_name, j->name, sizeof (a.intf_name) - 1);
  rv = vnet_dev_api_create_port_if (vm, &a);
  /* Somebody may have taken it away meanwhile. */
  port = rv == VNET_DEV_OK ? vnet_dev_get_port_from_sw_if_index (a.sw_if_index) : 0;
  if (rv == VNET_DEV_OK && (!port || port->dev != vnet_dev_by_id (j->id)))
    rv = VNET_DEV_ERR_UNKNOWN_INTERFACE;
  if (rv != VNET_DEV_OK)
    hns_device_fail (j, "create interface", rv);
  else
    {
      j->sw_if_index = a.sw_if_index;
      vlib_worker_thread_barrier_sync (vm);
      hns_device_renew_rx (vm, port);
      hns_device_configure (vm, j);
      if (!j->error[0])
	job_work (vm, j->sw_if_index, j->error, sizeof (j->error));
      vlib_worker_thread_barrier_release (vm);
    }
  /* Somebody may have detached it meanwhile. */
  if (j->error[0] && (dev = vnet_dev_by_id (j->id)))
    vnet_dev_process_call_op_no_rv (vm, dev, hns_device_give_up);
}

static uword
hns_device_process (vlib_main_t *vm, vlib_node_runtime_t *rt, vlib_frame_t *f)
{
  uword *data = 0;
  while (1)
    {
      vlib_process_wait_for_event (vm);
      vlib_process_get_events (vm, &data);
      vec_reset_length (data);
      if (job.state != HNS_DEVICE_ASKED)
	continue;
      hns_device_do (vm, &job);
      job.state = HNS_DEVICE_DONE;
      job_done ();
    }
  return 0;
}

void
hns_register_device_process (char *name, u32 log2_stack_bytes, hns_device_work_fn work,
			     hns_device_done_fn done)
{
  vlib_global_main_t *vgm = vlib_get_global_main ();
  vlib_node_registration_t *r = calloc (1, sizeof (*r));
  job_work = work;
  job_done = done;
  job_process = r;
  r->name = name;
  r->function = hns_device_process;
  r->type = VLIB_NODE_TYPE_PROCESS;
  r->process_log2_n_stack_bytes = log2_stack_bytes;
  r->next_registration = vgm->node_registrations;
  vgm->node_registrations = r;
}

int
hns_device_ask (vlib_main_t *vm, const hns_device_job_t *j)
{
  if (job.state != HNS_DEVICE_IDLE)
    return 0;
  job = *j;
  job.state = HNS_DEVICE_ASKED;
  job.sw_if_index = ~0;
  job.error[0] = 0;
  vlib_process_signal_event (vm, job_process->index, 0, 0);
  return 1;
}

int
hns_device_take_result (hns_device_job_t *out)
{
  if (job.state != HNS_DEVICE_DONE)
    return 0;
  *out = job;
  job.state = HNS_DEVICE_IDLE;
  return 1;
}

/* At VPP's exit no process runs any more: the card is closed under VPP's
 * driver, which nothing calls again. Closing it resets it. */
void
hns_device_close_at_exit (vlib_main_t *vm, const char *id, int opened)
{
  vnet_dev_device_id_t device_id = {};
  vnet_dev_t *dev;
  strncpy (device_id, id, sizeof (device_id) - 1);
  dev = vnet_dev_by_id (device_id);
  if (dev && opened && !vnet_dev_get_bus_pci_device_data (dev)->is_passive)
    {
      vlib_pci_device_close (vm, vnet_dev_get_pci_handle (dev));
      vnet_dev_get_bus_pci_device_data (dev)->pci_handle_valid = 0;
    }
}
