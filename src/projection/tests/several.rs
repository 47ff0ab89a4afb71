//! Several projections on one log: each catches up, fails and rebuilds alone.

use std::num::NonZeroU64;

use super::super::testing::Changes;
use super::super::{ApplyError, Consumer, Consumers, Projection, StoreError};
use super::*;
use crate::passport::Parsed;

/// [`Sums`] under another name, and so in a directory of its own.
struct Others(Sums);

impl Projection for Others {
    type View = SumsView;
    type Setup = Rules;
    type Changes = Changes;
    const NAME: &'static str = "others";

    fn version(setup: &Rules) -> String {
        Sums::version(setup)
    }
    fn encode_setup(setup: &Rules) -> Vec<u8> {
        Sums::encode_setup(setup)
    }
    fn decode_setup(bytes: &[u8]) -> Result<Rules, StoreError> {
        Sums::decode_setup(bytes)
    }
    fn open(database: Arc<redb::Database>, setup: &Rules, now: Timestamp) -> Result<Others, StoreError> {
        Sums::open(database, setup, now).map(Others)
    }
    fn apply(&mut self, parsed: &Parsed<'_>) -> Result<(), ApplyError> {
        self.0.apply(parsed)
    }
    fn tick(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.0.tick(now)
    }
    fn changes(&mut self) -> Changes {
        self.0.changes()
    }
    fn written(&mut self, changes: Changes) {
        self.0.written(changes);
    }
    fn view(&mut self, applied: Seq) -> Arc<SumsView> {
        self.0.view(applied)
    }
}

/// `sums` by the bench's rules and `others` by its own, on one log.
struct Pair {
    bench: Bench,
    other_rules: Rules,
}

impl Pair {
    fn with_entries(count: i64) -> Pair {
        Pair { bench: Bench::with_entries(count), other_rules: Rules::new(2) }
    }

    fn start(&self) -> (Handle<Sums>, Handle<Others>, Consumers) {
        let Bench { dir, log, clock, options, convoy, .. } = &self.bench;
        let sums = self.bench.start();
        let watermark = Arc::clone(&log.watermark);
        let followed = Followed { log: log.clone(), watermark, log_id: LOG_ID, convoy: convoy.clone() };
        let world = World::with_clock(clock.clone());
        let others = start(dir.path(), self.other_rules.clone(), followed, &world, options.clone()).unwrap();
        let all = Consumers::new(vec![Arc::new(sums.clone()), Arc::new(others.clone())]);
        (sums, others, all)
    }

    /// Waits until `others` holds the whole log, and holds it to a recomputation.
    fn expect_others(&self, others: &Handle<Others>) {
        let head = self.bench.log.watermark.get();
        until_of("the other one has the log", others, |others| others.applied() == head);
        let view = others.view();
        assert_eq!(view.totals, recompute(&self.bench.log, head, view.factor, &BTreeSet::new()));
    }
}

fn until_of<P: Projection>(what: &str, handle: &Handle<P>, holds: impl Fn(&Handle<P>) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(handle) {
        assert!(Instant::now() < deadline, "waited in vain until {what}; {:?}", handle.status());
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn states(all: &Consumers) -> Vec<(&'static str, String)> {
    all.iter().map(|consumer| (consumer.name(), consumer.status().state)).collect()
}

#[test]
fn one_that_is_behind_holds_up_only_those_who_wait_for_it() {
    let pair = Pair::with_entries(10);
    pair.bench.rules.plan.hold(1, 4);
    let (sums, others, all) = pair.start();
    pair.expect_others(&others);
    assert!(!sums.caught_up_once() && others.caught_up_once() && !all.caught_up_once());
    let applied = all.applied();
    assert!(applied.holds("others", Seq::new(10)) && !applied.holds("sums", Seq::new(5)));
    assert!(!applied.holds("nobody", Seq::new(1)), "one that is not there holds nothing");
    assert!(applied.smallest() <= Seq::new(4), "that of the slowest");
    let is_there = |name: &'static str| wait_for_seq(&all, move |known| known == name, 10);
    assert!(is_there("others") && !is_there("sums") && !wait_for_seq(&all, |_| true, 10));
    pair.bench.rules.plan.release();
    pair.bench.expect(&sums, &[]);
    assert!(wait_for_seq(&all, |_| true, 10) && all.caught_up_once());
    assert_eq!(all.applied().smallest(), Seq::new(10));
    all.shutdown();
}

/// Whether all that pass hold `seq`, asked with little patience.
fn wait_for_seq(all: &Consumers, passes: impl Fn(&str) -> bool, seq: u64) -> bool {
    wait(async {
        let arrives = all.wait_applied(passes, Seq::new(seq));
        tokio::time::timeout(Duration::from_millis(50), arrives).await.is_ok()
    })
}

#[test]
fn a_write_waits_for_a_running_one_that_is_too_far_behind_and_for_no_other() {
    let pair = Pair::with_entries(4);
    let (sums, others, all) = pair.start();
    pair.bench.expect(&sums, &[]);
    pair.bench.rules.plan.hold(1, 4);
    pair.bench.append(6);
    pair.expect_others(&others);
    let ever = Duration::from_secs(3600);
    assert!(keeps_pace(&all, 6, ever), "six entries behind is not too far");
    assert!(!keeps_pace(&all, 5, ever), "five would be kept");
    assert!(keeps_pace(&all, 5, Duration::ZERO), "whoever has waited long enough goes on");
    pair.bench.rules.plan.release();
    pair.bench.expect(&sums, &[]);
    assert!(keeps_pace(&all, 1, ever));
    pair.bench.rules.plan.hold(1, 4);
    all.get("sums").expect("it runs").rebuild();
    pair.bench.append(6);
    pair.expect_others(&others);
    assert_eq!(states(&all)[0].1, "rebuilding");
    assert!(keeps_pace(&all, 1, ever), "one that is rebuilt is not waited for");
    pair.bench.rules.plan.release();
    all.shutdown();
}

/// Whether a write would go on now, asked with little patience.
fn keeps_pace(all: &Consumers, lag_max: u64, longest: Duration) -> bool {
    wait(async {
        let lag_max = NonZeroU64::new(lag_max).expect("a bound");
        let head = all.applied().iter().map(|(_, applied)| applied).max().expect("there are some");
        tokio::time::timeout(Duration::from_millis(50), all.keep_pace(head, lag_max, longest)).await.is_ok()
    })
}

#[test]
fn one_whose_file_fails_stands_still_and_the_other_goes_on() {
    let pair = Pair::with_entries(5);
    let (sums, others, all) = pair.start();
    pair.bench.expect(&sums, &[]);
    until("it runs", &sums, |sums| state(sums) == "running");
    pair.expect_others(&others);
    pair.bench.rules.plan.fail_open.store(u64::MAX, SeqCst);
    pair.bench.rules.plan.fail_tick.store(u64::MAX, SeqCst);
    pair.bench.clock.set(Minute::new(1001).start());
    until("the first one is held up", &sums, |sums| state(sums) != "running");
    pair.bench.append(20);
    pair.expect_others(&others);
    until_of("the other one runs", &others, |others| others.status().state == "running");
    // It tries to open its file, and to build another one: stalled or rebuilding, and where it was.
    assert_eq!(sums.applied(), Seq::new(5));
    assert_ne!(state(&sums), "running");
    pair.bench.rules.plan.fail_tick.store(0, SeqCst);
    pair.bench.rules.plan.fail_open.store(0, SeqCst);
    pair.bench.expect(&sums, &[]);
    all.shutdown();
}

#[test]
fn dead_letters_are_those_of_one_and_are_tried_again_by_its_name() {
    let pair = Pair::with_entries(6);
    pair.bench.rules.plan.fail.lock().insert(3, u32::MAX);
    let (sums, others, all) = pair.start();
    pair.bench.expect(&sums, &[3]);
    pair.expect_others(&others);
    let counts: Vec<_> = all.iter().map(|consumer| (consumer.name(), consumer.dead_letters().len())).collect();
    assert_eq!(counts, [("sums", 1), ("others", 0)]);
    let retry = |name: &str| wait(all.get(name).unwrap().retry(Seq::new(3)));
    assert_eq!(retry("others"), Err(NotFound(Seq::new(3))));
    pair.bench.rules.plan.fail.lock().clear();
    assert_eq!(retry("sums"), Ok(Ok(())));
    pair.bench.expect(&sums, &[]);
    assert!(all.get("nobody").is_none());
    all.shutdown();
}

#[test]
fn one_is_rebuilt_while_the_other_runs() {
    let pair = Pair::with_entries(30);
    let (sums, others, all) = pair.start();
    pair.bench.expect(&sums, &[]);
    pair.expect_others(&others);
    until_of("the other one runs", &others, |others| others.status().state == "running");
    pair.bench.rules.plan.hold(1, 7);
    all.get("sums").unwrap().rebuild();
    assert_eq!(states(&all), [("sums", "rebuilding".to_owned()), ("others", "running".to_owned())]);
    pair.bench.append(3);
    pair.expect_others(&others);
    pair.bench.rules.plan.release();
    until("it is rebuilt", &sums, |sums| state(sums) == "running");
    pair.bench.expect(&sums, &[]);
    all.shutdown();
}

#[test]
fn each_starts_again_from_where_it_was_stopped() {
    let pair = Pair::with_entries(10);
    let (sums, others, all) = pair.start();
    pair.bench.expect(&sums, &[]);
    pair.expect_others(&others);
    all.shutdown();
    pair.bench.append(10);
    // What was folded before is not folded again: it would fail.
    pair.bench.rules.plan.fail.lock().insert(10, u32::MAX);
    pair.other_rules.plan.fail.lock().insert(10, u32::MAX);
    let (sums, others, all) = pair.start();
    pair.bench.expect(&sums, &[]);
    pair.expect_others(&others);
    all.shutdown();
}

#[test]
#[should_panic(expected = "two projections are called sums")]
fn two_of_one_name_are_refused() {
    let bench = Bench::new();
    let sums: Arc<dyn Consumer> = Arc::new(bench.start());
    Consumers::new(vec![Arc::clone(&sums), sums]);
}
