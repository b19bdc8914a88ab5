/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: registration, the rest of the line, output. */
#include "shim.h"
#include <stdlib.h>

void
hns_register_cli (char *path, char *short_help, hns_cli_fn fn, uword arg)
{
  /* Lives as long as VPP: the registration list keeps the pointer. */
  vlib_cli_command_t *c = calloc (1, sizeof (*c));
  c->path = path;
  c->short_help = short_help;
  c->function = fn;
  c->function_arg = arg;
  /* The handler takes the barrier only where it changes VPP. */
  c->is_mp_safe = 1;
  vlib_cli_command_registration_helper (c);
}

uword
hns_cli_arg (vlib_cli_command_t *cmd)
{
  return cmd->function_arg;
}

u8 *
hns_cli_rest_of_line (unformat_input_t *input)
{
  unformat_input_t line;
  u8 *rest = 0;
  if (!unformat_user (input, unformat_line_input, &line))
    return 0;
  while (unformat_check_input (&line) != UNFORMAT_END_OF_INPUT)
    {
      uword c = unformat_get_input (&line);
      if (c == UNFORMAT_END_OF_INPUT)
	break;
      vec_add1 (rest, c);
    }
  unformat_free (&line);
  return rest;
}

void
hns_cli_output (vlib_main_t *vm, const u8 *text, uword len)
{
  u8 *v = 0;
  vec_add (v, text, len);
  vlib_cli_output (vm, "%v", v);
  vec_free (v);
}

static vlib_cli_command_t *
hns_cli_find (const char *path)
{
  vlib_cli_command_t *c;
  uword len = strlen (path);
  vec_foreach (c, vlib_get_global_main ()->cli_main.commands)
    if (c->function && vec_len (c->path) == len && !memcmp (c->path, path, len))
      return c;
  return 0;
}

int
hns_cli_exists (const char *path)
{
  return hns_cli_find (path) != 0;
}

static void
hns_cli_collect (uword arg, u8 *buffer, uword n)
{
  u8 **v = uword_to_pointer (arg, u8 **);
  vec_add (*v, buffer, n);
}

/* vlib_cli_input needs a process; VPP's exit has none. So the handler is
 * called as VPP's dispatcher calls it, the caller holding the barrier.
 * -1: no such command; 0: done, out has what it said; 1: out has the error. */
int
hns_cli_call (vlib_main_t *vm, const char *path, const char *rest, u8 *out, uword room)
{
  vlib_process_t *cp = vlib_get_current_process (vm);
  vlib_cli_command_t *c = hns_cli_find (path);
  vlib_cli_output_function_t *function = 0;
  uword function_arg = 0, n;
  unformat_input_t in;
  u8 *said = 0;
  clib_error_t *e;

  if (!c)
    return -1;
  if (cp)
    {
      function = cp->output_function;
      function_arg = cp->output_function_arg;
      cp->output_function = hns_cli_collect;
      cp->output_function_arg = pointer_to_uword (&said);
    }
  unformat_init_vector (&in, format (0, "%s", rest));
  e = c->function (vm, &in, c);
  unformat_free (&in);
  if (cp)
    {
      cp->output_function = function;
      cp->output_function_arg = function_arg;
    }
  n = clib_min (vec_len (said), room - 1);
  clib_memcpy (out, said, n);
  vec_free (said);
  if (e)
    n = hns_error_take (e, out, room - 1);
  out[n] = 0;
  return e != 0;
}
