//! Errors of ICMP that VPP itself sends to the host (RFC 792).
//!
//! VPP sends them from the uplink's address, which is the host's own. It takes
//! what comes to it from an address of its own for forged, and so would the host's
//! kernel. To the host VPP is no hop on the way, but a part of the link: the word
//! is the far end's.

use std::net::{IpAddr, Ipv4Addr};

use super::wire::{array, checksum};
use crate::model::frame::ICMP;

/// Without options: VPP makes none.
const VERSION_AND_LENGTH: u8 = 0x45;
const IP4_LEN: usize = 20;
/// Unreachable (fragmentation needed above all), time exceeded, bad parameter.
const ERRORS: [u8; 3] = [3, 11, 12];
/// Where the packet that it is about begins.
const ABOUT: usize = IP4_LEN + 8;

/// Whom the host's packet was for, if this is such an error.
pub(crate) fn far_end(ip: &[u8], has: impl Fn(&IpAddr) -> bool) -> Option<Ipv4Addr> {
    let addr = |at| array::<4>(ip, at).map(Ipv4Addr::from);
    let is_own = |at| addr(at).is_some_and(|addr| has(&addr.into()));
    let is_error = *ip.first()? == VERSION_AND_LENGTH && ip[9] == ICMP && ERRORS.contains(ip.get(IP4_LEN)?);
    addr(ABOUT + 16).filter(|far| is_error && is_own(12) && is_own(16) && !has(&IpAddr::V4(*far)))
}

/// Let it come from there.
pub(crate) fn set_source(ip: &mut [u8], source: Ipv4Addr) {
    let Some(header) = ip.get_mut(..IP4_LEN) else { return };
    header[10..12].fill(0);
    header[12..16].copy_from_slice(&source.octets());
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: [u8; 4] = [192, 0, 2, 10];
    const FAR: [u8; 4] = [198, 51, 100, 1];

    fn error(source: [u8; 4], kind: u8) -> Vec<u8> {
        let header = |protocol, src: [u8; 4], dst: [u8; 4]| {
            [&[0x45, 0, 0, 48, 0, 0, 0, 0, 255, protocol, 0, 0][..], &src, &dst].concat()
        };
        [header(ICMP, source, HOST), vec![kind, 4, 0, 0, 0, 0, 5, 0], header(17, HOST, FAR)].concat()
    }

    #[test]
    fn only_an_error_of_vpps_own_is_the_far_ends() {
        let has = |addr: &IpAddr| *addr == IpAddr::from(HOST);
        assert_eq!(far_end(&error(HOST, 3), has), Some(FAR.into()));
        assert_eq!(far_end(&error(HOST, 11), has), Some(FAR.into()));
        assert_eq!(far_end(&error(HOST, 8), has), None, "an echo request");
        assert_eq!(far_end(&error(FAR, 3), has), None, "a router's");
        assert_eq!(far_end(&error(HOST, 3)[..47], has), None);
        assert_eq!(far_end(&[], has), None);
    }

    #[test]
    fn its_header_sums_up() {
        let mut ip = error(HOST, 3);
        set_source(&mut ip, FAR.into());
        assert_eq!((&ip[12..16], checksum(&ip[..20])), (&FAR[..], 0));
        set_source(&mut [0x45; 3], FAR.into());
    }
}
