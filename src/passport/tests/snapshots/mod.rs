//! Snapshots of a log and logs from snapshots: whole or absent wherever the disk fails, exact to the entry, and never
//! made from damage.

mod damage;
mod faults;

use super::super::snapshot::{RestoreError, Restored, SnapshotError, SnapshotName, Store, Until, restore, verify};
use super::*;
use crate::units::Timestamp;
use crate::world::SystemRandom;
use faults::Faults;

const AT: Timestamp = Timestamp::from_micros(1_795_691_045_000_000);

fn named(name: &str) -> SnapshotName {
    SnapshotName::parse(name).expect("a name")
}

fn store(passport: &Passport, dir: &Path) -> Store {
    Store::open(passport.log(), dir.join("snapshots"), 0)
}

fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

fn findings(snapshot: &Path) -> Vec<String> {
    let verdict = verify(&real(), snapshot).expect("it has a manifest");
    verdict.findings.iter().map(ToString::to_string).collect()
}

fn restored(snapshot: &Path, to: &Path, until: Until) -> Result<Restored, RestoreError> {
    restore(&real(), &SystemRandom, snapshot, to, until)
}

/// The n-th event of these tests: received in its own second.
fn append_numbered(passport: &Passport, numbers: std::ops::Range<u32>) {
    let mut group = Group::new(false);
    for number in numbers {
        let (key, user) = (format!("key-{number}"), format!("user-{}", number % 5));
        let payload = payload(&user, number);
        let envelope = Envelope { received_at_micros: second(number), ..envelope(&key, &user, &payload) };
        group.push(&envelope, None, false);
    }
    passport.appender().append_blocking(group).expect("the log takes writes");
}

fn second(number: u32) -> i64 {
    1_700_000_000_000_000 + i64::from(number) * 1_000_000
}

/// A log with sealed segments and an active one, and a snapshot of it.
fn log_with_snapshot(dir: &Path) -> (Passport, PathBuf) {
    let passport = open(dir).expect("opens");
    for chunk in 0..40 {
        append_numbered(&passport, chunk * 37..(chunk + 1) * 37);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while segment_files(dir, "seg").len() > 1 {
        assert!(std::time::Instant::now() < deadline, "segments are sealed in the background");
        std::thread::yield_now();
    }
    assert!(segment_files(dir, "segz").len() >= 2);
    let manifest = store(&passport, dir).take(&named("one"), AT).expect("taken");
    assert_eq!((manifest.last_seq(), manifest.created_at()), (Seq::new(1480), AT));
    (passport, dir.join("snapshots/one"))
}

/// The log in `to` holds the first `count` of `all` and goes on behind them: keys that it holds are known, others free.
fn assert_prefix(to: &Path, all: &[(u64, String, String)], count: usize) {
    let passport = open(to).expect("a restored log opens");
    assert_eq!(entries(&passport), all[..count], "up to {count}");
    let last = count as u32 - 1;
    let expected = [Outcome::Duplicate(Seq::new(u64::from(last) + 1)), Outcome::Stored(Seq::new(count as u64 + 1))];
    assert_eq!(append(&passport, &[(last, last), (last + 1, last + 1)]), expected);
    append(&passport, &(5_000..5_600).map(|key| (key, key)).collect::<Vec<_>>());
    passport.close();
    let passport = open(to).expect("it opens again");
    assert_eq!(entries(&passport).len(), count + 601);
    assert_eq!(append(&passport, &[(0, 0)]), [Outcome::Duplicate(Seq::new(1))]);
}

#[test]
fn a_snapshot_gives_back_the_log_as_it_was_and_stays_as_it_is_while_the_log_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, snapshot) = log_with_snapshot(dir.path());
    let all = entries(&passport);
    for chunk in 0..40 {
        append(&passport, &(2_000 + chunk * 37..2_000 + (chunk + 1) * 37).map(|key| (key, key)).collect::<Vec<_>>());
    }
    passport.close();
    assert_eq!(findings(&snapshot), [""; 0]);
    let to = dir.path().join("a/b/restored");
    let done = restored(&snapshot, &to, Until::End).expect("restored");
    assert_eq!(done.last_seq, Seq::new(1480));
    assert_prefix(&to, &all, 1480);
    assert_eq!(findings(&snapshot), [""; 0], "the restored log shares no file with its snapshot");
}

#[test]
fn a_log_of_nothing_has_a_snapshot_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    store(&passport, dir.path()).take(&named("empty"), AT).expect("taken");
    let snapshot = dir.path().join("snapshots/empty");
    assert_eq!(findings(&snapshot), [""; 0]);
    let to = dir.path().join("to");
    restored(&snapshot, &to, Until::End).expect("restored");
    assert_eq!(append(&open(&to).expect("opens"), &[(1, 1)]), [Outcome::Stored(Seq::new(1))]);
    let beyond = restored(&snapshot, &dir.path().join("to2"), Until::Seq(Seq::new(3))).expect("all there is");
    assert_eq!(beyond.last_seq, Seq::ZERO);
}

#[test]
fn a_restore_ends_exactly_where_it_is_told_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, snapshot) = log_with_snapshot(dir.path());
    let all = entries(&passport);
    let segments = passport.log().segments();
    let mut ends = vec![1, 2, 36, 37, 38, 74, 1479, 1480];
    for segment in segments.iter() {
        let (first, last) = (segment.first_seq().get() as usize, segment.last_seq().get() as usize);
        ends.extend([first - 1, first, first + 1, last - 1, last]);
    }
    ends.retain(|end| *end > 0);
    ends.sort_unstable();
    ends.dedup();
    for end in ends {
        let to = dir.path().join(format!("to-{end}"));
        let done = restored(&snapshot, &to, Until::Seq(Seq::new(end as u64))).expect("restored");
        assert_eq!(done.last_seq.get() as usize, end);
        assert_prefix(&to, &all, end);
    }
    for beyond in [1481, u64::MAX] {
        let to = dir.path().join(format!("to-{beyond}"));
        let done = restored(&snapshot, &to, Until::Seq(Seq::new(beyond))).expect("all there is");
        assert_eq!(done.last_seq, Seq::new(1480));
    }
    let nothing = restored(&snapshot, &dir.path().join("nothing"), Until::Seq(Seq::ZERO));
    assert!(matches!(nothing, Err(RestoreError::Nothing)), "{nothing:?}");
    assert!(!dir.path().join("nothing").exists(), "nothing is written for an entry that is not there");
}

#[test]
fn a_restore_by_time_ends_before_the_first_entry_that_came_later() {
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, snapshot) = log_with_snapshot(dir.path());
    let all = entries(&passport);
    for (number, micros, count) in [(0, 0, 1), (500, 0, 501), (500, -1, 500), (500, 999_999, 501), (9_999, 0, 1480)] {
        let to = dir.path().join(format!("to-{number}-{micros}"));
        let time = Timestamp::from_micros(second(number) + micros);
        restored(&snapshot, &to, Until::Time(time)).expect("restored");
        assert_prefix(&to, &all, count);
    }
    let early = restored(&snapshot, &dir.path().join("early"), Until::Time(Timestamp::from_micros(second(0) - 1)));
    assert!(matches!(early, Err(RestoreError::NothingBefore(_))), "{early:?}");
}

#[test]
fn a_directory_that_holds_a_log_is_not_restored_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, snapshot) = log_with_snapshot(dir.path());
    let all = entries(&passport);
    for name in ["passport", "projections"] {
        let to = dir.path().join(format!("holds-{name}"));
        fs::create_dir_all(to.join(name)).expect("made");
        let refused = restored(&snapshot, &to, Until::End);
        assert!(matches!(refused, Err(RestoreError::HoldsLog { .. })), "{refused:?}");
        fs::remove_dir(to.join(name)).expect("nothing was written into it");
        fs::write(to.join(name), "").expect("written");
        assert!(matches!(restored(&snapshot, &to, Until::End), Err(RestoreError::HoldsLog { .. })), "a file");
    }
    let empty = dir.path().join("empty");
    fs::create_dir_all(empty.join(".passport.partial/x")).expect("what a crash left");
    restored(&snapshot, &empty, Until::End).expect("an empty directory takes a log");
    assert_prefix(&empty, &all, 1480);
    let nowhere = restored(&dir.path().join("nowhere"), &dir.path().join("to"), Until::End);
    assert!(matches!(nowhere, Err(RestoreError::NoSnapshot { .. })), "{nowhere:?}");
}

fn open_on(faults: &Faults, dir: &Path) -> Passport {
    Passport::open(&options(dir), &world(faults.clone())).expect("opens")
}

/// A log on a disk of faults whose threads have nothing to do: nobody but the test calls the disk.
fn quiet_log(dir: &Path) -> (Faults, Arc<Log>) {
    let faults = Faults::default();
    let passport = open_on(&faults, dir);
    for chunk in 0..20 {
        append_numbered(&passport, chunk * 50..(chunk + 1) * 50);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while segment_files(dir, "seg").len() > 1 {
        assert!(std::time::Instant::now() < deadline, "segments are sealed in the background");
        std::thread::yield_now();
    }
    let log = passport.log();
    passport.close();
    (faults, log)
}

#[test]
fn a_snapshot_that_fails_at_any_call_of_the_disk_is_whole_or_absent() {
    let dir = tempfile::tempdir().expect("a directory");
    let (faults, log) = quiet_log(dir.path());
    let snapshots = dir.path().join("snapshots");
    let (mut absent, mut whole) = (0, 0);
    for n in 1.. {
        faults.fail_from(0);
        let store = Store::open(log.clone(), snapshots.clone(), 0);
        let name = named(&format!("s{n}"));
        faults.fail_from(n);
        let taken = store.take(&name, AT);
        let calls = faults.calls.load(Ordering::SeqCst);
        faults.fail_from(0);
        let path = snapshots.join(name.as_str());
        if path.exists() {
            whole += 1;
            assert_eq!(findings(&path), [""; 0], "call {n}");
            fs::remove_dir_all(&path).expect("removed");
        } else {
            absent += 1;
            assert!(taken.is_err(), "call {n}");
        }
        if calls < n {
            assert!(taken.is_ok(), "nothing failed");
            break;
        }
        drop(Store::open(log.clone(), snapshots.clone(), 0));
        let left = fs::read_dir(&snapshots).map_or(0, Iterator::count);
        assert_eq!(left, 0, "call {n}: the next start removes what is left");
    }
    assert!(absent > 30 && whole >= 2, "{absent} absent, {whole} whole");
}

#[test]
fn a_restore_that_fails_at_any_call_of_the_disk_leaves_a_whole_log_or_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, snapshot) = log_with_snapshot(dir.path());
    passport.close();
    let faults = Faults::default();
    let disk: Arc<dyn Disk> = Arc::new(faults.clone());
    let to = dir.path().join("to");
    let (mut absent, mut whole) = (0, 0);
    for n in 1.. {
        faults.fail_from(n);
        let done = restore(&disk, &SystemRandom, &snapshot, &to, Until::Seq(Seq::new(700)));
        let calls = faults.calls.load(Ordering::SeqCst);
        faults.fail_from(0);
        if to.join("passport").exists() {
            whole += 1;
            assert_eq!(entries(&open(&to).expect("opens")).len(), 700, "call {n}");
            fs::remove_dir_all(&to).expect("removed");
        } else {
            absent += 1;
            assert!(done.is_err(), "call {n}");
        }
        if calls < n {
            assert!(done.is_ok(), "nothing failed");
            break;
        }
    }
    assert!(absent > 30 && whole >= 2, "{absent} absent, {whole} whole");
    assert_eq!(findings(&snapshot), [""; 0]);
}

#[test]
fn a_file_system_without_links_gets_copies() {
    let dir = tempfile::tempdir().expect("a directory");
    let (faults, log) = quiet_log(dir.path());
    faults.has_no_links.store(true, Ordering::SeqCst);
    let store = Store::open(log, dir.path().join("snapshots"), 0);
    store.take(&named("copies"), AT).expect("taken");
    let snapshot = dir.path().join("snapshots/copies");
    assert_eq!(findings(&snapshot), [""; 0]);
    let sealed = segment_files(dir.path(), "segz");
    fs::write(&sealed[0], "").expect("the log's own file is another one");
    assert_eq!(findings(&snapshot), [""; 0]);
}

#[test]
fn a_segment_that_is_sealed_before_it_is_copied_is_there_in_its_sealed_form() {
    let dir = tempfile::tempdir().expect("a directory");
    let faults = Faults::default();
    let passport = open_on(&faults, dir.path());
    let held = faults.sealing.clone();
    let gate = held.lock();
    for chunk in 0..40 {
        append_numbered(&passport, chunk * 37..(chunk + 1) * 37);
    }
    assert!(segment_files(dir.path(), "seg").len() > 2, "nothing is sealed yet");
    let path = dir.path().to_owned();
    let (ask, asked) = crossbeam_channel::bounded::<()>(0);
    let (tell, told) = crossbeam_channel::bounded::<()>(0);
    *faults.before_raw_copy.lock() = Some(Box::new(move || {
        ask.send(()).expect("the test waits");
        told.recv().expect("the test answers");
    }));
    let store = store(&passport, dir.path());
    std::thread::scope(|threads| {
        let taking = threads.spawn(|| store.take(&named("one"), AT));
        asked.recv().expect("a raw segment is about to be copied");
        drop(gate);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while segment_files(&path, "seg").len() > 1 {
            assert!(std::time::Instant::now() < deadline, "segments are sealed in the background");
            std::thread::yield_now();
        }
        tell.send(()).expect("it waits");
        let manifest = taking.join().expect("no panic").expect("taken");
        assert!(manifest.files[1].path.ends_with(".segz"), "{:?}", manifest.files);
    });
    let snapshot = dir.path().join("snapshots/one");
    assert_eq!(findings(&snapshot), [""; 0]);
}

#[test]
fn a_segment_is_read_once_for_all_of_its_snapshots() {
    let dir = tempfile::tempdir().expect("a directory");
    let (faults, log) = quiet_log(dir.path());
    let store = Store::open(log, dir.path().join("snapshots"), 0);
    let read_by = |name: &str| {
        let before = faults.sealed_bytes_read.load(Ordering::SeqCst);
        store.take(&named(name), AT).expect("taken");
        faults.sealed_bytes_read.load(Ordering::SeqCst) - before
    };
    let sealed = segment_files(dir.path(), "segz");
    let bytes: i64 = sealed.iter().map(|path| fs::metadata(path).expect("there").len() as i64).sum();
    assert!(read_by("first") >= bytes);
    assert!(read_by("second") <= sealed.len() as i64 * 200, "trailers are read, and no blocks");
    // A digest that was handed on still finds what has changed since.
    let mut damaged = fs::read(&sealed[0]).expect("read");
    damaged[100] ^= 1;
    fs::write(&sealed[0], damaged).expect("written, through all of its names");
    read_by("third");
    assert!(!findings(&dir.path().join("snapshots/third")).is_empty());
}

#[test]
fn no_snapshot_is_taken_of_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, log) = quiet_log(dir.path());
    let sealed = segment_files(dir.path(), "segz");
    let mut damaged = fs::read(&sealed[0]).expect("read");
    damaged[100] ^= 1;
    fs::write(&sealed[0], damaged).expect("written");
    let store = Store::open(log, dir.path().join("snapshots"), 0);
    let error = store.take(&named("one"), AT).expect_err("damage").to_string();
    assert!(error.contains(".segz") && error.contains("offset 0") && error.contains("seq 1"), "{error}");
    assert_eq!(fs::read_dir(dir.path().join("snapshots")).map_or(0, Iterator::count), 0);
    assert_eq!(store.counts().failures, 1);
}

#[test]
fn a_copy_that_would_turn_the_log_read_only_is_not_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, log) = quiet_log(dir.path());
    let store = Store::open(log, dir.path().join("snapshots"), u64::MAX / 2);
    let error = store.take(&named("one"), AT).expect_err("no room");
    assert!(error.is_full_disk(), "{error}");
    assert_eq!(fs::read_dir(dir.path().join("snapshots")).map_or(0, Iterator::count), 0);
}

fn names(store: &Store) -> Vec<String> {
    store.list().expect("listed").into_iter().map(|listed| listed.name.to_string()).collect()
}

#[test]
fn the_oldest_scheduled_snapshots_go_and_named_ones_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, log) = quiet_log(dir.path());
    let store = Store::open(log, dir.path().join("snapshots"), 0);
    let at = |hour: i64| AT.moved_by_micros(hour * 3_600_000_000);
    store.take(&named("kept"), at(0)).expect("taken");
    for hour in 1..=4 {
        store.take(&SnapshotName::auto(at(hour)), at(hour)).expect("taken");
    }
    assert_eq!(store.remove_old(2, &SnapshotName::auto(at(4))).expect("removed").len(), 2);
    assert_eq!(names(&store), [SnapshotName::auto(at(4)).as_str(), SnapshotName::auto(at(3)).as_str(), "kept"]);
    assert_eq!(store.newest_auto(at(5)).expect("listed"), Some(at(4)));
    let again = store.take(&named("kept"), at(9));
    assert!(matches!(again, Err(SnapshotError::Exists(_))), "{again:?}");
    assert_eq!((store.counts().failures, store.counts().last_success), (0, Some(at(4))));
}

#[test]
fn after_a_clock_that_was_ahead_the_snapshots_taken_since_are_the_newest() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    let store = store(&passport, dir.path());
    let at = |hour: i64| AT.moved_by_micros(hour * 3_600_000_000);
    let take = |hour: i64, key: u32| {
        append(&passport, &[(key, key)]);
        store.take(&SnapshotName::auto(at(hour)), at(hour)).expect("taken");
        store.remove_old(2, &SnapshotName::auto(at(hour))).expect("removed")
    };
    for (key, hour) in [9_000, 9_001].into_iter().enumerate() {
        assert_eq!(take(hour, key as u32), []);
    }
    // The clock is right again: the numbers of the log say what is older, whatever time was written then.
    assert_eq!(take(1, 2), [SnapshotName::auto(at(9_000))]);
    assert_eq!(take(2, 3), [SnapshotName::auto(at(9_001))]);
    assert_eq!(names(&store), [SnapshotName::auto(at(2)).as_str(), SnapshotName::auto(at(1)).as_str()]);
}

#[test]
fn the_snapshot_that_was_just_taken_is_never_the_one_that_goes() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, log) = quiet_log(dir.path());
    let store = Store::open(log, dir.path().join("snapshots"), 0);
    let (ahead, now) = (AT.moved_by_micros(1_000_000_000_000), AT);
    // Nothing was written in between, so that only the time that is wrong tells them apart.
    for at in [ahead, now] {
        store.take(&SnapshotName::auto(at), at).expect("taken");
    }
    assert_eq!(store.newest_auto(now).expect("listed"), Some(now), "what is to come is not over");
    assert_eq!(store.remove_old(1, &SnapshotName::auto(now)).expect("removed"), [SnapshotName::auto(ahead)]);
    assert_eq!(names(&store), [SnapshotName::auto(now).as_str()]);
}

#[test]
fn retention_counts_and_removes_whole_scheduled_snapshots_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, log) = quiet_log(dir.path());
    let snapshots = dir.path().join("snapshots");
    let store = Store::open(log, snapshots.clone(), 0);
    let at = |hour: i64| AT.moved_by_micros(hour * 3_600_000_000);
    for hour in 1..=4 {
        store.take(&SnapshotName::auto(at(hour)), at(hour)).expect("taken");
    }
    let damaged = snapshots.join(SnapshotName::auto(at(3)).as_str());
    fs::write(damaged.join("manifest.json"), "{").expect("written");
    let own = snapshots.join("auto-2019-notes");
    fs::create_dir(&own).expect("made");
    fs::write(own.join("mine.txt"), "mine").expect("written");
    let removed = store.remove_old(2, &SnapshotName::auto(at(4))).expect("removed");
    assert_eq!(removed, [SnapshotName::auto(at(1))], "the damaged one takes no place from a whole one");
    assert!(damaged.exists() && own.join("mine.txt").exists(), "neither is retention's to remove");
    assert_eq!(findings(&snapshots.join(SnapshotName::auto(at(2)).as_str())), [""; 0]);
}

/// A stop comes while a segment is being linked, and the disk answers only after that.
#[test]
fn a_snapshot_under_way_is_given_up_when_the_daemon_stops() {
    let dir = tempfile::tempdir().expect("a directory");
    let faults = Faults::default();
    let passport = open_on(&faults, dir.path());
    let held = faults.sealing.clone();
    let gate = held.lock();
    for chunk in 0..40 {
        append_numbered(&passport, chunk * 37..(chunk + 1) * 37);
    }
    assert!(segment_files(dir.path(), "seg").len() > 2, "nothing is sealed, so that raw segments are linked");
    let (ask, asked) = crossbeam_channel::bounded::<()>(0);
    let (tell, told) = crossbeam_channel::bounded::<()>(0);
    *faults.before_raw_copy.lock() = Some(Box::new(move || {
        ask.send(()).expect("the test waits");
        told.recv().expect("the test answers");
    }));
    let store = store(&passport, dir.path());
    let taken = std::thread::scope(|threads| {
        let taking = threads.spawn(|| store.take(&named("one"), AT));
        asked.recv().expect("a raw segment is about to be linked");
        store.give_up();
        tell.send(()).expect("it waits");
        taking.join().expect("no panic")
    });
    drop(gate);
    assert_eq!(fs::read_dir(dir.path().join("snapshots")).expect("made").count(), 0, "nothing is left of it");
    assert!(matches!(taken, Err(SnapshotError::Stopped)), "{taken:?}");
    assert!(matches!(store.take(&named("late"), AT), Err(SnapshotError::Stopped)));
    assert_eq!(store.counts().failures, 0);
}

#[test]
fn a_quota_that_is_used_up_is_a_full_disk() {
    for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded] {
        assert!(SnapshotError::Io { path: "x".into(), error: kind.into() }.is_full_disk(), "{kind}");
    }
    let other = std::io::ErrorKind::PermissionDenied.into();
    assert!(!SnapshotError::Io { path: "x".into(), error: other }.is_full_disk());
}
