//! The `log` facade over VPP's log, class `hostnet`.

use log::{Level, LevelFilter, Metadata, Record};
use once_cell::sync::OnceCell;
use vpp_sys as sys;

use super::Main;

/// Lines of VPP's main thread go to VPP's log. A foreign thread must not
/// enter VPP, so what it logs is dropped here: the helper reports instead.
struct VppLog {
    class: sys::vlib_log_class_t,
    thread: std::thread::ThreadId,
}

static LOG: OnceCell<VppLog> = OnceCell::new();

/// Register the class and install the logger. Once, at init.
pub fn install(_main: &Main<'_>) {
    // SAFETY: at init on the main thread; both names are static C strings,
    // which VPP copies.
    let class = unsafe { sys::vlib_log_register_class(c"hostnet".as_ptr().cast_mut(), c"".as_ptr().cast_mut()) };
    let logger = LOG.get_or_init(|| VppLog { class, thread: std::thread::current().id() });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

impl log::Log for VppLog {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        std::thread::current().id() == self.thread
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => sys::vlib_log_level_t_VLIB_LOG_LEVEL_ERR,
            Level::Warn => sys::vlib_log_level_t_VLIB_LOG_LEVEL_WARNING,
            Level::Info => sys::vlib_log_level_t_VLIB_LOG_LEVEL_NOTICE,
            Level::Debug | Level::Trace => sys::vlib_log_level_t_VLIB_LOG_LEVEL_DEBUG,
        };
        let text = record.args().to_string();
        // SAFETY: VPP's main thread (checked above); text and length belong
        // together and are copied.
        unsafe { sys::hns_log(level, self.class, text.as_ptr(), text.len() as u64) };
    }

    fn flush(&self) {}
}
