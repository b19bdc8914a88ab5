/* SPDX-License-Identifier: Apache-2.0 */
/* Static neighbours and proxy ARP ranges. */
#include "shim.h"
#include <vnet/ip-neighbor/ip_neighbor.h>
#include <vnet/arp/arp.h>

static ip_address_t
hns_ip (int is_ip6, const u8 *address)
{
  ip_address_t ip = { 0 };
  if (is_ip6)
    {
      ip.version = AF_IP6;
      clib_memcpy (&ip.ip.ip6, address, 16);
    }
  else
    {
      ip.version = AF_IP4;
      clib_memcpy (&ip.ip.ip4, address, 4);
    }
  return ip;
}

int
hns_neighbor_add (int is_ip6, const u8 *address, const u8 *mac, u32 sw_if_index)
{
  ip_address_t ip = hns_ip (is_ip6, address);
  mac_address_t m;
  mac_address_from_bytes (&m, mac);
  return ip_neighbor_add (&ip, &m, sw_if_index,
			  IP_NEIGHBOR_FLAG_STATIC | IP_NEIGHBOR_FLAG_NO_FIB_ENTRY, 0);
}

int
hns_neighbor_del (int is_ip6, const u8 *address, u32 sw_if_index)
{
  ip_address_t ip = hns_ip (is_ip6, address);
  return ip_neighbor_del (&ip, sw_if_index);
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
