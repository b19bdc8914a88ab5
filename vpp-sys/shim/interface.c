/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces: facts, state, MTU, tables, the unnumbered tie. */
#include "shim.h"
#include <vnet/interface_funcs.h>
#include <vnet/l2/l2_input.h>

static void
hns_copy_text (u8 *out, uword room, const u8 *v)
{
  uword n = clib_min (vec_len (v), room - 1);
  clib_memcpy (out, v, n);
  out[n] = 0;
}

int
hns_interface (u32 sw_if_index, hns_interface_t *out)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_sw_interface_t *si, *sup;
  vnet_hw_interface_t *hi;
  u8 *name;

  if (!vnet_sw_interface_is_api_valid (vnet_get_main (), sw_if_index))
    return 0;
  clib_memset (out, 0, sizeof (*out));
  si = vnet_get_sw_interface (vnm, sw_if_index);
  sup = vnet_get_sup_sw_interface (vnm, sw_if_index);
  hi = vnet_get_sup_hw_interface (vnm, sw_if_index);
  out->sup_sw_if_index = sup->sw_if_index;
  out->hw_if_index = hi->hw_if_index;
  out->is_ethernet = ethernet_get_interface (&ethernet_main, hi->hw_if_index) != 0 &&
		     (si->type == VNET_SW_INTERFACE_TYPE_HARDWARE ||
		      si->type == VNET_SW_INTERFACE_TYPE_SUB);
  out->is_admin_up = (si->flags & VNET_SW_INTERFACE_FLAG_ADMIN_UP) != 0;
  out->is_unnumbered = (si->flags & VNET_SW_INTERFACE_FLAG_UNNUMBERED) != 0;
  out->is_l2 = vnet_sw_interface_is_valid (vnm, sw_if_index) &&
	       vec_len (l2input_main.configs) > sw_if_index &&
	       (l2_input_is_bridge (&l2input_main.configs[sw_if_index]) ||
		l2_input_is_xconnect (&l2input_main.configs[sw_if_index]));
  out->mtu = vnet_sw_interface_get_mtu (vnm, sw_if_index, VNET_MTU_L3);
  if (out->mtu == 0)
    out->mtu = vnet_sw_interface_get_mtu (vnm, sup->sw_if_index, VNET_MTU_L3);
  out->is_link_up = (hi->flags & VNET_HW_INTERFACE_FLAG_LINK_UP) != 0;
  out->link_kbps = hi->link_speed;
  if (vec_len (hi->hw_address) == 6)
    clib_memcpy (out->mac, hi->hw_address, 6);
  out->table4 = fib_table_get_table_id_for_sw_if_index (FIB_PROTOCOL_IP4, sw_if_index);
  out->table6 = fib_table_get_table_id_for_sw_if_index (FIB_PROTOCOL_IP6, sw_if_index);
  name = format (0, "%U", format_vnet_sw_if_index_name, vnm, sw_if_index);
  hns_copy_text (out->name, sizeof (out->name), name);
  vec_free (name);
  hns_copy_text (out->hw_name, sizeof (out->hw_name), hi->name);
  name = format (0, "%s", vnet_get_device_class (vnm, hi->dev_class_index)->name);
  hns_copy_text (out->dev_class, sizeof (out->dev_class), name);
  vec_free (name);
  return 1;
}

/* On any thread, within a node. */
u32
hns_interface_below (u32 sw_if_index)
{
  vnet_main_t *vnm = vnet_get_main ();
  if (pool_is_free_index (vnm->interface_main.sw_interfaces, sw_if_index))
    return sw_if_index;
  return vnet_get_sup_sw_interface (vnm, sw_if_index)->sw_if_index;
}

u32
hns_interface_by_name (const u8 *name, uword len)
{
  vnet_main_t *vnm = vnet_get_main ();
  unformat_input_t in;
  u32 sw_if_index = ~0;
  uword *p;
  u8 *v = 0;
  vec_add (v, name, len);
  /* VPP takes "host-eth0.7" for sub-interface 7 of "host-eth0" only, and does not find the one of
     that name. */
  p = hash_get_mem (vnm->interface_main.hw_interface_by_name, v);
  if (p)
    {
      vec_free (v);
      sw_if_index = vnet_get_hw_interface (vnm, p[0])->sw_if_index;
      return vnet_sw_interface_is_api_visible (vnm, sw_if_index) ? sw_if_index : ~0;
    }
  unformat_init_vector (&in, v);
  /* The whole text must be the name, not a name with something behind it. */
  if (!unformat (&in, "%U", unformat_vnet_sw_interface, vnm, &sw_if_index) ||
      unformat_check_input (&in) != UNFORMAT_END_OF_INPUT)
    sw_if_index = ~0;
  unformat_free (&in);
  return sw_if_index;
}

void
hns_interface_counters (u32 sw_if_index, u64 *rx_packets, u64 *tx_packets)
{
  vnet_interface_main_t *im = &vnet_get_main ()->interface_main;
  vlib_counter_t c;
  vlib_get_combined_counter (im->combined_sw_if_counters + VNET_INTERFACE_COUNTER_RX, sw_if_index,
			     &c);
  *rx_packets = c.packets;
  vlib_get_combined_counter (im->combined_sw_if_counters + VNET_INTERFACE_COUNTER_TX, sw_if_index,
			     &c);
  *tx_packets = c.packets;
}

uword
hns_interface_rename (u32 sw_if_index, const char *name, u8 *error, uword room)
{
  vnet_main_t *vnm = vnet_get_main ();
  u32 hw_if_index = vnet_get_sup_hw_interface (vnm, sw_if_index)->hw_if_index;
  return hns_error_take (vnet_rename_interface (vnm, hw_if_index, (char *) name), error, room);
}

int
hns_interface_set_admin (u32 sw_if_index, int up, u8 *error, uword room)
{
  clib_error_t *e = vnet_sw_interface_set_flags (vnet_get_main (), sw_if_index,
						 up ? VNET_SW_INTERFACE_FLAG_ADMIN_UP : 0);
  return (int) hns_error_take (e, error, room);
}

void
hns_interface_set_mtu (u32 sw_if_index, u32 mtu)
{
  vnet_sw_interface_set_mtu (vnet_get_main (), sw_if_index, mtu);
}

int
hns_interface_accept_all (u32 sw_if_index)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnm, sw_if_index);
  return ethernet_set_flags (vnm, hi->hw_if_index, ETHERNET_INTERFACE_FLAG_ACCEPT_ALL) != ~0;
}

int
hns_interface_set_promiscuous (u32 sw_if_index, int on)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnm, sw_if_index);
  /* ~0 as well where the driver takes every frame anyhow (af-packet): what
   * counts is whether ethernet-input checks the MAC. */
  ethernet_set_flags (vnm, hi->hw_if_index,
		      on ? ETHERNET_INTERFACE_FLAG_ACCEPT_ALL :
			   ETHERNET_INTERFACE_FLAG_DEFAULT_L3);
  return hns_interface_is_promiscuous (sw_if_index) == (on != 0);
}

int
hns_interface_is_promiscuous (u32 sw_if_index)
{
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnet_get_main (), sw_if_index);
  ethernet_interface_t *ei = ethernet_get_interface (&ethernet_main, hi->hw_if_index);
  return ei && (ei->flags & ETHERNET_INTERFACE_FLAGS_SET_OPN_MASK) ==
		 ETHERNET_INTERFACE_FLAG_ACCEPT_ALL;
}

uword
hns_interface_set_hw_mtu (u32 sw_if_index, u32 mtu, u8 *error, uword room)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnm, sw_if_index);
  return hns_error_take (vnet_hw_interface_set_mtu (vnm, hi->hw_if_index, mtu), error, room);
}

uword
hns_interface_set_mac (u32 sw_if_index, const u8 *mac, u8 *error, uword room)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnm, sw_if_index);
  return hns_error_take (vnet_hw_interface_change_mac_address (vnm, hi->hw_if_index, mac), error,
			 room);
}

int
hns_interface_has_mac (u32 sw_if_index, const u8 *mac)
{
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnet_get_main (), sw_if_index);
  ethernet_interface_t *ei = ethernet_get_interface (&ethernet_main, hi->hw_if_index);
  ethernet_interface_address_t *a;

  if (!ei)
    return 0;
  vec_foreach (a, ei->secondary_addrs)
    if (ethernet_mac_address_equal (a->mac.bytes, mac))
      return 1;
  return ethernet_mac_address_equal (ei->address.mac.bytes, mac);
}

uword
hns_interface_second_mac (u32 sw_if_index, const u8 *mac, int is_add, u8 *error, uword room)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnm, sw_if_index);
  clib_error_t *err =
    vnet_hw_interface_add_del_mac_address (vnm, hi->hw_if_index, mac, is_add);

  /* The driver has no room for it in its filter, or has no filter at all: what it
   * lets through VPP is to take. */
  if (err)
    ethernet_interface_add_del_address (&ethernet_main, hi->hw_if_index, mac, is_add);
  /* As virtio says that it has none. */
  if (err && !strcmp (vnet_get_device_class (vnm, hi->dev_class_index)->name, "virtio"))
    {
      clib_error_free (err);
      err = 0;
    }
  return hns_error_take (err, error, room);
}

void
hns_interfaces (hns_interface_fn fn, void *ctx)
{
  vnet_sw_interface_t *si;
  pool_foreach (si, vnet_get_main ()->interface_main.sw_interfaces)
    fn (ctx, si->sw_if_index);
}

int
hns_interface_unnumbered (u32 sw_if_index, u32 lender, int enable)
{
  /* vnet writes both vectors unchecked; they are sized by admin-up alone. */
  vec_validate_init_empty (ip4_main.lookup_main.if_address_pool_index_by_sw_if_index,
			   clib_max (sw_if_index, lender), ~0);
  vec_validate_init_empty (ip6_main.lookup_main.if_address_pool_index_by_sw_if_index,
			   clib_max (sw_if_index, lender), ~0);
  return vnet_sw_interface_update_unnumbered (sw_if_index, lender, enable);
}

/* VPP copies where the lender's list of addresses begins, once: later changes
 * of its first address leave the copy on what is gone. */
void
hns_interface_borrow (u32 sw_if_index, u32 lender)
{
  ip_lookup_main_t *lm[] = { &ip4_main.lookup_main, &ip6_main.lookup_main };
  for (int i = 0; i < ARRAY_LEN (lm); i++)
    {
      u32 *first = lm[i]->if_address_pool_index_by_sw_if_index;
      if (sw_if_index < vec_len (first))
	first[sw_if_index] = lender < vec_len (first) ? first[lender] : ~0;
    }
}

int
hns_bind_table (u32 sw_if_index, int is_ip6, u32 table_id)
{
  return ip_table_bind (is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4, sw_if_index, table_id);
}
