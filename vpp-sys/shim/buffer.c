/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: layouts of the opaque areas differ between VPP versions, so every
 * access goes through VPP's own macros. */
#include "shim.h"
#include <vnet/arp/arp.api_enum.h>
#include <vnet/mpls/mpls.api_enum.h>
#include <vnet/snap/snap.h>

extern vlib_node_registration_t ethernet_input_node;
extern vlib_node_registration_t mpls_input_node;
extern vlib_node_registration_t snap_input_node;

vlib_buffer_t *
hns_buffer (vlib_main_t *vm, u32 index)
{
  return vlib_get_buffer (vm, index);
}

u8 *
hns_buffer_current (vlib_buffer_t *b, u16 *length)
{
  *length = b->current_length;
  return vlib_buffer_get_current (b);
}

int
hns_buffer_advance (vlib_buffer_t *b, i32 by)
{
  if (by > 0 && by > (i32) b->current_length)
    return 0;
  if (by < 0 && b->current_data + by < -(i32) VLIB_BUFFER_PRE_DATA_SIZE)
    return 0;
  vlib_buffer_advance (b, by);
  return 1;
}

int
hns_buffer_set_length (vlib_main_t *vm, vlib_buffer_t *b, u16 length)
{
  if (b->flags & VLIB_BUFFER_NEXT_PRESENT)
    return 0;
  if (b->current_data + (i32) length > (i32) vlib_buffer_get_default_data_size (vm))
    return 0;
  b->current_length = length;
  return 1;
}

u32
hns_buffer_rx (const vlib_buffer_t *b)
{
  return vnet_buffer (b)->sw_if_index[VLIB_RX];
}

void
hns_buffer_set_rx (vlib_buffer_t *b, u32 sw_if_index)
{
  vnet_buffer (b)->sw_if_index[VLIB_RX] = sw_if_index;
}

u32
hns_buffer_tx (const vlib_buffer_t *b)
{
  return vnet_buffer (b)->sw_if_index[VLIB_TX];
}

void
hns_buffer_set_tx (vlib_buffer_t *b, u32 sw_if_index)
{
  vnet_buffer (b)->sw_if_index[VLIB_TX] = sw_if_index;
}

void
hns_buffer_set_error (vlib_buffer_t *b, vlib_node_runtime_t *node, u32 error)
{
  b->error = node->errors[error];
}

void
hns_buffer_set_locally_originated (vlib_buffer_t *b)
{
  b->flags |= VNET_BUFFER_F_LOCALLY_ORIGINATED;
}

u32
hns_buffer_feature_next (vlib_buffer_t *b)
{
  u32 next = 0;
  vnet_feature_next (&next, b);
  return next;
}

int
hns_buffer_is_traced (const vlib_buffer_t *b)
{
  return (b->flags & VLIB_BUFFER_IS_TRACED) != 0;
}

void *
hns_buffer_add_trace (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u32 n)
{
  return vlib_add_trace (vm, node, b, n);
}

u16
hns_buffer_l2_length (vlib_buffer_t *b)
{
  return (u8 *) vlib_buffer_get_current (b) - (u8 *) ethernet_buffer_get_header (b);
}

void
hns_buffer_l2_addresses (vlib_buffer_t *b, u8 *dst, u8 *src)
{
  ethernet_header_t *eh = ethernet_buffer_get_header (b);
  clib_memcpy (dst, eh->dst_address, 6);
  clib_memcpy (src, eh->src_address, 6);
}

int
hns_buffer_is_locally_originated (const vlib_buffer_t *b)
{
  return (b->flags & VNET_BUFFER_F_LOCALLY_ORIGINATED) != 0;
}

/* How far before the current place the frame begins; ~0 when it is not known. */
static u32
hns_frame_back (vlib_buffer_t *b)
{
  i32 start = vnet_buffer (b)->l2_hdr_offset;
  if (!(b->flags & VNET_BUFFER_F_L2_HDR_OFFSET_VALID) || start > b->current_data ||
      start < -(i32) VLIB_BUFFER_PRE_DATA_SIZE)
    return ~0;
  return b->current_data - start;
}

int
hns_buffer_frame (vlib_buffer_t *b, const u8 **start, u16 *length)
{
  u32 back = hns_frame_back (b);
  if (back == ~0)
    return 0;
  *start = (u8 *) vlib_buffer_get_current (b) - back;
  *length = b->current_length + back;
  return 1;
}

int
hns_buffer_to_frame (vlib_buffer_t *b)
{
  u32 back = hns_frame_back (b);
  if (back == ~0)
    return 0;
  vlib_buffer_advance (b, -(word) back);
  return 1;
}

int
hns_buffer_copy_frame (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u16 next,
		       u32 tx)
{
  u32 back = hns_frame_back (b);
  vlib_buffer_t *c;
  if (back == ~0)
    return 0;
  vlib_buffer_advance (b, -(word) back);
  c = vlib_buffer_copy (vm, b);
  vlib_buffer_advance (b, back);
  if (!c)
    return 0;
  vnet_buffer (c)->sw_if_index[VLIB_TX] = tx;
  vlib_set_next_frame_buffer (vm, node, next, vlib_get_buffer_index (vm, c));
  return 1;
}

int
hns_buffer_copy (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u16 next)
{
  /* What stands before the current place is copied with the frame alone. */
  u32 back = hns_frame_back (b);
  word by = back == ~0 ? 0 : back;
  vlib_buffer_t *c;
  vlib_buffer_advance (b, -by);
  c = vlib_buffer_copy (vm, b);
  vlib_buffer_advance (b, by);
  if (!c)
    return 0;
  vlib_buffer_advance (c, by);
  vlib_set_next_frame_buffer (vm, node, next, vlib_get_buffer_index (vm, c));
  return 1;
}

/* ip4-local hands fragments on with the error that it gives first of all and looks at nothing
 * (ip4_local_inline in vnet/ip/ip4_forward.c); who drops with that one did not join them. */
int
hns_buffer_is_unjoined (vlib_main_t *vm, vlib_buffer_t *b)
{
  vlib_node_runtime_t *local4 = vlib_node_get_runtime (vm, ip4_local_node.index);
  return b->error == local4->errors[IP4_ERROR_UNKNOWN_PROTOCOL] &&
	 b->current_length >= sizeof (ip4_header_t) &&
	 ip4_is_fragment (vlib_buffer_get_current (b));
}

/* An ARP request that VPP does not answer: from outside its subnets, or sent for another
 * machine. */
static int
hns_is_unanswered (vlib_main_t *vm, const vlib_buffer_t *b)
{
  /* The node's registration is VPP's own. */
  static u32 arp_reply = ~0;
  u32 index = __atomic_load_n (&arp_reply, __ATOMIC_RELAXED);
  if (index == ~0)
    {
      index = hns_node_by_name (vm, "arp-reply");
      __atomic_store_n (&arp_reply, index, __ATOMIC_RELAXED);
    }
  vlib_error_t *errors = vlib_node_get_runtime (vm, index)->errors;
  return b->error == errors[ARP_ERROR_L3_SRC_ADDRESS_NOT_LOCAL] ||
	 b->error == errors[ARP_ERROR_L2_ADDRESS_MISMATCH];
}

/* Which of the faults that a card or the host's kernel may see otherwise VPP has
 * found: 1 in a packet of IP, 2 a VLAN, a protocol of SNAP, MPLS, or an ARP request, that
 * it has no use for; 0 none of them. Those of ip4-local
 * and ip6-local count as of ip4-local and ip6-input (ip4_local_inline in
 * vnet/ip/ip4_forward.c, ip6_local_inline in vnet/ip/ip6_forward.c). */
u32
hns_buffer_fault (vlib_main_t *vm, const vlib_buffer_t *b)
{
  static const u8 of_input4[] = {
    IP4_ERROR_TOO_SHORT, IP4_ERROR_BAD_LENGTH,		 IP4_ERROR_BAD_CHECKSUM,
    IP4_ERROR_VERSION,	 IP4_ERROR_FRAGMENT_OFFSET_ONE, IP4_ERROR_HDR_TOO_SHORT,
  };
  static const u8 of_local4[] = {
    IP4_ERROR_TCP_CHECKSUM,
    IP4_ERROR_UDP_CHECKSUM,
    IP4_ERROR_UDP_LENGTH,
    IP4_ERROR_SRC_LOOKUP_MISS,
    IP4_ERROR_SPOOFED_LOCAL_PACKETS,
  };
  static const u8 of_ip6[] = {
    IP6_ERROR_TOO_SHORT,     IP6_ERROR_BAD_LENGTH, IP6_ERROR_VERSION,        IP6_ERROR_UDP_CHECKSUM,
    IP6_ERROR_ICMP_CHECKSUM, IP6_ERROR_UDP_LENGTH, IP6_ERROR_SRC_LOOKUP_MISS,
  };
  vlib_node_runtime_t *input4 = vlib_node_get_runtime (vm, ip4_input_node.index);
  vlib_node_runtime_t *local4 = vlib_node_get_runtime (vm, ip4_local_node.index);
  vlib_node_runtime_t *ip6 = vlib_node_get_runtime (vm, ip6_input_node.index);
  vlib_node_runtime_t *eth = vlib_node_get_runtime (vm, ethernet_input_node.index);
  vlib_node_runtime_t *snap = vlib_node_get_runtime (vm, snap_input_node.index);
  vlib_node_runtime_t *mpls = vlib_node_get_runtime (vm, mpls_input_node.index);
  u32 found = 0;
  for (u32 i = 0; i < ARRAY_LEN (of_input4); i++)
    found |= b->error == input4->errors[of_input4[i]];
  for (u32 i = 0; i < ARRAY_LEN (of_local4); i++)
    found |= b->error == local4->errors[of_local4[i]];
  for (u32 i = 0; i < ARRAY_LEN (of_ip6); i++)
    found |= b->error == ip6->errors[of_ip6[i]];
  if (b->error == eth->errors[ETHERNET_ERROR_UNKNOWN_VLAN] ||
      b->error == snap->errors[SNAP_ERROR_UNKNOWN_PROTOCOL] ||
      b->error == mpls->errors[MPLS_ERROR_NOT_ENABLED] || hns_is_unanswered (vm, b))
    return 2;
  return found;
}

int
hns_buffer_is_to_own_mac (vlib_buffer_t *b)
{
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnet_get_main (), hns_buffer_rx (b));
  return vec_len (hi->hw_address) == 6 && hns_frame_back (b) != ~0 &&
	 !memcmp (ethernet_buffer_get_header (b)->dst_address, hi->hw_address, 6);
}
