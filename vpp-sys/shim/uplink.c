/* SPDX-License-Identifier: Apache-2.0 */
/* VPP's interfaces on devices of the PCI bus, and which drivers are there. */
#include "shim.h"
#include <vlib/pci/pci.h>
#include <vnet/devices/virtio/virtio.h>
#include <vnet/devices/virtio/pci.h>
#include <vnet/dev/dev.h>
#include <vnet/dev/api.h>

int
hns_plugin_is_loaded (const char *plugin)
{
  /* The one symbol that every plugin exports. */
  return vlib_get_plugin_symbol (plugin, "vlib_plugin_registration") != 0;
}

int
hns_pci_address (const char *text, u32 *address)
{
  unformat_input_t in;
  vlib_pci_addr_t a = { 0 };
  int ok;
  unformat_init_string (&in, text, strlen (text));
  ok = unformat (&in, "%U", unformat_vlib_pci_addr, &a) &&
       unformat_check_input (&in) == UNFORMAT_END_OF_INPUT;
  unformat_free (&in);
  *address = a.as_u32;
  return ok;
}

void
hns_virtio_create (vlib_main_t *vm, u32 address, hns_created_t *out)
{
  virtio_pci_create_if_args_t args = { .addr = address, .features = ~0ULL };
  virtio_pci_create_if (vm, &args);
  out->rv = args.rv;
  out->sw_if_index = args.sw_if_index;
  out->error[hns_error_take (args.error, out->error, sizeof (out->error) - 1)] = 0;
}

int
hns_virtio_delete (vlib_main_t *vm, u32 sw_if_index)
{
  vnet_hw_interface_t *hi =
    vnet_get_sup_hw_interface_api_visible_or_null (vnet_get_main (), sw_if_index);
  if (!hi || hi->dev_class_index != virtio_device_class.index)
    return VNET_API_ERROR_INVALID_INTERFACE;
  return virtio_pci_delete_if (vm, pool_elt_at_index (virtio_main.interfaces, hi->dev_instance));
}

void
hns_dev_drivers (hns_name_fn fn, void *ctx)
{
  vnet_dev_driver_t *d;
  vec_foreach (d, vnet_dev_main.drivers)
    fn (ctx, d->registration->name);
}

int
hns_barrier_is_held (vlib_main_t *vm)
{
  return vlib_worker_thread_barrier_held ();
}

static void
hns_dev_result (hns_created_t *out, vnet_dev_rv_t rv)
{
  u8 *text;
  uword n;
  out->rv = rv;
  if (rv == VNET_DEV_OK)
    return;
  text = format (0, "%U", format_vnet_dev_rv, rv);
  n = clib_min (vec_len (text), sizeof (out->error) - 1);
  clib_memcpy (out->error, text, n);
  out->error[n] = 0;
  vec_free (text);
}

/* Both sleep: the work is done by a process of the device's own. */
void
hns_dev_create (vlib_main_t *vm, const char *id, const char *driver, const char *if_name,
		hns_created_t *out)
{
  vnet_dev_api_attach_args_t attach = { 0 };
  vnet_dev_api_create_port_if_args_t port = { 0 };
  vnet_dev_api_detach_args_t detach = { 0 };
  vnet_dev_rv_t rv;

  strncpy (attach.device_id, id, sizeof (attach.device_id) - 1);
  strncpy (attach.driver_name, driver, sizeof (attach.driver_name) - 1);
  rv = vnet_dev_api_attach (vm, &attach);
  if (rv == VNET_DEV_OK)
    {
      port.dev_index = attach.dev_index;
      strncpy (port.intf_name, if_name, sizeof (port.intf_name) - 1);
      rv = vnet_dev_api_create_port_if (vm, &port);
      if (rv != VNET_DEV_OK)
	{
	  detach.dev_index = attach.dev_index;
	  vnet_dev_api_detach (vm, &detach);
	}
    }
  out->sw_if_index = port.sw_if_index;
  hns_dev_result (out, rv);
}

void
hns_dev_delete (vlib_main_t *vm, const char *id, hns_created_t *out)
{
  vnet_dev_api_detach_args_t detach = { 0 };
  vnet_dev_device_id_t device_id = { 0 };
  vnet_dev_t *dev;
  vnet_dev_rv_t rv = VNET_DEV_ERR_UNKNOWN_DEVICE;

  strncpy (device_id, id, sizeof (device_id) - 1);
  dev = vnet_dev_by_id (device_id);
  if (dev)
    {
      detach.dev_index = dev->index;
      rv = vnet_dev_api_detach (vm, &detach);
    }
  hns_dev_result (out, rv);
}
