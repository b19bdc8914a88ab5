/* SPDX-License-Identifier: Apache-2.0 */
/* Punt redirects and the punt of unknown ports. */
#include "shim.h"
#include "uninstalled.h"
#include <vnet/udp/udp.h>
#include <vnet/tcp/tcp.h>

static fib_protocol_t
hns_proto (int is_ip6)
{
  return is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4;
}

int
hns_punt_redirect_find (int is_ip6, u32 rx)
{
  /* The default entry, rx ~0, is stored under 0. */
  return ip_punt_redirect_find (hns_proto (is_ip6), rx == ~0 ? 0 : rx) != INDEX_INVALID;
}

void
hns_punt_redirect_add (int is_ip6, u32 rx, u32 tx, const u8 *next_hop)
{
  fib_route_path_t *paths = 0, *p;
  vec_add2 (paths, p, 1);
  clib_memset (p, 0, sizeof (*p));
  p->frp_proto = is_ip6 ? DPO_PROTO_IP6 : DPO_PROTO_IP4;
  p->frp_addr = hns_ip46 (is_ip6, next_hop);
  p->frp_sw_if_index = tx;
  p->frp_fib_index = ~0;
  p->frp_weight = 1;
  if (is_ip6)
    ip6_punt_redirect_add_paths (rx, paths);
  else
    ip4_punt_redirect_add_paths (rx, paths);
  vec_free (paths);
}

void
hns_punt_redirect_del (int is_ip6, u32 rx)
{
  if (is_ip6)
    ip6_punt_redirect_del (rx);
  else
    ip4_punt_redirect_del (rx);
}

/* Bits: 0 UDP/IPv4, 1 UDP/IPv6, 2 TCP/IPv4, 3 TCP/IPv6. */
u32
hns_punt_unknown_get (void)
{
  return (udp_main.punt_unknown4 != 0) << 0 | (udp_main.punt_unknown6 != 0) << 1 |
	 (tcp_main.punt_unknown4 != 0) << 2 | (tcp_main.punt_unknown6 != 0) << 3;
}

void
hns_punt_unknown_set (vlib_main_t *vm, u32 mask)
{
  udp_punt_unknown (vm, 1, mask & 1);
  udp_punt_unknown (vm, 0, (mask >> 1) & 1);
  tcp_punt_unknown (vm, 1, (mask >> 2) & 1);
  tcp_punt_unknown (vm, 0, (mask >> 3) & 1);
}
