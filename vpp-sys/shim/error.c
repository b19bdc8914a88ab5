/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, vectors and log lines across the border. */
#include "shim.h"

clib_error_t *
hns_error (const u8 *text, uword len)
{
  u8 *v = 0;
  clib_error_t *e;
  vec_add (v, text, len);
  e = clib_error_return (0, "%v", v);
  vec_free (v);
  return e;
}

uword
hns_error_take (clib_error_t *error, u8 *out, uword room)
{
  uword n;
  if (!error)
    return 0;
  n = clib_min (vec_len (error->what), room);
  clib_memcpy (out, error->what, n);
  clib_error_free (error);
  return n;
}

uword
hns_vec_len (const u8 *v)
{
  return vec_len (v);
}

void
hns_vec_free (u8 *v)
{
  vec_free (v);
}

void
hns_log (u32 level, vlib_log_class_t class, const u8 *text, uword len)
{
  u8 *v = 0;
  vec_add (v, text, len);
  vlib_log (level, class, "%v", v);
  vec_free (v);
}
