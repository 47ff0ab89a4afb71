//! The runner held to its promises: on a log in memory, with a projection, a disk and a clock that do as they are told.

mod crashes;
mod entries;
mod files;
mod following;
mod rules;
mod several;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::testing::{Faults, FaultyDisk, MemoryLog, Rules, Sums, SumsView, recompute};
use super::{Convoy, Followed, Handle, NotFound, Options, Progress, StartError, Stepped, start};
use crate::clock::ManualClock;
use crate::units::{Minute, Seq, Timestamp};
use crate::world::World;

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
    convoy: Arc<Convoy>,
    faults: Option<Arc<Faults>>,
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
            convoy: Arc::default(),
            faults: None,
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
        self.try_start_on(LOG_ID)
    }

    fn try_start_on(&self, log_id: [u8; 16]) -> Result<Handle<Sums>, StartError> {
        let watermark = Arc::clone(&self.log.watermark);
        let followed = Followed { log: self.log.clone(), watermark, log_id, convoy: self.convoy.clone() };
        let world = World::with_clock(self.clock.clone());
        let world = match &self.faults {
            Some(faults) => World { disk: Arc::new(FaultyDisk(Arc::clone(faults))), ..world },
            None => world,
        };
        start(self.dir.path(), self.rules.clone(), followed, &world, self.options.clone())
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

/// Changes a file on the disk.
fn spoil(path: &Path, spoil: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    spoil(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_start_comes_to_its_target_before_it_flushes_unless_that_is_far() {
    let mut bench = Bench::with_entries(25);
    bench.options.flush_entries = 10;
    let Bench { dir, log, clock, rules, options, convoy, .. } = &bench;
    let followed =
        Followed { log: log.clone(), watermark: log.watermark.clone(), log_id: LOG_ID, convoy: convoy.clone() };
    let world = World::with_clock(clock.clone());
    let mut stepped = Stepped::<Sums>::open(dir.path(), rules.clone(), followed, &world, options.clone()).unwrap();
    let uncommitted = |stepped: &Stepped<Sums>| stepped.serving.fold().unwrap().uncommitted();
    let of_start = options.of_start(25).expect("less than three flushes");
    let usual = Arc::clone(&stepped.wiring);
    stepped.serving.go_on_with(&Arc::new(usual.with_options(of_start)));
    while stepped.step() != Progress::CaughtUp {}
    assert_eq!(uncommitted(&stepped), 25);
    stepped.serving.go_on_with(&usual);
    stepped.step();
    assert_eq!(uncommitted(&stepped), 0);
    assert!(options.of_start(30).is_none(), "a crash on a long way would lose it all");
}
