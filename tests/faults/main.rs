//! The real binary under faults that come from outside: kills, failing calls, full disks, limits, clocks, floods and
//! power cuts; judged by what it said before, what it says afterwards, and a recomputation of every board.
//!
//! Some faults need a tool (`strace`, `prlimit`, libfaketime, `xfs_io`) or the right to mount. A test that lacks one
//! says `SKIPPED: …` on standard error, past the test runner's capture, and `.ci/run` repeats that at its end.
//! `COLISEUM_FAULT_ROUNDS` multiplies the rounds of those tests that have some.

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../model/mod.rs"]
mod model;

mod calls;
mod clock;
mod flood;
mod full;
mod kill;
mod limits;
mod mounts;
mod power;
mod tools;

use std::path::PathBuf;

/// The smallest segments and tables of keys: sealing, runs and their joins happen in the middle of everything.
const SMALL: &str = "[passport]\nsegment_bytes = 65536\nkey_table_keys = 1024\nmin_free_bytes = 0\n";

/// How many rounds a test runs that runs `usual` by default.
fn rounds(usual: u64) -> u64 {
    usual * harness::load::number_from_env("COLISEUM_FAULT_ROUNDS", 1)
}

/// A directory for the test, and the data directory in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    (directory, data_dir)
}
