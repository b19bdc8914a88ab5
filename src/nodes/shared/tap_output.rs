//! Frames to the host, by our own TAP driver. VPP makes the nodes from the
//! driver's class, `hostnet-tap<N>-tx` for each interface.

use std::fmt::Write as _;

use crate::vpp::driver::{Driver, TxError, TxTrace};

/// The numbers of [`DRIVER`]'s `tx_errors`.
const SEGMENTS: u16 = 0;
const HOST_DOWN: u16 = 1;
const KERNEL: u16 = 2;

/// The send side.
pub static DRIVER: Driver = Driver {
    tx_errors: &[c"packet in too many buffers", c"the host's device is down", c"refused by the kernel"],
    format_tx: format,
    tx_error: number,
};

fn number(error: TxError) -> u16 {
    match error {
        TxError::Segments => SEGMENTS,
        TxError::HostDown => HOST_DOWN,
        TxError::Kernel => KERNEL,
    }
}

fn format(trace: &TxTrace) -> String {
    let h = &trace.header;
    let mut out = format!("to the host by sw_if_index {}: {} bytes", trace.sw_if_index, trace.length);
    // Writing to a String cannot fail.
    if h.flags != 0 {
        let _ = write!(out, ", checksum from {} at {}", h.checksum.0, h.checksum.1);
    }
    if h.gso_type != 0 {
        let _ = write!(out, ", GSO type {} segments of {}", h.gso_type, h.gso_size);
    }
    out
}
