//! The compiler of `cli-defs`: checks the definitions and writes them as Rust
//! tables. Pure, so that `tests/cli_defs.rs` can feed it wrong ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;

/// What a definition may name as its handler, with the variant of
/// `cli::grammar::Handler`.
const HANDLERS: &[(&str, &str)] = &[
    ("enable", "Enable"),
    ("disable", "Disable"),
    ("uplink", "Uplink"),
    ("release", "Release"),
    ("show", "Show"),
    ("audit", "Audit"),
    ("journal", "Journal"),
    ("mirror", "Mirror"),
    ("police", "Police"),
    ("policer", "Policer"),
    ("counters", "Counters"),
    ("clear", "Clear"),
    ("fault", "Fault"),
    ("panic", "Panic"),
];
/// Features that a command may be bound to.
const FEATURES: &[&str] = &["faults"];
/// Constants of `engine` that may stand as `min` and `max`.
const BOUNDS: &[&str] = &["MTU_MIN", "MTU_MAX", "RATE_MIN", "RATE_MAX"];
const KINDS: &[&str] = &["interface", "ifname", "netns", "u32", "prefix", "ports", "words", "step"];
const FORMS: &[&str] = &["positional", "keyword", "flag"];

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    path: String,
    handler: String,
    help: String,
    example: String,
    feature: Option<String>,
    include: Option<String>,
    #[serde(default, rename = "argument")]
    arguments: Vec<Argument>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    name: String,
    form: String,
    kind: Option<String>,
    min: Option<Bound>,
    max: Option<Bound>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    instead: BTreeMap<String, String>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    repeatable: bool,
    help: String,
    default: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Bound {
    Number(u32),
    Constant(String),
}

/// Compile the definitions, each a file's name and its text, in this order.
/// `has_feature` says which Cargo features are on. The error names the file
/// and the field.
pub(crate) fn compile(files: &[(String, String)], has_feature: &dyn Fn(&str) -> bool) -> Result<String, String> {
    let mut out = String::new();
    let mut names = String::new();
    let mut paths = BTreeSet::new();
    let mut handlers = BTreeSet::new();
    for (file, command) in &read(files)? {
        check_command(command).map_err(|problem| format!("{file}: {problem}"))?;
        if !paths.insert(command.path.as_str()) {
            return Err(format!("{file}: field 'path': '{}' is defined twice", command.path));
        }
        if !handlers.insert(command.handler.as_str()) {
            return Err(format!("{file}: field 'handler': '{}' serves another command already", command.handler));
        }
        if command.feature.as_deref().is_none_or(has_feature) {
            let name = write_command(&mut out, command);
            // Writing to a String cannot fail.
            let _ = writeln!(names, "    {name},");
        }
    }
    let _ = write!(
        out,
        "/// Every command, in the order of `cli-defs`.\npub static COMMANDS: &[CommandDef] = &[\n{names}];\n"
    );
    Ok(out)
}

/// The definitions with the file's name, each with what it includes.
fn read(files: &[(String, String)]) -> Result<Vec<(&str, Command)>, String> {
    let mut commands = Vec::new();
    for (file, text) in files {
        let command: Command = toml::from_str(text)
            .map_err(|error| format!("{file}: {}", error.to_string().trim_end().replace('\n', " ")))?;
        commands.push((file.as_str(), command));
    }
    let mut included = Vec::new();
    for (file, command) in &commands {
        included.push(match &command.include {
            None => Vec::new(),
            Some(path) => {
                options_of(&commands, path).map_err(|problem| format!("{file}: field 'include': '{path}' {problem}"))?
            }
        });
    }
    for ((_, command), options) in commands.iter_mut().zip(included) {
        command.arguments.extend(options);
    }
    Ok(commands)
}

/// What a definition gets that includes `path`: a word that stands for itself
/// on the line means the same in both; what stands in its place is its own.
fn options_of(commands: &[(&str, Command)], path: &str) -> Result<Vec<Argument>, &'static str> {
    let (_, command) = commands.iter().find(|(_, command)| command.path == path).ok_or("is no command's path")?;
    if command.include.is_some() {
        return Err("includes another itself");
    }
    if command.feature.is_some() {
        return Err("is not in every build");
    }
    Ok(command.arguments.iter().filter(|argument| argument.form != "positional").cloned().collect())
}

fn check_command(command: &Command) -> Result<(), String> {
    let words: Vec<&str> = command.path.split(' ').collect();
    if !words.iter().all(|word| is_word(word)) {
        return Err(format!("field 'path': '{}' is not lower-case words with one space between", command.path));
    }
    one_of("handler", &command.handler, HANDLERS.iter().map(|(name, _)| *name))?;
    if let Some(feature) = &command.feature {
        one_of("feature", feature, FEATURES.iter().copied())?;
    }
    one_line("help", &command.help)?;
    one_line("example", &command.example)?;
    if command.example != command.path && !command.example.starts_with(&format!("{} ", command.path)) {
        return Err(format!("field 'example': does not begin with '{}'", command.path));
    }
    let mut names = BTreeSet::new();
    let mut optional_positional = None;
    for argument in &command.arguments {
        let name = &argument.name;
        check_argument(argument).map_err(|problem| format!("argument '{name}': {problem}"))?;
        if !names.insert(name.as_str()) {
            return Err(format!("argument '{name}': field 'name': given to two arguments"));
        }
        if argument.form == "positional" {
            match optional_positional {
                Some(before) if argument.required => {
                    return Err(format!(
                        "argument '{name}': field 'required': the optional '{before}' stands before it"
                    ));
                }
                _ if !argument.required => optional_positional = Some(name.as_str()),
                _ => {}
            }
        }
    }
    // A word must be either an option or a value, whatever stands before it.
    let positional_words = command.arguments.iter().filter(|a| a.form == "positional").flat_map(|a| &a.words);
    for word in positional_words {
        if command.arguments.iter().any(|a| a.form != "positional" && a.name == *word) {
            return Err(format!("argument '{word}': field 'name': is also a word of a positional argument"));
        }
    }
    Ok(())
}

fn check_argument(argument: &Argument) -> Result<(), String> {
    if !is_word(&argument.name) {
        return Err("field 'name': not a lower-case word".to_owned());
    }
    one_of("form", &argument.form, FORMS.iter().copied())?;
    one_line("help", &argument.help)?;
    let kind = match (argument.form.as_str(), &argument.kind) {
        ("flag", Some(_)) => return Err("field 'kind': a flag has none".to_owned()),
        ("flag", None) => "",
        (_, None) => return Err(format!("field 'kind': missing; expected one of: {}", KINDS.join(", "))),
        (_, Some(kind)) => one_of("kind", kind, KINDS.iter().copied()).map(|()| kind.as_str())?,
    };
    for (field, bound) in [("min", &argument.min), ("max", &argument.max)] {
        match bound {
            None if kind == "u32" => return Err(format!("field '{field}': missing, kind u32 needs it")),
            Some(_) if kind != "u32" => return Err(format!("field '{field}': only kind u32 has it")),
            Some(Bound::Constant(name)) => one_of(field, name, BOUNDS.iter().copied())?,
            _ => {}
        }
    }
    if let (Some(Bound::Number(min)), Some(Bound::Number(max))) = (&argument.min, &argument.max)
        && min > max
    {
        return Err(format!("field 'max': {max} is below min {min}"));
    }
    if (kind == "words") == argument.words.is_empty() {
        return Err("field 'words': kind words has it, and only that".to_owned());
    }
    let unique: BTreeSet<&String> = argument.words.iter().collect();
    if unique.len() != argument.words.len() || !argument.words.iter().all(|word| is_word(word)) {
        return Err("field 'words': not lower-case words, each once".to_owned());
    }
    if !argument.instead.is_empty() && kind != "words" {
        return Err("field 'instead': only kind words has it".to_owned());
    }
    for (word, text) in &argument.instead {
        if argument.words.contains(word) {
            return Err(format!("field 'instead': '{word}' is taken"));
        }
        one_line("instead", text)?;
    }
    if argument.form == "flag" && argument.required {
        return Err("field 'required': a flag that must be given says nothing".to_owned());
    }
    if argument.repeatable && argument.form != "keyword" {
        return Err("field 'repeatable': only a keyword can be".to_owned());
    }
    if let Some(default) = &argument.default {
        one_line("default", default)?;
        if argument.required || argument.form == "flag" {
            return Err("field 'default': only an optional value has one".to_owned());
        }
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(inner)
}

fn one_of<'a>(field: &str, value: &str, known: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let known: Vec<&str> = known.collect();
    if known.contains(&value) {
        return Ok(());
    }
    Err(format!("field '{field}': unknown '{value}'; expected one of: {}", known.join(", ")))
}

/// One line of text: it goes into C strings and into tables of the README.
fn one_line(field: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.contains(|c: char| c.is_control() || c == '|') {
        return Err(format!("field '{field}': not one line of text without '|'"));
    }
    Ok(())
}

/// The value as the usage line has it.
fn placeholder(argument: &Argument) -> String {
    match argument.kind.as_deref() {
        Some("words") if argument.form == "positional" => format!("<{}>", argument.words.join("|")),
        Some("words") => argument.words.join("|"),
        Some("step") => "<step|undo:step>".to_owned(),
        _ if argument.form == "positional" => format!("<{}>", argument.name),
        Some("interface") => "<interface>".to_owned(),
        Some("ifname") => "<name>".to_owned(),
        Some("netns") => "<name|pid:N|/path>".to_owned(),
        Some("u32") => "<n>".to_owned(),
        Some("prefix") => "<prefix>".to_owned(),
        Some("ports") => "<port,...>".to_owned(),
        _ => String::new(),
    }
}

fn usage(command: &Command) -> String {
    let mut out = command.path.clone();
    for argument in &command.arguments {
        let value = placeholder(argument);
        let inner = match argument.form.as_str() {
            "positional" => value,
            "keyword" => format!("{} {value}", argument.name),
            _ => argument.name.clone(),
        };
        let dots = if argument.repeatable { "..." } else { "" };
        // Writing to a String cannot fail.
        let _ = if argument.required { write!(out, " {inner}{dots}") } else { write!(out, " [{inner}]{dots}") };
    }
    out
}

fn kind(argument: &Argument) -> String {
    let bound = |bound: &Option<Bound>| match bound {
        Some(Bound::Number(number)) => number.to_string(),
        Some(Bound::Constant(name)) => format!("crate::engine::{name}"),
        None => String::new(),
    };
    match argument.kind.as_deref() {
        Some("interface") => "Interface".to_owned(),
        Some("ifname") => "IfName".to_owned(),
        Some("netns") => "Netns".to_owned(),
        Some("u32") => format!("U32 {{ min: {}, max: {} }}", bound(&argument.min), bound(&argument.max)),
        Some("prefix") => "Prefix".to_owned(),
        Some("ports") => "Ports".to_owned(),
        Some("words") => format!("Words(&{:?})", argument.words),
        Some("step") => "Step".to_owned(),
        _ => "Flag".to_owned(),
    }
}

/// The command as a constant, named after its handler; the name.
fn write_command(out: &mut String, command: &Command) -> String {
    let usage = usage(command);
    let handler = HANDLERS.iter().find(|(name, _)| *name == command.handler).map_or("", |(_, variant)| variant);
    let name = handler.to_uppercase();
    let mut long = format!("{usage}\n{}\n", command.help);
    let mut arguments = String::new();
    for argument in &command.arguments {
        let default = argument.default.as_ref().map_or(String::new(), |d| format!(" Default: {d}."));
        // Writing to a String cannot fail.
        let _ = writeln!(long, "  {:<14}{}{default}", argument.name, argument.help);
        let _ = writeln!(
            arguments,
            "            ArgumentDef {{ name: {:?}, positional: {}, kind: ValueKind::{}, placeholder: {:?}, required: {}, repeatable: {}, help: {:?}, default: {:?}, instead: &{:?} }},",
            argument.name,
            argument.form == "positional",
            kind(argument),
            placeholder(argument),
            argument.required,
            argument.repeatable,
            argument.help,
            argument.default,
            argument.instead.iter().collect::<Vec<_>>(),
        );
    }
    let _ = writeln!(
        out,
        "/// `{}`\npub const {name}: CommandDef = CommandDef {{\n        path: {:?},\n        c_path: c{:?},\n        usage: {usage:?},\n        short_help: c{usage:?},\n        long_help: c{long:?},\n        help: {:?},\n        example: {:?},\n        test_only: {},\n        handler: Handler::{handler},\n        arguments: &[\n{arguments}        ],\n}};",
        command.path,
        command.path,
        command.path,
        command.help,
        command.example,
        command.feature.is_some(),
    );
    name
}
