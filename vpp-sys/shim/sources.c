/* SPDX-License-Identifier: Apache-2.0 */
/* Who has put routes into VPP's FIB, and the routes of some of them. */
#include "shim.h"
#include <vnet/dpo/load_balance.h>
#include <vnet/fib/fib_entry.h>
#include <vnet/fib/fib_path.h>
#include <vnet/fib/fib_path_list.h>

typedef struct
{
  hns_source_fn fn;
  void *ctx;
} hns_source_walk_t;

static walk_rc_t
hns_source_visit (fib_source_t id, const char *name, fib_source_priority_t prio,
		  fib_source_behaviour_t bh, void *arg)
{
  hns_source_walk_t *w = arg;
  w->fn (w->ctx, id, name);
  return WALK_CONTINUE;
}

void
hns_sources (hns_source_fn fn, void *ctx)
{
  hns_source_walk_t w = { .fn = fn, .ctx = ctx };
  fib_source_walk (hns_source_visit, &w);
}

u32
hns_source_count (int is_ip6, u32 fib_index, u8 source)
{
  u32 proto = is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4;
  /* VPP reads past the end for a source that has never had a route there. */
  if (vec_len (fib_table_get (fib_index, proto)->ft_src_route_counts) <= source)
    return 0;
  return fib_table_get_num_entries (fib_index, proto, source);
}

static u32
hns_leads_to (fib_node_index_t fei, const fib_route_path_t *p)
{
  /* Recursive: through the interface that it resolves to. */
  return p->frp_sw_if_index != ~0 ? p->frp_sw_if_index : fib_entry_get_resolving_interface (fei);
}

/* A path by an interface that is gone leads nowhere for good. */
static fib_path_list_walk_rc_t
hns_path_lives (fib_node_index_t list, fib_node_index_t path, const struct fib_path_ext_t_ *ext,
		void *arg)
{
  u8 **lives = arg;
  vec_add1 (*lives, fib_path_is_resolved (path) != 0);
  return FIB_PATH_LIST_WALK_CONTINUE;
}

static void
hns_paths_of_source (fib_node_index_t fei, const fib_prefix_t *pfx, u8 source, hns_sourced_fn fn,
		     void *ctx)
{
  int is_ip6 = pfx->fp_proto == FIB_PROTOCOL_IP6;
  fib_route_path_t *paths = fib_entry_encode (fei), *p;
  int drops = load_balance_is_drop (fib_entry_contribute_ip_forwarding (fei));
  u8 *lives = 0;

  if (fib_entry_get (fei)->fe_parent != FIB_NODE_INDEX_INVALID)
    fib_path_list_walk_w_ext (fib_entry_get (fei)->fe_parent, 0, hns_path_lives, &lives);
  vec_foreach (p, paths)
    {
      hns_path_t out = { .sw_if_index = hns_leads_to (fei, p), .weight = p->frp_weight };
      if (p->frp_flags & FIB_ROUTE_PATH_LOCAL)
	out.flags |= HNS_PATH_LOCAL;
      if (p->frp_flags & (FIB_ROUTE_PATH_DROP | FIB_ROUTE_PATH_ICMP_UNREACH |
			  FIB_ROUTE_PATH_ICMP_PROHIBIT))
	out.flags |= HNS_PATH_DROP;
      if (p - paths >= vec_len (lives) || !lives[p - paths] || (out.sw_if_index == ~0 && drops))
	out.flags |= HNS_PATH_DROP;
      if (vec_len (p->frp_label_stack))
	out.flags |= HNS_PATH_LABELS;
      /* An attached host is kept with itself as the gateway. */
      if (!(p->frp_flags & FIB_ROUTE_PATH_ATTACHED) && !ip46_address_is_zero (&p->frp_addr) &&
	  !(fib_prefix_is_host (pfx) && !ip46_address_cmp (&p->frp_addr, &pfx->fp_addr)))
	{
	  if (p->frp_proto == DPO_PROTO_IP6)
	    {
	      out.flags |= HNS_PATH_GATEWAY6;
	      clib_memcpy (out.gateway, &p->frp_addr.ip6, 16);
	    }
	  else if (p->frp_proto == DPO_PROTO_IP4)
	    {
	      out.flags |= HNS_PATH_GATEWAY;
	      clib_memcpy (out.gateway, &p->frp_addr.ip4, 4);
	    }
	}
      fn (ctx, source, fei, is_ip6, is_ip6 ? pfx->fp_addr.ip6.as_u8 : pfx->fp_addr.ip4.as_u8,
	  pfx->fp_len, &out);
    }
  vec_free (paths);
  vec_free (lives);
}

u32
hns_routes_sourced (const u8 *wanted, u32 n_wanted, u32 fib4, u32 fib6, u32 from, u32 n,
		    hns_sourced_fn fn, void *ctx)
{
  /* By number in VPP's pool, which has no other way in: so it can be gone
   * through a piece at a time while it changes. */
  fib_entry_t *pool = fib_entry_get (0);
  u32 end = pool ? vec_len (pool) : 0;

  for (; n > 0 && from < end; n--, from++)
    {
      const fib_prefix_t *pfx = &pool[from].fe_prefix;
      u8 source;
      if (pool_is_free_index (pool, from) ||
	  !((pfx->fp_proto == FIB_PROTOCOL_IP4 && pool[from].fe_fib_index == fib4) ||
	    (pfx->fp_proto == FIB_PROTOCOL_IP6 && pool[from].fe_fib_index == fib6)))
	continue;
      source = fib_entry_get_best_source (from);
      if (source < n_wanted && wanted[source])
	hns_paths_of_source (from, pfx, source, fn, ctx);
    }
  return from < end ? from : ~0;
}
