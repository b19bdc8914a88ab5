/* SPDX-License-Identifier: Apache-2.0 */
/* Whether VPP's main heap and statistics segment have room for more routes.
 *
 * VPP aborts when an allocation fails. What it will allocate is mostly the
 * growth of a few arrays, each to half as much again in one piece beside the
 * old one: those that can be due for the routes to come are allocated here and
 * freed at once. */
#include "shim.h"
#include <vlib/stats/stats.h>
#include <vnet/dpo/load_balance.h>
#include <vnet/fib/fib_entry.h>
#include <vnet/fib/ip4_fib.h>
#include <vnet/fib/ip6_fib.h>

/* Of a route: its sources, buckets, keys, nodes of a hash. */
#define HNS_ROOM_ROUTE 1024
/* For all else that VPP does meanwhile. */
#define HNS_ROOM_SPARE	     (1 << 20)
#define HNS_ROOM_STATS_SPARE (1 << 18)
/* fib_node_list_elt_t, which is private (fib_node_list.c). */
#define HNS_LIST_ELT 24

typedef struct
{
  void *heap;
  u32 n;
  int failed;
  void *held[128];
} hns_room_t;

static void
hns_room_hold (hns_room_t *r, uword bytes)
{
  void *p;
  if (r->failed || bytes == 0)
    return;
  p = r->n < ARRAY_LEN (r->held) ? clib_mem_heap_alloc_aligned_or_null (r->heap, bytes, 64) : 0;
  if (p)
    r->held[r->n++] = p;
  else
    r->failed = 1;
}

static int
hns_room_release (hns_room_t *r)
{
  while (r->n > 0)
    clib_mem_heap_free (r->heap, r->held[--r->n]);
  return !r->failed;
}

/* A pool, should it take so many more; and the list of its free elements,
 * should all be freed: who is full must be able to delete. */
static void
hns_room_pool (hns_room_t *r, void *pool, uword elt, u32 more)
{
  pool_header_t *ph;
  uword len, room;
  if (!pool)
    return;
  ph = pool_header (pool);
  len = vec_len (pool);
  room = vec_len (ph->free_indices) + _vec_max_len (pool, elt) - len;
  if (room < more)
    hns_room_hold (r, (len + more) * elt * 3 / 2 + 256);
  if (vec_max_len (ph->free_indices) < len)
    hns_room_hold (r, len * sizeof (u32) * 3 / 2);
}

/* A hash doubles when it is three quarters full (hash.c). */
static void
hns_room_hash (hns_room_t *r, uword *hash, u32 more)
{
  uword capacity = hash ? hash_capacity (hash) : 0;
  if (hash && 4 * (hash_elts (hash) + more + 1) > 3 * capacity)
    {
      hns_room_hold (r, 2 * capacity * sizeof (hash_pair_t) + capacity / 4 + 256);
      /* Pairs that share a place. */
      hns_room_hold (r, capacity * sizeof (hash_pair_t) / 2);
    }
}

static int
hns_room_in_heap (u32 routes, u32 fib_index, int is_ip6)
{
  hns_room_t r = { .heap = clib_mem_main.main_heap };
  fib_entry_t *entries = fib_entry_get (0);

  hns_room_hold (&r, (uword) routes * HNS_ROOM_ROUTE + HNS_ROOM_SPARE);
  if (routes > 0)
    {
      hns_room_hold (&r, HNS_ROOM_SPARE);
      hns_room_pool (&r, load_balance_pool, sizeof (load_balance_pool[0]), routes);
      hns_room_pool (&r, entries, sizeof (entries[0]), routes);
      /* Each entry is in its paths' list of children; that pool is private. */
      hns_room_hold (&r, (vec_len (entries) + routes) * HNS_LIST_ELT * 3 / 2);
      hns_room_hold (&r, vec_len (entries) * sizeof (u32) * 3 / 2);
      if (is_ip6)
	hns_room_hash (&r, ip6_fib_get (fib_index)->fib_entry_by_dst_address, routes);
      else
	{
	  ip4_fib_hash_t *hash = &ip4_fib_get (fib_index)->hash;
	  /* The next two levels of the trie. */
	  hns_room_pool (&r, ip4_ply_pool, sizeof (ip4_ply_pool[0]), 2 * routes);
	  for (int i = 0; i < ARRAY_LEN (hash->fib_entry_by_dst_address); i++)
	    hns_room_hash (&r, hash->fib_entry_by_dst_address[i], routes);
	}
    }
  return hns_room_release (&r);
}

/* A route has two counters for each thread. */
static int
hns_room_in_stats (u32 routes)
{
  hns_room_t r = { .heap = vlib_stats_get_segment ()->heap };
  vlib_combined_counter_main_t *counters[] = { &load_balance_main.lbm_to_counters,
					       &load_balance_main.lbm_via_counters };
  /* A freed place has its counters; the rest of the pool's memory has none. */
  uword len = vec_len (load_balance_pool);
  uword n_free = load_balance_pool ? vec_len (pool_header (load_balance_pool)->free_indices) : 0;

  len += routes > n_free ? routes - n_free : 0;

  hns_room_hold (&r, HNS_ROOM_STATS_SPARE);
  for (int i = 0; i < ARRAY_LEN (counters) && routes > 0; i++)
    for (u32 t = 0; t < vec_len (counters[i]->counters); t++)
      if (vec_max_len (counters[i]->counters[t]) < len)
	hns_room_hold (&r, len * sizeof (vlib_counter_t) * 3 / 2 + 256);
  return hns_room_release (&r);
}

/* Whether that many load balances can have their counters, and the segment is
 * not full of them. */
int
hns_room_for_counters (u32 load_balances)
{
  hns_room_t r = { .heap = vlib_stats_get_segment ()->heap };
  uword threads = vec_len (load_balance_main.lbm_to_counters.counters);

  hns_room_hold (&r, 2 * HNS_ROOM_STATS_SPARE);
  hns_room_hold (&r, 2 * threads * load_balances * sizeof (vlib_counter_t) * 2);
  return hns_room_release (&r);
}

int
hns_room (u32 routes, u32 fib_index, int is_ip6)
{
  if (!hns_room_in_heap (routes, fib_index, is_ip6))
    return HNS_ROOM_HEAP;
  return hns_room_in_stats (routes) ? HNS_ROOM_PLENTY : HNS_ROOM_STATS;
}
