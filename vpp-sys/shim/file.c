/* SPDX-License-Identifier: Apache-2.0 */
/* A file descriptor in VPP's main loop. */
#include "shim.h"
#include <vlib/file.h>

typedef struct
{
  hns_file_fn fn;
  u64 private_data;
} hns_file_t;

static clib_error_t *
hns_file_read_ready (clib_file_t *f)
{
  hns_file_t *h = uword_to_pointer (f->private_data, hns_file_t *);
  h->fn (h->private_data);
  return 0;
}

u32
hns_file_add (int fd, const char *description, u64 private_data, hns_file_fn fn)
{
  clib_file_t t = { 0 };
  hns_file_t *h = clib_mem_alloc (sizeof (*h));
  h->fn = fn;
  h->private_data = private_data;
  t.file_descriptor = fd;
  /* Rust owns the descriptor and closes it. */
  t.dont_close = 1;
  t.read_function = hns_file_read_ready;
  t.private_data = pointer_to_uword (h);
  t.description = format (0, "%s", description);
  return clib_file_add (&file_main, &t);
}

void
hns_file_del (u32 file_index)
{
  clib_file_t *f = clib_file_get (&file_main, file_index);
  void *h;
  if (!f)
    return;
  h = uword_to_pointer (f->private_data, void *);
  clib_file_del (&file_main, f);
  clib_mem_free (h);
}
