//! The compiler of `cli-defs` refuses every wrong definition by file and
//! field. The right ones are what the crate is built from.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../build/cli_defs.rs"]
mod cli_defs;

const COMMAND: &str = r#"
path = "hostnet x"
handler = "enable"
help = "Does x."
example = "hostnet x 1"
"#;
const NUMBER: &str = r#"
[[argument]]
name = "n"
form = "keyword"
kind = "u32"
min = 1
max = "MTU_MAX"
help = "A number."
"#;

fn compile(texts: &[String]) -> Result<String, String> {
    let files: Vec<(String, String)> =
        texts.iter().enumerate().map(|(index, text)| (format!("cli-defs/{index}.toml"), text.clone())).collect();
    cli_defs::compile(&files, &|_| false)
}

/// The definition above with one text replaced by another.
#[track_caller]
fn refused(from: &str, to: &str, expected: &str) {
    let right = format!("{COMMAND}{NUMBER}");
    assert!(right.contains(from), "the sample has no {from}");
    let error = compile(&[right.replacen(from, to, 1)]).unwrap_err();
    assert_eq!(error, format!("cli-defs/0.toml: {expected}"));
}

#[test]
fn a_right_one_compiles() {
    let out = compile(&[format!("{COMMAND}{NUMBER}")]).unwrap();
    assert!(out.contains("ValueKind::U32 { min: 1, max: crate::engine::MTU_MAX }"), "{out}");
    assert!(out.contains(r#"usage: "hostnet x [n <n>]""#), "{out}");
    assert!(out.contains("handler: Handler::Enable"), "{out}");
    assert!(out.contains("pub const ENABLE: CommandDef") && out.contains("&[\n    ENABLE,\n]"), "{out}");
}

#[test]
fn what_is_wrong_with_a_command() {
    let path = "field 'path': 'Hostnet x' is not lower-case words with one space between";
    refused("path = \"hostnet x\"", "path = \"Hostnet x\"", path);
    refused(
        "handler = \"enable\"",
        "handler = \"enabel\"",
        "field 'handler': unknown 'enabel'; expected one of: enable, disable, uplink, release, show, audit, journal, mirror, police, policer, counters, clear, fault, panic",
    );
    refused("help = \"Does x.\"", "help = \"\"", "field 'help': not one line of text without '|'");
    refused("help = \"Does x.\"", "help = \"a | b\"", "field 'help': not one line of text without '|'");
    refused("example = \"hostnet x 1\"", "example = \"x 1\"", "field 'example': does not begin with 'hostnet x'");
    refused("handler =", "feature = \"vpn\"\nhandler =", "field 'feature': unknown 'vpn'; expected one of: faults");
}

#[test]
fn what_is_wrong_with_an_argument() {
    let kinds = "interface, ifname, netns, u32, prefix, ports, words, step";
    let unknown = format!("argument 'n': field 'kind': unknown 'u33'; expected one of: {kinds}");
    refused("kind = \"u32\"", "kind = \"u33\"", &unknown);
    let missing = format!("argument 'n': field 'kind': missing; expected one of: {kinds}");
    refused("kind = \"u32\"\nmin = 1\nmax = \"MTU_MAX\"", "", &missing);
    refused("form = \"keyword\"", "form = \"flag\"", "argument 'n': field 'kind': a flag has none");
    refused(
        "form = \"keyword\"",
        "form = \"key\"",
        "argument 'n': field 'form': unknown 'key'; expected one of: positional, keyword, flag",
    );
    refused("min = 1\n", "", "argument 'n': field 'min': missing, kind u32 needs it");
    refused("max = \"MTU_MAX\"", "max = 0", "argument 'n': field 'max': 0 is below min 1");
    refused(
        "max = \"MTU_MAX\"",
        "max = \"MAX\"",
        "argument 'n': field 'max': unknown 'MAX'; expected one of: MTU_MIN, MTU_MAX, RATE_MIN, RATE_MAX",
    );
    refused("kind = \"u32\"", "kind = \"prefix\"", "argument 'n': field 'min': only kind u32 has it");
    refused("min = 1", "min = 1\nwords = [\"a\"]", "argument 'n': field 'words': kind words has it, and only that");
    refused(
        "kind = \"u32\"\nmin = 1\nmax = \"MTU_MAX\"",
        "kind = \"words\"\nwords = [\"a\"]\ninstead.a = \"b\"",
        "argument 'n': field 'instead': 'a' is taken",
    );
    refused(
        "kind = \"u32\"\nmin = 1\nmax = \"MTU_MAX\"",
        "kind = \"words\"\nwords = [\"a\", \"a\"]",
        "argument 'n': field 'words': not lower-case words, each once",
    );
    refused("name = \"n\"", "name = \"N n\"", "argument 'N n': field 'name': not a lower-case word");
    refused(
        "form = \"keyword\"",
        "form = \"positional\"\nrepeatable = true",
        "argument 'n': field 'repeatable': only a keyword can be",
    );
    refused(
        "min = 1",
        "min = 1\nrequired = true\ndefault = \"2\"",
        "argument 'n': field 'default': only an optional value has one",
    );
}

#[test]
fn arguments_that_do_not_go_together() {
    let twice = compile(&[format!("{COMMAND}{NUMBER}{NUMBER}")]).unwrap_err();
    assert_eq!(twice, "cli-defs/0.toml: argument 'n': field 'name': given to two arguments");
    let optional = NUMBER.replace("keyword", "positional");
    let required = optional.replace("\"n\"", "\"m\"").replace("min =", "required = true\nmin =");
    let order = compile(&[format!("{COMMAND}{optional}{required}")]).unwrap_err();
    assert_eq!(order, "cli-defs/0.toml: argument 'm': field 'required': the optional 'n' stands before it");
    let words = "[[argument]]\nname = \"w\"\nform = \"positional\"\nkind = \"words\"\nwords = [\"n\"]\nhelp = \"h\"\n";
    let clash = compile(&[format!("{COMMAND}{words}{NUMBER}")]).unwrap_err();
    assert_eq!(clash, "cli-defs/0.toml: argument 'n': field 'name': is also a word of a positional argument");
}

#[test]
fn toml_that_is_none_and_fields_that_are_none() {
    let unknown = compile(&[format!("{COMMAND}colour = \"red\"\n")]).unwrap_err();
    assert!(unknown.starts_with("cli-defs/0.toml: ") && unknown.contains("colour"), "{unknown}");
    let missing = compile(&["path = \"a\"\n".to_owned()]).unwrap_err();
    assert!(missing.starts_with("cli-defs/0.toml: ") && missing.contains("handler"), "{missing}");
    let broken = compile(&["path = \n".to_owned()]).unwrap_err();
    assert!(broken.starts_with("cli-defs/0.toml: ") && !broken.contains('\n'), "{broken}");
}

#[test]
fn two_commands_share_neither_path_nor_handler() {
    let other = COMMAND.replace("\"enable\"", "\"show\"");
    let path = compile(&[COMMAND.to_owned(), other]).unwrap_err();
    assert_eq!(path, "cli-defs/1.toml: field 'path': 'hostnet x' is defined twice");
    let other = COMMAND.replace("hostnet x", "hostnet y");
    let handler = compile(&[COMMAND.to_owned(), other]).unwrap_err();
    assert_eq!(handler, "cli-defs/1.toml: field 'handler': 'enable' serves another command already");
}

#[test]
fn a_command_of_a_feature_is_checked_but_left_out_without_it() {
    let text = COMMAND.replace("handler", "feature = \"faults\"\nhandler");
    let files = [("a.toml".to_owned(), text)];
    assert!(!cli_defs::compile(&files, &|_| false).unwrap().contains("hostnet x"));
    assert!(cli_defs::compile(&files, &|feature| feature == "faults").unwrap().contains("hostnet x"));
}

/// A command that includes the sample, and is read before it.
fn including(extra: &str) -> Result<String, String> {
    let own = NUMBER.replace("\"n\"", "\"own\"");
    let place = NUMBER.replace("keyword", "positional").replace("\"n\"", "\"place\"");
    let other = COMMAND.replace("hostnet x", "hostnet y").replace("\"enable\"", "\"uplink\"");
    compile(&[format!("{other}include = \"hostnet x\"\n{own}{extra}"), format!("{COMMAND}{place}{NUMBER}")])
}

#[test]
fn a_command_takes_the_options_of_another_and_not_what_stands_in_place() {
    let out = including("").unwrap();
    assert!(out.contains(r#"usage: "hostnet y [own <n>] [n <n>]""#), "{out}");
    assert!(out.contains(r#"usage: "hostnet x [<place>] [n <n>]""#), "{out}");
}

#[test]
fn what_is_wrong_with_an_include() {
    let twice = including(NUMBER).unwrap_err();
    assert_eq!(twice, "cli-defs/0.toml: argument 'n': field 'name': given to two arguments");
    refused("handler =", "include = \"hostnet z\"\nhandler =", "field 'include': 'hostnet z' is no command's path");
    refused("handler =", "include = \"hostnet x\"\nhandler =", "field 'include': 'hostnet x' includes another itself");
    let other = COMMAND.replace("hostnet x", "hostnet y").replace("\"enable\"", "\"uplink\"");
    let bound = COMMAND.replace("handler", "feature = \"faults\"\nhandler");
    let feature = compile(&[format!("{other}include = \"hostnet x\"\n"), bound]).unwrap_err();
    assert_eq!(feature, "cli-defs/0.toml: field 'include': 'hostnet x' is not in every build");
}
