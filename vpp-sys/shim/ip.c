/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, IPv6 links, router advertisements. */
#include "shim.h"
#include "uninstalled.h"

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
