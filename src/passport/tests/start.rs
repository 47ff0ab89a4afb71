//! What a start does and does not do before it answers.

use std::sync::Mutex;

use super::super::{keeper, log::Log, recovery};
use super::*;
use crate::world::SystemRandom;

const TABLE_KEYS: usize = 4096;

/// A log of so many events that has lost its index of idempotency keys.
fn log_without_keys(dir: &Path, events: u32) {
    let passport = open(dir).expect("opens");
    append(&passport, &(0..events).map(|key| (key, key)).collect::<Vec<_>>());
    passport.close();
    fs::remove_dir_all(dir.join("passport/keys")).expect("the index may be deleted");
}

#[test]
fn a_start_leaves_joining_runs_of_keys_to_the_keeper() {
    let dir = tempfile::tempdir().expect("a directory");
    log_without_keys(dir.path(), 5 * TABLE_KEYS as u32 + 10);
    let (disk, world) = (Arc::new(RealDisk), world(RealDisk));
    let path = dir.path().join("passport");
    let segments = recovery::recover(disk.as_ref(), world.clock.as_ref(), &path).expect("whole").segments;
    let end = segments.last().expect("a segment").last_seq();
    let log = Log::new(disk, path, Arc::new(Watermark::new(end)), segments, [0; 16]);
    let random = SystemRandom;
    let (_, mut upkeep) = keeper::open_keys(&log, [0; 16], &random, TABLE_KEYS, &|_, _| {}).expect("opens");
    assert_eq!(upkeep.runs().len(), 5, "each table is a run, and none has been joined");
    while upkeep.step().expect("joins") {}
    assert!(upkeep.runs().len() < 5, "there was something to join");
}

#[test]
fn reading_the_log_again_for_its_keys_tells_how_far_it_has_come() {
    let dir = tempfile::tempdir().expect("a directory");
    log_without_keys(dir.path(), 20_000);
    let told = Mutex::new(Vec::new());
    let tell = |read: Seq, of: Seq| told.lock().expect("no panic").push((read.get(), of.get()));
    Passport::open_telling(&options(dir.path()), &world(RealDisk), &tell).expect("opens").close();
    let told = told.into_inner().expect("no panic");
    assert_eq!(told, [(4096, 20_000), (8192, 20_000), (12_288, 20_000), (16_384, 20_000)]);
}

#[test]
fn the_writer_comes_round_with_nobody_writing() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    let status = passport.status();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while status.heartbeats() < 3 {
        assert!(std::time::Instant::now() < deadline, "the writer sleeps for ever");
        std::thread::yield_now();
    }
}
