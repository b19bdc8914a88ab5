/* SPDX-License-Identifier: Apache-2.0 */
/* VFIO beside VPP's own use of it: a second file of a card, the group's
 * count, and mappings by physical address. */
#include "shim.h"
#include <errno.h>
#include <unistd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <vppinfra/file.h>
#include <vppinfra/unix.h>
#include <vlib/pci/pci.h>
#include <vlib/physmem_funcs.h>
#include <vlib/linux/vfio.h>

uword
hns_physmem_chunk (vlib_main_t *vm)
{
  clib_pmalloc_main_t *pm = vm->physmem_main.pmalloc_main;
  /* VPP 26.06 cuts the pages of every arena as it does those of the first. */
  return 1ULL << (pool_elts (pm->arenas) ? pool_elt_at_index (pm->arenas, 0)->log2_subpage_sz :
					    pm->def_log2_page_sz);
}

int
hns_physmem_can_hold (vlib_main_t *vm, uword size)
{
  void *p = vlib_physmem_alloc_aligned_on_numa (vm, size, 4096, 0);
  if (p)
    vlib_physmem_free (vm, p);
  return p != 0;
}

static linux_pci_vfio_iommu_group_t *
hns_vfio_group (int group)
{
  uword *p = vfio_main.container_fd == -1 ? 0 : hash_get (vfio_main.iommu_pool_index_by_group, group);
  return p ? pool_elt_at_index (vfio_main.iommu_groups, p[0]) : 0;
}

int
hns_vfio_group_of (u32 address)
{
  vlib_pci_addr_t a = { .as_u32 = address };
  u8 *name = clib_file_get_resolved_basename ("/sys/bus/pci/devices/%U/iommu_group",
					      format_vlib_pci_addr, &a);
  int group = name ? atoi ((char *) name) : -1;
  vec_free (name);
  return group;
}

int
hns_vfio_users (int group)
{
  linux_pci_vfio_iommu_group_t *g = hns_vfio_group (group);
  return g ? g->refcnt : 0;
}

void
hns_vfio_open (u32 address, hns_vfio_t *out)
{
  vlib_pci_addr_t a = { .as_u32 = address };
  clib_error_t *error;
  out->fd = -1;
  error = linux_vfio_group_get_device_fd (&a, &out->fd, &out->no_iommu);
  out->error[hns_error_take (error, out->error, sizeof (out->error) - 1)] = 0;
}

/* VPP counts who uses a group but never counts down: the group's file would
 * stay open, and the mappings' record outlive the mappings. */
void
hns_vfio_leave (int group, int users)
{
  linux_vfio_main_t *lvm = &vfio_main;
  linux_pci_vfio_iommu_group_t *g = hns_vfio_group (group);
  if (!g || (g->refcnt -= users) > 0)
    return;
  close (g->fd);
  hash_unset (lvm->iommu_pool_index_by_group, group);
  pool_put (lvm->iommu_groups, g);
  if (pool_elts (lvm->iommu_groups) > 0)
    return;
  close (lvm->container_fd);
  lvm->container_fd = -1;
  lvm->iommu_mode = 0;
  hash_free (lvm->iommu_pool_index_by_group);
  clib_bitmap_free (lvm->physmem_pages_mapped);
}

int
hns_vfio_event (int fd, u32 index, int event)
{
  u8 buf[sizeof (struct vfio_irq_set) + sizeof (event)] = { 0 };
  struct vfio_irq_set *set = (struct vfio_irq_set *) buf;
  set->argsz = sizeof (buf);
  set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  set->index = index;
  set->count = 1;
  clib_memcpy (set->data, &event, sizeof (event));
  return ioctl (fd, VFIO_DEVICE_SET_IRQS, set) < 0 ? errno : 0;
}

/* All of VPP's memory for devices, an address of the machine's memory each.
 * VPP's own mappings are by virtual address and must not be met. */
int
hns_vfio_map_physical (vlib_main_t *vm)
{
  clib_pmalloc_main_t *pm = vm->physmem_main.pmalloc_main;
  uword base = pointer_to_uword (pm->base), step = 1ULL << pm->lookup_log2_page_sz;
  uword end = base + ((uword) vec_len (pm->pages) << pm->def_log2_page_sz);
  uword page = 1ULL << pm->def_log2_page_sz, va, from, pa;
  if (pm->flags & CLIB_PMALLOC_F_NO_PAGEMAP)
    return EPERM;
  for (from = base; from < end; from = va)
    {
      struct vfio_iommu_type1_dma_map dm = { .argsz = sizeof (dm) };
      pa = clib_pmalloc_get_pa (pm, uword_to_pointer (from, void *));
      /* As far as it is in one piece, within a page. */
      for (va = from + step; va < end && va % page; va += step)
	if (clib_pmalloc_get_pa (pm, uword_to_pointer (va, void *)) != pa + va - from)
	  break;
      /* Not present: no memory of a device's. */
      if (pa == 0)
	continue;
      if (pa < base + ((uword) pm->max_pages << pm->def_log2_page_sz) && pa + (va - from) > base)
	return ERANGE;
      dm.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
      dm.vaddr = from;
      dm.iova = pa;
      dm.size = va - from;
      /* Mapped before: the machine's memory does not move while it is. */
      if (ioctl (vfio_main.container_fd, VFIO_IOMMU_MAP_DMA, &dm) < 0 && errno != EEXIST)
	return errno;
    }
  return 0;
}
