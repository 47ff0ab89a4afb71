//! The scrub: what it finds, what it has made again, and that it holds up nobody.

use std::time::{Duration, Instant};

use super::*;

/// A log of small tables of keys, so that there are runs, and of some sealed segments.
fn log_with_runs(dir: &Path) -> Passport {
    let options = PassportOptions { table_keys: 256, ..options(dir) };
    let passport = Passport::open(&options, &world(RealDisk)).expect("opens");
    for from in (0..2_000).step_by(50) {
        append(&passport, &(from..from + 50).map(|key| (key, key)).collect::<Vec<_>>());
    }
    // Six full tables: four of them are joined, and then nothing more is.
    let settled = || passport.key_stats().stats().runs == 3 && runs(dir).len() == 3;
    until("runs and sealed segments", || {
        let covered = passport.key_stats().stats().covered_to;
        segment_files(dir, "seg").len() == 1 && covered == Seq::new(1_800) && settled()
    });
    passport
}

fn runs(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir.join("passport/keys")).expect("a directory");
    let mut paths: Vec<_> = names.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == "keys"));
    paths
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// In place, so that whoever has the file open sees it.
fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).expect("writable");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("readable");
    byte[0] ^= 1;
    file.write_all_at(&byte, at).expect("writable");
}

fn start(passport: &Passport, bytes_per_second: u64) -> Scrub {
    let options = ScrubOptions { bytes_per_second, interval: Duration::from_millis(20) };
    passport.start_scrub(options, Arc::new(ManualClock::new(Timestamp::from_micros(7)))).expect("a thread")
}

#[test]
fn a_damaged_run_of_keys_is_made_again_and_every_repeat_is_still_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = log_with_runs(dir.path());
    let scrub = start(&passport, 1 << 30);
    until("a whole pass", || scrub.status().report().last_complete == Some(Timestamp::from_micros(7)));
    let covered = || passport.key_stats().stats().covered_to;
    let before = covered();
    let run = runs(dir.path()).remove(0);
    flip(&run, fs::metadata(&run).expect("there").len() - 20);
    until("it is found", || scrub.status().report().mended > 0);
    until("the keys can be asked again", || {
        let again = passport.appender().append_blocking(group(false, &[(3, 3), (1_999, 1_999)]));
        match again {
            Ok(outcomes) => {
                assert_eq!(outcomes, [Outcome::Duplicate(Seq::new(4)), Outcome::Duplicate(Seq::new(2_000))]);
                true
            }
            Err(AppendError::Unreadable(_)) => false,
            Err(other) => panic!("{other}"),
        }
    });
    assert_eq!((covered(), scrub.status().report().damaged), (before, 0));
}

#[test]
fn a_slow_scrub_stops_at_once_and_one_that_is_off_reads_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = log_with_runs(dir.path());
    let mut scrub = start(&passport, 1);
    until("it waits for its rate", || scrub.status().report().bytes > 0);
    let started = Instant::now();
    scrub.stop();
    assert!(started.elapsed() < Duration::from_secs(20), "the block that it pays for takes hours at this rate");
    let off = start(&passport, 0);
    passport.close();
    assert_eq!(off.status().report().bytes, 0);
}
