#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::args::parse;
use super::*;

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

fn understood(text: &str) -> (PathBuf, Action) {
    let args = parse(words(text)).unwrap();
    (args.journal, args.action)
}

#[test]
fn what_is_understood() {
    let default = PathBuf::from("/var/lib/hostnet");
    assert_eq!(understood("restore"), (default.clone(), Action::Restore));
    assert_eq!(understood("--journal /x restore"), ("/x".into(), Action::Restore));
    assert_eq!(understood("check --journal=/x"), ("/x".into(), Action::Check));
    assert_eq!(understood("show"), (default.clone(), Action::Show { json: false }));
    assert_eq!(understood("show --json"), (default.clone(), Action::Show { json: true }));
    assert_eq!(understood("forget eth0"), (default.clone(), Action::Forget { name: "eth0".to_owned() }));
    let watch = |background, detached| Action::Watch { pid: 12, background, detached };
    assert_eq!(understood("watch 12"), (default.clone(), watch(false, false)));
    assert_eq!(understood("watch --background 12"), (default.clone(), watch(true, false)));
    assert_eq!(understood("watch --detached 12"), (default.clone(), watch(false, true)));
    assert_eq!(understood("restore --help"), (default, Action::Help));
    assert!(understood("--journal x restore").0.is_absolute());
}

#[test]
fn what_is_refused_and_how() {
    for (text, expected) in [
        ("", "what is to be done?"),
        ("mend", "unknown word 'mend'; expected one of: restore, watch <pid>, show, check, forget <name>"),
        ("restore eth0", "'eth0' has no place behind 'restore'"),
        ("restore --json", "invalid option '--json'"),
        ("--json show", "invalid option '--json'"),
        ("watch", "watch which process?"),
        ("forget", "forget which interface? write 'forget <name>'"),
        ("forget eth0 eth1", "'eth1' has no place behind 'forget'"),
        ("watch 0", "'0' is not the number of a process"),
        ("watch -5", "invalid option '-5'"),
        ("watch vpp", "'vpp' is not the number of a process; write it as 'watch 4711'"),
        ("watch 99999999999", "is not the number"),
        ("watch 4 5", "'5' has no place behind 'watch'"),
        ("restore --journal", "missing argument"),
        ("--journal= restore", "--journal '' names no directory"),
    ] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(words(text), &mut out, &mut err), Outcome::Usage, "{text}");
        let err = String::from_utf8(err).unwrap();
        assert!(err.contains(expected) && err.contains("--help"), "{text}: {err}");
        assert!(out.is_empty(), "{text}");
    }
}

#[test]
fn help_names_every_word_and_every_exit_code() {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(run(words("--help"), &mut out, &mut err), Outcome::Done);
    let help = String::from_utf8(out).unwrap();
    for word in ["restore", "watch <pid>", "--background", "show [--json]", "check", "forget <name>", "--journal DIR"] {
        assert!(help.contains(word), "{word}");
    }
    for outcome in [Outcome::Done, Outcome::NotHome, Outcome::Usage, Outcome::NotBelieved, Outcome::Differs] {
        assert!(help.contains(&format!("\n  {}  ", outcome as u8)), "{outcome:?}");
    }
}

fn recovered(home: Result<(), &str>, told: &[&str]) -> Recovered {
    Recovered {
        file: "eth0@1.journal".to_owned(),
        journal: None,
        told: told.iter().map(ToString::to_string).collect(),
        before: false,
        home: home.map_err(str::to_owned),
    }
}

#[test]
fn what_is_told_of_a_recovery() {
    let (text, outcome) = told(&[], &[]);
    assert_eq!((text.as_str(), outcome), ("nothing to do: no journal\n", Outcome::Done));
    let (text, outcome) = told(&[recovered(Ok(()), &[])], &[]);
    assert_eq!((text.as_str(), outcome), ("eth0@1.journal: home\n", Outcome::Done));
    let (text, outcome) = told(&[recovered(Ok(()), &["its MTU is 1400, not 1500"]), recovered(Ok(()), &[])], &[]);
    assert!(text.contains("home, but:\n  its MTU is 1400, not 1500\n"), "{text}");
    assert_eq!(outcome, Outcome::Differs);
    let (text, outcome) = told(&[recovered(Err("x"), &["x", "set aside as y"]), recovered(Ok(()), &["z"])], &[]);
    assert!(text.contains("not believed, nothing was done:\n  x\n  set aside as y\n"), "{text}");
    assert_eq!(outcome, Outcome::NotBelieved);
}

fn stands(standing: Standing, differences: &[&str], changes: &[&str]) -> Outcome {
    let owned = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    let one =
        Checked { interface: "eth0".to_owned(), standing, differences: owned(differences), changes: owned(changes) };
    let (text, outcome) = compared(std::slice::from_ref(&one));
    assert!(differences.iter().chain(changes).all(|line| text.contains(line)), "{text}");
    assert!(text.starts_with(&format!("eth0: {}\n", standing.name())), "{text}");
    outcome
}

#[test]
fn what_a_check_amounts_to() {
    assert_eq!(compared(&[]), ("no journal\n".to_owned(), Outcome::Done));
    for standing in [Standing::Home, Standing::Taken, Standing::OnTheWay] {
        assert_eq!(stands(standing, &[], &[]), Outcome::Done);
        assert_eq!(stands(standing, &["d"], &[]), Outcome::NotHome);
    }
    // A lease that was renewed is no fault.
    assert_eq!(stands(Standing::Taken, &[], &["c"]), Outcome::Done);
    assert_eq!(stands(Standing::Left, &["dead"], &[]), Outcome::NotHome);
    assert_eq!(stands(Standing::Unknown, &["damaged"], &[]), Outcome::NotBelieved);
}
