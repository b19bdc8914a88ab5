//! The command tables. `build.rs` makes them from `cli-defs`; what each field
//! means is told in `cli-defs/README.md`.

use std::ffi::CStr;
use std::fmt::Write as _;

/// What runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// `hostnet enable`
    Enable,
    /// `hostnet disable`
    Disable,
    /// `hostnet uplink`
    Uplink,
    /// `hostnet release`
    Release,
    /// `show hostnet`
    Show,
    /// `hostnet audit`
    Audit,
    /// `show hostnet journal`
    Journal,
    /// `show hostnet mirror`
    Mirror,
    /// `hostnet police`
    Police,
    /// `show hostnet police`
    Policer,
    /// `show hostnet counters`
    Counters,
    /// `clear hostnet counters`
    Clear,
    /// `test hostnet fault`
    #[cfg(feature = "faults")]
    Fault,
    /// `test hostnet panic`
    #[cfg(feature = "faults")]
    Panic,
}

/// What an argument's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// An interface of VPP, by name or by `sw_if_index`.
    Interface,
    /// A name for a Linux device.
    IfName,
    /// A network namespace.
    Netns,
    /// A decimal number.
    U32 {
        /// The smallest that is taken.
        min: u32,
        /// The largest that is taken.
        max: u32,
    },
    /// A prefix without host bits.
    Prefix,
    /// Ports of TCP and UDP, with commas between.
    Ports,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A step of the plan, or `undo:` and a step.
    Step,
    /// No value: the argument's word alone.
    Flag,
}

/// An argument of a command.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentDef {
    /// Its word; of a positional one, what stands in `<>`.
    pub name: &'static str,
    /// Known by its place, not by its word.
    pub positional: bool,
    /// What its value is.
    pub kind: ValueKind,
    /// The value as the usage line has it; empty for a flag.
    pub placeholder: &'static str,
    /// It must be given.
    pub required: bool,
    /// It may be given more than once, each time with another value.
    pub repeatable: bool,
    /// What it is for.
    pub help: &'static str,
    /// What holds without it.
    pub default: Option<&'static str>,
    /// Words that are not taken, though one may look for them here, each with
    /// what is to be done instead.
    pub instead: &'static [(&'static str, &'static str)],
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct CommandDef {
    /// Its words, one space between.
    pub path: &'static str,
    /// [`Self::path`], for `vlib_cli_command_t.path`.
    pub c_path: &'static CStr,
    /// The whole syntax in one line.
    pub usage: &'static str,
    /// [`Self::usage`], for `vlib_cli_command_t.short_help`.
    pub short_help: &'static CStr,
    /// Syntax and arguments, for `vlib_cli_command_t.long_help`.
    pub long_help: &'static CStr,
    /// What it does.
    pub help: &'static str,
    /// A line that parses.
    pub example: &'static str,
    /// Only in test builds; not in the README.
    pub test_only: bool,
    /// What runs it.
    pub handler: Handler,
    /// Its arguments, in the order of the usage line.
    pub arguments: &'static [ArgumentDef],
}

impl CommandDef {
    /// Whether its path goes on from another command's. VPP is not told of
    /// such a one: where it fails, VPP drops the error and runs the shorter
    /// one instead (`vlib_cli_dispatch_sub_commands`, vlib/cli.c). It is found
    /// by the line of the shorter one, see [`Self::meant_by`].
    pub fn is_below_another(&self) -> bool {
        COMMANDS.iter().any(|other| self.below(other).is_some())
    }

    /// The command that a line means which VPP gives to this one, and what is
    /// left of the line.
    pub(super) fn meant_by<'a>(&'a self, rest: &'a str) -> (&'a Self, &'a str) {
        let longer = COMMANDS.iter().find_map(|other| {
            let behind = rest.trim_start().strip_prefix(other.below(self)?)?;
            let is_whole = behind.is_empty() || behind.starts_with(char::is_whitespace);
            is_whole.then_some((other, behind))
        });
        longer.unwrap_or((self, rest))
    }

    /// The words that its path has more than the other's.
    fn below(&self, other: &Self) -> Option<&'static str> {
        self.path.strip_prefix(other.path)?.strip_prefix(' ')
    }
}

include!(concat!(env!("OUT_DIR"), "/commands.rs"));

/// The command of that path.
pub fn command(path: &str) -> Option<&'static CommandDef> {
    COMMANDS.iter().find(|command| command.path == path)
}

/// The README's section on the commands; `tests/architecture` compares.
pub fn markdown() -> String {
    let mut out = String::new();
    for command in COMMANDS.iter().filter(|command| !command.test_only) {
        // Writing to a String cannot fail.
        let _ = write!(out, "### `{}`\n\n{}\n\n    {}\n\n", command.path, command.help, wrap(command.usage));
        if !command.arguments.is_empty() {
            out.push_str("| argument | value | default | |\n|---|---|---|---|\n");
        }
        for argument in command.arguments {
            let name = if argument.positional { format!("<{}>", argument.name) } else { argument.name.to_owned() };
            let default = match argument.default {
                Some(default) => default,
                None if argument.required => "must be given",
                None => "off",
            };
            let _ = writeln!(out, "| `{name}` | {} | {default} | {} |", value(argument), argument.help);
        }
        if !command.arguments.is_empty() {
            out.push('\n');
        }
        let _ = write!(out, "Example: `{}`\n\n", command.example);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn value(argument: &ArgumentDef) -> String {
    let dots = if argument.repeatable { ", repeatable" } else { "" };
    let text = match argument.kind {
        ValueKind::U32 { min, max } => format!("`<n>`, {min} to {max}"),
        ValueKind::Flag => return String::new(),
        ValueKind::Interface => "name or `sw_if_index`".to_owned(),
        ValueKind::IfName if argument.positional => "name in Linux".to_owned(),
        ValueKind::Ports => "`<port>,<port>...`".to_owned(),
        ValueKind::Words(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        // A bar ends a cell even inside of code.
        _ => format!("`{}`", argument.placeholder.replace('|', "\\|")),
    };
    format!("{text}{dots}")
}

/// Break the usage line before an option where it gets too long for a page.
fn wrap(usage: &str) -> String {
    const WIDTH: usize = 76;
    let mut out = String::new();
    let mut column = 0;
    for (index, part) in usage.split(" [").enumerate() {
        let part = if index == 0 { part.to_owned() } else { format!("[{part}") };
        if index > 0 && column + part.len() >= WIDTH {
            out.push_str("\n        ");
            column = 4;
        }
        if index > 0 && !out.ends_with(' ') {
            out.push(' ');
            column += 1;
        }
        column += part.len();
        out.push_str(&part);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_commands_have_the_promised_syntax() {
        let usage = |path: &str| command(path).unwrap().usage;
        assert_eq!(
            usage("hostnet enable"),
            "hostnet enable <interface> [host-if <name>] [host-netns <name|pid:N|/path>] [tap auto|vhost|builtin] \
             [mtu <n>] [cluster-cidr <prefix>]... [cluster-mtu <n>] [source-check] [dry-run]"
        );
        assert_eq!(usage("hostnet disable"), "hostnet disable <interface>");
        let options = usage("hostnet enable").strip_prefix("hostnet enable <interface>").unwrap();
        assert_eq!(
            usage("hostnet uplink"),
            format!(
                "hostnet uplink <linux-interface> [driver auto|af-packet|af-xdp|rdma|virtio|vmxnet3|device|dpdk|none] [no-iommu]{options}"
            )
        );
        assert_eq!(usage("hostnet release"), "hostnet release <linux-interface>");
        assert_eq!(usage("show hostnet journal"), "show hostnet journal [json]");
        assert_eq!(usage("show hostnet"), "show hostnet [<interface>] [verbose] [json]");
    }

    #[test]
    fn test_commands_exist_in_test_builds_only() {
        assert_eq!(command("test hostnet fault").is_some(), cfg!(feature = "faults"));
        assert_eq!(command("test hostnet panic").is_some(), cfg!(feature = "faults"));
        assert!(COMMANDS.iter().all(|command| command.test_only == command.path.starts_with("test ")));
    }

    #[test]
    fn a_command_below_another_is_found_by_its_line() {
        let below: Vec<&str> = COMMANDS.iter().filter(|c| c.is_below_another()).map(|c| c.path).collect();
        assert_eq!(
            below,
            ["show hostnet journal", "show hostnet mirror", "show hostnet police", "show hostnet counters"]
        );
        let meant = |rest| {
            let (command, rest) = SHOW.meant_by(rest);
            (command.path, rest)
        };
        assert_eq!(meant(" journal json"), ("show hostnet journal", " json"));
        assert_eq!(meant("journal"), ("show hostnet journal", ""));
        for rest in ["", "journals", "json journal", "verbose"] {
            assert_eq!(meant(rest), ("show hostnet", rest));
        }
    }

    #[test]
    fn the_c_strings_say_the_same() {
        for command in COMMANDS {
            assert_eq!(command.c_path.to_str().unwrap(), command.path);
            assert_eq!(command.short_help.to_str().unwrap(), command.usage);
            assert!(command.long_help.to_str().unwrap().starts_with(command.usage));
        }
    }

    #[test]
    fn the_tables_name_every_argument_and_no_test_command() {
        let text = markdown();
        assert!(!text.contains("test hostnet"), "{text}");
        for command in COMMANDS.iter().filter(|command| !command.test_only) {
            for argument in command.arguments {
                assert!(text.contains(argument.help), "{}", argument.name);
            }
        }
        assert!(text.contains("| `mtu` | `<n>`, 68 to 65521 | the uplink's MTU |"), "{text}");
        assert!(text.contains("`<name\\|pid:N\\|/path>`"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('|') || line.len() <= 130), "{text}");
    }
}
