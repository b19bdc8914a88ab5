//! From a line of text to a request: one generic parser over the tables.
//!
//! The text is what stands behind the command's path on the line, as VPP
//! hands it over (one line of it: in a file for `exec` more lines follow).

use super::grammar::{ArgumentDef, CommandDef, ValueKind};
use super::request::{Request, request};
#[cfg(feature = "faults")]
use crate::engine::Step;
use crate::model::police::parse_ports;
use crate::model::{IfName, Netns, Prefix};

mod error;
mod values;

pub use error::{Cause, ParseError};
pub(super) use values::Values;

/// Finds an interface: the word as the user wrote it to VPP's `sw_if_index`.
/// [`resolve_interface`] is the rule for it.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// Options that say what to do now: the command line has them, and startup.conf,
/// which says what is to be, has not.
const LINE_ONLY: &[&str] = &["dry-run"];

/// Where a command's words stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the command line.
    Line,
    /// Between the braces of startup.conf's stanza.
    Stanza,
    /// Where `words::to_words` wrote them: each keyword with its value.
    Kept,
}

impl Place {
    fn takes(self, name: &str) -> bool {
        self != Self::Stanza || !LINE_ONLY.contains(&name)
    }

    fn end(self) -> &'static str {
        if self == Self::Stanza { "'}'" } else { "the end of the line" }
    }
}

/// A value, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Interface(u32),
    IfName(IfName),
    Netns(Netns),
    U32(u32),
    Prefix(Prefix),
    Ports(Vec<u16>),
    Word(&'static str),
    #[cfg(feature = "faults")]
    Step(Step, bool),
    Flag,
}

/// Understand what stands behind `command` on the line.
/// A longer path than `command`'s, where the line has one, is that command.
pub fn parse(command: &CommandDef, rest: &str, resolve: Resolve<'_>) -> Result<Request, ParseError> {
    let (command, rest) = command.meant_by(rest);
    read(command, Place::Line, None, rest, resolve)
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

/// Read `first`, which is the first positional argument whatever word it is,
/// and then what the words of `rest` say.
pub(super) fn read(
    command: &CommandDef,
    place: Place,
    first: Option<&str>,
    rest: &str,
    resolve: Resolve<'_>,
) -> Result<Values, Cause> {
    let mut values = Values::new(command, place);
    if let (Some(word), Some(argument)) = (first, values.next_positional()) {
        let value = value(argument, word, resolve, &values)?;
        values.push(argument.name, value);
    }
    let mut words = rest.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let named = command.arguments.iter().find(|argument| !argument.positional && argument.name == word);
        let argument = match named {
            Some(argument) => argument,
            None => match values.next_positional() {
                Some(argument) => argument,
                None => return Err(Cause::UnknownWord { word: word.to_owned(), expected: expected(&values, place) }),
            },
        };
        if !place.takes(argument.name) {
            return Err(Cause::LineOnly(argument.name));
        }
        if named.is_some() && !argument.repeatable && values.has(argument.name) {
            return Err(Cause::Twice(argument.name));
        }
        let text = if argument.positional {
            word
        } else if argument.kind == ValueKind::Flag {
            ""
        } else {
            // The word of another option is that option, not this one's value.
            let is_option = |next: &&str| {
                place != Place::Kept && command.arguments.iter().any(|a| !a.positional && a.name == *next)
            };
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

/// What could stand next.
fn expected(values: &Values, place: Place) -> String {
    match values.open_options().as_slice() {
        [] => place.end().to_owned(),
        [one] => format!("'{one}' or {}", place.end()),
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
        ValueKind::Ports => parse_ports(word).map(Value::Ports).map_err(|error| Cause::Ports { name, error }),
        ValueKind::U32 { min, max } => match decimal(word) {
            None => Err(Cause::NotANumber { name, word: word.to_owned(), min, max }),
            Some(Some(number)) if (min..=max).contains(&number) => Ok(Value::U32(number)),
            Some(_) => Err(Cause::OutOfRange { name, word: word.to_owned(), min, max }),
        },
        ValueKind::Words(known) => known.iter().find(|k| **k == word).map(|k| Value::Word(k)).ok_or_else(|| {
            match argument.instead.iter().find(|(other, _)| *other == word) {
                Some((word, instead)) => Cause::Instead { name, word, instead },
                None => Cause::NotOneOf { name, word: word.to_owned(), expected: known.join(", ") },
            }
        }),
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
        let names: Vec<&str> = Step::every().map(Step::name).collect();
        Cause::NotOneOf { name, word: word.to_owned(), expected: names.join(", ") }
    })
}

/// Only commands of test builds have steps.
#[cfg(not(feature = "faults"))]
fn step(name: &'static str, word: &str) -> Result<Value, Cause> {
    Err(Cause::NotOneOf { name, word: word.to_owned(), expected: String::new() })
}

#[cfg(test)]
mod tests;
