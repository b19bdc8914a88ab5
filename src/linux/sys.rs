//! The system calls that nix has no safe wrapper of. The room's only
//! `unsafe`: each call takes a file that is open for its whole length and
//! memory that outlives it.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;

use crate::model::IfName;

mod raw {
    nix::ioctl_none_bad!(ns_get_nstype, nix::libc::NS_GET_NSTYPE);
    nix::ioctl_write_ptr_bad!(tun_set_iff, nix::libc::TUNSETIFF, nix::libc::ifreq);
    nix::ioctl_write_ptr_bad!(tun_set_vnet_hdr_sz, nix::libc::TUNSETVNETHDRSZ, nix::libc::c_int);
    nix::ioctl_write_int_bad!(tun_set_offload, nix::libc::TUNSETOFFLOAD);
    nix::ioctl_write_int_bad!(tun_set_persist, nix::libc::TUNSETPERSIST);
    nix::ioctl_write_ptr_bad!(ethtool, nix::libc::SIOCETHTOOL, nix::libc::ifreq);
}

/// Whether a file of nsfs is a network namespace (`NS_GET_NSTYPE`,
/// ioctl_ns(2)).
pub(super) fn is_net_namespace(file: BorrowedFd<'_>) -> nix::Result<bool> {
    // SAFETY: the file is open while it is borrowed; the request takes no
    // argument and writes nothing.
    let kind = unsafe { raw::ns_get_nstype(file.as_raw_fd()) }?;
    Ok(kind == nix::libc::CLONE_NEWNET)
}

/// Attach the file of `/dev/net/tun` to the device of that name, made if it
/// is not there (`TUNSETIFF`, linux/if_tun.h).
pub(super) fn tun_attach(file: impl AsFd, name: &IfName, flags: nix::libc::c_int) -> nix::Result<()> {
    let flags = nix::libc::c_short::try_from(flags).map_err(|_| Errno::EINVAL)?;
    let request = ifreq(name, nix::libc::__c_anonymous_ifr_ifru { ifru_flags: flags });
    // SAFETY: the file is open while it is borrowed; the kernel reads and
    // writes one ifreq, which lives on this stack.
    unsafe { raw::tun_set_iff(file.as_fd().as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Set the length of the header before each frame, in bytes
/// (`TUNSETVNETHDRSZ`).
pub(super) fn tun_set_header_len(file: impl AsFd, bytes: nix::libc::c_int) -> nix::Result<()> {
    // SAFETY: the file is open while it is borrowed; the kernel reads one int,
    // which lives on this stack.
    unsafe { raw::tun_set_vnet_hdr_sz(file.as_fd().as_raw_fd(), &raw const bytes) }?;
    Ok(())
}

/// Have the device outlive its file (`TUNSETPERSIST`).
pub(super) fn tun_set_persist(file: impl AsFd) -> nix::Result<()> {
    // SAFETY: the file is open while it is borrowed; the argument goes by
    // value.
    unsafe { raw::tun_set_persist(file.as_fd().as_raw_fd(), 1) }?;
    Ok(())
}

/// Set which offloads the reader of the file takes (`TUNSETOFFLOAD`); the
/// kernel does the others in software before it hands a frame over.
pub(super) fn tun_set_offload(file: impl AsFd, offloads: nix::libc::c_int) -> nix::Result<()> {
    // SAFETY: the file is open while it is borrowed; the argument goes by
    // value.
    unsafe { raw::tun_set_offload(file.as_fd().as_raw_fd(), offloads) }?;
    Ok(())
}

/// Let the kernel finish checksums, and with them segments, before it hands a
/// frame to the device (`ETHTOOL_STXCSUM`, linux/ethtool.h). `socket` is any
/// socket of the namespace that the device is in.
pub(super) fn disable_tx_checksum_offload(socket: impl AsFd, name: &IfName) -> nix::Result<()> {
    let mut value = EthtoolValue { command: ETHTOOL_STXCSUM, data: 0 };
    let data = std::ptr::from_mut(&mut value).cast();
    let request = ifreq(name, nix::libc::__c_anonymous_ifr_ifru { ifru_data: data });
    // SAFETY: the socket is open while it is borrowed; the kernel reads one
    // ifreq and the structure that it points to, both on this stack.
    unsafe { raw::ethtool(socket.as_fd().as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Have a TAP device say that its link has this speed, in Mbit/s, both ways at
/// once (`ETHTOOL_SLINKSETTINGS`). `socket` as above.
pub(super) fn set_speed(socket: impl AsFd, name: &IfName, speed: u32) -> nix::Result<()> {
    // The kernel takes as many words of link modes as it has itself, and names
    // their number in answer to none.
    let mut settings = EthtoolLink { command: ETHTOOL_GLINKSETTINGS, ..EthtoolLink::default() };
    ethtool_link(&socket, name, &mut settings)?;
    settings.mode_words = settings.mode_words.wrapping_neg();
    if !(0..=LINK_MODE_WORDS).contains(&settings.mode_words) {
        return Err(Errno::EOVERFLOW);
    }
    settings.command = ETHTOOL_GLINKSETTINGS;
    ethtool_link(&socket, name, &mut settings)?;
    settings.command = ETHTOOL_SLINKSETTINGS;
    settings.speed = speed;
    settings.duplex = DUPLEX_FULL;
    ethtool_link(&socket, name, &mut settings)
}

fn ethtool_link(socket: impl AsFd, name: &IfName, settings: &mut EthtoolLink) -> nix::Result<()> {
    let data = std::ptr::from_mut(settings).cast();
    let request = ifreq(name, nix::libc::__c_anonymous_ifr_ifru { ifru_data: data });
    // SAFETY: the socket is open while it is borrowed; the kernel reads one
    // ifreq, and reads and writes the structure that it points to, with three
    // times as many words as that says, of which there is room for
    // `LINK_MODE_WORDS`; both are on this stack.
    unsafe { raw::ethtool(socket.as_fd().as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Where the device is on its bus, as its driver says (`ETHTOOL_GDRVINFO`);
/// empty where it is on none. `socket` as above.
pub(super) fn bus_address(socket: impl AsFd, name: &IfName) -> nix::Result<String> {
    let mut info = EthtoolDriver { command: ETHTOOL_GDRVINFO, before: [0; 96], bus: [0; 32], after: [0; 64] };
    let data = std::ptr::from_mut(&mut info).cast();
    let request = ifreq(name, nix::libc::__c_anonymous_ifr_ifru { ifru_data: data });
    // SAFETY: the socket is open while it is borrowed; the kernel reads one
    // ifreq and fills the structure that it points to, both on this stack.
    unsafe { raw::ethtool(socket.as_fd().as_raw_fd(), &raw const request) }?;
    let text = info.bus.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// No program that this process becomes or starts has any file of it but the
/// first three (close_range(2)).
pub(super) fn close_files_on_exec() -> nix::Result<()> {
    let flags = nix::libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: it closes nothing here, and touches no memory.
    Errno::result(unsafe { nix::libc::close_range(3, nix::libc::c_uint::MAX, flags) }).map(drop)
}

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const ETHTOOL_SLINKSETTINGS: u32 = 0x4d;
const DUPLEX_FULL: u8 = 1;
/// The kernel has 4 words of link modes; the number is a signed byte, so there
/// can never be more.
const LINK_MODE_WORDS: i8 = i8::MAX;

/// `struct ethtool_link_settings` of linux/ethtool.h.
#[repr(C)]
struct EthtoolLink {
    command: u32,
    speed: u32,
    duplex: u8,
    /// Port, address of the PHY, negotiation, MDIO, two of MDI-X.
    before: [u8; 6],
    mode_words: i8,
    /// Transceiver, two of master and slave, rate matching.
    after: [u8; 4],
    reserved: [u32; 7],
    /// Supported, advertised, and the partner's.
    modes: [u32; 3 * LINK_MODE_WORDS as usize],
}

impl Default for EthtoolLink {
    fn default() -> Self {
        Self {
            command: 0,
            speed: 0,
            duplex: 0,
            before: [0; 6],
            mode_words: 0,
            after: [0; 4],
            reserved: [0; 7],
            modes: [0; 3 * LINK_MODE_WORDS as usize],
        }
    }
}

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct EthtoolDriver {
    command: u32,
    /// Driver, its version, the firmware's: 32 bytes each.
    before: [u8; 96],
    bus: [u8; 32],
    /// The ROM's version and counts.
    after: [u8; 64],
}

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

fn ifreq(name: &IfName, ifr_ifru: nix::libc::__c_anonymous_ifr_ifru) -> nix::libc::ifreq {
    let mut request = nix::libc::ifreq { ifr_name: [0; nix::libc::IFNAMSIZ], ifr_ifru };
    // A name has at most 15 bytes, so the NUL behind it stays.
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = nix::libc::c_char::from_ne_bytes([from]);
    }
    request
}
