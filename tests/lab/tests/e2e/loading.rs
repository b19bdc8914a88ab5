//! The plugin loads, under every configuration, and only into its own VPP.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::cleanup::{Debt, owe, settle};
use hostnet_lab::topology::{Lab, Options};
use libtest_mimic::Trial;

use crate::support::{enable_all, options, plain, plugin, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![plain("load_another_version_is_refused_by_vpp", another_version)];
    for workers in [0, 2] {
        for tap in [false, true] {
            let name =
                format!("load_with_{workers}_workers_{}_tap_plugin", if tap { "and_the" } else { "without_the" });
            let options = move || {
                let mut options = Options::default();
                options.vpp.hostnet = Some(plugin());
                options.vpp.workers = workers;
                if tap {
                    options.vpp.plugins.push("tap_plugin.so".to_owned());
                }
                options
            };
            tests.push(scenario(&name, options, listed));
        }
    }
    tests.push(scenario("load_enable_then_stop_with_sigterm", options, |lab| {
        enable_all(lab)?;
        lab.vpp.stop()
    }));
    tests
}

fn listed(lab: &Lab) -> Result<()> {
    let said = lab.vpp.ctl("show plugins")?;
    let line = said.lines().find(|line| line.contains("hostnet_plugin.so"));
    let line = line.with_context(|| format!("not in 'show plugins':\n{said}"))?;
    // Number, file, version, description.
    let words: Vec<&str> = line.split_whitespace().collect();
    let version = words.get(2).copied().unwrap_or_default();
    ensure!(version.starts_with(|c: char| c.is_ascii_digit()), "no version: {line}");
    ensure!(words.len() > 5, "no description: {line}");
    let said = lab.vpp.ctl("show hostnet")?;
    ensure!(!said.contains("unknown input"), "{said}");
    lab.vpp.stop()
}

/// The file's place of a section: offset and size (ELF64, little endian).
fn section(file: &[u8], wanted: &str) -> Option<(usize, usize)> {
    let number = |at: usize, size: usize| -> Option<usize> {
        let mut bytes = [0_u8; 8];
        bytes.get_mut(..size)?.copy_from_slice(file.get(at..at + size)?);
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let (table, entry, count) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?);
    let header = |index: usize| table + index * entry;
    let names = number(header(number(0x3e, 2)?) + 0x18, 8)?;
    (0..count).map(header).find_map(|at| {
        let name = names + number(at, 4)?;
        let text = file.get(name..name + wanted.len() + 1)?;
        (text.split_last()? == (&0, wanted.as_bytes())).then_some((number(at + 0x18, 8)?, number(at + 0x20, 8)?))
    })
}

/// Where `version_required` is in the registration (vlib/unix/plugin.h): after
/// a cache line and `version[64]`… both 64 bytes long.
fn with_version(file: &mut [u8], version: &str) -> Result<String> {
    let (at, size) = section(file, ".vlib_plugin_registration").context("no registration")?;
    let registration = file.get_mut(at..at + size).context("a section outside of the file")?;
    // One byte of flags, version[64], version_required[64].
    let field = registration.get_mut(65..129).context("the registration is too short")?;
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let was = String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned();
    field.fill(0);
    field.get_mut(..version.len()).context("too long")?.copy_from_slice(version.as_bytes());
    Ok(was)
}

fn another_version() -> Result<()> {
    let mut file = std::fs::read(plugin()).with_context(|| plugin().display().to_string())?;
    let was = with_version(&mut file, "99.09")?;
    ensure!(was.starts_with(|c: char| c.is_ascii_digit()), "the plugin requires version '{was}' of VPP");
    let dir = std::path::Path::new(hostnet_lab::cleanup::RUN_ROOT).join(format!(
        "{}{}-version",
        hostnet_lab::cleanup::PREFIX,
        std::process::id()
    ));
    let debt = Debt::Dir(dir.clone());
    owe(debt.clone());
    std::fs::create_dir_all(&dir)?;
    let copy = dir.join("other.so");
    std::fs::write(&copy, file)?;
    let mut options = options();
    options.vpp.hostnet = Some(copy);
    let lab = Lab::start(&options)?;
    let plugins = lab.vpp.ctl("show plugins")?;
    ensure!(!plugins.contains("hostnet_plugin.so"), "it was loaded:\n{plugins}");
    let words = lab.vpp.last_words() + &lab.vpp.ctl("show logging")?;
    ensure!(
        words.contains("hostnet_plugin.so version mismatch"),
        "VPP does not say that the version is wrong:\n{words}"
    );
    lab.vpp.alive()?;
    settle(&debt);
    Ok(())
}
