/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that libvnet exports but whose headers VPP does not install.
 * Copied from the source named with each; unchanged from 24.10 to 26.06. */
#ifndef HOSTNET_UNINSTALLED_H
#define HOSTNET_UNINSTALLED_H

#include <stdbool.h>

/* vnet/ip/ip6_link.h */
extern bool ip6_link_is_enabled (u32 sw_if_index);
extern int ip6_link_enable (u32 sw_if_index, const ip6_address_t *link_local_addr);
extern int ip6_link_disable (u32 sw_if_index);
extern int ip6_link_set_local_address (u32 sw_if_index, const ip6_address_t *address);
extern const ip6_address_t *ip6_get_link_local_address (u32 sw_if_index);

/* vnet/ip6-nd/ip6_ra.h */
extern int ip6_ra_config (vlib_main_t *vm, u32 sw_if_index, u8 suppress, u8 managed, u8 other,
			  u8 ll_option, u8 send_unicast, u8 cease, u8 use_lifetime, u32 lifetime,
			  u32 initial_count, u32 initial_interval, u32 max_interval,
			  u32 min_interval, u8 is_no);
extern u8 ip6_ra_adv_enabled (u32 sw_if_index);

/* vnet/ip/ip_punt_drop.h, ip4_punt_drop.h, ip6_punt_drop.h */
extern index_t ip_punt_redirect_find (fib_protocol_t fproto, u32 rx_sw_if_index);
extern void ip4_punt_redirect_add_paths (u32 rx_sw_if_index, const fib_route_path_t *rpaths);
extern void ip4_punt_redirect_del (u32 rx_sw_if_index);
extern void ip6_punt_redirect_add_paths (u32 rx_sw_if_index, const fib_route_path_t *rpaths);
extern void ip6_punt_redirect_del (u32 rx_sw_if_index);

/* vnet/adj/adj_mcast.h */
extern void adj_mcast_walk (u32 sw_if_index, fib_protocol_t adj_nh_proto, adj_walk_cb_t cb,
			    void *ctx);

#endif
