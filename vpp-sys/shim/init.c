/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks into VPP's life: init, main-loop exit, interfaces that come and go. */
#include "shim.h"
#include <stdlib.h>

static _vlib_init_function_list_elt_t init_elt, exit_elt;

void
hns_register_init (hns_init_fn fn)
{
  vlib_global_main_t *vgm = vlib_get_global_main ();
  init_elt.f = fn;
  init_elt.name = "hostnet_init";
  init_elt.next_init_function = vgm->init_function_registrations;
  vgm->init_function_registrations = &init_elt;
}

void
hns_register_main_loop_exit (hns_init_fn fn)
{
  vlib_global_main_t *vgm = vlib_get_global_main ();
  exit_elt.f = fn;
  exit_elt.name = "hostnet_exit";
  exit_elt.next_init_function = vgm->main_loop_exit_function_registrations;
  vgm->main_loop_exit_function_registrations = &exit_elt;
}

static hns_interface_changed_fn interface_changed;

static clib_error_t *
hns_sw_interface_add_del (vnet_main_t *vnm, u32 sw_if_index, u32 is_add)
{
  /* What is added is named and dressed after this: who is told looks later. */
  interface_changed (sw_if_index, is_add);
  /* An error would abort VPP's own deletion half-way: never one. */
  return 0;
}

void
hns_register_interface_changed (hns_interface_changed_fn fn)
{
  static _vnet_interface_function_list_elt_t elt;
  vnet_main_t *vnm = vnet_get_main ();
  interface_changed = fn;
  /* Low runs before VPP's own handlers: FIB tables are still valid. */
  elt.next_interface_function = vnm->sw_interface_add_del_functions[VNET_ITF_FUNC_PRIORITY_LOW];
  elt.fp = (void *) hns_sw_interface_add_del;
  vnm->sw_interface_add_del_functions[VNET_ITF_FUNC_PRIORITY_LOW] = &elt;
}

/* Plugins are loaded before any stanza is carried out. */
int
hns_config_exists (const char *name)
{
  vlib_config_function_runtime_t *c = vlib_get_global_main ()->config_function_registrations;
  for (; c; c = c->next_registration)
    if (!strcmp (c->name, name))
      return 1;
  return 0;
}

static hns_config_fn config_fn;

static clib_error_t *
hns_config (vlib_main_t *vm, unformat_input_t *input)
{
  u8 *text = 0;
  clib_error_t *error;
  while (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    {
      uword c = unformat_get_input (input);
      if (c == UNFORMAT_END_OF_INPUT)
	break;
      vec_add1 (text, c);
    }
  error = config_fn (vm, text, vec_len (text));
  vec_free (text);
  return error;
}

void
hns_register_config (const char *name, hns_config_fn fn)
{
  /* What VLIB_EARLY_CONFIG_FUNCTION makes; the list keeps the pointer. */
  static vlib_config_function_runtime_t config;
  vlib_global_main_t *vgm = vlib_get_global_main ();
  config_fn = fn;
  config.function = hns_config;
  config.is_early = 1;
  strncpy (config.name, name, sizeof (config.name) - 1);
  config.next_registration = vgm->config_function_registrations;
  vgm->config_function_registrations = &config;
}
