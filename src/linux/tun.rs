//! The builtin backend's TAP device.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;

use super::error::Error;
use super::sys;
use crate::model::IfName;

/// Where the kernel's TUN/TAP driver is reached.
const DEV_NET_TUN: &str = "/dev/net/tun";

/// The `kind` of every TAP device, VPP's own too (drivers/net/tun.c).
pub(super) const TAP_KIND: &str = "tun";

/// Length of the virtio-net header before each frame, in bytes: with
/// `num_buffers`, as VPP's virtio code has it (virtio_net_hdr_mrg_rxbuf,
/// linux/virtio_net.h).
pub const VNET_HDR_LEN: i32 = 12;

/// Make a TAP device of that name in the calling thread's namespace. It lives
/// as long as the returned file, or until it is deleted with `persist`: non-blocking, close-on-exec, a frame each
/// read and write, behind a header of [`VNET_HDR_LEN`] bytes.
pub fn open(name: &IfName, persist: bool) -> Result<OwnedFd, Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(DEV_NET_TUN)
        .map_err(|error| refused(&error))?;
    let file = OwnedFd::from(file);
    let what = format!("make TAP device {name} (needs CAP_NET_ADMIN)");
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    sys::tun_attach(&file, name, flags).map_err(|errno| Error::sys(what, errno))?;
    sys::tun_set_header_len(&file, VNET_HDR_LEN)
        .map_err(|errno| Error::sys(format!("set the header length of TAP device {name}"), errno))?;
    // None: the kernel sums and segments what it hands us.
    sys::tun_set_offload(&file, 0)
        .map_err(|errno| Error::sys(format!("set the offloads of TAP device {name}"), errno))?;
    if persist {
        sys::tun_set_persist(&file).map_err(|errno| Error::sys(format!("make TAP device {name} persistent"), errno))?;
    }
    Ok(file)
}

fn refused(error: &std::io::Error) -> Error {
    let errno = error.raw_os_error().map(Errno::from_raw);
    match errno {
        Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV) => Error::new(
            format!("open {DEV_NET_TUN}"),
            "it is missing; load the module with 'modprobe tun', or give the container the device",
        ),
        Some(errno @ (Errno::EACCES | Errno::EPERM)) => Error::new(
            format!("open {DEV_NET_TUN}"),
            format!("{}; let VPP's user read and write it, or allow the device in the container", errno.desc()),
        ),
        _ => Error::io(format!("open {DEV_NET_TUN}"), error),
    }
}
