/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of our own source, their paths prepared once, and their tables. */
#include "shim.h"
#include <vnet/fib/fib_entry.h>
#include <vnet/fib/fib_path.h>
#include <vnet/fib/fib_path_list.h>

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
  p.fp_addr = hns_ip46 (is_ip6, prefix);
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
      if (paths->flags & (HNS_PATH_GATEWAY | HNS_PATH_GATEWAY6))
	{
	  int is_ip6_hop = !!(paths->flags & HNS_PATH_GATEWAY6);
	  p->frp_proto = is_ip6_hop ? DPO_PROTO_IP6 : DPO_PROTO_IP4;
	  p->frp_addr = hns_ip46 (is_ip6_hop, paths->gateway);
	}
      if (paths->flags & HNS_PATH_DROP)
	p->frp_flags |= FIB_ROUTE_PATH_DROP;
      if (paths->flags & HNS_PATH_UNREACHABLE)
	p->frp_flags |= FIB_ROUTE_PATH_ICMP_UNREACH;
      if (paths->flags & HNS_PATH_PROHIBIT)
	p->frp_flags |= FIB_ROUTE_PATH_ICMP_PROHIBIT;
      if (paths->flags & HNS_PATH_LOCAL)
	p->frp_flags |= FIB_ROUTE_PATH_LOCAL;
    }
  return v;
}

struct hns_paths
{
  fib_route_path_t *paths;
  /* VPP writes the destination and flags into a path without a gateway
   * (fib_table_route_path_fixup): such ones are given to it as a copy. */
  fib_route_path_t *copy;
  /* VPP's own list of these paths, once it was asked for; held. */
  fib_node_index_t list;
};

hns_paths_t *
hns_paths_make (int is_ip6, const hns_path_t *paths, u32 n)
{
  hns_paths_t *p = clib_mem_alloc (sizeof (*p));
  clib_memset (p, 0, sizeof (*p));
  p->list = FIB_NODE_INDEX_INVALID;
  p->paths = hns_fib_paths (is_ip6, paths, n);
  for (; n > 0; n--, paths++)
    if (paths->sw_if_index != ~0 && !(paths->flags & (HNS_PATH_GATEWAY | HNS_PATH_GATEWAY6)))
      {
	vec_free (p->copy);
	p->copy = vec_dup (p->paths);
      }
  return p;
}

void
hns_paths_free (hns_paths_t *p)
{
  if (p->list != FIB_NODE_INDEX_INVALID)
    fib_path_list_unlock (p->list);
  vec_free (p->paths);
  vec_free (p->copy);
  clib_mem_free (p);
}

/* What VPP may write to. */
static fib_route_path_t *
hns_paths_of (hns_paths_t *p)
{
  if (!p->copy)
    return p->paths;
  clib_memcpy (p->copy, p->paths, vec_len (p->paths) * sizeof (p->paths[0]));
  return p->copy;
}

/* Of a prefix on the link itself VPP takes its neighbours into the FIB only where the
 * entry says that it is one, and it says so by itself for users' routes alone
 * (fib_entry_flags_update). */
static fib_entry_flag_t
hns_route_flags (const hns_paths_t *paths)
{
  return paths->copy ? FIB_ENTRY_FLAG_ATTACHED : FIB_ENTRY_FLAG_NONE;
}

void
hns_route_add (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_paths_t *paths)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  u32 entry;
  /* VPP begins a new source that has flags with a path that drops, and would add ours
   * beside it (fib_entry_src_action_path_add). */
  if (paths->copy && !hns_route_state (fib_index, is_ip6, prefix, len, 0, &entry))
    hns_route_update (fib_index, is_ip6, prefix, len, paths);
  else
    fib_table_entry_path_add2 (fib_index, &pfx, hns_fib_source (), FIB_ENTRY_FLAG_NONE,
			       hns_paths_of (paths));
}

void
hns_route_remove (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_paths_t *paths)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  fib_table_entry_path_remove2 (fib_index, &pfx, hns_fib_source (), hns_paths_of (paths));
}

u32
hns_route_update (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_paths_t *paths)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  return fib_table_entry_update (fib_index, &pfx, hns_fib_source (), hns_route_flags (paths),
				 hns_paths_of (paths));
}

int
hns_route_delete (u32 fib_index, int is_ip6, const u8 *prefix, u8 len)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  fib_node_index_t fei = fib_table_lookup_exact_match (fib_index, &pfx);
  if (fei == FIB_NODE_INDEX_INVALID || !fib_entry_is_sourced (fei, hns_fib_source ()))
    return 0;
  fib_table_entry_delete_index (fei, hns_fib_source ());
  return 1;
}

u32
hns_route_state (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_paths_t *paths,
		 u32 *entry)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  fib_node_index_t fei = *entry = fib_table_lookup_exact_match (fib_index, &pfx);
  u32 state = 0;

  if (fei == FIB_NODE_INDEX_INVALID || !fib_entry_is_sourced (fei, hns_fib_source ()))
    return 0;
  state = HNS_ROUTE_OURS;
  if (fib_entry_get_best_source (fei) == hns_fib_source ())
    state |= HNS_ROUTE_BEST;
  if (!paths || paths->copy)
    return state;
  /* VPP keeps equal lists once: the same number is the same paths. */
  if (paths->list == FIB_NODE_INDEX_INVALID)
    {
      paths->list = fib_path_list_create (FIB_PATH_LIST_FLAG_SHARED, paths->paths);
      fib_path_list_lock (paths->list);
    }
  if (fib_entry_get_path_list_for_source (fei, hns_fib_source ()) == paths->list)
    state |= HNS_ROUTE_SAME;
  return state;
}

void
hns_route_best_source (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, u8 *out, uword room)
{
  fib_prefix_t pfx = hns_fib_prefix (is_ip6, prefix, len);
  fib_node_index_t fei = fib_table_lookup_exact_match (fib_index, &pfx);
  u8 *name;
  uword n;

  out[0] = 0;
  if (fei == FIB_NODE_INDEX_INVALID)
    return;
  name = format (0, "%U", format_fib_source, fib_entry_get_best_source (fei));
  n = clib_min (vec_len (name), room - 1);
  clib_memcpy (out, name, n);
  out[n] = 0;
  vec_free (name);
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
      if (p->frp_flags & FIB_ROUTE_PATH_LOCAL)
	out.flags |= HNS_PATH_LOCAL;
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

u32
hns_routes_ours (u32 fib_index, int is_ip6, u32 from, u32 n, hns_ours_fn fn, void *ctx)
{
  /* By number in VPP's pool, which has no other way in: so it can be gone
   * through a piece at a time while it changes. */
  fib_entry_t *pool = fib_entry_get (0);
  u32 proto = is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4;
  u32 end = pool ? vec_len (pool) : 0;

  for (; n > 0 && from < end; n--, from++)
    {
      const fib_prefix_t *pfx = &pool[from].fe_prefix;
      if (pool_is_free_index (pool, from) || pool[from].fe_fib_index != fib_index ||
	  pfx->fp_proto != proto || !fib_entry_is_sourced (from, hns_fib_source ()))
	continue;
      fn (ctx, from, is_ip6 ? pfx->fp_addr.ip6.as_u8 : pfx->fp_addr.ip4.as_u8, pfx->fp_len,
	  fib_entry_get_resolving_interface_for_source (from, hns_fib_source ()));
    }
  return from < end ? from : ~0;
}

u32
hns_table_lock (int is_ip6, u32 table_id)
{
  return fib_table_find_or_create_and_lock (is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4, table_id,
					    hns_fib_source ());
}

void
hns_table_unlock (int is_ip6, u32 fib_index)
{
  fib_table_unlock (fib_index, is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4, hns_fib_source ());
}

u32
hns_table_count (int is_ip6, u32 fib_index)
{
  return hns_source_count (is_ip6, fib_index, hns_fib_source ());
}
