//! TTL and hop limit of what the host sends: VPP must not take one.

/// What the rewrite's decrement must find.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hops {
    /// One more was put on.
    Raised,
    /// There is no more than 255.
    Full,
    /// Not IP.
    None,
}

/// Put one on top; what it was before.
pub(crate) fn raise(ip: &mut [u8]) -> (Hops, u8) {
    let at = match ip.first().map(|byte| byte >> 4) {
        Some(4) => 8,
        Some(6) => 7,
        _ => return (Hops::None, 0),
    };
    let Some(hops) = ip.get(at).copied() else { return (Hops::None, 0) };
    let Some(more) = hops.checked_add(1) else { return (Hops::Full, hops) };
    ip[at] = more;
    if at == 8 {
        raise_checksum4(ip);
    }
    (Hops::Raised, hops)
}

/// The IPv4 header checksum after the TTL grew by one (RFC 1624, equation 3):
/// the 16-bit word that the TTL is the high byte of grew by 0x0100.
fn raise_checksum4(ip: &mut [u8]) {
    let Some(field) = ip.get_mut(10..12) else { return };
    let old = u16::from_be_bytes([field[0], field[1]]);
    let (sum, borrow) = old.overflowing_sub(0x0100);
    let new = if borrow { sum.wrapping_sub(1) } else { sum };
    field.copy_from_slice(&new.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum4(ip: &[u8]) -> u16 {
        let sum: u32 = ip.chunks(2).map(|p| u32::from(u16::from_be_bytes([p[0], p[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
    }

    #[test]
    fn the_ttl_grows_by_one_and_the_checksum_stays_right() {
        for ttl in 0..255_u8 {
            for tail in [0_u8, 1, 0x7f, 0xff] {
                let mut ip = [0x45, 0, 0, 40, 1, 2, 0, 0, ttl, 6, 0, 0, 10, 0, 0, 1, tail, 0xff, 0, tail];
                let sum = checksum4(&ip);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                assert_eq!(raise(&mut ip), (Hops::Raised, ttl));
                assert_eq!((ip[8], checksum4(&ip)), (ttl + 1, 0), "TTL {ttl}, {tail}");
            }
        }
    }

    #[test]
    fn at_255_nothing_is_written() {
        let mut ip = [0x60; 40];
        ip[7] = 255;
        let before = ip;
        assert_eq!(raise(&mut ip), (Hops::Full, 255));
        assert_eq!(ip, before);
        assert_eq!(raise(&mut []), (Hops::None, 0));
        assert_eq!(raise(&mut [0x45]), (Hops::None, 0));
    }
}
