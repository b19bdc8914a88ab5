/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets what ethernet-input, llc-input and ip6-local-hop-by-hop have no use
 * for, and who gets ARP, neighbour solicitations and fragments. */
#include "shim.h"
#include <vnet/llc/llc.h>
#include <vnet/ip/icmp6.h>
#include <vnet/ip/ip6_hop_by_hop.h>
#include <vnet/ip/reass/ip4_full_reass.h>
#include <vnet/ip/reass/ip6_full_reass.h>
#include <vnet/udp/udp.h>

extern vlib_node_registration_t ethernet_input_node;
extern vlib_node_registration_t llc_input_node;
extern ip6_hop_by_hop_ioam_main_t ip6_hop_by_hop_ioam_main;

u32
hns_node_by_name (vlib_main_t *vm, const char *name)
{
  vlib_node_t *n = vlib_get_node_by_name (vm, (u8 *) name);
  return n ? n->index : ~0;
}

/* The three nodes that read Ethernet headers have the same next nodes. */
static u16
hns_ethernet_next (vlib_main_t *vm, u32 node_index)
{
  vlib_node_add_next (vm, hns_node_by_name (vm, "ethernet-input-type"), node_index);
  vlib_node_add_next (vm, hns_node_by_name (vm, "ethernet-input-not-l2"), node_index);
  return vlib_node_add_next (vm, ethernet_input_node.index, node_index);
}

u32
hns_arp_handler (void)
{
  return ethernet_get_type_info (&ethernet_main, ETHERNET_TYPE_ARP)->node_index;
}

void
hns_arp_handler_set (vlib_main_t *vm, u32 node_index)
{
  ethernet_register_input_type (vm, ETHERNET_TYPE_ARP, node_index);
}

/* VPP keeps to itself who is there now. */
void
hns_solicitation_handler_set (vlib_main_t *vm, u32 node_index)
{
  icmp6_register_type (vm, ICMP6_neighbor_solicitation, node_index);
}

/* What the tables have for a protocol that nobody has registered. */
#define HNS_ETHERNET_NOBODY   0 /* ETHERNET_INPUT_NEXT_PUNT, vnet/ethernet/node.c */
#define HNS_LLC_NOBODY	      1 /* LLC_INPUT_NEXT_DROP, vnet/llc/node.c */
#define HNS_HOP_BY_HOP_NOBODY 0 /* IP6_LOCAL_HOP_BY_HOP_NEXT_DROP, vnet/ip/ip6_hop_by_hop.c */

static u32
hns_change8 (u8 *table, u32 n, u8 from, u8 to)
{
  u32 changed = 0;
  for (u32 i = 0; i < n; i++)
    if (table[i] == from)
      {
	table[i] = to;
	changed++;
      }
  return changed;
}

/* Ethertypes that nobody has registered share the first entry of their table. */
u32
hns_ethertypes_set (vlib_main_t *vm, u32 node_index, int on)
{
  u16 next = hns_ethernet_next (vm, node_index);
  u16 *entry = vec_elt_at_index (ethernet_main.l3_next.input_next_by_type, 0);
  if (entry[0] != (on ? HNS_ETHERNET_NOBODY : next))
    return 0;
  entry[0] = on ? next : HNS_ETHERNET_NOBODY;
  return 1;
}

u32
hns_llc_set (vlib_main_t *vm, u32 node_index, int on)
{
  u8 *table = llc_main.input_next_by_protocol;
  u32 n = ARRAY_LEN (llc_main.input_next_by_protocol);
  u8 next = vlib_node_add_next (vm, llc_input_node.index, node_index);
  return on ? hns_change8 (table, n, HNS_LLC_NOBODY, next) :
	      hns_change8 (table, n, next, HNS_LLC_NOBODY);
}

u32
hns_hop_by_hop_set (vlib_main_t *vm, u32 node_index, int on)
{
  ip6_local_hop_by_hop_runtime_t *rt = ip6_hop_by_hop_ioam_main.ip6_local_hbh_runtime;
  u8 *table = rt->next_index_by_protocol;
  u32 n = ARRAY_LEN (rt->next_index_by_protocol);
  u8 next =
    vlib_node_add_next (vm, hns_node_by_name (vm, "ip6-local-hop-by-hop"), node_index);
  return on ? hns_change8 (table, n, HNS_HOP_BY_HOP_NOBODY, next) :
	      hns_change8 (table, n, next, HNS_HOP_BY_HOP_NOBODY);
}

int
hns_joins (int is_ip6)
{
  return is_ip6 ? ip6_local_full_reass_enabled () : ip4_local_full_reass_enabled ();
}

/* Where it does not, ip4-local-full-reassembly drops them: vnet/ip/reass/ip4_full_reass.c. */
void
hns_joins4_set (int on)
{
  ip4_local_full_reass_enable_disable (on);
}

void
hns_fragments6_set (u32 node_index)
{
  ip6_register_protocol (IP_PROTOCOL_IPV6_FRAGMENTATION, node_index);
}

static int
hns_is_next (vlib_main_t *vm, const char *of, const char *name)
{
  u32 node = hns_node_by_name (vm, of), next = hns_node_by_name (vm, name);
  return next != ~0 && vlib_node_get_next (vm, node, next) != ~0;
}

/* The nodes of echoes are there with the ping plugin alone. */
static int
hns_takes_icmp (vlib_main_t *vm, int is_ip6, u8 type)
{
  const char *input = is_ip6 ? "ip6-icmp-input" : "ip4-icmp-input";
  if (type == (is_ip6 ? ICMP6_echo_request : ICMP4_echo_request))
    return hns_is_next (vm, input, is_ip6 ? "ip6-icmp-echo-request" : "ip4-icmp-echo-request");
  if (type == (is_ip6 ? ICMP6_echo_reply : ICMP4_echo_reply))
    return hns_is_next (vm, input, is_ip6 ? "ip6-icmp-echo-reply" : "ip4-icmp-echo-reply");
  return 0;
}

int
hns_takes (vlib_main_t *vm, int is_ip6, u8 protocol, const u8 *body, u16 length)
{
  ip_lookup_main_t *lm = is_ip6 ? &ip6_main.lookup_main : &ip4_main.lookup_main;
  if (lm->local_next_by_ip_protocol[protocol] == IP_LOCAL_NEXT_PUNT)
    return 0;
  if (protocol == IP_PROTOCOL_UDP)
    {
      if (length < sizeof (udp_header_t))
	return -1;
      return udp_is_valid_dst_port (body[2] << 8 | body[3], !is_ip6);
    }
  if (protocol == (is_ip6 ? IP_PROTOCOL_ICMP6 : IP_PROTOCOL_ICMP))
    return length ? hns_takes_icmp (vm, is_ip6, body[0]) : -1;
  return 1;
}
