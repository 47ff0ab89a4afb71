//! The log from outside: what is acknowledged is there, once, after any restart; damage stops the start.

mod damage;
mod pieces;
mod scrub;
mod snapshots;
mod start;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::disk::{DirEntry, Disk, DiskFile, OpenMode, RealDisk};
use crate::limits::SEGMENT_BYTES_MIN;
use crate::world::World;

fn options(dir: &Path) -> PassportOptions {
    PassportOptions {
        dir: dir.join("passport"),
        segment_bytes: SEGMENT_BYTES_MIN,
        min_free_bytes: 0,
        durability: Durability::Sync,
        table_keys: keys::RECENT_KEYS,
    }
}

fn world(disk: impl Disk) -> World {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    World { disk: Arc::new(disk), ..World::with_clock(clock) }
}

fn open(dir: &Path) -> Result<Passport, OpenError> {
    Passport::open(&options(dir), &world(RealDisk))
}

fn payload(user: &str, number: u32) -> String {
    let artist = number % 7;
    format!(
        r#"{{"type":"coliseum.vote_cast","userId":"{user}","at":"2026-05-01T00:00:00Z","artistId":"a{artist}","eventId":"e","n":{number}}}"#
    )
}

fn envelope<'a>(key: &'a str, user: &'a str, payload: &'a str) -> Envelope<'a> {
    Envelope {
        received_at_micros: 1,
        at_micros: 2,
        at_corrected: false,
        event_type: "coliseum.vote_cast",
        message_id: key,
        user_id: user,
        session_id: None,
        device_id: None,
        source: "api",
        payload,
    }
}

/// A group of votes, by (key, weight); equal pairs are equal events.
fn group(atomic: bool, events: &[(u32, u32)]) -> Group {
    let mut group = Group::new(atomic);
    for (key, weight) in events {
        let (key, user) = (format!("key-{key}"), format!("user-{}", key % 5));
        group.push(&envelope(&key, &user, &payload(&user, *weight)), None, false);
    }
    group
}

fn append(passport: &Passport, events: &[(u32, u32)]) -> Vec<Outcome> {
    passport.appender().append_blocking(group(false, events)).expect("the log takes writes")
}

/// All entries: seq, key, payload.
fn entries(passport: &Passport) -> Vec<(u64, String, String)> {
    let mut all = Vec::new();
    passport
        .log()
        .scan(Seq::ZERO, &mut |entry| {
            all.push((entry.seq.get(), entry.envelope.message_id.to_owned(), entry.envelope.payload.to_owned()));
            ControlFlow::Continue(())
        })
        .expect("readable");
    all
}

fn segment_files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("passport"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Appends until there are several sealed segments, and waits until all but the last are sealed.
fn fill_segments(dir: &Path, events: u32) {
    let passport = open(dir).expect("opens");
    for chunk in 0..events.div_ceil(50) {
        let from = chunk * 50;
        append(&passport, &(from..(from + 50).min(events)).map(|key| (key, key)).collect::<Vec<_>>());
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while segment_files(dir, "seg").len() > 1 {
        assert!(std::time::Instant::now() < deadline, "segments are sealed in the background");
        std::thread::yield_now();
    }
    passport.close();
}

#[test]
fn an_event_gets_the_next_seq_and_a_repeat_gets_the_first_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    assert!(passport.created());
    assert_eq!(append(&passport, &[(1, 1), (2, 2)]), [Outcome::Stored(Seq::new(1)), Outcome::Stored(Seq::new(2))]);
    let again = append(&passport, &[(2, 2), (3, 3), (3, 3), (1, 9), (3, 4)]);
    let expected = [
        Outcome::Duplicate(Seq::new(2)),
        Outcome::Stored(Seq::new(3)),
        Outcome::Duplicate(Seq::new(3)),
        Outcome::Conflict(Seq::new(1)),
        Outcome::Conflict(Seq::new(3)),
    ];
    assert_eq!(again, expected);
    passport.close();

    let passport = open(dir.path()).expect("opens again");
    assert!(!passport.created());
    assert_eq!(append(&passport, &[(3, 3), (4, 4)]), [Outcome::Duplicate(Seq::new(3)), Outcome::Stored(Seq::new(4))]);
    assert_eq!(entries(&passport).iter().map(|entry| entry.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn an_atomic_group_with_one_bad_event_stores_nothing_and_forgets_its_keys() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    append(&passport, &[(1, 1)]);
    let outcomes = passport.appender().append_blocking(group(true, &[(2, 2), (1, 5), (1, 1)])).expect("answered");
    assert_eq!(outcomes, [Outcome::Withheld, Outcome::Conflict(Seq::new(1)), Outcome::Duplicate(Seq::new(1))]);
    assert_eq!(append(&passport, &[(2, 7)]), [Outcome::Stored(Seq::new(2))]);
}

#[test]
fn an_event_too_far_ahead_is_refused_unless_its_key_is_known() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    append(&passport, &[(1, 1)]);
    let mut late = Group::new(false);
    late.push(&envelope("key-1", "user-1", &payload("user-1", 1)), None, true);
    late.push(&envelope("key-9", "user-4", &payload("user-4", 9)), None, true);
    let outcomes = passport.appender().append_blocking(late).expect("answered");
    assert_eq!(outcomes, [Outcome::Duplicate(Seq::new(1)), Outcome::Ahead]);
}

#[test]
fn sealed_segments_answer_as_the_raw_ones_did() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_segments(dir.path(), 2_000);
    assert!(segment_files(dir.path(), "segz").len() >= 3, "{:?}", segment_files(dir.path(), "segz"));
    let passport = open(dir.path()).expect("opens");
    let all = entries(&passport);
    assert_eq!(all.len(), 2_000);
    for (at, (seq, key, _)) in all.iter().enumerate() {
        assert_eq!((*seq, key.as_str()), (at as u64 + 1, format!("key-{at}").as_str()));
    }
    assert_eq!(
        append(&passport, &[(3, 3), (1_999, 1_999)]),
        [Outcome::Duplicate(Seq::new(4)), Outcome::Duplicate(Seq::new(2_000))]
    );
    for order in [Order::Ascending, Order::Descending] {
        let filter = EntryFilter { user_id: Some("user-2".into()), ..EntryFilter::default() };
        let mut found = Vec::new();
        let log = passport.log();
        log.query(&filter, Seq::new(100), Seq::new(1_500), order, &mut |entry| {
            found.push(entry.seq.get());
            ControlFlow::Continue(())
        })
        .expect("readable");
        let mut expected: Vec<u64> = (100..=1_500).filter(|seq| (seq - 1) % 5 == 2).collect();
        if order == Order::Descending {
            expected.reverse();
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn a_query_misses_nothing_while_segments_are_being_sealed() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    let log = passport.log();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let filter = EntryFilter { user_id: Some("user-2".into()), ..EntryFilter::default() };
                while !done.load(Ordering::Acquire) {
                    let (high, mut found) = (log.durable(), 0);
                    let each = &mut |_: Entry<'_>| {
                        found += 1;
                        ControlFlow::Continue(())
                    };
                    log.query(&filter, Seq::new(1), high, Order::Ascending, each).expect("readable");
                    let expected = (1..=high.get()).filter(|seq| (seq - 1) % 5 == 2).count();
                    assert_eq!(found, expected, "of the entries 1 to {high}");
                }
            });
        }
        for chunk in 0..400 {
            append(&passport, &(chunk * 25..(chunk + 1) * 25).map(|key| (key, key)).collect::<Vec<_>>());
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn a_group_larger_than_a_segment_is_stored_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    let events: Vec<_> = (0..2_000).map(|key| (key, key)).collect();
    assert_eq!(append(&passport, &events).len(), 2_000);
    append(&passport, &[(5_000, 1)]);
    passport.close();
    let passport = open(dir.path()).expect("opens");
    assert_eq!(entries(&passport).len(), 2_001);
    assert_eq!(append(&passport, &[(1_234, 1_234)]), [Outcome::Duplicate(Seq::new(1_235))]);
}

#[test]
fn a_log_without_room_for_its_next_segment_stays_read_only_until_there_is_some() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = FailingDisk::default();
    let passport = disk.open_log(dir.path());
    append(&passport, &[(0, 0)]);
    disk.free.store(1000, Ordering::SeqCst);
    let mut stored = 1;
    let refused = loop {
        match passport.appender().append_blocking(group(false, &[(stored, stored)])) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, AppendError::ReadOnly(why) if why.contains("make room")), "{refused}");
    // The writer looks at the free space again and again meanwhile.
    let looks = disk.looks.load(Ordering::SeqCst);
    while disk.looks.load(Ordering::SeqCst) < looks + 3 {
        assert!(passport.status().read_only().is_some(), "there is no room yet");
        std::thread::yield_now();
    }
    disk.free.store(i64::MAX, Ordering::SeqCst);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while passport.status().read_only().is_some() {
        assert!(std::time::Instant::now() < deadline, "it takes writes again by itself");
        std::thread::yield_now();
    }
    assert_eq!(append(&passport, &[(stored, stored)]), [Outcome::Stored(Seq::new(u64::from(stored) + 1))]);
}

#[test]
fn a_log_on_a_full_disk_is_read_only_before_anyone_writes_and_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = FailingDisk::default();
    append(&disk.open_log(dir.path()), &[(1, 1)]);
    disk.free.store(10, Ordering::SeqCst);
    let options = PassportOptions { min_free_bytes: 1000, ..options(dir.path()) };
    let passport = Passport::open(&options, &world(disk.clone())).expect("opens");
    let becomes = |is_read_only: bool| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while passport.status().read_only().is_some() != is_read_only {
            assert!(std::time::Instant::now() < deadline, "read-only: {is_read_only}");
            std::thread::yield_now();
        }
    };
    becomes(true);
    assert_eq!(entries(&passport).len(), 1);
    disk.free.store(i64::MAX, Ordering::SeqCst);
    becomes(false);
    disk.free.store(10, Ordering::SeqCst);
    becomes(true);
}

#[test]
fn nobody_is_stored_beside_one_who_is_told_that_the_log_is_read_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = FailingDisk::default();
    append(&disk.open_log(dir.path()), &[(1, 1)]);
    disk.free.store(10, Ordering::SeqCst);
    let options = PassportOptions { min_free_bytes: 1000, ..options(dir.path()) };
    let mut log = Stepped::open(&options, &world(disk)).expect("opens");
    let appender = log.appender();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut answers: Vec<_> = (2..6).map(|key| Box::pin(appender.append(group(false, &[(key, key)])))).collect();
    // All of them wait in the queue before the writer looks.
    for answer in &mut answers {
        assert!(answer.as_mut().poll(&mut context).is_pending());
    }
    while log.write().expect("nothing fails") {}
    for mut answer in answers {
        let answer = answer.as_mut().poll(&mut context);
        assert!(matches!(answer, std::task::Poll::Ready(Err(AppendError::ReadOnly(_)))), "{answer:?}");
    }
    assert_eq!(log.log().durable(), Seq::new(1));
}

/// A disk on which the n-th sync of a file fails, or waits for a gate and then fails, or which is as full as one likes.
#[derive(Clone)]
struct FailingDisk {
    left: Arc<AtomicI64>,
    gate: Arc<parking_lot::Mutex<()>>,
    free: Arc<AtomicI64>,
    looks: Arc<AtomicI64>,
}

impl Default for FailingDisk {
    fn default() -> FailingDisk {
        let most = || Arc::new(AtomicI64::new(i64::MAX));
        FailingDisk { left: most(), gate: Arc::default(), free: most(), looks: Arc::default() }
    }
}

impl FailingDisk {
    fn open_log(&self, dir: &Path) -> Passport {
        Passport::open(&options(dir), &world(self.clone())).expect("opens")
    }
}
struct FailingFile {
    file: Arc<dyn DiskFile>,
    disk: FailingDisk,
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(FailingFile { file, disk: self.clone() }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list_dirs(dir)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.hard_link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok(RealDisk.free_bytes(dir)?.min(self.free.load(Ordering::SeqCst).unsigned_abs()))
    }
}

impl DiskFile for FailingFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.file.len_bytes()
    }
    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.file.truncate(len_bytes)
    }
    fn sync(&self) -> io::Result<()> {
        if self.disk.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            drop(self.disk.gate.lock());
            return Err(io::Error::other("injected"));
        }
        self.file.sync()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}

#[test]
fn after_a_sync_that_failed_nothing_is_acknowledged_and_the_daemon_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = FailingDisk::default();
    let passport = disk.open_log(dir.path());
    append(&passport, &[(1, 1)]);
    disk.left.store(1, Ordering::SeqCst);
    for _ in 0..3 {
        let answer = passport.appender().append_blocking(group(false, &[(2, 2)]));
        assert!(matches!(answer, Err(AppendError::Stopped(_))), "{answer:?}");
    }
    assert!(passport.failure().borrow().as_ref().is_some_and(|why| why.contains("injected")));
    assert_eq!(passport.log().durable(), Seq::new(1), "readers never see what was not synced");
}

#[test]
fn whoever_waits_when_the_log_fails_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = FailingDisk::default();
    let passport = disk.open_log(dir.path());
    append(&passport, &[(1, 1)]);
    disk.left.store(1, Ordering::SeqCst);
    let gate = disk.gate.lock();
    let appender = passport.appender();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut answers: Vec<_> = (2..6).map(|key| Box::pin(appender.append(group(false, &[(key, key)])))).collect();
    // One is being synced when the others come and stand in the queue behind it.
    for answer in &mut answers {
        assert!(answer.as_mut().poll(&mut context).is_pending());
        while disk.left.load(Ordering::SeqCst) == 1 {
            std::thread::yield_now();
        }
    }
    drop(gate);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    for answer in answers {
        let within = std::time::Duration::from_secs(30);
        let answer = runtime.block_on(async { tokio::time::timeout(within, answer).await }).expect("an answer");
        assert!(matches!(answer, Err(AppendError::Stopped(_))), "{answer:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Random groups with repeats and conflicts, random restarts: the log holds what a map says it must.
    #[test]
    fn the_log_agrees_with_a_map(
        steps in prop::collection::vec(
            (any::<bool>(), prop::collection::vec((0u32..60, 0u32..2), 1..40), 0u8..6), 1..25)
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut passport = open(dir.path()).expect("opens");
        let mut known: HashMap<u32, (u64, u32)> = HashMap::new();
        let mut order: Vec<(u32, u32)> = Vec::new();
        for (atomic, events, restart) in steps {
            let (mut then, mut expected) = (known.clone(), Vec::new());
            let mut added = Vec::new();
            for (key, weight) in &events {
                expected.push(match then.get(key) {
                    Some((seq, stored)) if stored == weight => Outcome::Duplicate(Seq::new(*seq)),
                    Some((seq, _)) => Outcome::Conflict(Seq::new(*seq)),
                    None => {
                        let seq = (order.len() + added.len()) as u64 + 1;
                        then.insert(*key, (seq, *weight));
                        added.push((*key, *weight));
                        Outcome::Stored(Seq::new(seq))
                    }
                });
            }
            if atomic && expected.iter().any(|outcome| matches!(outcome, Outcome::Conflict(_))) {
                for outcome in &mut expected {
                    if let Outcome::Stored(_) = outcome {
                        *outcome = Outcome::Withheld;
                    }
                }
            } else {
                known = then;
                order.extend(added);
            }
            let outcomes = passport.appender().append_blocking(group(atomic, &events)).expect("answered");
            prop_assert_eq!(outcomes, expected);
            if restart == 0 {
                passport.close();
                passport = open(dir.path()).expect("opens");
            }
        }
        let stored: Vec<_> = entries(&passport).into_iter().map(|(_, key, payload)| (key, payload)).collect();
        let expected: Vec<_> = order
            .iter()
            .map(|(key, weight)| (format!("key-{key}"), payload(&format!("user-{}", key % 5), *weight)))
            .collect();
        prop_assert_eq!(stored, expected);
    }
}
