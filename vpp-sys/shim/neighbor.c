/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbours and proxy ARP ranges. */
#include "shim.h"
#include <vnet/ip-neighbor/ip_neighbor.h>
#include <vnet/arp/arp.h>

static ip_address_t
hns_ip (int is_ip6, const u8 *address)
{
  ip_address_t ip = { .ip = hns_ip46 (is_ip6, address), .version = is_ip6 ? AF_IP6 : AF_IP4 };
  return ip;
}

int
hns_neighbor_add (int is_ip6, const u8 *address, const u8 *mac, u32 sw_if_index, int is_static,
		  int route)
{
  ip_address_t ip = hns_ip (is_ip6, address);
  mac_address_t m;
  mac_address_from_bytes (&m, mac);
  ip_neighbor_flags_t flags = is_static ? IP_NEIGHBOR_FLAG_STATIC : IP_NEIGHBOR_FLAG_DYNAMIC;
  if (!route)
    flags |= IP_NEIGHBOR_FLAG_NO_FIB_ENTRY;
  return ip_neighbor_add (&ip, &m, sw_if_index, flags, 0);
}

int
hns_neighbor_del (int is_ip6, const u8 *address, u32 sw_if_index)
{
  ip_address_t ip = hns_ip (is_ip6, address);
  return ip_neighbor_del (&ip, sw_if_index);
}

typedef struct
{
  hns_neighbor_fn fn;
  void *ctx;
} hns_neighbor_walk_t;

static walk_rc_t
hns_neighbor_visit (index_t ipni, void *arg)
{
  hns_neighbor_walk_t *w = arg;
  const ip_neighbor_t *n = ip_neighbor_get (ipni);
  const ip_address_t *ip = ip_neighbor_get_ip (n);
  const mac_address_t *mac = ip_neighbor_get_mac (n);
  int is_ip6 = ip->version == AF_IP6;

  w->fn (w->ctx, is_ip6, is_ip6 ? ip->ip.ip6.as_u8 : ip->ip.ip4.as_u8, mac->bytes,
	 !!(n->ipn_flags & IP_NEIGHBOR_FLAG_STATIC));
  return WALK_CONTINUE;
}

void
hns_neighbors (u32 sw_if_index, hns_neighbor_fn fn, void *ctx)
{
  hns_neighbor_walk_t w = { .fn = fn, .ctx = ctx };
  ip_neighbor_walk (AF_IP4, sw_if_index, hns_neighbor_visit, &w);
  ip_neighbor_walk (AF_IP6, sw_if_index, hns_neighbor_visit, &w);
}

typedef struct
{
  hns_range_fn fn;
  void *ctx;
} hns_range_walk_t;

static walk_rc_t
hns_range_visit (const ip4_address_t *lo, const ip4_address_t *hi, u32 fib_index, void *data)
{
  hns_range_walk_t *w = data;
  w->fn (w->ctx, fib_index, lo->as_u8, hi->as_u8);
  return WALK_CONTINUE;
}

void
hns_proxy_arp_ranges (hns_range_fn fn, void *ctx)
{
  hns_range_walk_t w = { .fn = fn, .ctx = ctx };
  proxy_arp_walk (hns_range_visit, &w);
}
