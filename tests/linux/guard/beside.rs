//! The guard beside others.

use super::*;

#[test]
fn what_a_living_one_has_is_left_alone() {
    let lab = Lab::new();
    for until in [Until::Written, Until::Taken] {
        lab.take(until);
        let (journal, there) = (lab.journal(), dump());
        let text = lab.restored();
        assert!(text.contains("lives and has it, left alone"), "{text}");
        assert_eq!(lab.journal(), journal);
        same(&there, &dump());
        lab.orphan();
        lab.restored();
    }
    lab.is_as_before();
}

#[test]
fn several_at_once_do_no_harm() {
    let lab = Lab::new();
    for until in [Until::Taken, Until::Recalled, Until::Parked, Until::Taken] {
        lab.take(until);
        lab.orphan();
        let guards: Vec<Guard> = (0..4).map(|_| lab.start("restore")).collect();
        let mut brought = 0;
        for guard in guards {
            let (code, text) = guard.end();
            assert_eq!(code, 0, "{text}");
            brought += u32::from(text.contains(&format!("{NAME}: home\n")));
        }
        assert_eq!(brought, 1, "{until:?}");
        lab.is_as_before();
    }
}

#[test]
fn whoever_holds_the_journals_is_waited_for() {
    let lab = Lab::left(Until::Taken);
    let dir = JournalDir::find(&lab.path()).unwrap().unwrap();
    let lock = dir.lock(PATIENCE).unwrap();
    let mut guard = lab.start("restore");
    // A moment in which it could have done its work.
    std::thread::sleep(Duration::from_millis(300));
    assert!(guard.0.try_wait().unwrap().is_none());
    assert_eq!(lab.phase(), JournalPhase::Taken);
    drop(lock);
    assert_eq!(guard.end().0, 0);
    lab.is_as_before();
}
