//! The plugin's registration, and what is hooked into VPP when it is loaded.

use std::ffi::{CStr, c_char};

use once_cell::sync::OnceCell;
use vpp_sys as sys;

use super::cli::CommandFn;
use super::{Main, changes, cli, driver, feature, guard, node, process};

/// What the plugin gives VPP at load, before VPP's init functions run. VPP
/// keeps every pointer: all of it is static.
#[derive(Debug)]
pub struct Hooks {
    /// Called once with the `hostnet` stanza of startup.conf, empty where there
    /// is none: after the plugins are loaded, before any init function and
    /// before VPP goes into the background, so that no thread may be started
    /// here (it would not live in the process that goes on). The braces around
    /// it are off, those inside are there. An error ends VPP's start with it.
    pub config: fn(&Main<'_>, &str) -> Result<(), String>,
    /// Called once, on the main thread, when VPP is initialised.
    pub init: fn(&Main<'_>),
    /// Called once when VPP exits in an orderly way; the workers stand still
    /// and never run again.
    pub exit: fn(&Main<'_>),
    /// Called when any interface is made, before it is whole.
    pub interface_added: fn(&Main<'_>),
    /// Called when any interface is deleted, while its tables still stand.
    pub interface_deleted: fn(&Main<'_>, u32),
    /// The process node.
    pub process: process::Process,
    /// The graph nodes.
    pub nodes: &'static [&'static node::Node],
    /// The features: our nodes on VPP's arcs.
    pub features: &'static [&'static [feature::Feature]],
    /// The TAP driver.
    pub driver: &'static driver::Driver,
    /// The commands.
    pub commands: fn() -> Vec<cli::Command>,
    /// Runs every command.
    pub run: CommandFn,
    /// A command panicked, with its text.
    pub command_panicked: fn(&Main<'_>, &str),
}

static HOOKS: OnceCell<&'static Hooks> = OnceCell::new();

/// What the plugin gave at load. C enters only through what was registered
/// after it was set.
pub(super) fn hooks() -> Option<&'static Hooks> {
    HOOKS.get().copied()
}

/// Let the loader register a `static` [`Hooks`] when VPP loads the plugin, as
/// the constructors do that VPP's registration macros make. Once in a plugin.
macro_rules! register_plugin {
    ($hooks:ident) => {
        #[used]
        #[cfg_attr(not(test), unsafe(link_section = ".init_array"))]
        static CONSTRUCTOR: extern "C" fn() = {
            extern "C" fn construct() {
                $crate::vpp::registration::construct(&$hooks);
            }
            construct
        };
    };
}
pub(crate) use register_plugin;

/// `vlib_plugin_registration_t` with C's layout, made in Rust because a cdylib
/// exports no C symbol. Checked against VPP's own below.
#[repr(C, align(64))]
pub struct Registration {
    flags: u8,
    version: [u8; 64],
    version_required: [u8; 64],
    overrides: [u8; 256],
    early_init: *const c_char,
    description: *const c_char,
    load_after: *const c_char,
}

// SAFETY: immutable; the pointers are to static strings.
unsafe impl Sync for Registration {}

const _: () = {
    type Vpp = sys::vlib_plugin_registration_t;
    assert!(size_of::<Registration>() == size_of::<Vpp>());
    assert!(align_of::<Registration>() == align_of::<Vpp>());
    assert!(memoffset::offset_of!(Registration, version) == memoffset::offset_of!(Vpp, version));
    assert!(memoffset::offset_of!(Registration, version_required) == memoffset::offset_of!(Vpp, version_required));
    assert!(memoffset::offset_of!(Registration, overrides) == memoffset::offset_of!(Vpp, overrides));
    assert!(memoffset::offset_of!(Registration, description) == memoffset::offset_of!(Vpp, description));
    assert!(memoffset::offset_of!(Registration, load_after) == memoffset::offset_of!(Vpp, load_after));
};

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    assert!(bytes.len() < N, "too long for VPP's registration");
    let mut out = [0; N];
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// VPP reads this section before it loads the file, and refuses a plugin of
/// another version by itself (vlib/unix/plugin.c).
#[unsafe(no_mangle)]
#[used]
#[unsafe(link_section = ".vlib_plugin_registration")]
pub static vlib_plugin_registration: Registration = Registration {
    flags: 0,
    version: padded(env!("CARGO_PKG_VERSION")),
    version_required: padded(env!("HOSTNET_VPP_VERSION")),
    overrides: [0; 256],
    early_init: std::ptr::null(),
    description: c"Host network: gives the Linux host its network back through VPP".as_ptr(),
    load_after: std::ptr::null(),
};

/// The name of our stanza in startup.conf.
const STANZA: &CStr = c"hostnet";

/// Whether VPP knows that stanza of startup.conf: whether the plugin that it is
/// for is loaded.
pub fn knows_stanza(_main: &Main<'_>, name: &CStr) -> bool {
    // SAFETY: on the main thread; reads VPP's list, which is whole once the
    // plugins are loaded.
    unsafe { sys::hns_config_exists(name.as_ptr()) != 0 }
}

/// By [`register_plugin`] alone.
pub(crate) fn construct(hooks: &'static Hooks) {
    let _ = HOOKS.set(hooks);
    // A panic here would be a bug that no input provokes; the guard keeps even
    // that from unwinding into the loader.
    let _ = guard(|| {
        // SAFETY: VPP's loader runs this on the main thread before init; every
        // pointer handed over is to a static function.
        unsafe {
            sys::hns_register_init(Some(init));
            sys::hns_register_main_loop_exit(Some(exit));
            sys::hns_register_interface_changed(Some(interface_changed));
            sys::hns_register_config(STANZA.as_ptr(), Some(config));
        }
        changes::register();
        process::register(&hooks.process);
        super::uplink::device::register();
        for node in hooks.nodes {
            let registration = node::register(node);
            if node.input {
                driver::set_input(registration);
            }
        }
        for feature in hooks.features.iter().copied().flatten() {
            feature::register(feature);
        }
        driver::register(hooks.driver);
        for command in (hooks.commands)() {
            cli::register(&command);
        }
    });
}

unsafe extern "C" fn init(vm: *mut sys::vlib_main_t) -> *mut sys::clib_error_t {
    // SAFETY: VPP calls init functions on its main thread.
    let main = unsafe { Main::new(vm) };
    changes::hook(&main);
    match guard(|| hooks().map(|hooks| (hooks.init)(&main))) {
        Ok(_) => std::ptr::null_mut(),
        Err(text) => cli::error(&format!("hostnet: {text}")),
    }
}

unsafe extern "C" fn config(vm: *mut sys::vlib_main_t, text: *const u8, len: u64) -> *mut sys::clib_error_t {
    // SAFETY: VPP calls config functions on its main thread.
    let main = unsafe { Main::new(vm) };
    let len = usize::try_from(len).unwrap_or(0);
    // SAFETY: the shim's vector for this call; empty, it is a null pointer.
    let bytes = if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(text, len) } };
    let read = || hooks().map_or(Ok(()), |hooks| (hooks.config)(&main, String::from_utf8_lossy(bytes).trim()));
    match guard(read) {
        Ok(Ok(())) => std::ptr::null_mut(),
        Ok(Err(text)) | Err(text) => cli::error(&format!("hostnet stanza of startup.conf: {text}")),
    }
}

unsafe extern "C" fn exit(vm: *mut sys::vlib_main_t) -> *mut sys::clib_error_t {
    // SAFETY: VPP calls exit functions on its main thread.
    let main = unsafe { Main::new(vm) };
    // A panic must not keep other exit functions from running.
    let _ = guard(|| hooks().map(|hooks| (hooks.exit)(&main)));
    std::ptr::null_mut()
}

unsafe extern "C" fn interface_changed(sw_if_index: u32, is_add: u32) {
    // SAFETY: VPP makes and deletes interfaces on its main thread.
    let main = unsafe { Main::current() };
    if is_add != 0 {
        // Not whole yet: it is looked at later.
        if let Err(text) = guard(|| hooks().map(|hooks| (hooks.interface_added)(&main))) {
            log::error!("a new interface {sw_if_index}: {text}");
        }
        return;
    }
    if let Err(text) = guard(|| hooks().map(|hooks| (hooks.interface_deleted)(&main, sw_if_index))) {
        log::error!("deletion of interface {sw_if_index}: {text}");
    }
}
