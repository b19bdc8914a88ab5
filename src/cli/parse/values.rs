//! The values read so far of a line.

use super::{Cause, Place, Value};
use crate::cli::grammar::{ArgumentDef, CommandDef};
#[cfg(feature = "faults")]
use crate::engine::Step;
use crate::model::{IfName, Netns, Prefix};

/// The values read so far, under their arguments' names.
pub(in crate::cli) struct Values {
    place: Place,
    usage: &'static str,
    arguments: &'static [ArgumentDef],
    read: Vec<(&'static str, Value)>,
}

impl Values {
    pub(super) fn new(command: &CommandDef, place: Place) -> Self {
        Self { place, usage: command.usage, arguments: command.arguments, read: Vec::new() }
    }

    /// `false` when this very value is there already.
    pub(super) fn push(&mut self, name: &'static str, value: Value) -> bool {
        let new = (name, value);
        if self.read.contains(&new) {
            return false;
        }
        self.read.push(new);
        true
    }

    pub(in crate::cli) fn has(&self, name: &str) -> bool {
        self.read.iter().any(|(n, _)| *n == name)
    }

    pub(super) fn next_positional(&self) -> Option<&'static ArgumentDef> {
        self.arguments.iter().find(|argument| argument.positional && !self.has(argument.name))
    }

    /// The words of the options that may still be given.
    pub(super) fn open_options(&self) -> Vec<&'static str> {
        let open = |argument: &&ArgumentDef| {
            let again = argument.repeatable || !self.has(argument.name);
            !argument.positional && again && self.place.takes(argument.name)
        };
        self.arguments.iter().filter(open).map(|argument| argument.name).collect()
    }

    /// The first required argument that is not there.
    pub(super) fn missing(&self) -> Option<&'static ArgumentDef> {
        self.arguments.iter().find(|argument| argument.required && !self.has(argument.name))
    }

    fn take<T>(&mut self, name: &str, pick: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let at = self.read.iter().position(|(n, value)| *n == name && pick(value).is_some())?;
        pick(&self.read.remove(at).1)
    }

    pub(in crate::cli) fn interface(&mut self, name: &'static str) -> Result<u32, Cause> {
        let found = self.take(name, |value| match value {
            Value::Interface(index) => Some(*index),
            _ => None,
        });
        found.ok_or_else(|| self.absent(name))
    }

    pub(in crate::cli) fn ifname(&mut self, name: &str) -> Option<IfName> {
        self.take(name, |value| match value {
            Value::IfName(name) => Some(name.clone()),
            _ => None,
        })
    }

    pub(in crate::cli) fn netns(&mut self, name: &str) -> Option<Netns> {
        self.take(name, |value| match value {
            Value::Netns(netns) => Some(netns.clone()),
            _ => None,
        })
    }

    pub(in crate::cli) fn required_ifname(&mut self, name: &'static str) -> Result<IfName, Cause> {
        self.ifname(name).ok_or_else(|| self.absent(name))
    }

    pub(in crate::cli) fn number(&mut self, name: &str) -> Option<u32> {
        self.take(name, |value| match value {
            Value::U32(number) => Some(*number),
            _ => None,
        })
    }

    pub(in crate::cli) fn word(&mut self, name: &str) -> Option<&'static str> {
        self.take(name, |value| match value {
            Value::Word(word) => Some(*word),
            _ => None,
        })
    }

    pub(in crate::cli) fn ports(&mut self, name: &str) -> Option<Vec<u16>> {
        self.take(name, |value| match value {
            Value::Ports(ports) => Some(ports.clone()),
            _ => None,
        })
    }

    /// In the order given.
    pub(in crate::cli) fn prefixes(&self, name: &str) -> Vec<Prefix> {
        let mine = |(n, value): &(&str, Value)| match value {
            Value::Prefix(prefix) if *n == name => Some(*prefix),
            _ => None,
        };
        self.read.iter().filter_map(mine).collect()
    }

    #[cfg(feature = "faults")]
    pub(in crate::cli) fn step(&mut self, name: &'static str) -> Result<(Step, bool), Cause> {
        let found = self.take(name, |value| match value {
            Value::Step(step, undo) => Some((*step, *undo)),
            _ => None,
        });
        found.ok_or_else(|| self.absent(name))
    }

    fn absent(&self, name: &'static str) -> Cause {
        let argument = self.arguments.iter().find(|argument| argument.name == name);
        Cause::Missing { placeholder: argument.map_or(name, |a| a.placeholder), usage: self.usage }
    }
}
