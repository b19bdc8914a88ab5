//! From a line of text to a request: one generic parser over the tables.
//!
//! The text is what stands behind the command's path on the line, as VPP
//! hands it over (one line of it: in a file for `exec` more lines follow).

use super::grammar::{ArgumentDef, CommandDef, Handler, ValueKind};
#[cfg(feature = "faults")]
use crate::engine::Step;
use crate::engine::{EnableRequest, TapChoice};
use crate::model::{IfName, IfNameError, Netns, NetnsError, Prefix, PrefixError};

mod values;

use values::Values;

/// Finds an interface: the word as the user wrote it to VPP's `sw_if_index`.
/// [`resolve_interface`] is the rule for it.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// A command, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `hostnet enable`
    Enable(EnableRequest),
    /// `hostnet disable`
    Disable {
        /// VPP's index of the uplink.
        sw_if_index: u32,
    },
    /// `show hostnet`
    Show {
        /// VPP's index of the uplink; all of them with `None`.
        sw_if_index: Option<u32>,
        /// Everything, as text.
        verbose: bool,
        /// Everything, as JSON; wins over `verbose`.
        json: bool,
    },
    /// `test hostnet fault`
    #[cfg(feature = "faults")]
    Fault {
        /// The step that goes wrong.
        step: Step,
        /// Its undoing goes wrong, not the step itself.
        undo: bool,
        /// How.
        mode: FaultMode,
    },
    /// `test hostnet panic`
    #[cfg(feature = "faults")]
    Panic {
        /// Where.
        place: PanicPlace,
    },
}

/// How a step goes wrong.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultMode {
    /// It returns an error.
    Fail,
    /// It panics.
    Panic,
}

/// Where a panic is provoked.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanicPlace {
    /// In the command's handler.
    Command,
    /// In the process node.
    Process,
    /// In the helper thread.
    Helper,
}

/// A line that is not understood. Shown, it begins with the command's path;
/// VPP puts the path before a handler's error itself, so a handler returns
/// only the [`Cause`] to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command}: {cause}")]
pub struct ParseError {
    /// The command's path.
    pub command: &'static str,
    /// What is wrong and what would be right.
    #[source]
    pub cause: Cause,
}

/// What is wrong with a line, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// A word that has no place here.
    #[error("unknown word '{word}'; expected {expected}")]
    UnknownWord {
        /// The word.
        word: String,
        /// What could stand in its place.
        expected: String,
    },
    /// An option that is given again.
    #[error("'{0}' is given twice; give it once")]
    Twice(&'static str),
    /// A repeatable option with the same value again.
    #[error("'{name} {value}' is given twice; give each value once")]
    SameValue {
        /// The option.
        name: &'static str,
        /// The value, as written the second time.
        value: String,
    },
    /// An option at the end of the line, or before another option.
    #[error("'{name}' has no value; write it as '{name} {placeholder}'")]
    NoValue {
        /// The option.
        name: &'static str,
        /// How its value looks.
        placeholder: &'static str,
    },
    /// A required argument is not there.
    #[error("{placeholder} is missing; usage: {usage}")]
    Missing {
        /// The argument.
        placeholder: &'static str,
        /// The command's syntax.
        usage: &'static str,
    },
    /// Not an interface of VPP.
    #[error("unknown interface '{word}'; expected a name or index of 'show interface'{or}")]
    UnknownInterface {
        /// The word.
        word: String,
        /// What else could stand in its place, or nothing.
        or: String,
    },
    /// Not a number.
    #[error("{name} '{word}' is not a number; expected {min} to {max}")]
    NotANumber {
        /// The option.
        name: &'static str,
        /// The word.
        word: String,
        /// The smallest that is taken.
        min: u32,
        /// The largest that is taken.
        max: u32,
    },
    /// A number that is too small or too large.
    #[error("{name} {word} is out of range; expected {min} to {max}")]
    OutOfRange {
        /// The option.
        name: &'static str,
        /// The number, as written.
        word: String,
        /// The smallest that is taken.
        min: u32,
        /// The largest that is taken.
        max: u32,
    },
    /// A value that is none of those that there are.
    #[error("unknown {name} '{word}'; expected one of: {expected}")]
    NotOneOf {
        /// The argument.
        name: &'static str,
        /// The word.
        word: String,
        /// Those that there are.
        expected: String,
    },
    /// Not a prefix.
    #[error("{name}: {error}")]
    Prefix {
        /// The option.
        name: &'static str,
        /// Why not.
        #[source]
        error: PrefixError,
    },
    /// Not a device name.
    #[error("{name}: {error}")]
    IfName {
        /// The option.
        name: &'static str,
        /// Why not.
        #[source]
        error: IfNameError,
    },
    /// Not a network namespace.
    #[error("{name}: {error}")]
    Netns {
        /// The option.
        name: &'static str,
        /// Why not.
        #[source]
        error: NetnsError,
    },
}

/// A value, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Interface(u32),
    IfName(IfName),
    Netns(Netns),
    U32(u32),
    Prefix(Prefix),
    Word(&'static str),
    #[cfg(feature = "faults")]
    Step(Step, bool),
    Flag,
}

/// Understand what stands behind `command` on the line.
pub fn parse(command: &CommandDef, rest: &str, resolve: Resolve<'_>) -> Result<Request, ParseError> {
    read(command, rest, resolve)
        .and_then(|values| request(command, values))
        .map_err(|cause| ParseError { command: command.path, cause })
}

/// The rule for an interface's word: a name wins over a number, and a number
/// is a decimal `sw_if_index` that exists.
pub fn resolve_interface(
    word: &str,
    by_name: impl FnOnce(&str) -> Option<u32>,
    exists: impl FnOnce(u32) -> bool,
) -> Option<u32> {
    by_name(word).or_else(|| decimal(word).flatten().filter(|index| exists(*index)))
}

fn read(command: &CommandDef, rest: &str, resolve: Resolve<'_>) -> Result<Values, Cause> {
    let mut values = Values::new(command);
    let mut words = rest.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let named = command.arguments.iter().find(|argument| !argument.positional && argument.name == word);
        let argument = match named {
            Some(argument) => argument,
            None => match values.next_positional() {
                Some(argument) => argument,
                None => return Err(Cause::UnknownWord { word: word.to_owned(), expected: expected(&values) }),
            },
        };
        if named.is_some() && !argument.repeatable && values.has(argument.name) {
            return Err(Cause::Twice(argument.name));
        }
        let text = if argument.positional {
            word
        } else if argument.kind == ValueKind::Flag {
            ""
        } else {
            // The word of another option is that option, not this one's value.
            let is_option = |next: &&str| command.arguments.iter().any(|a| !a.positional && a.name == *next);
            let no_value = Cause::NoValue { name: argument.name, placeholder: argument.placeholder };
            words.next_if(|next| !is_option(next)).ok_or(no_value)?
        };
        let value = value(argument, text, resolve, &values)?;
        if !values.push(argument.name, value) {
            return Err(Cause::SameValue { name: argument.name, value: text.to_owned() });
        }
    }
    match values.missing() {
        Some(argument) => Err(Cause::Missing { placeholder: argument.placeholder, usage: command.usage }),
        None => Ok(values),
    }
}

/// What could stand next on the line.
fn expected(values: &Values) -> String {
    match values.open_options().as_slice() {
        [] => "the end of the line".to_owned(),
        [one] => format!("'{one}' or the end of the line"),
        many => format!("one of: {}", many.join(", ")),
    }
}

fn value(argument: &ArgumentDef, word: &str, resolve: Resolve<'_>, values: &Values) -> Result<Value, Cause> {
    let name = argument.name;
    match argument.kind {
        ValueKind::Flag => Ok(Value::Flag),
        ValueKind::Interface => resolve(word).map(Value::Interface).ok_or_else(|| {
            let options = values.open_options();
            // Where the interface may be left out, the word may be a mistyped option.
            let or = if options.is_empty() || argument.required {
                String::new()
            } else {
                format!(", or one of: {}", options.join(", "))
            };
            Cause::UnknownInterface { word: word.to_owned(), or }
        }),
        ValueKind::IfName => word.parse().map(Value::IfName).map_err(|error| Cause::IfName { name, error }),
        ValueKind::Netns => word.parse().map(Value::Netns).map_err(|error| Cause::Netns { name, error }),
        ValueKind::Prefix => word.parse().map(Value::Prefix).map_err(|error| Cause::Prefix { name, error }),
        ValueKind::U32 { min, max } => match decimal(word) {
            None => Err(Cause::NotANumber { name, word: word.to_owned(), min, max }),
            Some(Some(number)) if (min..=max).contains(&number) => Ok(Value::U32(number)),
            Some(_) => Err(Cause::OutOfRange { name, word: word.to_owned(), min, max }),
        },
        ValueKind::Words(known) => known
            .iter()
            .find(|k| **k == word)
            .map(|k| Value::Word(k))
            .ok_or_else(|| Cause::NotOneOf { name, word: word.to_owned(), expected: known.join(", ") }),
        ValueKind::Step => step(name, word),
    }
}

/// `None`: not decimal digits. `Some(None)`: too many of them for a `u32`.
/// (`u32::from_str` would take a `+` as well.)
#[allow(clippy::option_option, reason = "two ways to fail, told apart by both callers")]
fn decimal(word: &str) -> Option<Option<u32>> {
    let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| word.parse().ok())
}

#[cfg(feature = "faults")]
fn step(name: &'static str, word: &str) -> Result<Value, Cause> {
    let (undo, step) = match word.strip_prefix("undo:") {
        Some(step) => (true, step),
        None => (false, word),
    };
    Step::by_name(step).map(|step| Value::Step(step, undo)).ok_or_else(|| {
        // The builtin backend has every step.
        let names: Vec<&str> = Step::all(crate::model::Backend::Builtin).map(Step::name).collect();
        Cause::NotOneOf { name, word: word.to_owned(), expected: names.join(", ") }
    })
}

/// Only commands of test builds have steps.
#[cfg(not(feature = "faults"))]
fn step(name: &'static str, word: &str) -> Result<Value, Cause> {
    Err(Cause::NotOneOf { name, word: word.to_owned(), expected: String::new() })
}

/// From values to the handler's own struct. The names are those of `cli-defs`;
/// a test gives every argument of every command and looks for it here.
fn request(command: &CommandDef, mut values: Values) -> Result<Request, Cause> {
    match command.handler {
        Handler::Enable => Ok(Request::Enable(EnableRequest {
            sw_if_index: values.interface("interface")?,
            host_if: values.ifname("host-if"),
            host_netns: values.netns("host-netns").unwrap_or_default(),
            tap: match values.word("tap") {
                Some("vhost") => TapChoice::Vhost,
                Some("builtin") => TapChoice::Builtin,
                _ => TapChoice::Auto,
            },
            mtu: values.number("mtu"),
            cluster_cidrs: values.prefixes("cluster-cidr"),
            cluster_mtu: values.number("cluster-mtu"),
            dry_run: values.has("dry-run"),
        })),
        Handler::Disable => Ok(Request::Disable { sw_if_index: values.interface("interface")? }),
        Handler::Show => Ok(Request::Show {
            sw_if_index: values.interface("interface").ok(),
            verbose: values.has("verbose"),
            json: values.has("json"),
        }),
        #[cfg(feature = "faults")]
        Handler::Fault => {
            let (step, undo) = values.step("step")?;
            let mode = match values.word("how") {
                Some("panic") => FaultMode::Panic,
                _ => FaultMode::Fail,
            };
            Ok(Request::Fault { step, undo, mode })
        }
        #[cfg(feature = "faults")]
        Handler::Panic => Ok(Request::Panic {
            place: match values.word("place") {
                Some("process") => PanicPlace::Process,
                Some("helper") => PanicPlace::Helper,
                _ => PanicPlace::Command,
            },
        }),
    }
}

#[cfg(test)]
mod tests;
