//! Changed rules and rebuilds: built beside, swapped, gone on with.

use super::*;

#[test]
fn changed_rules_are_built_beside_while_the_old_view_serves_and_follows() {
    let mut bench = Bench::with_entries(10);
    bench.expect_after_start(&[]);
    bench.rules = bench.rules.with_factor(3);
    bench.rules.plan.hold(3, 4);
    let handle = bench.start();
    bench.append(5);
    let view = bench.expect(&handle, &[]);
    assert_eq!((view.factor, state(&handle).as_str(), handle.caught_up_once()), (1, "rebuilding", true));
    until("it is being built", &handle, |_| bench.files() == ["1-x1.redb", "1-x3.redb.building"]);
    bench.rules.plan.release();
    until("the new rules serve", &handle, |handle| handle.view().factor == 3);
    assert!(handle.applied() >= Seq::new(15), "the seq never goes back");
    bench.append(2);
    bench.expect(&handle, &[]);
    until("it runs", &handle, |handle| state(handle) == "running");
    assert_eq!(bench.files(), ["1-x3.redb"]);
    handle.shutdown();
    let handle = bench.start();
    assert_eq!((handle.view().factor, handle.applied()), (3, Seq::new(17)));
    handle.shutdown();
}

#[test]
fn a_rebuild_that_is_stopped_half_way_is_gone_on_with() {
    let mut bench = Bench::with_entries(200);
    bench.expect_after_start(&[]);
    bench.rules = bench.rules.with_factor(3);
    // One entry waits for its next go for longer than this test: the rebuild is stopped there.
    bench.rules.plan.fail.lock().insert(151, 1);
    bench.options.entry_retry_first = Duration::from_secs(3600);
    bench.options.entry_retry_longest = Duration::from_secs(3600);
    let handle = bench.start();
    until("it is half way", &handle, |handle| handle.status().detail.as_deref() == Some("150/200"));
    bench.expect(&handle, &[]);
    handle.shutdown();
    assert_eq!(bench.files(), ["1-x1.redb", "1-x3.redb.building"]);
    // Had it started from the first entry, it would fail there.
    bench.rules.plan.fail.lock().extend([(1, u32::MAX), (150, u32::MAX)]);
    let handle = bench.start();
    until("the new rules serve", &handle, |handle| handle.view().factor == 3);
    bench.expect(&handle, &[]);
    handle.shutdown();
    assert_eq!(bench.files(), ["1-x3.redb"]);
}

#[test]
fn a_half_built_file_that_is_damaged_is_started_anew() {
    let mut bench = Bench::with_entries(20);
    bench.expect_after_start(&[]);
    bench.rules = bench.rules.with_factor(3);
    std::fs::write(bench.dir.path().join("sums/1-x3.redb.building"), b"torn").unwrap();
    let handle = bench.start();
    until("the new rules serve", &handle, |handle| handle.view().factor == 3);
    bench.expect(&handle, &[]);
    handle.shutdown();
}

#[test]
fn an_old_file_that_does_not_open_is_no_hindrance() {
    let mut bench = Bench::with_entries(20);
    bench.expect_after_start(&[]);
    spoil(&bench.file(), |bytes| bytes.truncate(5000));
    bench.rules = bench.rules.with_factor(3);
    let handle = bench.start();
    assert_eq!(bench.expect(&handle, &[]).factor, 3);
    handle.shutdown();
    assert_eq!(bench.files(), ["1-x3.redb"]);
}

#[test]
fn a_rebuild_that_panics_now_and_then_still_ends() {
    let mut bench = Bench::with_entries(30);
    bench.options.flush_entries = 4;
    let handle = bench.start();
    bench.expect(&handle, &[]);
    bench.rules.plan.panic.lock().extend([(7, 2), (20, u32::MAX)]);
    bench.rules.plan.fail_flush.store(2, SeqCst);
    handle.rebuild();
    until("it is rebuilt", &handle, |handle| state(handle) == "running");
    bench.expect(&handle, &[20]);
    handle.shutdown();
    bench.expect_after_start(&[20]);
}
