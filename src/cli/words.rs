//! A request as words and back, for the journal: what was asked for outlives
//! VPP in the words that people use.

use super::grammar;
use super::parse::{Cause, ParseError, Place, read};
use super::request::uplink;
use crate::engine::{DriverChoice, EnableRequest, TapChoice, UplinkRequest};
use crate::model::Netns;

/// The words behind `hostnet uplink` that ask for this; [`from_words`] makes
/// the same request of them. `sw_if_index`, which means nothing before the
/// interface is there, is not among them.
///
/// A namespace whose name or path has white space in it, or is not UTF-8,
/// has no words; no line can ask for it.
pub fn to_words(request: &UplinkRequest) -> String {
    // Every field by name: a new one does not compile until it is written too.
    let UplinkRequest { linux_if, driver, no_iommu, enable } = request;
    let EnableRequest {
        sw_if_index: _,
        host_if,
        host_netns,
        tap,
        mtu,
        cluster_cidrs,
        cluster_mtu,
        source_check,
        dry_run,
    } = enable;

    let mut words = vec![linux_if.to_string()];
    let mut option = |name: &str, value: Option<String>| words.extend(value.map(|value| format!("{name} {value}")));
    let driver = match driver {
        DriverChoice::Auto => None,
        DriverChoice::This(driver) => Some(driver.name()),
        DriverChoice::Dpdk => Some("dpdk"),
        DriverChoice::None => Some("none"),
    };
    let tap = match tap {
        TapChoice::Auto => None,
        TapChoice::Vhost => Some("vhost"),
        TapChoice::Builtin => Some("builtin"),
    };
    option("driver", driver.map(str::to_owned));
    option("host-if", host_if.as_ref().map(ToString::to_string));
    option("host-netns", (*host_netns != Netns::Own).then(|| host_netns.to_string()));
    option("tap", tap.map(str::to_owned));
    option("mtu", mtu.map(|mtu| mtu.to_string()));
    for prefix in cluster_cidrs {
        option("cluster-cidr", Some(prefix.to_string()));
    }
    option("cluster-mtu", cluster_mtu.map(|mtu| mtu.to_string()));
    for (name, given) in [("no-iommu", no_iommu), ("source-check", source_check), ("dry-run", dry_run)] {
        words.extend(given.then(|| name.to_owned()));
    }
    words.join(" ")
}

/// The request of [`to_words`]. The interface stands first and each value
/// behind its keyword, so that a name which is also an option's word is
/// understood here, where a line would be refused.
pub fn from_words(words: &str) -> Result<UplinkRequest, ParseError> {
    let command = &grammar::UPLINK;
    let words = words.trim();
    let (first, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let first = Some(first).filter(|word| !word.is_empty());
    let error = |cause: Cause| ParseError { command: command.path, cause };
    read(command, Place::Kept, first, rest, &|_| None).and_then(|mut values| uplink(&mut values)).map_err(error)
}
