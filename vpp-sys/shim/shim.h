/* SPDX-License-Identifier: Apache-2.0 */
/* What Rust cannot link: VPP's static inlines, macros, variadic calls and
 * setjmp loops, as plain functions. No logic. One .c file a concept. */
#ifndef HOSTNET_SHIM_H
#define HOSTNET_SHIM_H

#include <vlib/vlib.h>
#include <vlib/unix/unix.h>
#include <vlib/unix/plugin.h>
#include <vnet/vnet.h>
#include <vnet/ethernet/ethernet.h>
#include <vnet/feature/feature.h>
#include <vnet/ip/ip.h>
#include <vnet/fib/fib_table.h>

/* An address as VPP passes it, from 4 or 16 bytes anywhere. */
static inline ip46_address_t
hns_ip46 (int is_ip6, const u8 *address)
{
  ip46_address_t ip = { 0 };
  if (is_ip6)
    clib_memcpy (&ip.ip6, address, 16);
  else
    clib_memcpy (&ip.ip4, address, 4);
  return ip;
}

/* init.c: hooks into VPP's life; call from an ELF constructor */
typedef clib_error_t *(*hns_init_fn) (vlib_main_t *vm);
void hns_register_init (hns_init_fn fn);
void hns_register_main_loop_exit (hns_init_fn fn);
typedef void (*hns_interface_changed_fn) (u32 sw_if_index, u32 is_add);
void hns_register_interface_changed (hns_interface_changed_fn fn);
int hns_config_exists (const char *name);
typedef clib_error_t *(*hns_config_fn) (vlib_main_t *vm, const u8 *text, uword len);
void hns_register_config (const char *name, hns_config_fn fn);

/* cli.c */
typedef clib_error_t *(*hns_cli_fn) (vlib_main_t *vm, unformat_input_t *input,
				     vlib_cli_command_t *cmd);
void hns_register_cli (char *path, char *short_help, hns_cli_fn fn, uword arg);
uword hns_cli_arg (vlib_cli_command_t *cmd);
u8 *hns_cli_rest_of_line (unformat_input_t *input);
void hns_cli_output (vlib_main_t *vm, const u8 *text, uword len);
int hns_cli_exists (const char *path);
int hns_cli_call (vlib_main_t *vm, const char *path, const char *rest, u8 *out, uword room);

/* error.c, vec.c */
clib_error_t *hns_error (const u8 *text, uword len);
uword hns_error_take (clib_error_t *error, u8 *out, uword room);
uword hns_vec_len (const u8 *v);
void hns_vec_free (u8 *v);

/* log.c */
void hns_log (u32 level, vlib_log_class_t class, const u8 *text, uword len);

/* process.c */
u32 hns_threads (void);
i32 hns_thread_cpu (u32 thread); /* or negative */
typedef void (*hns_cpu_fn) (void *ctx, uword cpu);
void hns_given_cpus (hns_cpu_fn fn, void *ctx);
void hns_barrier_sync (vlib_main_t *vm);
void hns_barrier_release (vlib_main_t *vm);

/* process.c */
typedef f64 (*hns_process_fn) (vlib_main_t *vm);
void *hns_register_process (char *name, u32 log2_stack_bytes, hns_process_fn fn);
void hns_process_signal (vlib_main_t *vm, u32 node_index);
void hns_process_signal_mt (vlib_main_t *vm, u32 node_index);
int hns_in_process (vlib_main_t *vm);
u32 hns_current_process (vlib_main_t *vm);
void hns_wait (vlib_main_t *vm);
void hns_wake (vlib_main_t *vm, u32 node_index);

/* file.c */
typedef void (*hns_file_fn) (u64 private_data);
u32 hns_file_add (int fd, const char *description, u64 private_data, hns_file_fn fn);
void hns_file_del (u32 file_index);

/* node.c: graph nodes */
typedef uword (*hns_node_fn) (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame);
typedef uword (*hns_format_fn) (const void *trace, u8 *out, uword room);
typedef struct
{
  char *name;
  hns_node_fn function;
  hns_format_fn format_trace;
  u32 is_input;
  u32 n_errors;
  char **error_strings;
  u32 n_next_nodes;
  char **next_nodes;
} hns_node_desc_t;
void *hns_register_node (const hns_node_desc_t *desc);
u32 hns_node_index (const void *registration);
void hns_register_feature (char *arc, char *node, char **runs_before);
u32 hns_frame_buffers (vlib_frame_t *frame, u32 **buffers);
void hns_enqueue_to_next (vlib_main_t *vm, vlib_node_runtime_t *node, u32 *buffers, u16 *nexts,
			  uword n);
void hns_error_count (vlib_main_t *vm, vlib_node_runtime_t *node, u32 error, u64 n);
typedef void (*hns_error_fn) (void *ctx, const u8 *node, uword len, const char *reason, u64 count);
void hns_node_errors (const char *prefix, hns_error_fn fn, void *ctx);
u32 hns_thread_index (const vlib_main_t *vm);
f64 hns_now (vlib_main_t *vm);

/* buffer.c */
vlib_buffer_t *hns_buffer (vlib_main_t *vm, u32 index);
u8 *hns_buffer_current (vlib_buffer_t *b, u16 *length);
int hns_buffer_advance (vlib_buffer_t *b, i32 by);
int hns_buffer_set_length (vlib_main_t *vm, vlib_buffer_t *b, u16 length);
u32 hns_buffer_rx (const vlib_buffer_t *b);
void hns_buffer_set_rx (vlib_buffer_t *b, u32 sw_if_index);
u32 hns_buffer_tx (const vlib_buffer_t *b);
void hns_buffer_set_tx (vlib_buffer_t *b, u32 sw_if_index);
void hns_buffer_set_error (vlib_buffer_t *b, vlib_node_runtime_t *node, u32 error);
void hns_buffer_set_locally_originated (vlib_buffer_t *b);
u32 hns_buffer_feature_next (vlib_buffer_t *b);
int hns_buffer_is_traced (const vlib_buffer_t *b);
void *hns_buffer_add_trace (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u32 n);
int hns_buffer_is_locally_originated (const vlib_buffer_t *b);
/* A copy of the frame that it came in goes to the node's next, to leave by tx; 0
 * when there is none. */
int hns_buffer_copy_frame (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u16 next,
			   u32 tx);
/* A copy of it goes to the node's next; 0 when there is no buffer for it. */
int hns_buffer_copy (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b, u16 next);
/* An IPv4 fragment that VPP drops because it joins none. */
int hns_buffer_is_unjoined (vlib_main_t *vm, vlib_buffer_t *b);
u32 hns_buffer_fault (vlib_main_t *vm, const vlib_buffer_t *b);
int hns_buffer_is_to_own_mac (vlib_buffer_t *b);
/* The frame that it came in; 0 when that is not known. */
int hns_buffer_frame (vlib_buffer_t *b, const u8 **start, u16 *length);
int hns_buffer_to_frame (vlib_buffer_t *b);
/* Between the frame's beginning and the current place, in bytes. */
u16 hns_buffer_l2_length (vlib_buffer_t *b);
void hns_buffer_l2_addresses (vlib_buffer_t *b, u8 *dst, u8 *src);

/* interface.c */
typedef struct
{
  u32 sup_sw_if_index;
  u32 hw_if_index;
  u32 mtu;
  u32 table4;
  u32 table6;
  u8 is_ethernet;
  u8 is_admin_up;
  u8 is_unnumbered;
  u8 is_l2;
  u8 is_link_up;
  u8 mac[6];
  u32 link_kbps;
  u8 name[64];
  u8 hw_name[64];
  u8 dev_class[32];
} hns_interface_t;
int hns_interface (u32 sw_if_index, hns_interface_t *out);
u32 hns_interface_below (u32 sw_if_index);
u32 hns_interface_by_name (const u8 *name, uword len);
uword hns_interface_rename (u32 sw_if_index, const char *name, u8 *error, uword room);
void hns_interface_counters (u32 sw_if_index, u64 *rx_packets, u64 *tx_packets);
int hns_interface_set_admin (u32 sw_if_index, int up, u8 *error, uword room);
void hns_interface_set_mtu (u32 sw_if_index, u32 mtu);
int hns_interface_accept_all (u32 sw_if_index);
int hns_interface_set_promiscuous (u32 sw_if_index, int on);
int hns_interface_is_promiscuous (u32 sw_if_index);
uword hns_interface_set_hw_mtu (u32 sw_if_index, u32 mtu, u8 *error, uword room);
uword hns_interface_set_mac (u32 sw_if_index, const u8 *mac, u8 *error, uword room);
int hns_interface_has_mac (u32 sw_if_index, const u8 *mac);
uword hns_interface_second_mac (u32 sw_if_index, const u8 *mac, int is_add, u8 *error, uword room);
typedef void (*hns_interface_fn) (void *ctx, u32 sw_if_index);
void hns_interfaces (hns_interface_fn fn, void *ctx);
int hns_interface_unnumbered (u32 sw_if_index, u32 lender, int enable);
void hns_interface_borrow (u32 sw_if_index, u32 lender);
int hns_bind_table (u32 sw_if_index, int is_ip6, u32 table_id);

/* ip.c */
typedef void (*hns_address_fn) (void *ctx, int is_ip6, const u8 *address, u8 len);
void hns_addresses (u32 sw_if_index, hns_address_fn fn, void *ctx);
uword hns_address (vlib_main_t *vm, u32 sw_if_index, int is_ip6, const u8 *address, u8 len,
		   int is_del, u8 *error, uword room);
typedef void (*hns_glean_fn) (void *ctx, u32 adjacency, int is_ip6, const u8 *source, u8 len);
void hns_gleans (u32 sw_if_index, hns_glean_fn fn, void *ctx);
void hns_glean_set_source (u32 adjacency, int is_ip6, const u8 *source);
int hns_ip6_set_link_local (u32 sw_if_index, const u8 *address);
int hns_ip6_enable (u32 sw_if_index);
int hns_ip6_disable (u32 sw_if_index);
int hns_ip6_link_local (u32 sw_if_index, u8 *address);
int hns_ra_suppress (vlib_main_t *vm, u32 sw_if_index);
int hns_ra_is_sent (u32 sw_if_index);

/* fib.c */
typedef void (*hns_route_fn) (void *ctx, int is_ip6, const u8 *prefix, u8 len, u32 entry,
			      const u8 *gateway, u8 weight);
void hns_routes_through (u32 sw_if_index, hns_route_fn fn, void *ctx);
/* route_ours.c */
/* A path of a route of ours: flags, then what it leads to. */
#define HNS_PATH_GATEWAY     1
#define HNS_PATH_GATEWAY6    2
#define HNS_PATH_DROP	     4
#define HNS_PATH_UNREACHABLE 8
#define HNS_PATH_PROHIBIT    16
#define HNS_PATH_LOCAL	     32
#define HNS_PATH_LABELS	     64
typedef struct
{
  u32 flags;
  u32 sw_if_index;
  u8 gateway[16];
  u8 weight;
} hns_path_t;
#define HNS_ROUTE_OURS 1
#define HNS_ROUTE_BEST 2
#define HNS_ROUTE_SAME 4
/* Paths prepared for routes of one family. */
typedef struct hns_paths hns_paths_t;
hns_paths_t *hns_paths_make (int is_ip6, const hns_path_t *paths, u32 n);
void hns_paths_free (hns_paths_t *paths);
void hns_route_add (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_paths_t *paths);
void hns_route_remove (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_paths_t *paths);
u32 hns_route_update (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_paths_t *paths);
int hns_route_delete (u32 fib_index, int is_ip6, const u8 *prefix, u8 len);
u32 hns_route_state (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_paths_t *paths,
		     u32 *entry);
void hns_route_best_source (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, u8 *out,
			    uword room);
typedef void (*hns_path_fn) (void *ctx, const hns_path_t *path);
void hns_route_paths (u32 fib_index, int is_ip6, const u8 *prefix, u8 len, hns_path_fn fn,
		      void *ctx);
typedef void (*hns_ours_fn) (void *ctx, u32 entry, const u8 *prefix, u8 len, u32 sw_if_index);
u32 hns_routes_ours (u32 fib_index, int is_ip6, u32 from, u32 n, hns_ours_fn fn, void *ctx);
u32 hns_table_lock (int is_ip6, u32 table_id);
void hns_table_unlock (int is_ip6, u32 fib_index);
u32 hns_table_count (int is_ip6, u32 fib_index);

/* sources.c */
typedef void (*hns_source_fn) (void *ctx, u8 source, const char *name);
void hns_sources (hns_source_fn fn, void *ctx);
u32 hns_source_count (int is_ip6, u32 fib_index, u8 source);
typedef void (*hns_sourced_fn) (void *ctx, u8 source, u32 entry, int is_ip6, const u8 *prefix,
				u8 len, const hns_path_t *path);
/* From entry number `from`, `n` of them; where to go on, ~0 at the end. `wanted`
 * has a byte for each source. */
u32 hns_routes_sourced (const u8 *wanted, u32 n_wanted, u32 fib4, u32 fib6, u32 from, u32 n,
			hns_sourced_fn fn, void *ctx);

/* sub.c */
#define HNS_SUB_NONE  0
#define HNS_SUB_EXACT 1
#define HNS_SUB_OTHER 2
int hns_sub_find (u32 sup, u16 vlan, int is_ad, u32 *out);
int hns_sub_create (u32 sup, u16 vlan, int is_ad, u32 *out);
int hns_sub_delete (u32 sw_if_index);

/* room.c */
#define HNS_ROOM_PLENTY 0
#define HNS_ROOM_HEAP	1
#define HNS_ROOM_STATS	2
int hns_room (u32 routes, u32 fib_index, int is_ip6);
int hns_room_for_counters (u32 load_balances);

/* prepare.c: tables made large before they are full */
void hns_prepare (u32 fib_index4, u32 fib_index6);

/* changes.c */
typedef void (*hns_changed_fn) (u32 sw_if_index, int of_addresses);
void hns_register_changes (hns_changed_fn fn);
void hns_hook_changes (void);

/* punt.c */
int hns_punt_redirect_find (int is_ip6, u32 rx);
void hns_punt_redirect_add (int is_ip6, u32 rx, u32 tx, const u8 *next_hop);
void hns_punt_redirect_del (int is_ip6, u32 rx);
u32 hns_punt_unknown_get (void);
void hns_punt_unknown_set (vlib_main_t *vm, u32 mask);

/* protocol.c: what becomes of protocols that VPP does not know, of ARP and of
 * neighbour solicitations. Those of tables tell how many entries of a table they changed. */
u32 hns_node_by_name (vlib_main_t *vm, const char *name);
u32 hns_arp_handler (void);
void hns_arp_handler_set (vlib_main_t *vm, u32 node_index);
void hns_solicitation_handler_set (vlib_main_t *vm, u32 node_index);
u32 hns_ethertypes_set (vlib_main_t *vm, u32 node_index, int on);
u32 hns_llc_set (vlib_main_t *vm, u32 node_index, int on);
u32 hns_hop_by_hop_set (vlib_main_t *vm, u32 node_index, int on);
/* Whether VPP joins the fragments that are for itself. */
int hns_joins (int is_ip6);
void hns_joins4_set (int on);
void hns_fragments6_set (u32 node_index);
/* Whether VPP has a use for a packet to an address of its own: 1 yes, 0 no, -1 not to be
 * told without its `body`, of which `length` bytes are there. */
int hns_takes (vlib_main_t *vm, int is_ip6, u8 protocol, const u8 *body, u16 length);

/* neighbor.c */
int hns_neighbor_add (int is_ip6, const u8 *address, const u8 *mac, u32 sw_if_index, int is_static,
		      int route);
int hns_neighbor_del (int is_ip6, const u8 *address, u32 sw_if_index);
typedef void (*hns_neighbor_fn) (void *ctx, int is_ip6, const u8 *address, const u8 *mac,
				 int is_static);
/* The static neighbours on an interface. */
void hns_neighbors (u32 sw_if_index, hns_neighbor_fn fn, void *ctx);
typedef void (*hns_range_fn) (void *ctx, u32 fib_index, const u8 *lo, const u8 *hi);
void hns_proxy_arp_ranges (hns_range_fn fn, void *ctx);
u32 hns_fib_index (u32 sw_if_index, int is_ip6);

/* feature.c */
int hns_feature_enable (const char *arc, const char *node, u32 sw_if_index, int enable);
int hns_feature_is_enabled (const char *arc, const char *node, u32 sw_if_index);

/* tap.c: VPP's tap plugin, found at run time */
typedef struct
{
  u8 *host_namespace;
  u8 *host_if_name;
  u8 host_mac[6];
  u8 mac[6];
  u32 host_mtu;
  u8 persist;
  u32 sw_if_index;
  u8 error[256];
} hns_tap_create_t;
int hns_tap_plugin_is_loaded (void);
int hns_tap_create (vlib_main_t *vm, hns_tap_create_t *args);
int hns_tap_delete (vlib_main_t *vm, u32 sw_if_index);
int hns_tap_set_carrier (u32 sw_if_index, int up);
int hns_lcp_pair_exists (u32 sw_if_index);

/* netdev.c: VPP's drivers of devices that stay the kernel's */
u32 hns_netdev_rx_queues (const char *name);
u32 hns_buffer_data_size (vlib_main_t *vm);
void hns_files_stay_open (u32 sw_if_index);

/* uplink.c: VPP's interfaces on devices of the PCI bus */
typedef struct
{
  u32 sw_if_index;
  i32 rv;
  u8 error[256];
} hns_created_t;
int hns_pci_address (const char *text, u32 *address);
void hns_virtio_create (vlib_main_t *vm, u32 address, hns_created_t *out);
int hns_virtio_delete (vlib_main_t *vm, u32 sw_if_index);

/* vfio.c: VFIO beside VPP's own use of it */
typedef struct
{
  int fd;
  int no_iommu;
  u8 error[256];
} hns_vfio_t;
uword hns_physmem_chunk (vlib_main_t *vm);
int hns_physmem_can_hold (vlib_main_t *vm, uword size);
int hns_vfio_group_of (u32 address);
int hns_vfio_users (int group);
void hns_vfio_open (u32 address, hns_vfio_t *out);
void hns_vfio_leave (int group, int users);
int hns_vfio_event (int fd, u32 index, int event);
int hns_vfio_map_physical (vlib_main_t *vm);

/* device.c: VPP's framework of device drivers */
#define HNS_DEVICE_IDLE	 0
#define HNS_DEVICE_ASKED 1
#define HNS_DEVICE_DONE	 2
typedef struct
{
  u8 state;
  u8 detach;
  u8 mac[6];
  u32 mtu;
  i32 group;
  u32 sw_if_index;
  char id[48];
  char name[32];
  u8 error[256];
} hns_device_job_t;
typedef void (*hns_device_done_fn) (void);
typedef void (*hns_device_work_fn) (vlib_main_t *vm, u32 sw_if_index, u8 *error, uword room);
int hns_device_drivers (void);
int hns_device_probe (vlib_main_t *vm, const char *id, u8 *name, uword room);
void hns_register_device_process (char *name, u32 log2_stack_bytes, hns_device_work_fn work,
				  hns_device_done_fn done);
int hns_device_ask (vlib_main_t *vm, const hns_device_job_t *job);
int hns_device_take_result (hns_device_job_t *out);
void hns_device_deleted (vlib_main_t *vm, u32 sw_if_index);
void hns_device_close_at_exit (vlib_main_t *vm, const char *id, int opened);

/* driver.c: the device class of our own TAP driver */
typedef struct
{
  u32 hw_if_index;
  u32 sw_if_index;
  u32 queue_index;
  u32 file_index;
} hns_driver_if_t;
typedef struct
{
  hns_node_fn tx;
  hns_format_fn format_tx_trace;
  uword (*describe) (u32 instance, u8 *out, uword room);
  void (*admin) (u32 instance, int up);
  u32 n_tx_errors;
  char **tx_errors;
} hns_driver_class_t;
void hns_register_driver (const hns_driver_class_t *class);
void hns_driver_create (vlib_main_t *vm, u32 instance, const u8 *mac, int fd,
			const void *input_registration, hns_driver_if_t *out);
void hns_driver_delete (u32 hw_if_index, u32 file_index);
u32 hns_driver_pending (vlib_main_t *vm, vlib_node_runtime_t *node, u32 *instances, u32 room);
u32 hns_driver_tx_instance (vlib_node_runtime_t *node);
u32 hns_buffer_alloc (vlib_main_t *vm, u32 *indices, u32 n);
void hns_buffer_free (vlib_main_t *vm, u32 *indices, u32 n);
void hns_buffer_room (vlib_main_t *vm, u32 index, u8 **data, u32 *room);
void hns_buffer_rx_chain (vlib_main_t *vm, const u32 *indices, u32 n, u32 length,
			  u32 sw_if_index);
void hns_driver_rx_enqueue (vlib_main_t *vm, vlib_node_runtime_t *node, u32 *indices, u32 n,
			    u32 sw_if_index, u32 hw_if_index, u64 bytes, int is_traced);
u32 hns_trace_count (vlib_main_t *vm, vlib_node_runtime_t *node);
void hns_trace_count_set (vlib_main_t *vm, vlib_node_runtime_t *node, u32 n);
void *hns_trace_rx (vlib_main_t *vm, vlib_node_runtime_t *node, u32 index, u32 bytes);
void hns_driver_set_pending (u32 queue_index);
typedef struct
{
  u8 flags;
  u8 gso_type;
  u16 hdr_len;
  u16 gso_size;
  u16 csum_start;
  u16 csum_offset;
  u16 num_buffers;
} hns_vnet_hdr_t;
void hns_buffer_offload (vlib_buffer_t *b, hns_vnet_hdr_t *hdr);
u32 hns_buffer_segments (vlib_main_t *vm, u32 index, u8 **bases, u32 *lengths, u32 room);
void hns_drop_count (vlib_main_t *vm, u32 sw_if_index, u32 n);

#endif
