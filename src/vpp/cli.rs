//! Commands: registration, input, output, and waiting inside one.

use std::ffi::{CStr, CString};

use vpp_sys as sys;

use super::registration::hooks;
use super::{Barrier, Main, guard};

/// One command as VPP's CLI knows it.
#[derive(Debug)]
pub struct Command {
    /// The words of the command.
    pub path: CString,
    /// One line of help.
    pub short_help: CString,
    /// Given back to the handler.
    pub number: usize,
}

/// Runs a command: its number, the rest of the line. The text is printed; an
/// error becomes VPP's error for the command.
pub type CommandFn = fn(&Session<'_>, usize, &str) -> Result<String, String>;

/// A command under way.
#[derive(Debug)]
pub struct Session<'a> {
    main: Main<'a>,
}

impl<'a> Session<'a> {
    /// The main thread.
    pub fn main(&self) -> &Main<'a> {
        &self.main
    }

    /// Whether the command runs on a process node and may wait. All sources
    /// of commands do (sockets, `unix { exec }`, the API).
    pub fn can_wait(&self) -> bool {
        // SAFETY: reads the main thread's scheduler state.
        unsafe { sys::hns_in_process(self.main.vm()) != 0 }
    }

    /// Who is to be woken for this command.
    pub fn waiter(&self) -> Waiter {
        // SAFETY: in a process (asked by the caller through `can_wait`).
        Waiter(unsafe { sys::hns_current_process(self.main.vm()) })
    }

    /// Sleep until somebody wakes the [`Waiter`]; VPP goes on meanwhile.
    /// Nothing borrowed from VPP or from a cell may be held over this.
    pub fn wait(&self) {
        // SAFETY: in a process (asked by the caller through `can_wait`); the
        // C frame with the setjmp lives on this process's stack, which stays
        // as it is while it sleeps.
        unsafe { sys::hns_wait(self.main.vm()) };
    }
}

/// A command that sleeps, by the process that it runs on.
#[derive(Clone, Copy, Debug)]
pub struct Waiter(u32);

impl Waiter {
    /// Wake the command that sleeps here. Once, and only while it sleeps or is
    /// about to: a later one on the same process would take it for its own.
    pub fn wake(self, main: &Main<'_>) {
        // SAFETY: on the main thread; CLI processes are never freed.
        unsafe { sys::hns_wake(main.vm(), self.0) };
    }
}

/// Whether VPP has a command of that path.
pub(super) fn exists(_main: &Main<'_>, path: &CStr) -> bool {
    // SAFETY: on the main thread; reads VPP's table of commands.
    unsafe { sys::hns_cli_exists(path.as_ptr()) != 0 }
}

/// Run a command of VPP's own that does not wait, with the rest of its line;
/// what it said. For what a plugin of VPP offers in no other way.
pub(super) fn call(barrier: &Barrier<'_>, path: &CStr, rest: &str) -> Result<String, String> {
    let rest = CString::new(rest).map_err(|_| format!("'{rest}' has a NUL byte"))?;
    let mut out = [0_u8; 512];
    // SAFETY: barrier held, as for every command that is not safe without; at
    // most `out` is written, with a NUL at its end.
    let rv =
        unsafe { sys::hns_cli_call(barrier.vm(), path.as_ptr(), rest.as_ptr(), out.as_mut_ptr(), out.len() as u64) };
    let said = text_of(&out).trim().to_owned();
    match rv {
        0 => Ok(said),
        -1 => Err(format!("VPP has no command '{}'; its plugin is not loaded", path.to_string_lossy())),
        _ => Err(said),
    }
}

/// Make VPP's error of a text.
pub(super) fn error(text: &str) -> *mut sys::clib_error_t {
    // SAFETY: pointer and length belong together; VPP copies.
    unsafe { sys::hns_error(text.as_ptr(), text.len() as u64) }
}

/// At load only.
pub(super) fn register(command: &Command) {
    // The registration list keeps the pointers as long as VPP lives.
    let path = command.path.clone().into_raw();
    let help = command.short_help.clone().into_raw();
    // SAFETY: at load on the main thread; both strings are never freed.
    unsafe { sys::hns_register_cli(path, help, Some(entry), command.number as u64) };
}

unsafe extern "C" fn entry(
    vm: *mut sys::vlib_main_t,
    input: *mut sys::unformat_input_t,
    command: *mut sys::vlib_cli_command_t,
) -> *mut sys::clib_error_t {
    // SAFETY: VPP runs commands on its main thread.
    let main = unsafe { Main::new(vm) };
    // SAFETY: both pointers are VPP's for this call.
    let (number, rest) = unsafe { (sys::hns_cli_arg(command), rest_of_line(input)) };
    let session = Session { main };
    let result = guard(|| {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let run = hooks().map(|hooks| hooks.run).ok_or("the plugin is not registered")?;
        run(&session, number, &rest)
    });
    match result {
        Ok(Ok(text)) => {
            if !text.is_empty() {
                // SAFETY: pointer and length belong together; VPP copies.
                unsafe { sys::hns_cli_output(vm, text.as_ptr(), text.len() as u64) };
            }
            std::ptr::null_mut()
        }
        Ok(Err(text)) => error(&text),
        Err(panic) => {
            log::error!("a command panicked: {panic}");
            let _ = guard(|| hooks().map(|hooks| (hooks.command_panicked)(session.main(), &panic)));
            error(&format!("internal error, the command was given up: {panic}"))
        }
    }
}

/// # Safety
/// `input` is the input of the command under way.
unsafe fn rest_of_line(input: *mut sys::unformat_input_t) -> String {
    // SAFETY: the caller's input; the vector is ours to free, and read before.
    unsafe {
        let rest = sys::hns_cli_rest_of_line(input);
        if rest.is_null() {
            return String::new();
        }
        let len = usize::try_from(sys::hns_vec_len(rest)).unwrap_or(0);
        let text = String::from_utf8_lossy(std::slice::from_raw_parts(rest, len)).into_owned();
        sys::hns_vec_free(rest);
        text
    }
}

/// A C string in a fixed field of a shim's structure.
pub(super) fn text_of(field: &[u8]) -> String {
    CStr::from_bytes_until_nul(field).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}
