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
