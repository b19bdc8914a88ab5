/* SPDX-License-Identifier: Apache-2.0 */
/* VPP's interfaces on devices of the PCI bus. */
#include "shim.h"
#include <vlib/pci/pci.h>
#include <vnet/devices/virtio/virtio.h>
#include <vnet/devices/virtio/pci.h>

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
