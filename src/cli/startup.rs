//! The `hostnet` stanza of startup.conf: its own few words here, an uplink's
//! options by the grammar of `hostnet uplink`.
//!
//! ```text
//! uplink enp216s0f1 { driver auto cluster-cidr 10.96.0.0/12 }
//! journal /var/lib/hostnet
//! netns hostnet-uplinks
//! guard
//! mirror { receive-buffer 134217728 audit-interval 300 kernel-only to-host export API CLI }
//! police { icmp rate 200 burst 50 ports 22,830 multicast off }
//! ```

use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::vec::IntoIter;

use super::grammar;
use super::parse::{Cause, Place, read};
use super::request::{police, uplink};
use crate::engine::mirror::MirrorOptions;
use crate::engine::{GUARD, Startup, UplinkRequest};
use crate::model::Netns;
use crate::model::police::{Class, Config};

/// The stanza's own words, each with what stands behind it.
const WORDS: &[(&str, &str)] = &[
    ("uplink", "<linux-interface> [{ options }]"),
    ("journal", "</directory>"),
    ("netns", "<name>"),
    ("guard", "[</program>]"),
    ("mirror", "{ options }"),
    ("police", "{ classes }"),
];

/// What ends a list within the braces of `mirror`.
const MIRROR_WORDS: [&str; 6] = ["receive-buffer", "audit-interval", "kernel-only", "export", "{", "}"];

/// Every class, in the stanza `police` as on the command line.
const ALL: &str = "all";

/// What is wrong with the stanza, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// None of the stanza's own words.
    #[error("unknown word '{word}'; expected one of: {expected}{hint}", expected = names())]
    UnknownWord {
        /// The word.
        word: String,
        /// Where it belongs, if anywhere.
        hint: &'static str,
    },
    /// A word at the end, or before a brace or another word of the stanza.
    #[error("'{name}' has no value; write it as '{name} {placeholder}'")]
    NoValue {
        /// The word.
        name: &'static str,
        /// How its value looks.
        placeholder: &'static str,
    },
    /// A word that may stand once.
    #[error("'{0}' is given twice; give it once")]
    Twice(&'static str),
    /// What stands behind `mirror`.
    #[error(
        "mirror: {0}; write it as 'mirror {{ receive-buffer <bytes> audit-interval <seconds> kernel-only to-host export <source>... }}'"
    )]
    Mirror(String),
    /// What stands behind `police`.
    #[error("police: {0}; write it as 'police {{ <class> rate <n> burst <n> ports <port,...> <class> off }}'")]
    Police(String),
    /// An entry within the braces of `police`.
    #[error("police {class}: {cause}")]
    PoliceClass {
        /// The class, as written.
        class: String,
        /// What is wrong.
        #[source]
        cause: Cause,
    },
    /// A brace that opens nothing.
    #[error("'{{' has no place here; only 'uplink <linux-interface>', 'mirror' and 'police' have braces behind them")]
    Open,
    /// A brace that closes nothing.
    #[error("'}}' closes nothing; take it away, or write the '{{' that it closes")]
    Close,
    /// The text ends within an uplink's braces.
    #[error("uplink {0}: its '{{' is never closed; write '}}' behind its options")]
    Unclosed(String),
    /// A brace within an uplink's braces.
    #[error("uplink {0}: '{{' within its braces; write '}}' behind its options first")]
    Nested(String),
    /// An option of an uplink.
    #[error("uplink {linux_if}: {cause}")]
    Uplink {
        /// The interface, as written.
        linux_if: String,
        /// What is wrong.
        #[source]
        cause: Cause,
    },
    /// The same interface of the same namespace.
    #[error("uplink {0} is given twice in one namespace; give it once, with all of its options")]
    SameUplink(String),
    /// Where VPP is started says nothing of where journals are looked for.
    #[error("journal '{0}' is not an absolute path; write it as /var/lib/hostnet")]
    RelativeJournal(String),
    /// The same holds for the guard.
    #[error("guard '{0}' is not an absolute path; write it as /usr/sbin/hostnet-guard, or leave it out")]
    RelativeGuard(String),
    /// Taken netdevs are kept alive by their namespace having a name.
    #[error("netns '{0}' is not a name of 'ip netns'; write it as hostnet-uplinks, without '/' or 'pid:'")]
    NotANetnsName(String),
}

fn names() -> String {
    WORDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Understand what stands between the braces of `hostnet { ... }`: words,
/// white space, braces. VPP takes comments out of a file before
/// (`vpp/vnet/main.c`), but not of its command line, so they may be there.
pub fn parse_startup(text: &str) -> Result<Startup, StartupError> {
    let mut tokens = Tokens(tokens(text).into_iter().peekable());
    let (mut journal, mut netns, mut guard, mut mirror, mut police) = (None, None, None, None, None);
    let mut uplinks: Vec<UplinkRequest> = Vec::new();
    while let Some(word) = tokens.0.next() {
        match word {
            "uplink" => {
                let request = tokens.uplink()?;
                // By path: a namespace has more than one way to be named.
                let place = |r: &UplinkRequest| (r.linux_if.clone(), r.enable.host_netns.path());
                if uplinks.iter().any(|other| place(other) == place(&request)) {
                    return Err(StartupError::SameUplink(request.linux_if.to_string()));
                }
                uplinks.push(request);
            }
            "journal" => once("journal", &mut journal, directory(tokens.value("journal")?)?)?,
            "netns" => once("netns", &mut netns, netns_name(tokens.value("netns")?)?)?,
            "mirror" => once("mirror", &mut mirror, tokens.mirror()?)?,
            "police" => once("police", &mut police, tokens.police()?)?,
            "guard" => once("guard", &mut guard, program(tokens.optional())?)?,
            "{" => return Err(StartupError::Open),
            "}" => return Err(StartupError::Close),
            _ => {
                let is_option = grammar::UPLINK.arguments.iter().any(|a| !a.positional && a.name == word);
                let hint =
                    if is_option { "; options stand in braces, as 'uplink <linux-interface> { ... }'" } else { "" };
                return Err(StartupError::UnknownWord { word: word.to_owned(), hint });
            }
        }
    }
    let default = Startup::default();
    Ok(Startup {
        journal: journal.unwrap_or(default.journal),
        netns: netns.unwrap_or(default.netns),
        guard,
        mirror: mirror.unwrap_or_default(),
        police: police.unwrap_or_default(),
        uplinks,
    })
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), StartupError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(StartupError::Twice(name)),
    }
}

fn directory(word: &str) -> Result<PathBuf, StartupError> {
    let path = Path::new(word);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err(StartupError::RelativeJournal(word.to_owned())) }
}

fn program(word: Option<&str>) -> Result<PathBuf, StartupError> {
    let path = Path::new(word.unwrap_or(GUARD));
    if path.is_absolute() { Ok(path.to_owned()) } else { Err(StartupError::RelativeGuard(path.display().to_string())) }
}

fn netns_name(word: &str) -> Result<String, StartupError> {
    match word.parse() {
        Ok(Netns::Name(name)) => Ok(name),
        _ => Err(StartupError::NotANetnsName(word.to_owned())),
    }
}

/// Words and braces; a brace stands for itself even without white space.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for line in text.split(['\n', '\r']) {
        let pieces = line.split_whitespace().flat_map(|word| word.split_inclusive(['{', '}']));
        for piece in pieces.take_while(|piece| !piece.starts_with('#')) {
            let (word, brace) = piece.split_at(piece.len() - usize::from(piece.ends_with(['{', '}'])));
            tokens.extend([word, brace].into_iter().filter(|token| !token.is_empty()));
        }
    }
    tokens
}

struct Tokens<'a>(Peekable<IntoIter<&'a str>>);

impl<'a> Tokens<'a> {
    /// What stands behind `name`: no brace, and no word of the stanza.
    fn value(&mut self, name: &'static str) -> Result<&'a str, StartupError> {
        let placeholder = WORDS.iter().find(|(word, _)| *word == name).map_or("", |(_, placeholder)| placeholder);
        self.optional().ok_or(StartupError::NoValue { name, placeholder })
    }

    /// The same where nothing may stand.
    fn optional(&mut self) -> Option<&'a str> {
        let is_value = |next: &&str| !matches!(*next, "{" | "}") && !WORDS.iter().any(|(word, _)| word == next);
        self.0.next_if(is_value)
    }

    /// What stands behind `mirror`.
    fn mirror(&mut self) -> Result<MirrorOptions, StartupError> {
        let wrong = |text: String| StartupError::Mirror(text);
        if self.0.next_if_eq(&"{").is_none() {
            return Err(wrong("its options stand in braces".to_owned()));
        }
        let mut options = MirrorOptions::default();
        let mut seen = Vec::new();
        loop {
            let word = self.0.next().ok_or_else(|| wrong("its '{' is never closed".to_owned()))?;
            if word == "}" {
                return Ok(options);
            }
            if seen.contains(&word) {
                return Err(wrong(format!("'{word}' is given twice")));
            }
            seen.push(word);
            match word {
                "receive-buffer" => {
                    // What the kernel counts in is an int, of which it takes the double.
                    let range = 4096..=u64::from(u32::MAX / 4);
                    options.receive_buffer = usize::try_from(self.number(word, range)?).unwrap_or(usize::MAX);
                }
                "audit-interval" => {
                    let seconds = self.number(word, 0..=86_400)?;
                    options.audit_interval = (seconds > 0).then(|| Duration::from_secs(seconds));
                }
                "kernel-only" => match self.0.next() {
                    Some("to-host") => options.to_host = true,
                    other => {
                        let found = other.unwrap_or("nothing");
                        return Err(wrong(format!("behind 'kernel-only' stands '{found}', where only 'to-host' can")));
                    }
                },
                "export" => {
                    while let Some(source) = self.0.next_if(|next| !MIRROR_WORDS.contains(next)) {
                        if options.export.iter().any(|other| other == source) {
                            return Err(wrong(format!("'export {source}' is given twice")));
                        }
                        options.export.push(source.to_owned());
                    }
                    if options.export.is_empty() {
                        return Err(wrong("behind 'export' stands no source; 'show fib source' lists them".to_owned()));
                    }
                }
                _ => return Err(wrong(format!("unknown word '{word}'"))),
            }
        }
    }

    /// A number behind one of the words of `mirror`.
    fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<u64, StartupError> {
        let word = self.0.next().unwrap_or("nothing");
        let number = word.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            StartupError::Mirror(format!("'{name} {word}': a number from {from} to {to} is wanted"))
        })
    }

    /// What stands behind `police`: entries that each begin with a class, by the
    /// grammar of `hostnet police`.
    fn police(&mut self) -> Result<Config, StartupError> {
        let wrong = |text: &str| StartupError::Police(text.to_owned());
        if self.0.next_if_eq(&"{").is_none() {
            return Err(wrong("its classes stand in braces"));
        }
        let begins = |word: &str| word == ALL || word.parse::<Class>().is_ok();
        let mut config = Config::default();
        let mut seen = Vec::new();
        loop {
            let class = self.0.next().ok_or_else(|| wrong("its '{' is never closed"))?;
            if class == "}" {
                return Ok(config);
            }
            if seen.contains(&class) {
                return Err(wrong(&format!("'{class}' is given twice")));
            }
            seen.push(class);
            let mut words = Vec::new();
            while let Some(word) = self.0.next_if(|next| !matches!(*next, "{" | "}") && !begins(next)) {
                words.push(word);
            }
            let change = read(&grammar::POLICE, Place::Stanza, Some(class), &words.join(" "), &|_| None)
                .and_then(|mut values| police(&mut values))
                .map_err(|cause| StartupError::PoliceClass { class: class.to_owned(), cause })?;
            config.change(&change);
        }
    }

    /// What stands behind `uplink`.
    fn uplink(&mut self) -> Result<UplinkRequest, StartupError> {
        let name = self.value("uplink")?;
        let linux_if = name.to_owned();
        let mut options = Vec::new();
        if self.0.next_if_eq(&"{").is_some() {
            loop {
                match self.0.next() {
                    None => return Err(StartupError::Unclosed(linux_if)),
                    Some("{") => return Err(StartupError::Nested(linux_if)),
                    Some("}") => break,
                    Some(word) => options.push(word),
                }
            }
        }
        read(&grammar::UPLINK, Place::Stanza, Some(name), &options.join(" "), &|_| None)
            .and_then(|mut values| uplink(&mut values))
            .map_err(|cause| StartupError::Uplink { linux_if, cause })
    }
}

#[cfg(test)]
mod tests;
