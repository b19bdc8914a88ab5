/* SPDX-License-Identifier: Apache-2.0 */
/* The routes through an interface. */
#include "shim.h"
#include <vnet/fib/fib_entry.h>

typedef struct
{
  u32 sw_if_index;
  hns_route_fn fn;
  void *ctx;
} hns_route_walk_t;

static fib_table_walk_rc_t
hns_route_visit (fib_node_index_t fei, void *arg)
{
  hns_route_walk_t *w = arg;
  const fib_prefix_t *pfx = fib_entry_get_prefix (fei);
  fib_source_t src = fib_entry_get_best_source (fei);
  fib_route_path_t *paths, *p;
  int is_ip6 = pfx->fp_proto == FIB_PROTOCOL_IP6;

  /* What VPP makes by itself: from addresses, neighbours, resolution. */
  if (src == FIB_SOURCE_INTERFACE || src == FIB_SOURCE_ADJ || src == FIB_SOURCE_RR ||
      src == FIB_SOURCE_DEFAULT_ROUTE || src == FIB_SOURCE_SPECIAL ||
      src == FIB_SOURCE_IP6_ND || src == FIB_SOURCE_IP6_ND_PROXY || src == FIB_SOURCE_AE)
    return FIB_TABLE_WALK_CONTINUE;

  paths = fib_entry_encode (fei);
  vec_foreach (p, paths)
    {
      const u8 *gw = 0;
      u32 out = p->frp_sw_if_index;
      if (p->frp_flags & (FIB_ROUTE_PATH_LOCAL | FIB_ROUTE_PATH_DROP))
	continue;
      if (out == ~0)
	/* recursive: through the interface that it resolves to */
	out = fib_entry_get_resolving_interface (fei);
      if (out != w->sw_if_index)
	continue;
      if (!(p->frp_flags & FIB_ROUTE_PATH_ATTACHED) && !ip46_address_is_zero (&p->frp_addr))
	gw = p->frp_proto == DPO_PROTO_IP6 ? p->frp_addr.ip6.as_u8 : p->frp_addr.ip4.as_u8;
      if (gw && (p->frp_proto == DPO_PROTO_IP6) != is_ip6)
	continue;
      w->fn (w->ctx, is_ip6, is_ip6 ? pfx->fp_addr.ip6.as_u8 : pfx->fp_addr.ip4.as_u8,
	     pfx->fp_len, fei, gw, p->frp_weight);
    }
  vec_free (paths);
  return FIB_TABLE_WALK_CONTINUE;
}

void
hns_routes_through (u32 sw_if_index, hns_route_fn fn, void *ctx)
{
  hns_route_walk_t w = { .sw_if_index = sw_if_index, .fn = fn, .ctx = ctx };
  fib_protocol_t proto;
  for (proto = FIB_PROTOCOL_IP4; proto <= FIB_PROTOCOL_IP6; proto++)
    {
      u32 fib_index = fib_table_get_index_for_sw_if_index (proto, sw_if_index);
      if (fib_index != ~0)
	fib_table_walk (fib_index, proto, hns_route_visit, &w);
    }
}

u32
hns_fib_index (u32 sw_if_index, int is_ip6)
{
  return fib_table_get_index_for_sw_if_index (is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4,
					      sw_if_index);
}
