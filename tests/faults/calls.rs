//! System calls that fail: `strace` puts the error in the place of the call, and writes down what was called afterwards.
//!
//! strace counts the calls of each thread by itself, so `when` names the n-th call of the writer, or of the keeper.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::harness::binary::{Binary, Launch};
use super::harness::load::{Acknowledged, Sender, assert_whole, load_until, load_until_it_stops, senders};
use super::harness::until;
use super::tools::{self, shown};
use super::{SMALL, place};

/// One segment that is large enough for all that a test writes.
const ONE_SEGMENT: &str = "[passport]\nsegment_bytes = 16777216\nmin_free_bytes = 0\n";

/// Which calls fail, how, and from which on: `1` the first only, `1+2` the first and every second one after it.
struct Fault<'a> {
    calls: &'a str,
    error: &'a str,
    when: &'a str,
    /// Only calls that name one of these files, by path or by descriptor.
    paths: Vec<PathBuf>,
}

/// A log of a few events, stopped in order, and everything to go on with.
struct Prepared {
    _directory: tempfile::TempDir,
    data_dir: PathBuf,
    config: &'static str,
    senders: Vec<Sender>,
    acknowledged: Acknowledged,
}

impl Prepared {
    fn new(config: &'static str) -> Prepared {
        let (directory, data_dir) = place();
        let prepared = Prepared {
            _directory: directory,
            data_dir,
            config,
            senders: senders(),
            acknowledged: Acknowledged::default(),
        };
        let binary = prepared.launch().start();
        let client = binary.client.clone();
        let ended = load_until(&client, &prepared.senders, &prepared.acknowledged, 5, || binary.terminate());
        assert!(ended.success(), "{ended}");
        prepared
    }

    fn launch(&self) -> Launch {
        Launch::on(&self.data_dir).config(self.config)
    }
    fn passport(&self, name: &str) -> PathBuf {
        self.data_dir.join("passport").join(name)
    }
    fn trace_file(&self) -> PathBuf {
        self.data_dir.with_extension("strace")
    }
    /// What strace saw, one call a line.
    fn trace(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.trace_file()).expect("strace wrote");
        text.lines().map(str::to_owned).collect()
    }

    fn launch_under(&self, fault: &Fault<'_>) -> Launch {
        let Fault { calls, error, when, .. } = fault;
        let mut words: Vec<String> = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-o"].map(str::to_owned).into();
        words.push(shown(&self.trace_file()).to_owned());
        words.extend(["-e".to_owned(), format!("trace={calls},pwrite64,fdatasync")]);
        words.extend(["-e".to_owned(), format!("inject={calls}:error={error}:when={when}")]);
        for path in &fault.paths {
            words.extend(["-P".to_owned(), shown(path).to_owned()]);
        }
        self.launch().under(words)
    }

    /// Starts it once more with nothing wrong, and judges.
    fn judge(&self) {
        let binary = self.launch().start();
        assert_whole(&binary.client, &self.acknowledged);
        load_until(&binary.client, &self.senders, &self.acknowledged, 20, || ());
        assert_whole(&binary.client, &self.acknowledged);
    }
}

fn position(trace: &[String], what: &str) -> usize {
    trace.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in {trace:#?}"))
}

/// Offset and length of the `pwrite64` that a line shows.
fn written(line: &str) -> Option<(u64, u64)> {
    let arguments = line.split_once("pwrite64(")?.1.rsplit_once(')')?.0;
    let mut last = arguments.rsplit(", ");
    let (offset, length) = (last.next()?, last.next()?);
    Some((offset.parse().ok()?, length.parse().ok()?))
}

/// Takes back what was written last before the line `at`: a disk that says that it did not sync may have lost it.
fn lose_last_write(segment: &Path, trace: &[String], at: usize) {
    let (offset, length) = trace[..at].iter().rev().find_map(|line| written(line)).expect("a batch was written");
    let file = std::fs::File::options().write(true).open(segment).expect("the segment");
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; length as usize], offset).expect("it takes zeros");
}

#[test]
fn the_first_sync_that_fails_is_the_last_one_and_nothing_is_acknowledged_after_it() {
    if !tools::has_strace("a sync that fails") {
        return;
    }
    for when in ["2", "5", "11"] {
        let prepared = Prepared::new(ONE_SEGMENT);
        let segment = prepared.passport("00000000000000000001.seg");
        let paths = vec![segment.clone()];
        let fault = Fault { calls: "fdatasync", error: "EIO", when, paths };
        let binary = prepared.launch_under(&fault).start();
        load_until_it_stops(&binary.client, &prepared.senders, &prepared.acknowledged);
        let stderr = binary.stderr();
        let ended = binary.wait();
        assert_eq!(ended.code(), Some(1), "{ended}: {stderr}");
        let trace = prepared.trace();
        let failed = position(&trace, "INJECTED");
        let after: Vec<&String> = trace[failed + 1..].iter().filter(|line| line.contains(".seg>")).collect();
        assert!(after.is_empty(), "sync {when} failed, and the log was touched again: {after:#?}");
        lose_last_write(&segment, &trace, failed);
        prepared.judge();
    }
}

#[test]
fn a_write_to_the_log_that_fails_ends_the_daemon_and_loses_nothing() {
    if !tools::has_strace("a write that fails") {
        return;
    }
    for (error, when) in [("EIO", "3"), ("ENOSPC", "6")] {
        let prepared = Prepared::new(ONE_SEGMENT);
        let paths = vec![prepared.passport("00000000000000000001.seg")];
        let binary = prepared.launch_under(&Fault { calls: "pwrite64", error, when, paths }).start();
        load_until_it_stops(&binary.client, &prepared.senders, &prepared.acknowledged);
        let stderr = binary.stderr();
        let ended = binary.wait();
        assert_eq!(ended.code(), Some(1), "{error}: {ended}: {stderr}");
        let trace = prepared.trace();
        let after = &trace[position(&trace, "INJECTED") + 1..];
        assert!(after.iter().all(|line| !line.contains(".seg>")), "{error}, and the log was touched again: {after:#?}");
        prepared.judge();
    }
}

#[test]
fn a_new_segment_whose_name_cannot_be_made_durable_ends_the_daemon_and_loses_nothing() {
    if !tools::has_strace("a directory that does not sync") {
        return;
    }
    let prepared = Prepared::new(SMALL);
    let paths = vec![prepared.passport("")];
    // The first sync of the directory by the main thread is that of the start.
    let fault = Fault { calls: "fsync", error: "EIO", when: "2", paths };
    let binary = prepared.launch_under(&fault).start();
    load_until_it_stops(&binary.client, &prepared.senders, &prepared.acknowledged);
    let ended = binary.wait();
    assert_eq!(ended.code(), Some(1), "{ended}");
    prepared.judge();
}

#[test]
fn a_start_whose_log_cannot_be_synced_or_opened_says_so_and_the_next_one_works() {
    if !tools::has_strace("a start with calls that fail") {
        return;
    }
    let prepared = Prepared::new(SMALL);
    let segment = prepared.passport("00000000000000000001.seg");
    for (calls, path) in [("fdatasync", &segment), ("openat", &segment), ("fsync", &prepared.passport(""))] {
        let fault = Fault { calls, error: "EIO", when: "1", paths: vec![path.clone()] };
        let mut binary = prepared.launch_under(&fault).spawn();
        let ended = until("the start ends", || binary.ended());
        let said = binary.stderr();
        assert_eq!(ended.code(), Some(1), "{calls}: {ended}: {said}");
        assert!(said.contains("passport") && said.contains("os error 5"), "{calls}: {said}");
        assert!(!said.contains("panicked"), "{calls}: {said}");
    }
    prepared.judge();
}

/// Loads it until the keeper has sealed the first segment and written the first run, through whatever fails.
fn assert_it_mends(prepared: &Prepared, binary: &Binary, what: &str) {
    load_until(&binary.client, &prepared.senders, &prepared.acknowledged, 2500, || ());
    let passport = prepared.data_dir.join("passport");
    let is_there = |name: &str| passport.join(name).exists();
    until(&format!("the first segment is sealed after {what}"), || {
        (is_there("00000000000000000001.segz") && !is_there("00000000000000000001.seg")).then_some(())
    });
    until(&format!("there is a run of keys after {what}"), || {
        let mut names = std::fs::read_dir(passport.join("keys")).ok()?;
        names.any(|name| name.is_ok_and(|name| name.path().extension().is_some_and(|it| it == "keys"))).then_some(())
    });
    until(&format!("the projection runs after {what}"), || {
        let body = binary.client.get("/api/passport/consumers").expect(200);
        let consumers = body.at("consumers").as_list();
        consumers.iter().all(|consumer| consumer.at("state").as_text() == "running").then_some(())
    });
    assert_whole(&binary.client, &prepared.acknowledged);
}

#[test]
fn background_work_that_fails_is_done_again_while_the_daemon_serves() {
    if !tools::has_strace("background work that fails") {
        return;
    }
    let first = "00000000000000000001";
    let faults = [
        ("fdatasync", "EIO", "1"),
        ("fdatasync", "EIO", "2"),
        ("pwrite64", "ENOSPC", "2"),
        ("openat", "EMFILE", "1"),
        ("rename", "EIO", "2"),
        ("unlink", "EIO", "1"),
    ];
    for (calls, error, when) in faults {
        let prepared = Prepared::new(SMALL);
        let names = ["seg", "segz", "segz.tmp", "idx", "idx.tmp"].map(|end| format!("{first}.{end}"));
        let mut paths: Vec<PathBuf> = names[1..].iter().map(|name| prepared.passport(name)).collect();
        if calls == "unlink" {
            paths.push(prepared.passport(&names[0]));
        }
        let what = format!("{error} of {calls}");
        let binary = prepared.launch_under(&Fault { calls, error, when, paths }).start();
        assert_it_mends(&prepared, &binary, &what);
        position(&prepared.trace(), "INJECTED");
        binary.kill();
        prepared.judge();
    }
}

#[test]
fn a_run_of_keys_that_cannot_be_written_is_written_later() {
    if !tools::has_strace("a run of keys that cannot be written") {
        return;
    }
    for (calls, error) in [("openat", "ENOSPC"), ("fsync", "EIO")] {
        let prepared = Prepared::new(SMALL);
        // The start looks into the directory once and, with no file dropped, does not sync it.
        let when = if calls == "openat" { "2+2" } else { "1+2" };
        let paths = vec![prepared.passport("keys")];
        let binary = prepared.launch_under(&Fault { calls, error, when, paths }).start();
        assert_it_mends(&prepared, &binary, &format!("{error} of {calls} on keys/"));
        binary.kill();
        prepared.judge();
    }
}

#[test]
fn a_projection_whose_file_fails_mends_itself_while_the_log_takes_writes() {
    if !tools::has_strace("a projection whose file fails") {
        return;
    }
    for (calls, error, when) in
        [("fdatasync", "EIO", "2..5"), ("pwrite64", "ENOSPC", "40..60"), ("pwrite64", "EIO", "30")]
    {
        let prepared = Prepared::new(SMALL);
        let dir = prepared.data_dir.join("projections/coliseum");
        let files = std::fs::read_dir(&dir).expect("projections");
        let mut paths: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
        let building: Vec<PathBuf> = paths.iter().map(|path| path.with_extension("redb.building")).collect();
        paths.extend(building);
        let binary = prepared.launch_under(&Fault { calls, error, when, paths }).start();
        let mut what = String::new();
        let _ = write!(what, "{error} of {calls} {when} on the projection's file");
        assert_it_mends(&prepared, &binary, &what);
        assert!(binary.terminate().success(), "{what}");
        prepared.judge();
    }
}
