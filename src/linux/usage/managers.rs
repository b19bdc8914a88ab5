//! Which network managers are in charge of an interface, by their files, and
//! what each will make of the host's new device.

use std::fs;
use std::path::{Path, PathBuf};

use super::systemd::UnitFile;
use super::{Appearance, Usage};

/// Look at the files of every manager that is known here.
pub(super) fn find(root: &Path, device: &Appearance, usage: &mut Usage) {
    let files = Files { root };
    files.networkd(device, usage);
    files.network_manager(device, usage);
    files.ifupdown(device, usage);
    files.netplan(device, usage);
    files.cloud_init(usage);
    files.dhcp_clients(device, usage);
    files.udev(device, usage);
}

struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// The files in a folder, with their paths on the machine, sorted.
    fn texts(&self, folder: &str) -> Vec<(PathBuf, String)> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut texts: Vec<_> = entries
            .filter_map(|entry| {
                let text = fs::read_to_string(entry.path()).ok()?;
                Some((Path::new("/").join(folder).join(entry.file_name()), text))
            })
            .collect();
        texts.sort();
        texts
    }

    fn networkd(&self, device: &Appearance, usage: &mut Usage) {
        let Some(state) = self.text(&format!("run/systemd/netif/links/{}", device.index)) else {
            return;
        };
        if matches!(value(&state, "ADMIN_STATE"), None | Some("unmanaged" | "initialized" | "pending")) {
            return;
        }
        let named = value(&state, "NETWORK_FILE").and_then(|path| UnitFile::read(self.root, Path::new(path)));
        let all = UnitFile::all(self.root, "network");
        let Some(file) = named.or_else(|| all.iter().find(|file| file.applies(device)).cloned()) else {
            usage.managers.push("systemd-networkd".to_owned());
            return;
        };
        let path = file.path.display();
        usage.managers.push(format!("systemd-networkd, by {path}"));
        let tap = device.of_tap();
        let unmet = file.unmet(&tap).unwrap_or_default();
        // The first that applies is the only one.
        match all.iter().find(|file| file.applies(&tap)) {
            Some(first) if first.path == file.path => {}
            Some(other) => usage.warnings.push(format!(
                "systemd-networkd will put {} in charge of the host's new device, in place of {path}: it would \
                 change its addresses; match both by Name={}",
                other.path.display(),
                device.name
            )),
            None if unmet.is_empty() => {}
            None => usage.warnings.push(format!(
                "systemd-networkd will not manage the host's new device, a lease is not renewed: {path} has {}, \
                 which a tap does not meet; match by Name={} instead",
                unmet.join(", "),
                device.name
            )),
        }
    }

    fn network_manager(&self, device: &Appearance, usage: &mut Usage) {
        let Some(state) = self.text(&format!("run/NetworkManager/devices/{}", device.index)) else {
            return;
        };
        let uuid = value(&state, "connection-uuid");
        let is_managed = value(&state, "managed").is_some_and(|managed| ["1", "true"].contains(&managed));
        if !is_managed && uuid.is_none() {
            return;
        }
        let profile = uuid.and_then(|uuid| {
            ["etc/NetworkManager/system-connections", "run/NetworkManager/system-connections"]
                .into_iter()
                .flat_map(|folder| self.texts(folder))
                .find(|(_, text)| value(text, "uuid") == Some(uuid))
        });
        let by = match (&profile, uuid) {
            (Some((path, _)), _) => format!(", by {}", path.display()),
            (None, Some(uuid)) => format!(", by connection {uuid}"),
            (None, None) => String::new(),
        };
        usage.managers.push(format!("NetworkManager{by}"));
        usage.warnings.push(format!(
            "NetworkManager takes the host's new device for one of type tun, made by another: a connection of type \
             ethernet does not apply to it, a lease is not renewed, and what it has is left as it is. \
             'nmcli device set {} managed no' makes that certain",
            device.name
        ));
    }

    fn ifupdown(&self, device: &Appearance, usage: &mut Usage) {
        let mut files = self.texts("etc/network/interfaces.d");
        files.extend(self.text("etc/network/interfaces").map(|text| ("/etc/network/interfaces".into(), text)));
        let configures = |text: &str| {
            text.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some("iface") && words.next() == Some(&device.name)
            })
        };
        if let Some((path, _)) = files.iter().find(|(_, text)| configures(text)) {
            // It goes by names alone, so it knows the tap.
            usage.managers.push(format!("ifupdown, by {}", path.display()));
        }
    }

    fn netplan(&self, device: &Appearance, usage: &mut Usage) {
        let folders = ["etc/netplan", "run/netplan", "usr/lib/netplan", "lib/netplan"];
        let mentions = |text: &str| {
            let word = |c: char| !(c.is_alphanumeric() || "-_.:".contains(c));
            let mac = device.mac.map(|mac| mac.to_string());
            text.to_lowercase().split(word).any(|word| {
                let word = word.trim_end_matches(':');
                word == device.name.to_lowercase() || Some(word) == mac.as_deref()
            })
        };
        for (path, text) in folders.into_iter().flat_map(|folder| self.texts(folder)) {
            if path.extension().is_some_and(|extension| extension == "yaml") && mentions(&text) {
                // It only writes files for the others, which are judged above.
                usage.managers.push(format!("netplan, by {}", path.display()));
            }
        }
    }

    fn cloud_init(&self, usage: &mut Usage) {
        let is_off = self.root.join("etc/cloud/cloud-init.disabled").exists()
            || self.texts("etc/cloud/cloud.cfg.d").iter().any(|(_, text)| leaves_network(text));
        if self.root.join("run/cloud-init").exists() && !is_off {
            usage.managers.push("cloud-init, which writes the others' files at boot".to_owned());
            usage.warnings.push(
                "cloud-init writes the network's configuration again at boot, by MAC or driver: to keep what you \
                 change, put 'network: {config: disabled}' into /etc/cloud/cloud.cfg.d/"
                    .to_owned(),
            );
        }
    }

    fn dhcp_clients(&self, device: &Appearance, usage: &mut Usage) {
        let name = &device.name;
        for (client, files) in [
            ("dhclient", [format!("run/dhclient.{name}.pid"), format!("run/dhclient-{name}.pid")]),
            ("dhcpcd", [format!("run/dhcpcd/{name}.pid"), format!("run/dhcpcd-{name}.pid")]),
            ("udhcpc", [format!("run/udhcpc.{name}.pid"), format!("run/udhcpc-{name}.pid")]),
        ] {
            if files.iter().any(|file| self.root.join(file).exists()) {
                usage.managers.push(format!("{client}, a DHCP client"));
                usage.warnings.push(format!(
                    "{client} listens on the device itself: start it anew after the takeover, or the lease ends"
                ));
            }
        }
    }

    /// The `.link` file that udev will apply to the host's new device.
    fn udev(&self, device: &Appearance, usage: &mut Usage) {
        let tap = device.of_tap();
        let all = UnitFile::all(self.root, "link");
        let Some(file) = all.iter().find(|file| file.applies(&tap)) else {
            return;
        };
        let path = file.path.display();
        match file.value("Link", "MACAddressPolicy") {
            // A MAC that somebody has set it lets alone, and ours is set
            // before udev sees the device (link_config_get_address... in
            // src/udev/net/link-config.c, NET_ADDR_SET).
            None | Some("persistent" | "none" | "") => {}
            Some(policy) => usage.warnings.push(format!(
                "udev gives the host's new device another MAC: {path} has MACAddressPolicy={policy}; except it by \
                 a file before that one, with OriginalName={} and MACAddressPolicy=none",
                device.name
            )),
        }
        if let Some(mac) = file.value("Link", "MACAddress")
            && device.mac.is_none_or(|own| !mac.eq_ignore_ascii_case(&own.to_string()))
        {
            usage.warnings.push(format!("udev gives the host's new device the MAC {mac}: {path} has MACAddress={mac}"));
        }
        if let Some(name) = file.value("Link", "Name").filter(|name| *name != device.name) {
            usage.warnings.push(format!("udev renames the host's new device to {name}: {path} has Name={name}"));
        }
    }
}

/// Of a file of `KEY=value` lines, whatever its sections.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')).map(str::trim)
}

/// Whether cloud-init is told to keep away from the network:
/// `network: {config: disabled}`, or the same over two lines.
fn leaves_network(text: &str) -> bool {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let code: String = code.chars().filter(|c| !c.is_whitespace() && !"{}'\"".contains(*c)).collect();
    code.contains("network:config:disabled")
}
