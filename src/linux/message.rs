//! Messages byte by byte: frames and attributes in, attributes out. Pure.

use std::net::IpAddr;

use super::rtnl::{NLMSG_HDR, RTNEXTHOP};

/// The flags in an attribute's type (linux/netlink.h): NLA_F_NESTED and
/// NLA_F_NET_BYTEORDER.
const KIND_MASK: u16 = 0x3fff;
/// Length of an attribute's header (struct nlattr), in bytes.
const HEADER_LEN: usize = 4;

/// A message in its frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Its type (`RTM_*`, `NLMSG_*`).
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// The fixed part and the attributes.
    pub(super) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first message of a datagram, and what follows it; `None` when it is
    /// malformed.
    pub(super) fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let frame = Self {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body: bytes.get(NLMSG_HDR..length)?,
        };
        Some((frame, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
    }
}

/// An attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Attr<'a> {
    /// Its type, flags included.
    raw_kind: u16,
    /// What it holds.
    pub(super) value: &'a [u8],
}

impl<'a> Attr<'a> {
    /// Its type.
    pub(super) fn kind(&self) -> u16 {
        self.raw_kind & KIND_MASK
    }

    /// The attributes inside.
    pub(super) fn nested(&self) -> Attrs<'a> {
        Attrs(self.value)
    }

    pub(super) fn u32(&self) -> Option<u32> {
        u32_at(self.value, 0)
    }

    /// A text, with or without a NUL at its end.
    pub(super) fn text(&self) -> Option<&'a str> {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        std::str::from_utf8(self.value.get(..end)?).ok()
    }

    pub(super) fn addr(&self) -> Option<IpAddr> {
        addr(self.value)
    }

    /// The address in an attribute VIA: its family comes first (struct rtvia).
    pub(super) fn via(&self) -> Option<IpAddr> {
        addr(self.value.get(2..)?)
    }
}

/// An address of either family by its length.
pub(super) fn addr(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The attributes one after the other; ends at the first that is malformed.
#[derive(Debug, Clone)]
pub(super) struct Attrs<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let length = usize::from(u16_at(self.0, 0)?);
        let attr = Attr { raw_kind: u16_at(self.0, 2)?, value: self.0.get(HEADER_LEN..length)? };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attr)
    }
}

/// One way of a multipath route (struct rtnexthop).
#[derive(Debug, Clone)]
pub(super) struct Way<'a> {
    pub(super) flags: u8,
    /// The weight less one.
    pub(super) hops: u8,
    pub(super) index: u32,
    pub(super) attrs: Attrs<'a>,
}

/// The ways of an attribute MULTIPATH; ends at the first that is malformed.
#[derive(Debug, Clone)]
pub(super) struct Ways<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Ways<'a> {
    type Item = Way<'a>;

    fn next(&mut self) -> Option<Way<'a>> {
        let length = usize::from(u16_at(self.0, 0)?);
        let this = self.0.get(..length)?;
        let way =
            Way { flags: u8_at(this, 2), hops: u8_at(this, 3), index: u32_at(this, 4)?, attrs: attrs(this, RTNEXTHOP) };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(way)
    }
}

/// The attributes behind a fixed part of so many bytes.
pub(super) fn attrs(body: &[u8], fixed: usize) -> Attrs<'_> {
    Attrs(body.get(fixed..).unwrap_or_default())
}

pub(super) fn u8_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(u32::cast_signed)
}

/// Overwrite bytes; what is not there stays so.
pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Add an attribute.
pub(super) fn push(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(HEADER_LEN + value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The body with each attribute as `change` wants it: dropped with `None`.
pub(super) fn rewrite(body: &[u8], fixed: usize, mut change: impl FnMut(&Attr<'_>) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = body.get(..fixed).unwrap_or(body).to_vec();
    for attr in attrs(body, fixed) {
        if let Some(value) = change(&attr) {
            push(&mut out, attr.raw_kind, &value);
        }
    }
    out
}

/// The body with its attributes in the order of their types.
pub(super) fn sorted(body: &[u8], fixed: usize) -> Vec<u8> {
    let mut all: Vec<Attr<'_>> = attrs(body, fixed).collect();
    all.sort_by_key(Attr::kind);
    let mut out = body.get(..fixed).unwrap_or(body).to_vec();
    for attr in all {
        push(&mut out, attr.raw_kind, attr.value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_byte_for_byte() {
        let mut body = vec![9, 9, 9, 9];
        push(&mut body, 3 | 0x8000, &[1]);
        push(&mut body, 1, &[1, 2, 3, 4]);
        push(&mut body, 2, b"");
        assert_eq!(rewrite(&body, 4, |attr| Some(attr.value.to_vec())), body);
        let kinds = |body: &[u8]| attrs(body, 4).map(|attr| attr.kind()).collect::<Vec<_>>();
        assert_eq!(kinds(&body), [3, 1, 2]);
        assert_eq!(kinds(&sorted(&body, 4)), [1, 2, 3]);
        assert_eq!(kinds(&rewrite(&body, 4, |attr| (attr.kind() != 1).then(Vec::new))), [3, 2]);
    }

    #[test]
    fn malformed_attributes_end_the_walk() {
        for bytes in [&[0, 0, 1, 0][..], &[3, 0, 1, 0], &[9, 0, 1, 0, 1], &[4]] {
            assert_eq!(Attrs(bytes).count(), 0, "{bytes:?}");
        }
        for bytes in [&[0; 8][..], &[7, 0, 0, 0, 1, 0, 0, 0], &[9, 0, 0, 0, 1, 0, 0, 0], &[8, 0, 0, 0, 1]] {
            assert_eq!(Ways(bytes).count(), 0, "{bytes:?}");
        }
        assert_eq!(Ways(&[8, 0, 0, 2, 1, 0, 0, 0, 8]).map(|way| (way.index, way.hops)).collect::<Vec<_>>(), [(1, 2)]);
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.resize(20, 0);
            assert!(Frame::first(&bytes).is_none(), "{length}");
        }
    }
}
