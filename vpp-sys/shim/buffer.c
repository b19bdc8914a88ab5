/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: layouts of the opaque areas differ between VPP versions, so every
 * access goes through VPP's own macros. */
#include "shim.h"

vlib_buffer_t *
hns_buffer (vlib_main_t *vm, u32 index)
{
  return vlib_get_buffer (vm, index);
}

u8 *
hns_buffer_current (vlib_buffer_t *b, u16 *length)
{
  *length = b->current_length;
  return vlib_buffer_get_current (b);
}

int
hns_buffer_advance (vlib_buffer_t *b, i32 by)
{
  if (by > 0 && by > (i32) b->current_length)
    return 0;
  if (by < 0 && b->current_data + by < -(i32) VLIB_BUFFER_PRE_DATA_SIZE)
    return 0;
  vlib_buffer_advance (b, by);
  return 1;
}

int
hns_buffer_set_length (vlib_main_t *vm, vlib_buffer_t *b, u16 length)
{
  if (b->flags & VLIB_BUFFER_NEXT_PRESENT)
    return 0;
  if (b->current_data + (i32) length > (i32) vlib_buffer_get_default_data_size (vm))
    return 0;
  b->current_length = length;
  return 1;
}

u32
hns_buffer_chain_length (vlib_main_t *vm, vlib_buffer_t *b)
{
  return vlib_buffer_length_in_chain (vm, b);
}

u32
hns_buffer_rx (const vlib_buffer_t *b)
{
  return vnet_buffer (b)->sw_if_index[VLIB_RX];
}

void
hns_buffer_set_rx (vlib_buffer_t *b, u32 sw_if_index)
{
  vnet_buffer (b)->sw_if_index[VLIB_RX] = sw_if_index;
}

u32
hns_buffer_tx (const vlib_buffer_t *b)
{
  return vnet_buffer (b)->sw_if_index[VLIB_TX];
}

void
hns_buffer_set_tx (vlib_buffer_t *b, u32 sw_if_index)
{
  vnet_buffer (b)->sw_if_index[VLIB_TX] = sw_if_index;
}

void
hns_buffer_set_error (vlib_buffer_t *b, vlib_node_runtime_t *node, u32 error)
{
  b->error = node->errors[error];
}

void
hns_buffer_set_locally_originated (vlib_buffer_t *b)
{
  b->flags |= VNET_BUFFER_F_LOCALLY_ORIGINATED;
}

u32
hns_buffer_feature_next (vlib_buffer_t *b)
{
  u32 next = 0;
  vnet_feature_next (&next, b);
  return next;
}

int
hns_buffer_is_traced (const vlib_buffer_t *b)
{
  return (b->flags & VLIB_BUFFER_IS_TRACED) != 0;
}

void *
hns_buffer_add_trace (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u32 n)
{
  return vlib_add_trace (vm, node, b, n);
}

void
hns_buffer_l2_addresses (vlib_buffer_t *b, u8 *dst, u8 *src)
{
  ethernet_header_t *eh = ethernet_buffer_get_header (b);
  clib_memcpy (dst, eh->dst_address, 6);
  clib_memcpy (src, eh->src_address, 6);
}
