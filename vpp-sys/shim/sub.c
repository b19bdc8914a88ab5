/* SPDX-License-Identifier: Apache-2.0 */
/* VLAN sub-interfaces. */
#include "shim.h"

/* One tag, 802.1ad or not, and nothing else in the frame: what can have IP. */
static vnet_sub_interface_t
hns_sub_wanted (u16 vlan, int is_ad)
{
  vnet_sub_interface_t sub = { 0 };
  sub.eth.flags.one_tag = 1;
  sub.eth.flags.exact_match = 1;
  sub.eth.flags.dot1ad = is_ad != 0;
  sub.eth.outer_vlan_id = vlan;
  return sub;
}

int
hns_sub_find (u32 sup, u16 vlan, int is_ad, u32 *out)
{
  vnet_sub_interface_t wanted = hns_sub_wanted (vlan, is_ad);
  vnet_sw_interface_t *si;
  int found = HNS_SUB_NONE;

  pool_foreach (si, vnet_get_main ()->interface_main.sw_interfaces)
    {
      if (si->type != VNET_SW_INTERFACE_TYPE_SUB || si->sup_sw_if_index != sup ||
	  si->sub.eth.outer_vlan_id != vlan || si->sub.eth.flags.one_tag == 0 ||
	  si->sub.eth.flags.dot1ad != wanted.eth.flags.dot1ad)
	continue;
      *out = si->sw_if_index;
      found = si->sub.eth.raw_flags == wanted.eth.raw_flags ? HNS_SUB_EXACT : HNS_SUB_OTHER;
      if (found == HNS_SUB_EXACT)
	break;
    }
  return found;
}

int
hns_sub_create (u32 sup, u16 vlan, int is_ad, u32 *out)
{
  vnet_sub_interface_t wanted = hns_sub_wanted (vlan, is_ad);
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnet_get_main (), sup);
  /* The number is the VLAN's where that is free: it is in the name. */
  u32 id = vlan;

  if (hi->sw_if_index != sup)
    return VNET_API_ERROR_INVALID_INTERFACE;
  while (hash_get (hi->sub_interface_sw_if_index_by_id, id))
    id += 4096;
  return vnet_create_sub_interface (sup, id, wanted.eth.raw_flags, 0, vlan, out);
}

int
hns_sub_delete (u32 sw_if_index)
{
  return vnet_delete_sub_interface (sw_if_index);
}
