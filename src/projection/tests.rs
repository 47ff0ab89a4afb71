//! The runner held to its promises: on a log in memory, with a projection, a disk and a clock that do as they are told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use super::testing::{Faults, MemoryLog, Rules, Sums, SumsView, recompute};
use super::{Handle, NotFound, Options, StartError, start};
use crate::clock::ManualClock;
use crate::units::{Minute, Seq, Timestamp};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
const LOG_ID: [u8; 16] = *b"the tests' log!!";

/// A data directory, a log and rules, on which a runner is started and stopped.
struct Bench {
    dir: TempDir,
    log: Arc<MemoryLog>,
    clock: Arc<ManualClock>,
    rules: Rules,
    options: Options,
}

impl Bench {
    fn new() -> Bench {
        let options = Options {
            entry_retry_first: Duration::from_micros(100),
            store_retry_first: Duration::from_millis(1),
            store_retry_longest: Duration::from_millis(20),
            read_retry_first: Duration::from_millis(1),
            read_retry_longest: Duration::from_millis(20),
            free_bytes_min: 0,
            ..Options::default()
        };
        Bench {
            dir: TempDir::new().unwrap(),
            log: MemoryLog::new(),
            clock: Arc::new(ManualClock::new(Minute::new(1000).start())),
            rules: Rules::new(1),
            options,
        }
    }

    fn with_entries(count: i64) -> Bench {
        let bench = Bench::new();
        bench.append(count);
        bench
    }

    fn append(&self, count: i64) {
        for number in 0..count {
            self.log.append(["ann", "bob", "cy"][number as usize % 3], number + 1);
        }
    }

    fn try_start(&self) -> Result<Handle<Sums>, StartError> {
        let watermark = Arc::clone(&self.log.watermark);
        let (log, clock) = (self.log.clone(), self.clock.clone());
        start(self.dir.path(), self.rules.clone(), log, watermark, clock, LOG_ID, self.options.clone())
    }

    fn start(&self) -> Handle<Sums> {
        self.try_start().unwrap()
    }

    fn files(&self) -> Vec<String> {
        let listed = std::fs::read_dir(self.dir.path().join("sums")).unwrap();
        let mut names: Vec<String> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("sums").join(format!("1-x{}.redb", self.rules.factor))
    }

    /// Waits for the whole log and holds the view to a recomputation without the dead letters given.
    fn expect(&self, handle: &Handle<Sums>, dead: &[u64]) -> Arc<SumsView> {
        let head = self.log.watermark.get();
        until("the log is applied", handle, |handle| handle.applied() == head);
        let view = handle.view();
        assert_eq!(view.applied, head);
        let dead: BTreeSet<u64> = dead.iter().copied().collect();
        assert_eq!(view.totals, recompute(&self.log, head, view.factor, &dead));
        assert_eq!(handle.dead_letters().iter().map(|letter| letter.seq.get()).collect::<BTreeSet<_>>(), dead);
        view
    }

    /// Starts, waits, compares, stops.
    fn expect_after_start(&self, dead: &[u64]) {
        let handle = self.start();
        self.expect(&handle, dead);
        handle.shutdown();
    }
}

/// Polls until it holds.
fn until(what: &str, handle: &Handle<Sums>, holds: impl Fn(&Handle<Sums>) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(handle) {
        assert!(Instant::now() < deadline, "waited in vain until {what}; {:?}", handle.status());
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn retry(handle: &Handle<Sums>, seq: u64) -> Result<Result<(), String>, NotFound> {
    wait(handle.retry(Seq::new(seq)))
}

fn state(handle: &Handle<Sums>) -> String {
    handle.status().state
}

/// Spoils every 512 bytes of a file with `spoil`.
fn spoil(path: &Path, spoil: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    spoil(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

// Following.

#[test]
fn a_view_follows_the_log_and_a_restart_changes_nothing() {
    let bench = Bench::with_entries(10);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    bench.append(5);
    let before = bench.expect(&handle, &[]);
    assert_eq!(handle.status().last_applied_received_at, Some(Timestamp::from_micros(15_000_000)));
    handle.shutdown();
    let handle = bench.start();
    // The file held all of it: the first view is whole before anything is folded.
    assert_eq!(handle.load().totals, before.totals);
    assert!(handle.caught_up_once());
    assert_eq!(handle.status().last_applied_received_at, Some(Timestamp::from_micros(15_000_000)));
    handle.shutdown();
}

#[test]
fn an_empty_log_is_caught_up_with_at_once() {
    let bench = Bench::new();
    let handle = bench.start();
    assert!(handle.caught_up_once());
    assert_eq!((handle.applied(), state(&handle).as_str()), (Seq::ZERO, "running"));
    handle.shutdown();
    handle.shutdown();
}

#[test]
fn a_waiting_reader_gets_a_view_that_holds_the_seq_it_waited_for() {
    let bench = Bench::new();
    let handle = bench.start();
    assert!(!wait(handle.wait_applied(Seq::new(1), Duration::ZERO)));
    let waiting = {
        let handle = handle.clone();
        std::thread::spawn(move || {
            assert!(wait(handle.wait_applied(Seq::new(3), PATIENCE)));
            handle.view().applied
        })
    };
    bench.append(3);
    assert!(waiting.join().unwrap() >= Seq::new(3));
    assert_eq!(*handle.subscribe().borrow(), 3);
    handle.shutdown();
}

#[test]
fn a_moved_clock_ticks_forwards_and_back_with_no_event() {
    let bench = Bench::with_entries(3);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    for minute in [1001, 50_000, 900] {
        let mut published = handle.subscribe();
        published.mark_unchanged();
        bench.clock.set(Minute::new(minute).start());
        assert!(wait(handle.wait_minute(Minute::new(minute), PATIENCE)), "minute {minute}");
        assert_eq!(handle.view().minute, Minute::new(minute));
        assert!(published.has_changed().unwrap(), "who watches hears of it");
    }
    assert!(!wait(handle.wait_minute(Minute::new(901), Duration::ZERO)));
    bench.expect(&handle, &[]);
    handle.shutdown();
}

#[test]
fn the_last_handle_that_is_dropped_stops_the_thread_with_a_flush() {
    let bench = Bench::with_entries(4);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    drop(handle.clone());
    drop(handle);
    // The file is locked until the thread is done with it.
    let deadline = Instant::now() + PATIENCE;
    let handle = loop {
        match bench.try_start() {
            Ok(handle) => break handle,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    };
    assert_eq!(handle.applied(), Seq::new(4));
    handle.shutdown();
}

// The log fails.

#[test]
fn damage_in_the_log_stalls_and_is_never_skipped() {
    let bench = Bench::with_entries(10);
    bench.log.damaged.store(6, SeqCst);
    let handle = bench.start();
    until("it stalls", &handle, |handle| state(handle) == "stalled");
    until("what stands before it is applied", &handle, |handle| handle.applied() == Seq::new(5));
    let detail = handle.status().detail.unwrap();
    assert!(detail.contains("seq 6") && detail.contains("coliseum verify"), "{detail}");
    assert!(!handle.caught_up_once());
    bench.log.damaged.store(0, SeqCst);
    bench.expect(&handle, &[]);
    until("it runs", &handle, |handle| state(handle) == "running");
    handle.shutdown();
}

#[test]
fn a_checkpoint_ahead_of_the_log_stops_the_start() {
    let mut bench = Bench::with_entries(10);
    bench.expect_after_start(&[]);
    let whole = Arc::clone(&bench.log);
    bench.log = whole.cut_to(9);
    for rules in [bench.rules.clone(), bench.rules.with_factor(2)] {
        let file = bench.file();
        bench.rules = rules;
        let error = bench.try_start().err().unwrap();
        assert!(
            matches!(&error, StartError::AheadOfLog { file: named, applied, durable }
                if *named == file && *applied == Seq::new(10) && *durable == Seq::new(9)),
            "{error}"
        );
        assert!(error.to_string().contains("coliseum verify"));
        bench.rules = bench.rules.with_factor(1);
    }
    bench.log = whole;
    bench.expect_after_start(&[]);
}

#[test]
fn a_file_of_another_log_is_rebuilt() {
    let bench = Bench::with_entries(3);
    bench.expect_after_start(&[]);
    let other = Bench { dir: bench.dir, ..Bench::with_entries(2) };
    let watermark = Arc::clone(&other.log.watermark);
    let (log, clock) = (other.log.clone(), other.clock.clone());
    let handle =
        start::<Sums>(other.dir.path(), other.rules.clone(), log, watermark, clock, [7; 16], other.options.clone());
    let handle = handle.unwrap();
    other.expect(&handle, &[]);
    handle.shutdown();
}

// An entry fails.

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

// The projection or its file fails.

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
fn a_disk_that_fills_up_stalls_and_goes_on_by_itself_once_there_is_room() {
    let mut bench = Bench::with_entries(20);
    let faults = Arc::new(Faults::default());
    bench.options.faults = Some(Arc::clone(&faults));
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
    bench.options.faults = Some(Arc::clone(&faults));
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
    bench.options.faults = Some(Arc::clone(&faults));
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
    let damages: [(&str, fn(&mut Vec<u8>)); 7] = [
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
fn a_file_whose_projection_does_not_open_is_built_again() {
    let bench = Bench::with_entries(10);
    bench.expect_after_start(&[]);
    bench.rules.plan.fail_open.store(1, SeqCst);
    bench.expect_after_start(&[]);
}

// Changed rules.

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
    assert_eq!(bench.files(), ["1-x1.redb", "1-x3.redb.building"]);
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

// Crashes.

#[derive(Clone, Debug)]
enum Act {
    Append(u8),
    Restart,
    /// Of the writes since the last sync those survive whose bit is set.
    PowerCut(u64),
    Rebuild,
    ChangeRules,
    Fail(u8, bool),
    FailFlush,
    MoveClock(i16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..40u8).prop_map(Act::Append),
        2 => Just(Act::Restart),
        3 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(Act::PowerCut),
        1 => Just(Act::Rebuild),
        1 => Just(Act::ChangeRules),
        2 => (1..30u8, any::<bool>()).prop_map(|(ahead, panics)| Act::Fail(ahead, panics)),
        1 => Just(Act::FailFlush),
        1 => any::<i16>().prop_map(Act::MoveClock),
    ]
}

/// Does one act; `dead` are the entries told to fail for ever.
fn perform(act: &Act, bench: &mut Bench, handle: &mut Handle<Sums>, dead: &mut Vec<u64>) {
    let faults = bench.options.faults.clone().expect("this bench has a disk that fails");
    match act {
        Act::Append(count) => bench.append(i64::from(*count)),
        Act::Restart => {
            handle.shutdown();
            *handle = bench.start();
        }
        Act::PowerCut(kept) => {
            faults.cut.store(true, SeqCst);
            handle.shutdown();
            faults.restore(&bench.dir.path().join("sums"), *kept);
            *handle = bench.start();
        }
        Act::Rebuild => handle.rebuild(),
        Act::ChangeRules => {
            handle.shutdown();
            bench.rules = bench.rules.with_factor(bench.rules.factor % 3 + 1);
            *handle = bench.start();
        }
        Act::Fail(ahead, panics) => {
            let seq = bench.log.watermark.get().get() + u64::from(*ahead);
            let plan = if *panics { &bench.rules.plan.panic } else { &bench.rules.plan.fail };
            plan.lock().insert(seq, u32::MAX);
            dead.push(seq);
        }
        Act::FailFlush => bench.rules.plan.fail_flush.store(1, SeqCst),
        Act::MoveClock(minutes) => bench.clock.set(Minute::new(1000 + i64::from(*minutes)).start()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_view_is_the_recomputation(
        acts in proptest::collection::vec(act(), 1..14),
        flush_entries in 1..40u64,
    ) {
        let mut bench = Bench::new();
        bench.options.faults = Some(Arc::new(Faults::default()));
        bench.options.flush_entries = flush_entries;
        bench.options.sync_entries = flush_entries * 3;
        bench.options.attempts_max = 2;
        let mut handle = bench.start();
        let mut dead = Vec::new();
        for act in &acts {
            perform(act, &mut bench, &mut handle, &mut dead);
        }
        until("the wanted rules serve", &handle, |handle| {
            state(handle) == "running" && handle.view().factor == bench.rules.factor
        });
        let head = bench.log.watermark.get().get();
        dead.retain(|seq| *seq <= head);
        bench.expect(&handle, &dead);
        handle.shutdown();
        bench.expect_after_start(&dead);
    }
}
