/* SPDX-License-Identifier: Apache-2.0 */
/* Tables made large before they are full.
 *
 * VPP's FIB grows inside the one addition that finds it full, on the main
 * thread. Of a million routes the longest are the hash of a prefix length, that
 * doubles and is filled anew (vppinfra/hash.c:635), the pools of load balances
 * and of entries, that move to a place half as large again (vppinfra/vec.c:92),
 * the counters of the load balances, and the pool of the lists in which paths
 * have their entries. The first two pools can be made large by VPP's
 * startup.conf, in l3fib { } (vnet/ip/ip_init.c:83), which is empty in time;
 * for the others VPP has no words: they follow those pools here. */
#include "shim.h"
#include <vnet/dpo/load_balance.h>
#include <vnet/fib/fib_entry.h>
#include <vnet/fib/fib_node_list.h>
#include <vnet/fib/ip4_fib.h>
#include <vnet/fib/ip6_fib.h>

/* Fewer grow within a slice. */
#define HNS_PREPARE_MIN (1 << 16)

/* Of a hundred routes of the Internet's so many have this length or may have it
 * in some years; shorter prefixes are few. Those of IPv6 are in one table. */
static const u8 hns_share4[] = { [16] = 2,  [17] = 2,  [18] = 2,  [19] = 3, [20] = 6,
				 [21] = 7, [22] = 14, [23] = 13, [24] = 70 };
#define HNS_SHARE6 30

static uword *
hns_prepare_hash (uword *hash, uword entries)
{
  /* It doubles when it is three quarters full. */
  uword capacity = max_pow2 (entries * 4 / 3 + 2);
  return hash_capacity (hash) < capacity ? hash_resize (hash, capacity) : hash;
}

/* The list of a pool's free elements grows as they are freed. */
static void
hns_prepare_frees (void *pool, uword elts)
{
  pool_header_t *ph = pool_header (pool);
  uword listed = vec_len (ph->free_indices);
  if (listed < elts)
    vec_alloc (ph->free_indices, elts - listed);
}

/* The pool of all lists' elements (vnet/fib/fib_node_list.c) is private: it
 * becomes as large as the longest list that there was. */
static void
hns_prepare_lists (uword entries)
{
  static uword longest;
  fib_node_list_t list;
  u32 *elts = 0;

  if (entries <= longest)
    return;
  longest = entries;
  vec_alloc (elts, entries);
  list = fib_node_list_create ();
  while (vec_len (elts) < entries)
    vec_add1 (elts, fib_node_list_push_front (list, 0, FIB_NODE_TYPE_ENTRY, 0));
  /* The first one last: as before, it is the next that VPP takes. */
  while (vec_len (elts) > 0)
    fib_node_list_elt_remove (vec_pop (elts));
  fib_node_list_destroy (&list);
  vec_free (elts);
}

void
hns_prepare (u32 fib_index4, u32 fib_index6)
{
  fib_entry_t *entries = fib_entry_get (0);
  /* VPP makes half as much again as it is asked for (vppinfra/vec.c:92). */
  uword n = entries ? _vec_max_len (entries, sizeof (entries[0])) * 2 / 3 : 0;
  uword n_lb =
    load_balance_pool ? _vec_max_len (load_balance_pool, sizeof (load_balance_pool[0])) * 2 / 3 : 0;
  ip4_fib_hash_t *ip4;
  ip6_fib_t *ip6;
  u32 i;

  /* What they hold already is gone through in one go. */
  if (n >= HNS_PREPARE_MIN && pool_elts (entries) < n / 8 &&
      hns_room (n / 8, fib_index4, 0) == HNS_ROOM_PLENTY)
    {
      ip4 = &ip4_fib_get (fib_index4)->hash;
      for (i = 0; i < ARRAY_LEN (hns_share4); i++)
	{
	  uword **hash = &ip4->fib_entry_by_dst_address[i];
	  if (hns_share4[i] == 0)
	    continue;
	  /* As VPP makes it (vnet/fib/ip4_fib_hash.c:104). */
	  if (*hash == 0)
	    {
	      *hash = hash_create (32, sizeof (uword));
	      hash_set_flags (*hash, HASH_FLAG_NO_AUTO_SHRINK);
	    }
	  *hash = hns_prepare_hash (*hash, n * hns_share4[i] / 100);
	}
      ip6 = ip6_fib_get (fib_index6);
      ip6->fib_entry_by_dst_address =
	hns_prepare_hash (ip6->fib_entry_by_dst_address, n * HNS_SHARE6 / 100);
      /* With the first route that goes it would shrink. */
      hash_set_flags (ip6->fib_entry_by_dst_address, HASH_FLAG_NO_AUTO_SHRINK);
      hns_prepare_frees (entries, n);
      hns_prepare_lists (n);
    }
  if (n_lb >= HNS_PREPARE_MIN && pool_elts (load_balance_pool) < n_lb / 8 &&
      hns_room_for_counters (n_lb))
    {
      vlib_validate_combined_counter (&load_balance_main.lbm_to_counters, n_lb - 1);
      vlib_validate_combined_counter (&load_balance_main.lbm_via_counters, n_lb - 1);
      hns_prepare_frees (load_balance_pool, n_lb);
    }
}
