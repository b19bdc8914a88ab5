/* SPDX-License-Identifier: Apache-2.0 */
/* VPP tells of changes of an interface: addresses, state, link, MTU, MAC. */
#include "shim.h"
#include "uninstalled.h"

static hns_changed_fn changed;

static clib_error_t *
hns_sw_changed (vnet_main_t *vnm, u32 sw_if_index, u32 flags)
{
  changed (sw_if_index, 0);
  /* An error would abort VPP's own change half-way: never one. */
  return 0;
}

static clib_error_t *
hns_hw_changed (vnet_main_t *vnm, u32 hw_if_index, u32 flags)
{
  changed (vnet_get_hw_interface (vnm, hw_if_index)->sw_if_index, 0);
  return 0;
}

static void
hns_hook (_vnet_interface_function_list_elt_t **lists, void *fn,
	  _vnet_interface_function_list_elt_t *elt)
{
  /* Low runs first: VPP's own handlers have not run, so nothing is read here. */
  elt->next_interface_function = lists[VNET_ITF_FUNC_PRIORITY_LOW];
  elt->fp = fn;
  lists[VNET_ITF_FUNC_PRIORITY_LOW] = elt;
}

void
hns_register_changes (hns_changed_fn fn)
{
  static _vnet_interface_function_list_elt_t admin, link, mtu;
  vnet_main_t *vnm = vnet_get_main ();
  changed = fn;
  hns_hook (vnm->sw_interface_admin_up_down_functions, hns_sw_changed, &admin);
  hns_hook (vnm->hw_interface_link_up_down_functions, hns_hw_changed, &link);
  hns_hook (vnm->sw_interface_mtu_change_functions, hns_sw_changed, &mtu);
}

static void
hns_ip4_changed (ip4_main_t *im, uword opaque, u32 sw_if_index, ip4_address_t *address, u32 len,
		 u32 if_address_index, u32 is_del)
{
  changed (sw_if_index, 1);
}

static void
hns_ip6_changed (ip6_main_t *im, uword opaque, u32 sw_if_index, ip6_address_t *address, u32 len,
		 u32 if_address_index, u32 is_del)
{
  changed (sw_if_index, 1);
}

static adj_walk_rc_t
hns_mcast_anew (adj_index_t ai, void *ctx)
{
  u32 sw_if_index = adj_get (ai)->rewrite_header.sw_if_index;
  vnet_update_adjacency_for_sw_interface (vnet_get_main (), sw_if_index, ai);
  return ADJ_WALK_RC_CONTINUE;
}

static walk_rc_t
hns_mcast_all_anew (vnet_main_t *vnm, u32 sw_if_index, void *ctx)
{
  fib_protocol_t proto;
  FOR_EACH_FIB_IP_PROTOCOL (proto)
  adj_mcast_walk (sw_if_index, proto, hns_mcast_anew, 0);
  return WALK_CONTINUE;
}

static void
hns_mac_changed (ethernet_main_t *em, u32 sw_if_index, uword opaque)
{
  vnet_main_t *vnm = vnet_get_main ();
  u32 hw_if_index = vnet_get_sw_interface (vnm, sw_if_index)->hw_if_index;
  /* VPP sees to its adjacencies of neighbours (adj_nbr_ethernet_change_mac) and of
   * links, but not to those of groups: neighbours were asked for from the MAC of
   * before, and what they answered was dropped. */
  vnet_hw_interface_walk_sw (vnm, hw_if_index, hns_mcast_all_anew, 0);
  changed (sw_if_index, 0);
}

void
hns_hook_changes (void)
{
  ip4_add_del_interface_address_callback_t ip4 = { .function = hns_ip4_changed };
  ip6_add_del_interface_address_callback_t ip6 = { .function = hns_ip6_changed };
  ethernet_address_change_ctx_t mac = { .function = hns_mac_changed };
  vec_add1 (ip4_main.add_del_interface_address_callbacks, ip4);
  vec_add1 (ip6_main.add_del_interface_address_callbacks, ip6);
  vec_add1 (ethernet_main.address_change_callbacks, mac);
}
