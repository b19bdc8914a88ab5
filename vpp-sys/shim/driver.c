/* SPDX-License-Identifier: Apache-2.0 */
/* The device class of our own TAP driver, and what its nodes need. */
#include "shim.h"
#include <vnet/interface/rx_queue_funcs.h>
#include <vnet/interface/tx_queue_funcs.h>
#include <vnet/ip/ip4_packet.h>
#include <vnet/ip/ip6_packet.h>
#include <vnet/ip/ip_psh_cksum.h>
#include <vnet/tcp/tcp_packet.h>
#include <vnet/udp/udp_packet.h>
#include <vnet/devices/virtio/virtio_std.h>
#include <vlib/file.h>

static hns_driver_class_t driver;

static u8 *
hns_format_device_name (u8 *s, va_list *args)
{
  u32 instance = va_arg (*args, u32);
  return format (s, "hostnet-tap%u", instance);
}

static u8 *
hns_format_device (u8 *s, va_list *args)
{
  u32 instance = va_arg (*args, u32);
  uword n;
  u8 text[256];
  n = driver.describe (instance, text, sizeof (text));
  vec_add (s, text, n);
  return s;
}

static u8 *
hns_format_tx_trace (u8 *s, va_list *args)
{
  CLIB_UNUSED (vlib_main_t * vm) = va_arg (*args, vlib_main_t *);
  CLIB_UNUSED (vlib_node_t * node) = va_arg (*args, vlib_node_t *);
  void *trace = va_arg (*args, void *);
  u8 text[512];
  uword n = driver.format_tx_trace (trace, text, sizeof (text));
  vec_add (s, text, n);
  return s;
}

static clib_error_t *
hns_admin_up_down (vnet_main_t *vnm, u32 hw_if_index, u32 flags)
{
  vnet_hw_interface_t *hi = vnet_get_hw_interface (vnm, hw_if_index);
  int up = (flags & VNET_SW_INTERFACE_FLAG_ADMIN_UP) != 0;
  driver.admin (hi->dev_instance, up);
  vnet_hw_interface_set_flags (vnm, hw_if_index, up ? VNET_HW_INTERFACE_FLAG_LINK_UP : 0);
  return 0;
}

static clib_error_t *
hns_rx_mode_change (vnet_main_t *vnm, u32 hw_if_index, u32 qid, vnet_hw_if_rx_mode mode)
{
  /* The file is edge-triggered: entering interrupt mode must look once at what
   * arrived while nobody was told. */
  if (mode != VNET_HW_IF_RX_MODE_POLLING)
    hns_driver_set_pending (vnet_hw_if_get_rx_queue_index_by_id (vnm, hw_if_index, qid));
  return 0;
}

static vnet_device_class_t hns_device_class = {
  .name = "hostnet-tap",
  .format_device_name = hns_format_device_name,
  .format_device = hns_format_device,
  .format_tx_trace = hns_format_tx_trace,
  .admin_up_down_function = hns_admin_up_down,
  .rx_mode_change_function = hns_rx_mode_change,
};

void
hns_register_driver (const hns_driver_class_t *class)
{
  vnet_main_t *vnm = vnet_get_main ();
  driver = *class;
  hns_device_class.tx_function = class->tx;
  hns_device_class.tx_function_n_errors = class->n_tx_errors;
  hns_device_class.tx_function_error_strings = class->tx_errors;
  hns_device_class.next_class_registration = vnm->device_class_registrations;
  vnm->device_class_registrations = &hns_device_class;
}

/* Promiscuous or not is ethernet-input's business alone, as in VPP's tap. */
static u32
hns_flag_change (vnet_main_t *vnm, vnet_hw_interface_t *hi, u32 flags)
{
  ethernet_interface_t *ei = ethernet_get_interface (&ethernet_main, hi->hw_if_index);
  switch (flags)
    {
    case ETHERNET_INTERFACE_FLAG_ACCEPT_ALL:
      ei->flags |= ETHERNET_INTERFACE_FLAG_STATUS_L3;
      return 0;
    case ETHERNET_INTERFACE_FLAG_DEFAULT_L3:
      ei->flags &= ~ETHERNET_INTERFACE_FLAG_STATUS_L3;
      return 0;
    default:
      return ~0;
    }
}

static clib_error_t *
hns_set_max_frame_size (vnet_main_t *vnm, vnet_hw_interface_t *hi, u32 frame_size)
{
  return 0;
}

static clib_error_t *
hns_rx_ready (clib_file_t *f)
{
  hns_driver_set_pending ((u32) f->private_data);
  return 0;
}

void
hns_driver_create (vlib_main_t *vm, u32 instance, const u8 *mac, int fd,
		   const void *input_registration, hns_driver_if_t *out)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_eth_interface_registration_t eir = { 0 };
  vnet_hw_if_caps_change_t cc = { 0 };
  clib_file_t f = { 0 };
  u32 txq;

  eir.dev_class_index = hns_device_class.index;
  eir.dev_instance = instance;
  eir.address = mac;
  eir.cb.flag_change = hns_flag_change;
  eir.cb.set_max_frame_size = hns_set_max_frame_size;
  out->hw_if_index = vnet_eth_register_interface (vnm, &eir);
  out->sw_if_index = vnet_get_hw_interface (vnm, out->hw_if_index)->sw_if_index;

  /* A virtio-net header goes before each frame, so the host's kernel takes
   * unfinished checksums and GSO packets as they are. */
  cc.val = cc.mask = VNET_HW_IF_CAP_INT_MODE | VNET_HW_IF_CAP_TCP_GSO |
		     VNET_HW_IF_CAP_TX_IP4_CKSUM | VNET_HW_IF_CAP_TX_TCP_CKSUM |
		     VNET_HW_IF_CAP_TX_UDP_CKSUM | VNET_HW_IF_CAP_TX_FIXED_OFFSET;
  vnet_hw_if_change_caps (vnm, out->hw_if_index, &cc);

  vnet_hw_if_set_input_node (vnm, out->hw_if_index, hns_node_index (input_registration));
  out->queue_index =
    vnet_hw_if_register_rx_queue (vnm, out->hw_if_index, 0, VNET_HW_IF_RXQ_THREAD_ANY);
  f.file_descriptor = fd;
  f.dont_close = 1;
  f.flags = UNIX_FILE_EVENT_EDGE_TRIGGERED;
  f.read_function = hns_rx_ready;
  f.private_data = out->queue_index;
  f.description = format (0, "hostnet-tap%u", instance);
  out->file_index = clib_file_add (&file_main, &f);
  vnet_hw_if_set_rx_queue_file_index (vnm, out->queue_index, out->file_index);
  /* The host is mostly silent: an idle tap costs no poll. */
  vnet_get_hw_interface (vnm, out->hw_if_index)->default_rx_mode = VNET_HW_IF_RX_MODE_ADAPTIVE;
  vnet_hw_if_set_rx_queue_mode (vnm, out->queue_index, VNET_HW_IF_RX_MODE_ADAPTIVE);

  /* One queue for all threads: the kernel takes concurrent writes. */
  txq = vnet_hw_if_register_tx_queue (vnm, out->hw_if_index, 0);
  for (u32 i = 0; i < vlib_get_n_threads (); i++)
    vnet_hw_if_tx_queue_assign_thread (vnm, txq, i);
  vnet_hw_if_update_runtime_data (vnm, out->hw_if_index);
  vnet_hw_interface_set_flags (vnm, out->hw_if_index, VNET_HW_INTERFACE_FLAG_LINK_UP);
}

void
hns_driver_delete (u32 hw_if_index, u32 file_index)
{
  vnet_main_t *vnm = vnet_get_main ();
  vnet_hw_interface_t *hi = vnet_get_hw_interface (vnm, hw_if_index);
  clib_file_del_by_index (&file_main, file_index);
  vnet_hw_interface_set_flags (vnm, hw_if_index, 0);
  vnet_sw_interface_set_flags (vnm, hi->sw_if_index, 0);
  ethernet_delete_interface (vnm, hw_if_index);
}

void
hns_driver_set_pending (u32 queue_index)
{
  vnet_main_t *vnm = vnet_get_main ();
  if (vnet_hw_if_get_rx_queue (vnm, queue_index))
    vnet_hw_if_rx_queue_set_int_pending (vnm, queue_index);
}

u32
hns_driver_pending (vlib_main_t *vm, vlib_node_runtime_t *node, u32 *instances, u32 room)
{
  vnet_hw_if_rxq_poll_vector_t *p, *pv = vnet_hw_if_get_rxq_poll_vector (vm, node);
  u32 n = 0;
  vec_foreach (p, pv)
    if (n < room)
      instances[n++] = p->dev_instance;
  return n;
}

u32
hns_driver_tx_instance (vlib_node_runtime_t *node)
{
  vnet_interface_output_runtime_t *r = (void *) node->runtime_data;
  return r->dev_instance;
}

u32
hns_buffer_alloc (vlib_main_t *vm, u32 *indices, u32 n)
{
  return vlib_buffer_alloc (vm, indices, n);
}

void
hns_buffer_free (vlib_main_t *vm, u32 *indices, u32 n)
{
  vlib_buffer_free (vm, indices, n);
}

void
hns_buffer_room (vlib_main_t *vm, u32 index, u8 **data, u32 *room)
{
  vlib_buffer_t *b = vlib_get_buffer (vm, index);
  *data = b->data;
  *room = vlib_buffer_get_default_data_size (vm);
}

void
hns_buffer_rx_chain (vlib_main_t *vm, const u32 *indices, u32 n, u32 length, u32 sw_if_index)
{
  u32 room = vlib_buffer_get_default_data_size (vm);
  u32 rest = length;
  vlib_buffer_t *first = vlib_get_buffer (vm, indices[0]);

  for (u32 i = 0; i < n; i++)
    {
      vlib_buffer_t *b = vlib_get_buffer (vm, indices[i]);
      b->flags = 0;
      b->current_data = 0;
      b->current_length = clib_min (rest, room);
      rest -= b->current_length;
      if (i + 1 < n)
	{
	  b->flags |= VLIB_BUFFER_NEXT_PRESENT;
	  b->next_buffer = indices[i + 1];
	}
    }
  first->total_length_not_including_first_buffer = length - first->current_length;
  first->flags |= VLIB_BUFFER_TOTAL_LENGTH_VALID;
  vnet_buffer (first)->sw_if_index[VLIB_RX] = sw_if_index;
  vnet_buffer (first)->sw_if_index[VLIB_TX] = ~0;
}

void
hns_driver_rx_enqueue (vlib_main_t *vm, vlib_node_runtime_t *node, u32 *indices, u32 n,
		       u32 sw_if_index, u32 hw_if_index, u64 bytes, int is_traced)
{
  u32 next = VNET_DEVICE_INPUT_NEXT_ETHERNET_INPUT;
  u32 *to_next, n_left;

  /* Features on the device-input arc (captures among them) come first. */
  vnet_feature_start_device_input (sw_if_index, &next, vlib_get_buffer (vm, indices[0]));
  for (u32 i = 1; i < n; i++)
    {
      u32 same = VNET_DEVICE_INPUT_NEXT_ETHERNET_INPUT;
      vnet_feature_start_device_input (sw_if_index, &same, vlib_get_buffer (vm, indices[i]));
    }
  vlib_get_new_next_frame (vm, node, next, to_next, n_left);
  /* Only now: a frame that was another input node's last came without the
   * mark that vlib_trace_buffer left. */
  if (is_traced)
    vlib_trace_next_frame (vm, node, next);
  vlib_buffer_copy_indices (to_next, indices, n);
  if (next == VNET_DEVICE_INPUT_NEXT_ETHERNET_INPUT)
    {
      vlib_next_frame_t *nf = vlib_node_runtime_get_next_frame (vm, node, next);
      vlib_frame_t *f = vlib_get_frame (vm, nf->frame);
      ethernet_input_frame_t *ef = vlib_frame_scalar_args (f);
      f->flags |= ETH_INPUT_FRAME_F_SINGLE_SW_IF_IDX;
      ef->sw_if_index = sw_if_index;
      ef->hw_if_index = hw_if_index;
      vlib_frame_no_append (f);
    }
  vlib_put_next_frame (vm, node, next, n_left - n);
  vlib_increment_combined_counter (vnet_get_main ()->interface_main.combined_sw_if_counters +
				     VNET_INTERFACE_COUNTER_RX,
				   vm->thread_index, sw_if_index, n, bytes);
}

u32
hns_trace_count (vlib_main_t *vm, vlib_node_runtime_t *node)
{
  return vlib_get_trace_count (vm, node);
}

void
hns_trace_count_set (vlib_main_t *vm, vlib_node_runtime_t *node, u32 n)
{
  vlib_set_trace_count (vm, node, n);
}

void *
hns_trace_rx (vlib_main_t *vm, vlib_node_runtime_t *node, u32 index, u32 bytes)
{
  vlib_buffer_t *b = vlib_get_buffer (vm, index);
  if (!vlib_trace_buffer (vm, node, VNET_DEVICE_INPUT_NEXT_ETHERNET_INPUT, b, 0))
    return 0;
  return vlib_add_trace (vm, node, b, bytes);
}

/* As VPP's own tap does (plugins/tap/tx_node.c): the kernel finishes TCP and
 * UDP checksums and segments; the IPv4 header checksum is ours. */
void
hns_buffer_offload (vlib_buffer_t *b, hns_vnet_hdr_t *hdr)
{
  u32 oflags = (b->flags & VNET_BUFFER_F_OFFLOAD) ? vnet_buffer (b)->oflags : 0;
  int is_gso = (b->flags & VNET_BUFFER_F_GSO) != 0;
  int is_ip4 = (b->flags & VNET_BUFFER_F_IS_IP4) != 0;
  i16 l4 = vnet_buffer (b)->l4_hdr_offset - b->current_data;
  ip4_header_t *ip4 = (ip4_header_t *) (b->data + vnet_buffer (b)->l3_hdr_offset);
  ip6_header_t *ip6 = (ip6_header_t *) (b->data + vnet_buffer (b)->l3_hdr_offset);
  u16 pseudo;

  clib_memset (hdr, 0, sizeof (*hdr));
  if (!is_gso && !oflags)
    return;
  if (is_ip4 && (oflags & VNET_BUFFER_OFFLOAD_F_IP_CKSUM))
    ip4->checksum = ip4_header_checksum (ip4);
  if (!is_gso && !(oflags & (VNET_BUFFER_OFFLOAD_F_TCP_CKSUM | VNET_BUFFER_OFFLOAD_F_UDP_CKSUM)))
    return;

  pseudo = is_ip4 ? ip4_pseudo_header_cksum (ip4) : ip6_pseudo_header_cksum (ip6);
  hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  hdr->csum_start = l4;
  if (is_gso || (oflags & VNET_BUFFER_OFFLOAD_F_TCP_CKSUM))
    {
      tcp_header_t *tcp = (tcp_header_t *) (b->data + vnet_buffer (b)->l4_hdr_offset);
      tcp->checksum = pseudo;
      hdr->csum_offset = STRUCT_OFFSET_OF (tcp_header_t, checksum);
      hdr->hdr_len = l4 + tcp_header_bytes (tcp);
    }
  else
    {
      udp_header_t *udp = (udp_header_t *) (b->data + vnet_buffer (b)->l4_hdr_offset);
      udp->checksum = pseudo;
      hdr->csum_offset = STRUCT_OFFSET_OF (udp_header_t, checksum);
      hdr->hdr_len = l4 + sizeof (udp_header_t);
    }
  if (is_gso)
    {
      hdr->gso_type = is_ip4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
      hdr->gso_size = vnet_buffer2 (b)->gso_size;
    }
}

u32
hns_buffer_segments (vlib_main_t *vm, u32 index, u8 **bases, u32 *lengths, u32 room)
{
  u32 n = 0;
  while (1)
    {
      vlib_buffer_t *b = vlib_get_buffer (vm, index);
      if (n == room)
	return ~0;
      bases[n] = vlib_buffer_get_current (b);
      lengths[n++] = b->current_length;
      if (!(b->flags & VLIB_BUFFER_NEXT_PRESENT))
	return n;
      index = b->next_buffer;
    }
}

void
hns_drop_count (vlib_main_t *vm, u32 sw_if_index, u32 n)
{
  vlib_increment_simple_counter (vnet_get_main ()->interface_main.sw_if_counters +
				   VNET_INTERFACE_COUNTER_DROP,
				 vm->thread_index, sw_if_index, n);
}
