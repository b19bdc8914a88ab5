/* SPDX-License-Identifier: Apache-2.0 */
/* VPP's tap plugin and linux-cp, found at run time: neither may be loaded. */
#include "shim.h"
#include <vpp_plugins/tap/tap.h>

typedef void (*tap_create_if_fn) (vlib_main_t *, tap_create_if_args_t *);
typedef int (*tap_delete_if_fn) (vlib_main_t *, u32);

int
hns_tap_plugin_is_loaded (void)
{
  return vlib_get_plugin_symbol ("tap_plugin.so", "tap_create_if") != 0;
}

int
hns_tap_create (vlib_main_t *vm, hns_tap_create_t *a)
{
  tap_create_if_fn create = vlib_get_plugin_symbol ("tap_plugin.so", "tap_create_if");
  tap_create_if_args_t args = { 0 };

  if (!create)
    return -1;
  args.id = ~0;
  args.num_rx_queues = 1;
  args.num_tx_queues = 1;
  args.tap_flags = TAP_FLAG_GSO | (a->persist ? TAP_FLAG_PERSIST : 0);
  args.mac_addr_set = 1;
  mac_address_from_bytes (&args.mac_addr, a->mac);
  mac_address_from_bytes (&args.host_mac_addr, a->host_mac);
  args.host_namespace = format (0, "%s%c", a->host_namespace, 0);
  args.host_if_name = format (0, "%s%c", a->host_if_name, 0);
  args.host_mtu_set = 1;
  args.host_mtu_size = a->host_mtu;
  create (vm, &args);
  a->sw_if_index = args.sw_if_index;
  a->error[hns_error_take (args.error, a->error, sizeof (a->error) - 1)] = 0;
  vec_free (args.host_namespace);
  vec_free (args.host_if_name);
  return args.rv;
}

int
hns_tap_delete (vlib_main_t *vm, u32 sw_if_index)
{
  tap_delete_if_fn delete = vlib_get_plugin_symbol ("tap_plugin.so", "tap_delete_if");
  return delete ? delete (vm, sw_if_index) : -1;
}

int
hns_tap_set_carrier (u32 sw_if_index, int up)
{
  int (*set) (u32, u32) = vlib_get_plugin_symbol ("tap_plugin.so", "tap_set_carrier");
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnet_get_main (), sw_if_index);
  return set ? set (hi->hw_if_index, up) : -1;
}

int
hns_lcp_pair_exists (u32 sw_if_index)
{
  /* The Linux ifindex of the pair's device, ~0 where there is none. */
  u32 (*vif) (u32) =
    vlib_get_plugin_symbol ("linux_cp_plugin.so", "lcp_itf_pair_get_vif_index_by_phy");
  return vif && vif (sw_if_index) != ~0;
}
