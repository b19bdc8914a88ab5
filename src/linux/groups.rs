//! The groups that a device takes.

use super::error::Error;
use super::netns::NetnsFile;
use crate::model::MacAddr;

/// Every device's groups, of all protocols, with those of devices stacked on it.
/// Of the calling thread's namespace. Netlink tells of IPv4's since 6.14 only, and
/// of those without their users above.
const FILE: &str = "/proc/thread-self/net/dev_mcast";

/// The MACs of the groups that the device of this index takes frames to, each with
/// how many want it.
pub(super) fn read(netns: &NetnsFile, index: u32) -> Result<Vec<(MacAddr, u32)>, Error> {
    let guard = netns.enter()?;
    let text = std::fs::read_to_string(FILE);
    guard.leave()?;
    let text = text.map_err(|error| Error::io(format!("read {FILE}"), &error))?;
    Ok(text.lines().filter_map(|line| parse(line, index)).collect())
}

/// Index, name, users twice, MAC (`dev_mc_seq_show` in net/core/dev_addr_lists.c,
/// formerly net/core/net-procfs.c).
fn parse(line: &str, index: u32) -> Option<(MacAddr, u32)> {
    let mut words = line.split_ascii_whitespace();
    if words.next()?.parse() != Ok(index) {
        return None;
    }
    // From the end: names may hold anything but white space.
    let digits = words.next_back()?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
    // Before them those who want it whatever the device, which no protocol does.
    let users = words.nth_back(1)?.parse().ok()?;
    Some((MacAddr(bytes.try_into().ok()?), users))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_of_one_device() {
        let line = "4    eth0            3     0     01005e010203";
        assert_eq!(parse(line, 4), Some((MacAddr([1, 0, 0x5e, 1, 2, 3]), 3)));
        assert_eq!(parse(line, 40), None);
        assert_eq!(parse("4    ib0             1     0     00ffffffff12401bffff00000000000000000001", 4), None);
        assert_eq!(parse("4    eth0            1     0     0", 4), None);
        assert_eq!(parse("", 4), None);
    }
}
