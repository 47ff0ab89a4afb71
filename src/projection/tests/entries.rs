//! An entry that cannot be folded: its goes, the dead letter, another go.

use super::*;

#[test]
fn an_entry_that_fails_a_few_times_is_folded_once() {
    let bench = Bench::with_entries(8);
    bench.rules.plan.fail.lock().insert(3, bench.options.attempts_max - 1);
    bench.rules.plan.panic.lock().insert(6, bench.options.attempts_max - 1);
    bench.expect_after_start(&[]);
}

#[test]
fn an_entry_that_keeps_failing_becomes_a_dead_letter_and_the_rest_is_folded() {
    let bench = Bench::with_entries(12);
    bench.rules.plan.fail.lock().extend([(3, u32::MAX), (12, u32::MAX)]);
    bench.rules.plan.panic.lock().extend([(5, u32::MAX), (6, u32::MAX)]);
    let handle = bench.start();
    bench.expect(&handle, &[3, 5, 6, 12]);
    let letters = handle.dead_letters();
    assert_eq!(letters[0].problem, "told to fail on 3");
    assert_eq!(letters[1].problem, "panicked: told to panic on 5");
    assert!(letters.iter().all(|letter| letter.attempts == bench.options.attempts_max));
    assert_eq!((handle.status().dead_letters, letters[0].at), (4, Minute::new(1000).start()));
    handle.shutdown();
    // They survive a restart, and the entries are not tried again by themselves.
    bench.rules.plan.fail.lock().clear();
    bench.rules.plan.panic.lock().clear();
    let handle = bench.start();
    bench.expect(&handle, &[3, 5, 6, 12]);
    assert_eq!(handle.dead_letters(), letters);
    handle.shutdown();
}

#[test]
fn a_dead_letter_that_is_retried_is_folded_once_and_stays_folded() {
    let bench = Bench::with_entries(6);
    bench.rules.plan.fail.lock().insert(2, u32::MAX);
    bench.rules.plan.panic.lock().insert(4, u32::MAX);
    let handle = bench.start();
    bench.expect(&handle, &[2, 4]);
    assert_eq!(retry(&handle, 3), Err(NotFound(Seq::new(3))));
    assert_eq!(retry(&handle, 2), Ok(Err("told to fail on 2".to_owned())));
    assert!(retry(&handle, 4).unwrap().unwrap_err().contains("told to panic on 4"));
    bench.expect(&handle, &[2, 4]);
    assert!(handle.dead_letters().iter().all(|letter| letter.attempts == bench.options.attempts_max + 1));
    bench.rules.plan.fail.lock().clear();
    assert_eq!(retry(&handle, 2), Ok(Ok(())));
    bench.expect(&handle, &[4]);
    assert_eq!(retry(&handle, 2), Err(NotFound(Seq::new(2))));
    handle.shutdown();
    bench.rules.plan.panic.lock().clear();
    let handle = bench.start();
    bench.expect(&handle, &[4]);
    assert_eq!(retry(&handle, 4), Ok(Ok(())));
    bench.expect(&handle, &[]);
    handle.shutdown();
    assert_eq!(retry(&handle, 4), Ok(Err("the projection has stopped".to_owned())));
    bench.expect_after_start(&[]);
}

#[test]
fn a_rebuild_makes_the_dead_letters_anew() {
    let bench = Bench::with_entries(6);
    bench.rules.plan.fail.lock().insert(2, u32::MAX);
    let handle = bench.start();
    bench.expect(&handle, &[2]);
    bench.rules.plan.fail.lock().clear();
    bench.rules.plan.fail.lock().insert(5, u32::MAX);
    handle.rebuild();
    assert_eq!(state(&handle), "rebuilding");
    until("it is rebuilt", &handle, |handle| state(handle) == "running");
    bench.expect(&handle, &[5]);
    assert_eq!(bench.files(), ["1-x1.redb"]);
    handle.shutdown();
    bench.expect_after_start(&[5]);
}
