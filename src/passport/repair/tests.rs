//! Random logs, random damage: what a repair leaves opens, is a prefix of what there was, and keeps all that it removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::clock::ManualClock;
use crate::disk::{DirEntry, Disk, DiskFile, OpenMode, RealDisk};
use crate::limits::SEGMENT_BYTES_MIN;
use crate::passport::recovery::Link;
use crate::passport::{Appender, Durability, EntrySource, Envelope, Group, Outcome, Passport, PassportOptions};
use crate::units::Timestamp;

const TABLE_KEYS: usize = 256;

fn world(disk: impl Disk) -> World {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
    World { disk: Arc::new(disk), ..World::with_clock(clock) }
}

fn repair_options(data: &Path) -> RepairOptions {
    RepairOptions {
        data_dir: data.to_owned(),
        snapshot: None,
        segment_bytes: SEGMENT_BYTES_MIN,
        derived_dirs: vec!["projections".into()],
    }
}

fn open(data: &Path) -> Result<Passport, OpenError> {
    open_on(data, RealDisk)
}

fn open_on(data: &Path, disk: impl Disk) -> Result<Passport, OpenError> {
    open_with_segments_of(data, disk, SEGMENT_BYTES_MIN)
}

fn open_with_segments_of(data: &Path, disk: impl Disk, segment_bytes: u64) -> Result<Passport, OpenError> {
    let options = PassportOptions {
        dir: data.join("passport"),
        segment_bytes,
        min_free_bytes: 0,
        durability: Durability::Sync,
        table_keys: TABLE_KEYS,
    };
    Passport::open(&options, &world(disk))
}

/// The n-th event: key, and a payload of some length.
fn event(n: u64) -> (String, String) {
    let pad = "x".repeat((n * 7 % 300) as usize);
    let payload = format!(
        r#"{{"type":"coliseum.vote_cast","userId":"u{}","at":"2026-05-01T00:00:00Z","artistId":"a{}","eventId":"e","n":{n},"pad":"{pad}"}}"#,
        n % 9,
        n % 5
    );
    (format!("key-{n}"), payload)
}

fn append(appender: &Appender, numbers: std::ops::Range<u64>) {
    let mut group = Group::new(false);
    for n in numbers {
        let (key, payload) = event(n);
        let user = format!("u{}", n % 9);
        let envelope = Envelope {
            received_at_micros: n as i64,
            at_micros: 2 * n as i64,
            at_corrected: false,
            event_type: "coliseum.vote_cast",
            message_id: &key,
            user_id: &user,
            session_id: None,
            device_id: None,
            source: "api",
            payload: &payload,
        };
        group.push(&envelope, None, false);
    }
    let outcomes = appender.append_blocking(group).expect("the log takes writes");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored(_))), "{outcomes:?}");
}

fn names(data: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("passport")).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

/// A log of `events` in groups of `group`, sealed but for the active segment, with a projection's file beside it.
fn make_log(data: &Path, events: u64, group: u64) {
    make_log_with_segments_of(data, events, group, SEGMENT_BYTES_MIN);
}

/// What a sealed segment of several blocks takes; one of the least size has one block.
const BLOCKS_SEGMENT_BYTES: u64 = 3 * SEGMENT_BYTES_MIN;

fn make_log_with_segments_of(data: &Path, events: u64, group: u64, segment_bytes: u64) {
    let passport = open_with_segments_of(data, RealDisk, segment_bytes).expect("opens");
    for from in (0..events).step_by(group as usize) {
        append(&passport.appender(), from..(from + group).min(events));
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while names(data, "seg").len() > 1 {
        assert!(std::time::Instant::now() < deadline, "segments are sealed in the background");
        std::thread::yield_now();
    }
    passport.close();
    fs::create_dir_all(data.join("projections/coliseum")).expect("made");
    fs::write(data.join("projections/coliseum/1.redb"), b"derived").expect("written");
}

/// Seq, key and payload of all entries, or the error of the first that cannot be read.
fn entries(passport: &Passport) -> Vec<(u64, String, String)> {
    let mut all = Vec::new();
    let each = &mut |entry: crate::passport::Entry<'_>| {
        all.push((entry.seq.get(), entry.envelope.message_id.to_owned(), entry.envelope.payload.to_owned()));
        ControlFlow::Continue(())
    };
    passport.log().scan(Seq::ZERO, each).expect("readable");
    all
}

fn expected(count: u64) -> Vec<(u64, String, String)> {
    (0..count)
        .map(|n| {
            let (key, payload) = event(n);
            (n + 1, key, payload)
        })
        .collect()
}

/// Every file under a directory with its bytes.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                match fs::read(&path) {
                    Ok(bytes) => drop(all.insert(path, bytes)),
                    // Where a log is open, its keeper gives files their names meanwhile.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => panic!("{}: {error}", path.display()),
                }
            }
        }
    }
    all
}

fn copy_tree(from: &Path, to: &Path) {
    for (path, bytes) in tree(from) {
        let target = to.join(path.strip_prefix(from).expect("inside"));
        fs::create_dir_all(target.parent().expect("a parent")).expect("made");
        fs::write(target, bytes).expect("written");
    }
}

fn plan(data: &Path) -> Plan {
    Plan::make(&world(RealDisk), &repair_options(data), &mut |_| {}).expect("a plan")
}

/// Plans without changing anything, does it, and holds the result to the contract. Gives how many events are left.
fn repair_and_check(data: &Path, options: &RepairOptions, original: u64) -> u64 {
    let before = tree(data);
    let plan = Plan::make(&world(RealDisk), options, &mut |_| {}).expect("a plan");
    assert!(before == tree(data), "a plan changes nothing");
    if !plan.is_empty() {
        plan.apply(&world(RealDisk), options).expect("done");
    }
    check_repaired(data, options, &before, original)
}

fn check_repaired(data: &Path, options: &RepairOptions, before: &BTreeMap<PathBuf, Vec<u8>>, original: u64) -> u64 {
    let again = Plan::make(&world(RealDisk), options, &mut |_| {}).expect("a plan");
    assert!(again.is_empty(), "nothing is left to do: {:?}", again.steps);
    // Everything that was there is there still, here or in the quarantine.
    let after: BTreeSet<Vec<u8>> = tree(data).into_values().collect();
    for (path, bytes) in before {
        let may_go = path.to_string_lossy().ends_with(".tmp");
        assert!(may_go || after.contains(bytes), "{} is nowhere", path.display());
    }
    let passport = open(data).expect("a repaired log opens");
    let kept = entries(&passport);
    assert_eq!(kept[..], expected(original)[..kept.len()], "a prefix of what there was");
    let salvaged = salvaged(data);
    let all: HashMap<String, (u64, String)> =
        expected(original).into_iter().map(|(seq, key, payload)| (key, (seq, payload))).collect();
    for (key, line) in &salvaged {
        let (seq, payload) = &all[key];
        assert_eq!(line["seq"], *seq, "{key}");
        assert_eq!(&line["metadata"].to_string(), &serde_json::from_str::<Value>(payload).expect("JSON").to_string());
        assert_eq!((&line["eventType"], &line["source"]), (&"coliseum.vote_cast".into(), &"api".into()));
    }
    let count = kept.len() as u64;
    append(&passport.appender(), original + 1..original + 2);
    passport.close();
    count
}

/// The salvaged events of all repairs, by key.
fn salvaged(data: &Path) -> BTreeMap<String, Value> {
    let files = tree(data).into_iter().filter(|(path, _)| path.ends_with(apply::SALVAGED_NAME));
    let lines = files
        .flat_map(|(_, bytes)| String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect::<Vec<_>>());
    let values = lines.map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
    values.map(|value| (value["messageId"].as_str().expect("a key").to_owned(), value)).collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    let at = at % bytes.len();
    bytes[at] ^= 1 << (at % 8);
    fs::write(path, bytes).expect("writable");
}

#[test]
fn a_whole_log_has_nothing_to_do_and_so_has_a_torn_tail() {
    let dir = tempfile::tempdir().expect("a directory");
    make_log(dir.path(), 1_200, 40);
    assert!(plan(dir.path()).is_empty(), "{:?}", plan(dir.path()).steps);
    let active = names(dir.path(), "seg").remove(0);
    let mut bytes = fs::read(&active).expect("readable");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("not all zero");
    bytes[end - 9..=end].fill(0);
    fs::write(&active, bytes).expect("writable");
    let plan = plan(dir.path());
    assert!(plan.is_empty() && plan.notes.len() == 1 && plan.notes[0].contains("torn tail"), "{plan:?}");
}

#[test]
fn damage_in_the_middle_cuts_behind_the_last_good_record_and_salvages_all_that_is_whole_behind_it() {
    let dir = tempfile::tempdir().expect("a directory");
    make_log(dir.path(), 2_000, 40);
    let sealed = names(dir.path(), "segz");
    let second: u64 = sealed[1].file_stem().expect("a name").to_string_lossy().parse().expect("digits");
    flip(&sealed[1], 40);
    let kept = repair_and_check(dir.path(), &repair_options(dir.path()), 2_000);
    assert_eq!(kept, second - 1, "the first block of the second segment is the damaged one");
    let salvaged = salvaged(dir.path());
    assert!(salvaged.len() as u64 > 2_000 - kept - 400, "all but one block: {} of {}", salvaged.len(), 2_000 - kept);
    assert!(!dir.path().join("projections").exists(), "projections that may be ahead of the log leave");
}

/// A log whose raw segments stay beside their sealed forms: what crashes leave before the raw ones go.
fn make_log_of_both_forms(data: &Path, events: u64) {
    let disk = CutDisk { keeps_raw: true, ..CutDisk::cut_after(i64::MAX) };
    let passport = open_on(data, disk).expect("opens");
    for from in (0..events).step_by(40) {
        append(&passport.appender(), from..(from + 40).min(events));
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while names(data, "segz").len() + 1 < names(data, "seg").len() {
        assert!(std::time::Instant::now() < deadline, "segments are sealed in the background");
        std::thread::yield_now();
    }
    passport.close();
}

#[test]
fn a_whole_raw_segment_beside_a_damaged_sealed_one_is_used_and_nothing_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    make_log_of_both_forms(dir.path(), 1_000);
    let sealed = names(dir.path(), "segz");
    assert!(sealed.len() > 1 && sealed.iter().all(|path| path.with_extension("seg").exists()));
    assert!(plan(dir.path()).is_empty(), "the start removes the raw ones: {:?}", plan(dir.path()).steps);
    flip(&sealed[0], 40);
    let found = plan(dir.path());
    assert!(found.loss.is_none() && found.steps.len() == 2, "{:?}", found.steps);
    assert!(found.steps.iter().all(|step| step.seq == Some(Seq::new(1))), "the sealed file and its index");
    assert_eq!(repair_and_check(dir.path(), &repair_options(dir.path()), 1_000), 1_000);
}

#[test]
fn a_start_removes_a_raw_segment_only_if_all_of_its_sealed_form_is_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    make_log_of_both_forms(dir.path(), 1_000);
    flip(&names(dir.path(), "segz")[0], 40);
    let passport = open(dir.path()).expect("opens");
    assert_eq!(entries(&passport), expected(1_000));
}

#[test]
fn with_a_snapshot_nothing_is_lost() {
    let (dir, snapshot) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    make_log(dir.path(), 2_000, 40);
    copy_tree(dir.path(), snapshot.path());
    let options = RepairOptions { snapshot: Some(snapshot.path().to_owned()), ..repair_options(dir.path()) };
    let sealed = names(dir.path(), "segz");
    flip(&sealed[0], 50);
    fs::remove_file(&sealed[1]).expect("removable");
    let mut cut = fs::read(&sealed[2]).expect("readable");
    cut.truncate(cut.len() / 2);
    fs::write(&sealed[2], cut).expect("writable");
    fs::remove_file(names(dir.path(), "seg").remove(0)).expect("removable");
    assert_eq!(repair_and_check(dir.path(), &options, 2_000), 2_000);
    assert!(dir.path().join("projections").exists(), "nothing is lost, so they stay");
}

#[test]
fn a_segment_of_another_history_is_not_taken_from_a_snapshot() {
    let (dir, snapshot) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    make_log(dir.path(), 1_500, 40);
    make_log(snapshot.path(), 1_500, 30);
    let options = RepairOptions { snapshot: Some(snapshot.path().to_owned()), ..repair_options(dir.path()) };
    flip(&names(dir.path(), "segz")[0], 50);
    assert_eq!(repair_and_check(dir.path(), &options, 1_500), 0);
}

#[test]
fn a_missing_active_segment_is_made_again_empty_and_projections_ahead_of_it_leave() {
    let dir = tempfile::tempdir().expect("a directory");
    make_log(dir.path(), 1_500, 40);
    let active = names(dir.path(), "seg").remove(0);
    let first: u64 = active.file_stem().expect("a name").to_string_lossy().parse().expect("digits");
    fs::remove_file(active).expect("removable");
    assert_eq!(repair_and_check(dir.path(), &repair_options(dir.path()), 1_500), first - 1);
    assert!(!dir.path().join("projections").exists());
}

#[test]
fn a_log_id_that_is_missing_or_damaged_is_written_again() {
    let dir = tempfile::tempdir().expect("a directory");
    make_log(dir.path(), 300, 40);
    let path = dir.path().join("passport/log.id");
    let good = fs::read(&path).expect("readable");
    fs::remove_file(&path).expect("removable");
    assert!(!plan(dir.path()).is_empty());
    assert_eq!(repair_and_check(dir.path(), &repair_options(dir.path()), 300), 300);
    assert!(fs::read(&path).expect("readable") == good);
    flip(&path, 12);
    plan(dir.path()).apply(&world(RealDisk), &repair_options(dir.path())).expect("done");
    assert!(fs::read(&path).expect("readable") == good);
}

#[test]
fn files_of_another_log_and_copies_leave_and_files_that_traded_names_are_put_right() {
    let (dir, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    make_log(dir.path(), 2_000, 40);
    make_log(other.path(), 1_000, 40);
    let sealed = names(dir.path(), "segz");
    let foreign = dir.path().join("passport/00000000000000000777.segz");
    fs::copy(&names(other.path(), "segz")[0], foreign).expect("copied");
    fs::copy(&sealed[1], dir.path().join("passport/00000000000000000778.segz")).expect("copied");
    trade(&sealed[0], &sealed[1]);
    assert_eq!(repair_and_check(dir.path(), &repair_options(dir.path()), 2_000), 2_000);
}

/// The first two sealed segments, with each other's names, and damage behind a good beginning of the second by content.
fn trade_names_and_damage_the_second(data: &Path) {
    let sealed = names(data, "segz");
    trade(&sealed[0], &sealed[1]);
    let end = fs::metadata(&sealed[0]).expect("there").len() as usize;
    for at in (0..end).step_by(end / 16) {
        flip(&sealed[0], at);
        let plan = plan(data);
        if plan.shortens() && plan.kept_to.get() >= first_in_name(&sealed[1]) {
            return;
        }
        flip(&sealed[0], at);
    }
    panic!("no flip leaves a part of {end} bytes good");
}

fn trade(one: &Path, other: &Path) {
    let bytes = (fs::read(one).expect("readable"), fs::read(other).expect("readable"));
    fs::write(one, bytes.1).expect("writable");
    fs::write(other, bytes.0).expect("writable");
}

/// The seq that a segment's name says.
fn first_in_name(path: &Path) -> u64 {
    path.file_stem().expect("a name").to_string_lossy().parse().expect("digits")
}

#[test]
fn the_good_beginning_of_a_file_whose_name_goes_to_another_one_is_written_again() {
    let dir = tempfile::tempdir().expect("a directory");
    make_log_with_segments_of(dir.path(), 2_000, 40, BLOCKS_SEGMENT_BYTES);
    let second = first_in_name(&names(dir.path(), "segz")[1]);
    trade_names_and_damage_the_second(dir.path());
    let kept = repair_and_check(dir.path(), &repair_options(dir.path()), 2_000);
    assert!(kept >= second, "some of the second segment is good, not only the first one, which ends at {}", second - 1);
}

#[test]
fn a_file_of_the_snapshot_does_not_take_the_place_of_one_that_is_still_read() {
    let (dir, snapshot) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    make_log_with_segments_of(dir.path(), 2_000, 40, BLOCKS_SEGMENT_BYTES);
    let sealed = names(dir.path(), "segz");
    fs::copy(&sealed[0], snapshot.path().join(sealed[0].file_name().expect("a name"))).expect("copied");
    // The second segment is under the first one's name, and the first is in the snapshot only.
    trade_names_and_damage_the_second(dir.path());
    fs::remove_file(&sealed[1]).expect("removable");
    let options = RepairOptions { snapshot: Some(snapshot.path().to_owned()), ..repair_options(dir.path()) };
    assert!(repair_and_check(dir.path(), &options, 2_000) >= first_in_name(&sealed[1]));
}

#[test]
fn a_plan_over_a_snapshot_of_thousands_of_segments_comes_to_an_end() {
    const SEGMENTS: u64 = 3_000;
    let dir = tempfile::tempdir().expect("a directory");
    // All of them are in the snapshot only, but for the last: it shows that those before it are the log's own.
    let found = (1..=SEGMENTS).map(|number| {
        let is_snapshot = number < SEGMENTS;
        let link = Link {
            first_seq: Seq::new(number),
            last_seq: Seq::new(number),
            log_id: [7; 16],
            segment_id: number,
            previous_segment_id: number - 1,
            previous_checksum: number as u32 - 1,
            last_checksum: number as u32,
        };
        let name = format!("{number:020}.segz");
        let place = inspect::Place { path: dir.path().join(&name), form: inspect::Form::Sealed, is_snapshot };
        inspect::Found { place, name, link: Some(link), good_last: Seq::new(number), stop: None }
    });
    let survey = inspect::Survey { found: found.collect(), stored_id: Ok(Some([7; 16])) };
    let plan = chain::plan(&survey, &repair_options(dir.path())).expect("a plan");
    let restored = plan.steps.iter().filter(|step| matches!(step.action, Action::Restore { .. })).count();
    assert_eq!((restored as u64, plan.kept_to), (SEGMENTS - 1, Seq::new(SEGMENTS)));
    assert_eq!(plan.loss, None);
}

#[test]
fn damaged_indexes_and_key_runs_leave_and_are_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    make_log(dir.path(), 2_000, 40);
    let runs = || {
        let entries = fs::read_dir(dir.path().join("passport/keys")).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|found| found == "keys")).collect::<Vec<_>>()
    };
    let (index, run) = (names(dir.path(), "idx").remove(0), runs().remove(0));
    flip(&index, 200);
    let middle = fs::metadata(&run).expect("there").len() as usize - 30;
    flip(&run, middle);
    let files: Vec<String> = plan(dir.path()).steps.into_iter().map(|step| step.file).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(repair_and_check(dir.path(), &repair_options(dir.path()), 2_000), 2_000);
    assert!(!runs().is_empty(), "the start makes them again");
}

#[test]
fn a_segment_of_a_copy_that_went_on_by_itself_is_not_taken_from_a_snapshot() {
    let (dir, snapshot) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    make_log(dir.path(), 40, 40);
    copy_tree(dir.path(), snapshot.path());
    let go_on = |data: &Path, from: u64| {
        let passport = open(data).expect("opens");
        for from in (from..from + 1_500).step_by(40) {
            append(&passport.appender(), from..from + 40);
        }
        while names(data, "seg").len() > 1 {
            std::thread::yield_now();
        }
        passport.close();
    };
    go_on(dir.path(), 40);
    go_on(snapshot.path(), 5_000);
    let options = RepairOptions { snapshot: Some(snapshot.path().to_owned()), ..repair_options(dir.path()) };
    // The first segment has the same id in both, and other events behind the fortieth.
    flip(&names(dir.path(), "segz")[0], 50);
    assert_eq!(repair_and_check(dir.path(), &options, 1_560), 0);
}

/// One damage of a directory.
#[derive(Clone, Debug)]
enum Damage {
    Flip {
        file: usize,
        at: usize,
    },
    Truncate {
        file: usize,
        at: usize,
    },
    Remove {
        file: usize,
    },
    Swap {
        one: usize,
        other: usize,
    },
    /// Two sealed segments trade names, and one of them is damaged.
    SwapSegments {
        one: usize,
        other: usize,
        at: usize,
    },
    Double {
        from: usize,
        to: usize,
    },
    Zero {
        file: usize,
        at: usize,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    let file = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    let at = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 30));
    prop_oneof![
        4 => (file.clone(), at.clone()).prop_map(|(file, at)| Damage::Flip { file, at }),
        1 => (file.clone(), at.clone()).prop_map(|(file, at)| Damage::Truncate { file, at }),
        1 => file.clone().prop_map(|file| Damage::Remove { file }),
        1 => (file.clone(), file.clone()).prop_map(|(one, other)| Damage::Swap { one, other }),
        1 => (file.clone(), file.clone(), at.clone())
            .prop_map(|(one, other, at)| Damage::SwapSegments { one, other, at }),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Damage::Double { from, to }),
        1 => (file, at).prop_map(|(file, at)| Damage::Zero { file, at }),
    ]
}

fn do_damage(data: &Path, damage: &Damage) {
    let mut files: Vec<PathBuf> = tree(&data.join("passport")).into_keys().collect();
    files.retain(|path| !path.to_string_lossy().ends_with(".tmp"));
    let file = |index: usize| files[index % files.len()].clone();
    let change = |path: PathBuf, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(&path).expect("readable");
        change(&mut bytes);
        fs::write(path, bytes).expect("writable");
    };
    match *damage {
        Damage::Flip { file: of, at } => change(file(of), &|bytes| {
            // Mostly where something is written.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |at| at + 1);
            if let Some(byte) = bytes.get_mut(at % end.max(1)) {
                *byte ^= 1 << (at % 8);
            }
        }),
        Damage::Truncate { file: of, at } => change(file(of), &|bytes| bytes.truncate(at % bytes.len().max(1))),
        Damage::Remove { file: of } => fs::remove_file(file(of)).expect("removable"),
        Damage::Swap { one, other } => {
            trade(&file(one), &file(other));
        }
        Damage::SwapSegments { one, other, at } => {
            let segments: Vec<&PathBuf> =
                files.iter().filter(|path| path.extension().is_some_and(|found| found == "segz")).collect();
            if let [_, _, ..] = segments[..] {
                let file = |index: usize| segments[index % segments.len()];
                trade(file(one), file(other));
                flip(file(one), at);
            }
        }
        Damage::Double { from, to } => {
            fs::write(file(to), fs::read(file(from)).expect("readable")).expect("writable");
        }
        Damage::Zero { file: of, at } => change(file(of), &|bytes| {
            let at = at % bytes.len().max(1);
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
        }),
    }
}

/// A disk whose power goes at the n-th call that changes something, and that stays dark; or one that says it has removed
/// raw segments and keeps them, or that has no hard links.
#[derive(Clone)]
struct CutDisk {
    calls: Arc<AtomicI64>,
    keeps_raw: bool,
    has_links: bool,
}

impl CutDisk {
    fn cut_after(calls: i64) -> CutDisk {
        CutDisk { calls: Arc::new(AtomicI64::new(calls)), keeps_raw: false, has_links: true }
    }

    fn call(&self) -> std::io::Result<()> {
        if self.calls.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        Err(std::io::Error::other("the power is gone"))
    }
}

struct CutFile(Arc<dyn DiskFile>, CutDisk);

impl DiskFile for CutFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.1.call()?;
        self.0.write_all_at(bytes, offset)
    }
    fn len_bytes(&self) -> std::io::Result<u64> {
        self.0.len_bytes()
    }
    fn truncate(&self, len_bytes: u64) -> std::io::Result<()> {
        self.1.call()?;
        self.0.truncate(len_bytes)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.1.call()
    }
    fn try_lock(&self) -> std::io::Result<bool> {
        self.0.try_lock()
    }
    fn unlock(&self) -> std::io::Result<()> {
        self.0.unlock()
    }
}

impl Disk for CutDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> std::io::Result<Arc<dyn DiskFile>> {
        if mode != OpenMode::Read {
            self.call()?;
        }
        Ok(Arc::new(CutFile(RealDisk.open(path, mode)?, self.clone())))
    }
    fn list(&self, dir: &Path) -> std::io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }
    fn list_dirs(&self, dir: &Path) -> std::io::Result<Vec<String>> {
        RealDisk.list_dirs(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.call()?;
        RealDisk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.call()?;
        RealDisk.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.call()?;
        if !self.has_links {
            return Err(std::io::ErrorKind::Unsupported.into());
        }
        RealDisk.hard_link(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.call()?;
        if self.keeps_raw && path.extension().is_some_and(|extension| extension == "seg") {
            return Ok(());
        }
        RealDisk.remove(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.call()?;
        RealDisk.remove_dir_all(dir)
    }
    fn sync_dir(&self, _: &Path) -> std::io::Result<()> {
        self.call()
    }
    fn free_bytes(&self, dir: &Path) -> std::io::Result<u64> {
        RealDisk.free_bytes(dir)
    }
}

#[test]
fn a_repair_that_is_interrupted_at_any_step_loses_nothing_and_the_next_one_ends_it() {
    let made = tempfile::tempdir().expect("a directory");
    make_log(made.path(), 1_500, 40);
    let sealed = names(made.path(), "segz");
    trade(&sealed[0], &sealed[1]);
    flip(&sealed[2], 30_000);
    fs::remove_file(made.path().join("passport/log.id")).expect("removable");
    interrupt_at_each_call(made.path(), 1_500, true);
}

#[test]
fn a_repair_of_damage_under_another_files_name_can_be_interrupted_at_any_step_too() {
    let made = tempfile::tempdir().expect("a directory");
    make_log_with_segments_of(made.path(), 1_800, 40, BLOCKS_SEGMENT_BYTES);
    trade_names_and_damage_the_second(made.path());
    interrupt_at_each_call(made.path(), 1_800, true);
}

#[test]
fn a_repair_works_where_the_file_system_has_no_hard_links() {
    let made = tempfile::tempdir().expect("a directory");
    make_log_with_segments_of(made.path(), 1_800, 40, BLOCKS_SEGMENT_BYTES);
    trade_names_and_damage_the_second(made.path());
    interrupt_at_each_call(made.path(), 1_800, false);
}

/// Repairs copies of a directory, each with the power cut at another call, and then once more.
fn interrupt_at_each_call(made: &Path, original: u64, has_links: bool) {
    let mut kept_without_a_cut = None;
    for calls in 0.. {
        let dir = tempfile::tempdir().expect("a directory");
        copy_tree(made, dir.path());
        let before = tree(dir.path());
        let options = repair_options(dir.path());
        let disk = CutDisk { has_links, ..CutDisk::cut_after(calls) };
        let is_done = plan(dir.path()).apply(&world(disk), &options).is_ok();
        if !is_done {
            let rest = plan(dir.path());
            if !rest.is_empty() {
                let disk = CutDisk { has_links, ..CutDisk::cut_after(i64::MAX) };
                rest.apply(&world(disk), &options).expect("done");
            }
        }
        let kept = check_repaired(dir.path(), &options, &before, original);
        let expected = *kept_without_a_cut.get_or_insert(kept);
        assert_eq!(kept, expected, "cut after {calls} calls");
        if is_done {
            assert!(calls > 20, "only {calls} calls were made");
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_damaged_a_repair_leaves_a_prefix_and_keeps_the_rest(
        events in 1u64..1_800,
        group in 1u64..90,
        has_blocks: bool,
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let segment_bytes = if has_blocks { BLOCKS_SEGMENT_BYTES } else { SEGMENT_BYTES_MIN };
        make_log_with_segments_of(dir.path(), events, group, segment_bytes);
        for damage in &damages {
            do_damage(dir.path(), damage);
        }
        repair_and_check(dir.path(), &repair_options(dir.path()), events);
    }
}
