//! Injected failures. The table of faults is the process's own, so they are
//! one test, in a process that no other test's steps run in.

use std::process::Command as Process;
use std::sync::Arc;

use hostnet::engine::faults::{self, Fault};
use hostnet::engine::{Report, Step};

use crate::lab::{Lab, STEPS, rich_plan};

#[test]
fn injected_failures_leave_nothing() {
    let own = std::env::current_exe().unwrap();
    let output = Process::new(own)
        .args(["--ignored", "--exact", "faults::every_step_in_turn", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by injected_failures_leave_nothing"]
fn every_step_in_turn() {
    let mut lab = Lab::new();
    let before = lab.dump();
    let plan = Arc::new(rich_plan(lab.netns()));
    for step in STEPS {
        let name = Step::Linux(step).name();

        faults::arm(name, Fault::Fail).unwrap();
        lab.apply_until(&plan, step);
        assert_eq!(lab.apply(&plan, step), Err(faults::INJECTED.to_owned()));
        lab.undo_before(&plan, step);
        lab.unplug();
        assert_eq!(lab.dump(), before, "{name}");

        // An undo that fails once is done by the next attempt.
        lab.apply_all(&plan);
        faults::arm(&faults::undo_key(Step::Linux(step)), Fault::Fail).unwrap();
        for undone in STEPS.into_iter().rev() {
            let first = lab.undo(&plan, undone);
            assert_eq!(first.is_err(), undone == step);
            if first.is_err() {
                assert_eq!(lab.undo(&plan, undone), Ok(()));
            }
        }
        lab.unplug();
        assert_eq!(lab.dump(), before, "undo of {name}");

        // A panic is the thread's last word; the next one cleans up.
        lab.apply_until(&plan, step);
        faults::arm(name, Fault::Panic).unwrap();
        lab.submit(hostnet::engine::Command::Apply { plan: Arc::clone(&plan), step });
        match lab.report() {
            Report::Died(why) => assert!(why.contains("panicked") && why.contains(faults::INJECTED), "{why}"),
            other => panic!("{other:?}"),
        }
        lab.join();
        lab.start_helper();
        lab.undo_before(&plan, step);
        lab.unplug();
        assert_eq!(lab.dump(), before, "panic in {name}");
        assert!(!faults::is_armed());
    }
}
