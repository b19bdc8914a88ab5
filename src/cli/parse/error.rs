//! What is wrong with a line, in words.

use crate::model::police::PortsError;
use crate::model::{IfNameError, NetnsError, PrefixError};

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
    /// An option of the command line, given in startup.conf.
    #[error("'{0}' has no place in startup.conf; give it to the command")]
    LineOnly(&'static str),
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
    /// A value that is none here, and is had in another way.
    #[error("{name} '{word}' is not taken here: {instead}")]
    Instead {
        /// The argument.
        name: &'static str,
        /// The word.
        word: &'static str,
        /// What is to be done.
        instead: &'static str,
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
    /// Not a list of ports.
    #[error("{name}: {error}")]
    Ports {
        /// The argument.
        name: &'static str,
        /// Why not.
        #[source]
        error: PortsError,
    },
    /// Words of which each is right, and which say nothing together.
    #[error("{0}")]
    Together(&'static str),
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
