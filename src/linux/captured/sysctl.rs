//! A device's own sysctls. The files are those of the namespace that the
//! calling thread is in.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::linux::Error;
use crate::model::IfName;

/// Each holds a folder with the device's name.
const FOLDERS: [&str; 4] = ["ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"];

/// Part of the link, and set by netlink: writing the file makes addresses
/// (addrconf_sysctl_addr_gen_mode in net/ipv6/addrconf.c).
const OF_THE_LINK: &str = "ipv6/conf/addr_gen_mode";

fn folder(name: &IfName, place: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(place).join(name.as_str())
}

/// All that can be read and written. What cannot be read now has no value,
/// such as a secret that was never set.
pub(super) fn read(name: &IfName) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for place in FOLDERS {
        // No folder: no such family on the device.
        let Ok(files) = std::fs::read_dir(folder(name, place)) else { continue };
        for file in files.filter_map(Result::ok) {
            let is_setting = file.metadata().is_ok_and(|facts| {
                let mode = facts.permissions().mode();
                facts.is_file() && mode & 0o600 == 0o600
            });
            let key = format!("{place}/{}", file.file_name().to_string_lossy());
            if !is_setting || key == OF_THE_LINK {
                continue;
            }
            if let Ok(value) = std::fs::read_to_string(file.path()) {
                found.insert(key, value.trim_end().to_owned());
            }
        }
    }
    found
}

/// Write one unless it has that value: writing has effects of its own.
pub(super) fn write(name: &IfName, key: &str, value: &str) -> Result<(), Error> {
    let what = || format!("set sysctl {key} to {value}");
    let (place, file) = key.rsplit_once('/').unwrap_or(("", key));
    // A journal is data: it names no other file.
    if !FOLDERS.contains(&place) || file.is_empty() || file.starts_with('.') {
        return Err(Error::new(what(), "no sysctl of a device"));
    }
    let path = folder(name, place).join(file);
    if std::fs::read_to_string(&path).is_ok_and(|now| now.trim_end() == value) {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(|error| Error::io(what(), &error))
}
