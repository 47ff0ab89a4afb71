//! A projection that fails, a file that is damaged, a disk that is full.

use super::*;

/// What happens to a file's bytes.
type Damage = fn(&mut Vec<u8>);

#[test]
fn a_flush_that_fails_loses_nothing_and_doubles_nothing() {
    let mut bench = Bench::new();
    bench.options.flush_entries = 1;
    bench.options.sync_entries = 4;
    let handle = bench.start();
    for (errors, panics) in [(3, 0), (0, 3), (2, 2)] {
        bench.rules.plan.fail_flush.store(errors, SeqCst);
        bench.rules.plan.panic_flush.store(panics, SeqCst);
        bench.append(7);
        bench.expect(&handle, &[]);
        let plan = &bench.rules.plan;
        until("the failures are used up", &handle, |_| {
            plan.fail_flush.load(SeqCst) == 0 && plan.panic_flush.load(SeqCst) == 0
        });
        until("it runs", &handle, |handle| state(handle) == "running");
        bench.expect(&handle, &[]);
    }
    handle.shutdown();
    bench.expect_after_start(&[]);
}

#[test]
fn entries_are_folded_and_shown_while_a_flush_is_written_and_are_not_lost_if_it_fails() {
    for failures in [0, 1] {
        let mut bench = Bench::new();
        bench.options.flush_entries = 5;
        bench.options.flush_interval = Duration::ZERO;
        let plan = bench.rules.plan.clone();
        plan.hold_flush();
        let handle = bench.start();
        bench.append(1);
        until("a flush is on its way", &handle, |_| plan.flushes.load(SeqCst) == 1);
        bench.append(4);
        bench.expect(&handle, &[]);
        assert_eq!(plan.flushes.load(SeqCst), 1, "one at a time");
        plan.fail_flush.store(failures, SeqCst);
        plan.release_flush();
        bench.append(20);
        bench.expect(&handle, &[]);
        handle.shutdown();
        assert!(plan.flushes.load(SeqCst) > 1);
        bench.expect_after_start(&[]);
    }
}

#[test]
fn entries_behind_a_synced_flush_are_no_older_than_it() {
    let mut bench = Bench::new();
    bench.options.flush_interval = Duration::from_secs(3600);
    bench.options.sync_interval = Duration::from_secs(2);
    let plan = bench.rules.plan.clone();
    plan.hold_flush();
    let handle = bench.start();
    bench.append(1);
    bench.expect(&handle, &[]);
    let due = Instant::now();
    until("it is time for a sync", &handle, |_| plan.flushes.load(SeqCst) == 1);
    bench.append(1);
    bench.expect(&handle, &[]);
    plan.release_flush();
    for _ in 0..50 {
        bench.append(1);
        bench.expect(&handle, &[]);
    }
    let (flushes, intervals) = (plan.flushes.load(SeqCst), due.elapsed().as_secs() / 2);
    assert!(flushes <= 1 + intervals, "{flushes} flushes in {intervals} intervals");
    handle.shutdown();
    bench.expect_after_start(&[]);
}

#[test]
fn while_flushes_fail_the_view_goes_on_up_to_a_bound_and_says_that_it_is_stalled() {
    let mut bench = Bench::new();
    bench.options.flush_entries = 1;
    bench.options.unflushed_entries_max = 10;
    let handle = bench.start();
    bench.rules.plan.fail_flush.store(u64::MAX, SeqCst);
    bench.append(30);
    until("the bound is reached", &handle, |handle| handle.applied() >= Seq::new(10));
    until("it says so", &handle, |handle| state(handle) == "stalled");
    assert_eq!(handle.status().detail.as_deref(), Some("told not to flush"));
    assert!(handle.applied() < Seq::new(30));
    bench.rules.plan.fail_flush.store(0, SeqCst);
    bench.expect(&handle, &[]);
    until("it runs", &handle, |handle| state(handle) == "running");
    handle.shutdown();
}

#[test]
fn a_tick_or_a_view_that_fails_is_made_up_for() {
    let bench = Bench::with_entries(5);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    bench.rules.plan.panic_view.store(2, SeqCst);
    bench.append(1);
    bench.expect(&handle, &[]);
    bench.rules.plan.fail_tick.store(2, SeqCst);
    bench.clock.set(Minute::new(2000).start());
    assert!(wait(handle.wait_minute(Minute::new(2000), PATIENCE)));
    bench.expect(&handle, &[]);
    until("it runs", &handle, |handle| state(handle) == "running");
    handle.shutdown();
}

#[test]
fn a_file_whose_sync_failed_is_opened_anew_and_goes_on() {
    let mut bench = Bench::with_entries(5);
    let faults = Arc::new(Faults::default());
    bench.faults = Some(Arc::clone(&faults));
    bench.options.flush_entries = 1;
    bench.options.sync_entries = 1;
    let handle = bench.start();
    bench.expect(&handle, &[]);
    faults.no_sync.store(true, SeqCst);
    bench.append(3);
    until("it says that it stalls", &handle, |handle| state(handle) == "stalled");
    faults.no_sync.store(false, SeqCst);
    bench.append(3);
    until("it runs", &handle, |handle| state(handle) == "running");
    bench.expect(&handle, &[]);
    handle.shutdown();
    bench.expect_after_start(&[]);
}

#[test]
fn a_disk_that_fills_up_stalls_and_goes_on_by_itself_once_there_is_room() {
    let mut bench = Bench::with_entries(20);
    let faults = Arc::new(Faults::default());
    bench.faults = Some(Arc::clone(&faults));
    bench.options.flush_entries = 1;
    bench.options.sync_entries = 5;
    let handle = bench.start();
    bench.expect(&handle, &[]);
    faults.full.store(true, SeqCst);
    bench.append(50);
    until("it stalls", &handle, |handle| matches!(state(handle).as_str(), "stalled" | "rebuilding"));
    assert!(handle.view().applied >= Seq::new(20), "the view goes on serving");
    faults.full.store(false, SeqCst);
    bench.expect(&handle, &[]);
    until("it runs", &handle, |handle| state(handle) == "running");
    handle.shutdown();
    bench.expect_after_start(&[]);
}

#[test]
fn a_file_that_readers_hold_open_after_an_io_error_is_replaced_by_another_one() {
    let mut bench = Bench::with_entries(20);
    let faults = Arc::new(Faults::default());
    bench.faults = Some(Arc::clone(&faults));
    bench.options.flush_entries = 1;
    bench.options.sync_entries = 1;
    bench.rules.plan.views_hold_database.store(true, SeqCst);
    let handle = bench.start();
    let kept = bench.expect(&handle, &[]);
    faults.full.store(true, SeqCst);
    bench.append(5);
    until("it builds another file", &handle, |handle| state(handle) == "rebuilding");
    faults.full.store(false, SeqCst);
    bench.expect(&handle, &[]);
    until("it runs", &handle, |handle| state(handle) == "running");
    assert_eq!(kept.applied, Seq::new(20));
    bench.append(5);
    bench.expect(&handle, &[]);
    handle.shutdown();
    drop((handle, kept));
    bench.expect_after_start(&[]);
}

#[test]
fn a_start_on_a_full_disk_serves_from_memory_and_makes_its_file_once_there_is_room() {
    let mut bench = Bench::with_entries(20);
    let faults = Arc::new(Faults::default());
    bench.faults = Some(Arc::clone(&faults));
    faults.full.store(true, SeqCst);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    assert!(handle.caught_up_once());
    assert_eq!(state(&handle), "rebuilding");
    faults.full.store(false, SeqCst);
    until("it runs", &handle, |handle| state(handle) == "running");
    bench.append(3);
    bench.expect(&handle, &[]);
    assert_eq!(bench.files(), ["1-x1.redb"]);
    handle.shutdown();
    let handle = bench.start();
    assert_eq!(handle.applied(), Seq::new(23));
    handle.shutdown();
}

#[test]
fn a_start_over_quota_serves_from_memory() {
    let mut bench = Bench::with_entries(20);
    let faults = Arc::new(Faults::default());
    bench.faults = Some(Arc::clone(&faults));
    faults.over_quota.store(true, SeqCst);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    faults.over_quota.store(false, SeqCst);
    handle.shutdown();
}

#[test]
fn no_flush_is_tried_when_the_disk_is_nearly_full() {
    let mut bench = Bench::new();
    let handle = bench.start();
    handle.shutdown();
    bench.options.free_bytes_min = u64::MAX;
    bench.options.flush_entries = 1;
    bench.append(10);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    until("it says so", &handle, |handle| state(handle) == "stalled");
    assert_eq!(bench.rules.plan.flushes.load(SeqCst), 0);
    handle.shutdown();
    bench.options.free_bytes_min = 0;
    bench.expect_after_start(&[]);
}

#[test]
fn a_damaged_file_is_built_again() {
    let bench = Bench::with_entries(40);
    let damages: [(&str, Damage); 7] = [
        ("empty", |bytes| bytes.clear()),
        ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("without its last byte", |bytes| bytes.truncate(bytes.len() - 1)),
        ("zeroed", |bytes| bytes.fill(0)),
        ("text", |bytes| *bytes = b"not a database".to_vec()),
        ("a bit flipped in every 512 bytes", |bytes| bytes.iter_mut().skip(77).step_by(512).for_each(|b| *b ^= 4)),
        ("its first page gone", |bytes| bytes[..4096].fill(0xff)),
    ];
    for (name, damage) in damages {
        bench.expect_after_start(&[]);
        spoil(&bench.file(), damage);
        eprintln!("{name}");
        bench.expect_after_start(&[]);
        assert_eq!(bench.files(), ["1-x1.redb"], "{name}");
    }
}

#[test]
fn a_row_that_was_changed_on_the_disk_is_not_served() {
    let bench = Bench::with_entries(40);
    bench.expect_after_start(&[]);
    let rows: Vec<usize> = {
        let bytes = std::fs::read(bench.file()).unwrap();
        bytes.windows(3).enumerate().filter(|(_, text)| text == b"ann").map(|(offset, _)| offset).collect()
    };
    assert!(!rows.is_empty());
    for row in rows {
        spoil(&bench.file(), |bytes| {
            if let Some(letter) = bytes.get_mut(row) {
                *letter ^= 1;
            }
        });
        bench.expect_after_start(&[]);
    }
}

#[test]
fn a_file_whose_projection_does_not_open_is_built_again() {
    let bench = Bench::with_entries(10);
    bench.expect_after_start(&[]);
    bench.rules.plan.fail_open.store(1, SeqCst);
    bench.expect_after_start(&[]);
}
