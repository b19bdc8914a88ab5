/* SPDX-License-Identifier: Apache-2.0 */
/* VPP's drivers of devices that stay the kernel's: af_xdp and rdma. */
#include "shim.h"
#include <unistd.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <vlib/file.h>

/* As af_xdp counts them; of a device where the thread is. */
u32
hns_netdev_rx_queues (const char *name)
{
  struct ethtool_channels ec = { .cmd = ETHTOOL_GCHANNELS };
  struct ifreq ifr = { .ifr_data = (void *) &ec };
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  u32 n = 1;
  strncpy (ifr.ifr_name, name, sizeof (ifr.ifr_name) - 1);
  if (fd >= 0 && ioctl (fd, SIOCETHTOOL, &ifr) == 0)
    n = clib_max (1, clib_max (ec.combined_count, ec.rx_count));
  if (fd >= 0)
    close (fd);
  return n;
}

u32
hns_buffer_data_size (vlib_main_t *vm)
{
  return vlib_buffer_get_default_data_size (vm);
}

/* VPP 26.06 closes the files of such an interface twice when it is deleted:
 * once by the library that opened them, once as files of its main loop. The
 * second may hit a file that another thread has opened in between. */
void
hns_files_stay_open (u32 sw_if_index)
{
  vnet_hw_interface_t *hi = vnet_get_sup_hw_interface (vnet_get_main (), sw_if_index);
  uword n = vec_len (hi->name);
  while (n > 0 && hi->name[n - 1] == 0)
    n--;
  pool_foreach_pointer (f, file_main.file_pool)
    if (vec_len (f->description) > n && f->description[n] == ' ' &&
	!memcmp (f->description, hi->name, n))
      f->dont_close = 1;
}
