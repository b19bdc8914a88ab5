/* SPDX-License-Identifier: Apache-2.0 */
/* The routes through an interface, and those that are ours. */
#include "shim.h"
#include <vnet/fib/fib_entry.h>
#include <vnet/fib/fib_path.h>
#include <vnet/fib/fib_path_list.h>

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

/* Behind what users and routing daemons add (API 0x80, CLI 0x81), before what
 * VPP learns of neighbours: as DHCP's. */
#define HNS_FIB_PRIORITY 0xb0

static fib_source_t
hns_fib_source (void)
{
  static fib_source_t source;
  if (!source)
    source = fib_source_allocate ("hostnet", HNS_FIB_PRIORITY, FIB_SOURCE_BH_API);
  return source;
}

static fib_prefix_t
hns_fib_prefix (int is_ip6, const u8 *prefix, u8 len)
{
  fib_prefix_t p = { .fp_len = len };
  p.fp_proto = is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4;
  if (is_ip6)
    clib_memcpy (&p.fp_addr.ip6, prefix, 16);
  else
    clib_memcpy (&p.fp_addr.ip4, prefix, 4);
  return p;
}

static fib_route_path_t *
hns_fib_paths (int is_ip6, const hns_path_t *paths, u32 n)
{
  fib_route_path_t *v = 0, *p;
  for (; n > 0; n--, paths++)
    {
      vec_add2 (v, p, 1);
      clib_memset (p, 0, sizeof (*p));
      p->frp_proto = is_ip6 ? DPO_PROTO_IP6 : DPO_PROTO_IP4;
      p->frp_sw_if_index = paths->sw_if_index;
      p->frp_fib_index = ~0;
      p->frp_weight = paths->weight;
      if (paths->flags & HNS_PATH_GATEWAY6)
	{
	  p->frp_proto = DPO_PROTO_IP6;
	  clib_memcpy (&p->frp_addr.ip6, paths->gateway, 16);
	}
      else if (paths->flags & HNS_PATH_GATEWAY)
	{
	  p->frp_proto = DPO_PROTO_IP4;
	  clib_memcpy (&p->frp_addr.ip4, paths->gateway, 4);
	}
      if (paths->flags & HNS_PATH_DROP)
	p->frp_flags |= FIB_ROUTE_PATH_DROP;
      if (paths->flags & HNS_PATH_UNREACHABLE)
	p->frp_flags |= FIB_ROUTE_PATH_ICMP_UNREACH;
      if (paths->flags & HNS_PATH_PROHIBIT)
	p->frp_flags |= FIB_ROUTE_PATH_ICMP_PROHIBIT;
    }
  return v;
}

void
hns_route_add (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, const hns_path_t *paths, u32 n)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  fib_route_path_t *v = hns_fib_paths (is_ip6, paths, n);
  fib_table_entry_path_add2 (fib_index, &pfx, hns_fib_source (), FIB_ENTRY_FLAG_NONE, v);
  vec_free (v);
}

void
hns_route_remove (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, const hns_path_t *paths,
		  u32 n)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  fib_route_path_t *v = hns_fib_paths (is_ip6, paths, n);
  fib_table_entry_path_remove2 (fib_index, &pfx, hns_fib_source (), v);
  vec_free (v);
}

u32
hns_route_state (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, u8 *best_source, uword room)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  fib_node_index_t fei = fib_table_lookup_exact_match (fib_index, &pfx);
  fib_source_t best;
  u32 state = 0;
  u8 *name;
  uword n;

  best_source[0] = 0;
  if (fei == FIB_NODE_INDEX_INVALID)
    return 0;
  best = fib_entry_get_best_source (fei);
  name = format (0, "%U", format_fib_source, best);
  n = clib_min (vec_len (name), room - 1);
  clib_memcpy (best_source, name, n);
  best_source[n] = 0;
  vec_free (name);
  if (fib_entry_is_sourced (fei, hns_fib_source ()))
    state |= HNS_ROUTE_OURS;
  if (best == hns_fib_source ())
    state |= HNS_ROUTE_BEST;
  return state;
}

void
hns_route_paths (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_path_fn fn, void *ctx)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  fib_node_index_t fei = fib_table_lookup_exact_match (fib_index, &pfx), list;
  fib_path_encode_ctx_t walk = { 0 };
  fib_route_path_t *p;

  if (fei == FIB_NODE_INDEX_INVALID)
    return;
  list = fib_entry_get_path_list_for_source (fei, hns_fib_source ());
  if (list == FIB_NODE_INDEX_INVALID)
    return;
  fib_path_list_walk_w_ext (list, 0, fib_path_encode, &walk);
  vec_foreach (p, walk.rpaths)
    {
      hns_path_t out = { .sw_if_index = p->frp_sw_if_index, .weight = p->frp_weight };
      if (p->frp_flags & FIB_ROUTE_PATH_DROP)
	out.flags |= HNS_PATH_DROP;
      if (p->frp_flags & FIB_ROUTE_PATH_ICMP_UNREACH)
	out.flags |= HNS_PATH_UNREACHABLE;
      if (p->frp_flags & FIB_ROUTE_PATH_ICMP_PROHIBIT)
	out.flags |= HNS_PATH_PROHIBIT;
      /* An attached host is kept with itself as the gateway. */
      if (!ip46_address_is_zero (&p->frp_addr) &&
	  !(fib_prefix_is_host (&pfx) && !ip46_address_cmp (&p->frp_addr, &pfx.fp_addr)))
	{
	  if (p->frp_proto == DPO_PROTO_IP6)
	    {
	      out.flags |= HNS_PATH_GATEWAY6;
	      clib_memcpy (out.gateway, &p->frp_addr.ip6, 16);
	    }
	  else
	    {
	      out.flags |= HNS_PATH_GATEWAY;
	      clib_memcpy (out.gateway, &p->frp_addr.ip4, 4);
	    }
	}
      fn (ctx, &out);
    }
  vec_free (walk.rpaths);
}
