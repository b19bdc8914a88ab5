/* SPDX-License-Identifier: Apache-2.0 */
/* A driver for VPP's 'device attach', of the one card that QEMU emulates and
 * VPP has none for: e1000e (Intel 82574). For tests of how a card is taken from
 * Linux and given back. One queue each way, with descriptors of the oldest kind,
 * and a packet in one buffer.
 *
 * While the file REFUSE is there its initialisation fails, with the card open. */
#include <unistd.h>
#include <vnet/vnet.h>
#include <vnet/dev/dev.h>
#include <vnet/dev/bus/pci.h>
#include <vnet/ethernet/ethernet.h>

#define REFUSE "/run/hostnet-driver-refuses"

enum
{
  CTRL = 0x0,
  STATUS = 0x8,
  IMC = 0xd8,
  RCTL = 0x100,
  TCTL = 0x400,
  /* Of a ring: where it is, its length in bytes, head, tail. */
  RX_RING = 0x2800,
  TX_RING = 0x3800,
  RING_HIGH = 0x4,
  RING_LENGTH = 0x8,
  RING_HEAD = 0x10,
  RING_TAIL = 0x18,
  RFCTL = 0x5008,
  RAL = 0x5400,
  RAH = 0x5404,
};

enum
{
  RCTL_ON = 1 << 1 | 1 << 4 /* all multicast */ | 1 << 15 /* broadcast */ | 1 << 26 /* no CRC */,
  TCTL_ON = 1 << 1 | 1 << 3 /* pad */,
  TX_END = 1 << 0,
  TX_CRC = 1 << 1,
  TX_REPORT = 1 << 3,
  DONE = 1 << 0,
};

#define RING 256

typedef struct
{
  void *bar0;
} lab_dev_t;

/* Of either way: the meaning of the two words of flags is not the same. */
typedef struct
{
  u64 address;
  u16 length;
  u8 unused, command;
  u8 status, errors;
  u16 special;
} lab_desc_t;

STATIC_ASSERT_SIZEOF (lab_desc_t, 16);

typedef struct
{
  lab_desc_t *descs;
  /* Not wrapped: from the oldest that the card has to the next one for it. */
  u16 head, tail;
  u8 runs;
  u32 buffers[RING];
} lab_queue_t;

static void
wr (vnet_dev_t *dev, u32 reg, u32 value)
{
  lab_dev_t *ld = vnet_dev_get_data (dev);
  __atomic_store_n ((u32 *) ((u8 *) ld->bar0 + reg), value, __ATOMIC_RELEASE);
}

static u32
rd (vnet_dev_t *dev, u32 reg)
{
  lab_dev_t *ld = vnet_dev_get_data (dev);
  return __atomic_load_n ((u32 *) ((u8 *) ld->bar0 + reg), __ATOMIC_ACQUIRE);
}

vnet_dev_node_t lab_rx_node = {};
vnet_dev_node_t lab_tx_node = {};

static u8 *
lab_probe (vlib_main_t *vm, vnet_dev_probe_args_t *a)
{
  vnet_dev_bus_pci_device_info_t *di = a->device_info;
  return di->vendor_id == 0x8086 && di->device_id == 0x10d3 ? format (0, "e1000e of the lab") : 0;
}

static void
lab_set_mac (vnet_dev_t *dev, const u8 *mac)
{
  wr (dev, RAL, mac[0] | mac[1] << 8 | mac[2] << 16 | (u32) mac[3] << 24);
  wr (dev, RAH, mac[4] | mac[5] << 8 | 1u << 31);
}

static void
lab_status_poll (vlib_main_t *vm, vnet_dev_port_t *port)
{
  u8 up = (rd (port->dev, STATUS) & 2) != 0;
  if (up != port->link_up)
    vnet_dev_port_state_change (vm, port,
				(vnet_dev_port_state_changes_t){ .change.link_state = 1,
								 .link_state = up });
}

static vnet_dev_rv_t
lab_queue_alloc (vlib_main_t *vm, vnet_dev_t *dev, lab_queue_t *lq)
{
  return vnet_dev_dma_mem_alloc (vm, dev, RING * sizeof (lab_desc_t), 0, (void **) &lq->descs);
}

static vnet_dev_rv_t
lab_rx_alloc (vlib_main_t *vm, vnet_dev_rx_queue_t *q)
{
  return lab_queue_alloc (vm, q->port->dev, vnet_dev_get_rx_queue_data (q));
}

static vnet_dev_rv_t
lab_tx_alloc (vlib_main_t *vm, vnet_dev_tx_queue_t *q)
{
  return lab_queue_alloc (vm, q->port->dev, vnet_dev_get_tx_queue_data (q));
}

static void
lab_rx_free (vlib_main_t *vm, vnet_dev_rx_queue_t *q)
{
  lab_queue_t *lq = vnet_dev_get_rx_queue_data (q);
  vnet_dev_dma_mem_free (vm, q->port->dev, lq->descs);
}

static void
lab_tx_free (vlib_main_t *vm, vnet_dev_tx_queue_t *q)
{
  lab_queue_t *lq = vnet_dev_get_tx_queue_data (q);
  vnet_dev_dma_mem_free (vm, q->port->dev, lq->descs);
}

static u64
lab_address (vlib_main_t *vm, vnet_dev_t *dev, vlib_buffer_t *b)
{
  return dev->va_dma ? vlib_buffer_get_current_va (b) : vlib_buffer_get_current_pa (vm, b);
}

static void
lab_refill (vlib_main_t *vm, vnet_dev_rx_queue_t *q)
{
  lab_queue_t *lq = vnet_dev_get_rx_queue_data (q);
  u8 pool = vnet_dev_get_rx_queue_buffer_pool_index (q);
  u16 from = lq->tail;
  /* A full ring looks like an empty one to the card. */
  while ((u16) (lq->tail - lq->head) < RING - 1)
    {
      u16 slot = lq->tail % RING;
      vlib_buffer_t *b;
      if (!vlib_buffer_alloc_from_pool (vm, lq->buffers + slot, 1, pool))
	break;
      b = vlib_get_buffer (vm, lq->buffers[slot]);
      b->current_data = 0;
      lq->descs[slot] = (lab_desc_t){ .address = lab_address (vm, q->port->dev, b) };
      lq->tail++;
    }
  if (lq->tail != from)
    wr (q->port->dev, RX_RING + RING_TAIL, lq->tail % RING);
}

static void
lab_ring_start (vlib_main_t *vm, vnet_dev_t *dev, u32 ring, lab_queue_t *lq)
{
  u64 address = vnet_dev_get_dma_addr (vm, dev, lq->descs);
  clib_memset (lq->descs, 0, RING * sizeof (lab_desc_t));
  lq->head = lq->tail = 0;
  lq->runs = 1;
  wr (dev, ring, address);
  wr (dev, ring + RING_HIGH, address >> 32);
  wr (dev, ring + RING_LENGTH, RING * sizeof (lab_desc_t));
  wr (dev, ring + RING_HEAD, 0);
  wr (dev, ring + RING_TAIL, 0);
}

static void
lab_ring_empty (vlib_main_t *vm, lab_queue_t *lq)
{
  lq->runs = 0;
  for (; lq->head != lq->tail; lq->head++)
    vlib_buffer_free_one (vm, lq->buffers[lq->head % RING]);
}

static vnet_dev_rv_t
lab_port_init (vlib_main_t *vm, vnet_dev_port_t *port)
{
  vnet_dev_poll_port_add (vm, port, 0.2, lab_status_poll);
  return VNET_DEV_OK;
}

static void
lab_port_deinit (vlib_main_t *vm, vnet_dev_port_t *port)
{
  vnet_dev_poll_port_remove (vm, port, lab_status_poll);
}

static vnet_dev_rv_t
lab_port_start (vlib_main_t *vm, vnet_dev_port_t *port)
{
  foreach_vnet_dev_port_rx_queue (q, port)
    {
      lab_ring_start (vm, port->dev, RX_RING, vnet_dev_get_rx_queue_data (q));
      lab_refill (vm, q);
    }
  foreach_vnet_dev_port_tx_queue (q, port)
    lab_ring_start (vm, port->dev, TX_RING, vnet_dev_get_tx_queue_data (q));
  wr (port->dev, TCTL, TCTL_ON);
  wr (port->dev, RCTL, RCTL_ON);
  return VNET_DEV_OK;
}

static void
lab_port_stop (vlib_main_t *vm, vnet_dev_port_t *port)
{
  wr (port->dev, RCTL, 0);
  wr (port->dev, TCTL, 0);
  foreach_vnet_dev_port_rx_queue (q, port)
    lab_ring_empty (vm, vnet_dev_get_rx_queue_data (q));
  foreach_vnet_dev_port_tx_queue (q, port)
    lab_ring_empty (vm, vnet_dev_get_tx_queue_data (q));
}

static vnet_dev_rv_t
lab_change_validate (vlib_main_t *vm, vnet_dev_port_t *port, vnet_dev_port_cfg_change_req_t *req)
{
  return VNET_DEV_OK;
}

static vnet_dev_rv_t
lab_change (vlib_main_t *vm, vnet_dev_port_t *port, vnet_dev_port_cfg_change_req_t *req)
{
  if (req->type == VNET_DEV_PORT_CFG_CHANGE_PRIMARY_HW_ADDR)
    lab_set_mac (port->dev, req->addr.eth_mac);
  return VNET_DEV_OK;
}

static vnet_dev_rv_t
lab_init (vlib_main_t *vm, vnet_dev_t *dev)
{
  lab_dev_t *ld = vnet_dev_get_data (dev);
  vnet_dev_rv_t rv = vnet_dev_pci_map_region (vm, dev, 0, &ld->bar0);
  u8 mac[8];
  u32 word;
  if (rv != VNET_DEV_OK)
    return rv;
  word = rd (dev, RAL);
  clib_memcpy (mac, &word, 4);
  word = rd (dev, RAH);
  clib_memcpy (mac + 4, &word, 4);
  wr (dev, CTRL, rd (dev, CTRL) | 1 << 26);
  /* A driver would sleep here, but VPP's clock is of no use in an emulated
   * machine, and the reset is done. */
  wr (dev, IMC, ~0);
  wr (dev, CTRL, rd (dev, CTRL) | 1 << 6);
  /* A reset keeps the kind of descriptors that Linux chose. */
  wr (dev, RFCTL, 0);
  if (access (REFUSE, F_OK) == 0)
    return VNET_DEV_ERR_TIMEOUT;
  if ((rv = vnet_dev_pci_bus_master_enable (vm, dev)) != VNET_DEV_OK)
    return rv;
  lab_set_mac (dev, mac);
  vnet_dev_queue_config_t size = {
    .data_size = sizeof (lab_queue_t),
    .default_size = RING,
    .size_is_power_of_two = 1,
    .min_size = RING,
    .max_size = RING,
  };
  vnet_dev_port_add_args_t port = {
    .port = {
      .attr = {
        .type = VNET_DEV_PORT_TYPE_ETHERNET,
        .max_rx_queues = 1,
        .max_tx_queues = 1,
        .max_supported_rx_frame_size = 1518,
        .caps.change_max_rx_frame_size = 1,
      },
      .ops = {
        .init = lab_port_init,
        .deinit = lab_port_deinit,
        .start = lab_port_start,
        .stop = lab_port_stop,
        .config_change = lab_change,
        .config_change_validate = lab_change_validate,
      },
    },
    .rx_node = &lab_rx_node,
    .tx_node = &lab_tx_node,
    .rx_queue = { .config = size, .ops = { .alloc = lab_rx_alloc, .free = lab_rx_free } },
    .tx_queue = { .config = size, .ops = { .alloc = lab_tx_alloc, .free = lab_tx_free } },
  };
  /* Not the card's own: hostnet is to set that. */
  mac[5] ^= 0x80;
  vnet_dev_set_hw_addr_eth_mac (&port.port.attr.hw_addr, mac);
  return vnet_dev_port_add (vm, dev, 0, &port);
}

VNET_DEV_NODE_FN (lab_rx_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  u32 all = 0;
  foreach_vnet_dev_rx_queue_runtime (q, node)
    {
      lab_queue_t *lq = vnet_dev_get_rx_queue_data (q);
      u32 from[64], n = 0;
      if (!lq->runs)
	continue;
      while (n < ARRAY_LEN (from) && lq->head != lq->tail)
	{
	  u16 slot = lq->head % RING;
	  lab_desc_t *d = lq->descs + slot;
	  vlib_buffer_t *b;
	  if (!(__atomic_load_n (&d->status, __ATOMIC_ACQUIRE) & DONE))
	    break;
	  b = vlib_get_buffer (vm, lq->buffers[slot]);
	  b->template = vnet_dev_get_rx_queue_if_buffer_template (q);
	  b->current_length = d->length;
	  from[n++] = lq->buffers[slot];
	  lq->head++;
	}
      vlib_buffer_enqueue_to_single_next (vm, node, from, vnet_dev_get_rx_queue_if_next_index (q),
					  n);
      lab_refill (vm, q);
      all += n;
    }
  return all;
}

VNET_DEV_NODE_FN (lab_tx_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  vnet_dev_tx_queue_t *q = vnet_dev_get_tx_node_runtime (node)->tx_queue;
  lab_queue_t *lq = vnet_dev_get_tx_queue_data (q);
  u32 *from = vlib_frame_vector_args (frame);
  vnet_dev_tx_queue_lock_if_needed (q);
  for (; lq->head != lq->tail; lq->head++)
    {
      u16 slot = lq->head % RING;
      if (!(__atomic_load_n (&lq->descs[slot].status, __ATOMIC_ACQUIRE) & DONE))
	break;
      vlib_buffer_free_one (vm, lq->buffers[slot]);
    }
  for (u32 i = 0; i < frame->n_vectors; i++)
    {
      vlib_buffer_t *b = vlib_get_buffer (vm, from[i]);
      u16 slot = lq->tail % RING;
      if (!lq->runs || b->flags & VLIB_BUFFER_NEXT_PRESENT ||
	  (u16) (lq->tail - lq->head) == RING - 1)
	{
	  vlib_buffer_free_one (vm, from[i]);
	  continue;
	}
      lq->descs[slot] = (lab_desc_t){
	.address = lab_address (vm, q->port->dev, b),
	.length = b->current_length,
	.command = TX_END | TX_CRC | TX_REPORT,
      };
      lq->buffers[slot] = from[i];
      lq->tail++;
    }
  wr (q->port->dev, TX_RING + RING_TAIL, lq->tail % RING);
  vnet_dev_tx_queue_unlock_if_needed (q);
  return frame->n_vectors;
}

VNET_DEV_REGISTER_DRIVER (lab_e1000e) = {
  .name = "lab-e1000e",
  .bus = "pci",
  .device = {
    .data_sz = sizeof (lab_dev_t),
    .ops = { .init = lab_init, .probe = lab_probe },
  },
};
