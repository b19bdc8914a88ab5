/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, IPv6 links, router advertisements. */
#include "shim.h"
#include "uninstalled.h"
#include <vnet/adj/adj.h>
#include <vnet/adj/adj_glean.h>

void
hns_addresses (u32 sw_if_index, hns_address_fn fn, void *ctx)
{
  ip_interface_address_t *ia;
  foreach_ip_interface_address (&ip4_main.lookup_main, ia, sw_if_index, 0, ({
    fn (ctx, 0, ip_interface_address_get_address (&ip4_main.lookup_main, ia), ia->address_length);
  }));
  foreach_ip_interface_address (&ip6_main.lookup_main, ia, sw_if_index, 0, ({
    fn (ctx, 1, ip_interface_address_get_address (&ip6_main.lookup_main, ia), ia->address_length);
  }));
}

uword
hns_address (vlib_main_t *vm, u32 sw_if_index, int is_ip6, const u8 *address, u8 len, int is_del,
	     u8 *error, uword room)
{
  ip4_address_t a4;
  ip6_address_t a6;
  if (is_ip6)
    {
      clib_memcpy (&a6, address, 16);
      return hns_error_take (ip6_add_del_interface_address (vm, sw_if_index, &a6, len, is_del),
			     error, room);
    }
  clib_memcpy (&a4, address, 4);
  return hns_error_take (ip4_add_del_interface_address (vm, sw_if_index, &a4, len, is_del), error,
			 room);
}

typedef struct
{
  hns_glean_fn fn;
  void *ctx;
} hns_gleans_t;

static adj_walk_rc_t
hns_glean (adj_index_t ai, void *data)
{
  hns_gleans_t *to = data;
  const ip_adjacency_t *adj = adj_get (ai);
  const fib_prefix_t *source = &adj->sub_type.glean.rx_pfx;
  int is_ip6 = adj->ia_nh_proto == FIB_PROTOCOL_IP6;
  to->fn (to->ctx, ai, is_ip6,
	  is_ip6 ? source->fp_addr.ip6.as_u8 : source->fp_addr.ip4.as_u8, source->fp_len);
  return ADJ_WALK_RC_CONTINUE;
}

void
hns_gleans (u32 sw_if_index, hns_glean_fn fn, void *ctx)
{
  hns_gleans_t to = { .fn = fn, .ctx = ctx };
  adj_glean_walk (sw_if_index, hns_glean, &to);
}

void
hns_glean_set_source (u32 adjacency, int is_ip6, const u8 *source)
{
  adj_get (adjacency)->sub_type.glean.rx_pfx.fp_addr = hns_ip46 (is_ip6, source);
}

int
hns_ip6_set_link_local (u32 sw_if_index, const u8 *address)
{
  ip6_address_t a6;
  clib_memcpy (&a6, address, 16);
  return ip6_link_set_local_address (sw_if_index, &a6);
}

int
hns_ip6_enable (u32 sw_if_index)
{
  return ip6_link_enable (sw_if_index, 0);
}

int
hns_ip6_disable (u32 sw_if_index)
{
  return ip6_link_disable (sw_if_index);
}

int
hns_ip6_link_local (u32 sw_if_index, u8 *address)
{
  const ip6_address_t *ll = ip6_get_link_local_address (sw_if_index);
  if (!ll)
    return 0;
  clib_memcpy (address, ll, 16);
  return 1;
}

int
hns_ra_suppress (vlib_main_t *vm, u32 sw_if_index)
{
  return ip6_ra_config (vm, sw_if_index, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

int
hns_ra_is_sent (u32 sw_if_index)
{
  return ip6_ra_adv_enabled (sw_if_index);
}
