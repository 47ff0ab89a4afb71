//! Snapshots and restores from outside: taken under load, killed half way, copied about, restored, and served again.
//!
//! `COLISEUM_SNAPSHOT_KILLS` sets how often the daemon is killed while it takes one.

mod harness;
mod model;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::binary::{Binary, run};
use harness::http::Client;
use harness::{Daemon, compare, export, until};
use model::Model;
use model::json::{Json, number, object, text};
use model::time::{self, HOUR};
use rustix::process::Signal;

/// The smallest segments, so that there are many.
const CONFIG: &str = "[passport]\nsegment_bytes = 65536\nmin_free_bytes = 0\n";

/// `O_NONBLOCK`.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// A directory whose daemons and commands work with [`CONFIG`].
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("config.toml"), CONFIG).expect("written");
    directory
}

/// The n-th event of a thread, the same whenever it is made.
fn event(thread: u64, n: u64) -> Json {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(thread) >> 7;
    let at = harness::micros("2026-01-01T00:00:30Z") + (mixed % 1000) as i64 * HOUR / 2;
    let base = object([
        ("messageId", text(format!("k-{thread}-{n}"))),
        ("userId", text(format!("u{}", mixed % 40))),
        ("at", text(time::format(at))),
        ("artistId", text(format!("a{}", mixed % 23))),
        ("eventId", text(format!("e{}", mixed % 3))),
        ("pad", text("x".repeat((mixed % 300) as usize))),
    ]);
    match mixed % 5 {
        0 => base.with("type", text("treasury.money_spent")).with("amountCents", number(mixed % 10_000 + 1)),
        1 => base.with("type", text("artist.profile_updated")).with("artistName", text(format!("Name {}", mixed % 9))),
        _ => base.with("type", text("coliseum.vote_cast")).with("weight", number(mixed % 5 + 1)),
    }
}

/// Stores a batch; its last seq.
fn store(client: &Client, events: Vec<Json>) -> u64 {
    let answer = client.post_json("/api/passport/batch", &Json::List(events)).expect(200);
    assert_eq!(answer.at("rejected").as_integer(), 0, "{}", answer.render());
    answer.at("lastSeq").as_optional_integer().unwrap_or_default() as u64
}

/// Stores the first `count` events of thread 0, by batches that leave room for more in a segment.
fn fill(client: &Client, count: u64) {
    for first in (0..count).step_by(50) {
        store(client, (first..count.min(first + 50)).map(|n| event(0, n)).collect());
    }
}

fn take(client: &Client, name: &str) -> Json {
    client.post_json("/api/admin/snapshots", &object([("name", text(name))])).expect(201)
}

/// Says that a test did not run, and why, past the test runner's capture.
fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a temporary directory is UTF-8")
}

fn assert_good(output: &Output, what: &str) -> String {
    let said = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
    assert!(output.status.success(), "{what}: {}: {said}", output.status);
    said
}

fn assert_verified(snapshot: &Path) {
    let output = run(&["verify", shown(snapshot), "--json"], snapshot.parent().expect("a parent"));
    let verdict = Json::parse(&assert_good(&output, "verify")).expect("JSON");
    assert!(verdict.at("findings").as_list().is_empty());
}

fn restore(directory: &Path, snapshot: &Path, to: &Path, more: &[&str]) -> Output {
    let words = [&["restore", shown(snapshot), "--to", shown(to), "--json"], more].concat();
    run(&words, directory)
}

/// What an entry is, whoever asks and whenever.
fn essence(line: &Json) -> String {
    ["seq", "messageId", "receivedAt", "at", "metadata"].map(|field| line.at(field).render()).join(" ")
}

#[test]
fn a_snapshot_under_load_is_a_prefix_of_the_log_with_all_that_was_acknowledged() {
    let directory = directory();
    let data = directory.path().join("data");
    let binary = Binary::start(&data);
    let acknowledged = Mutex::new(0);
    let is_done = AtomicBool::new(false);
    let (mut taken, mut ends) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (client, acknowledged, is_done) = (&binary.client, &acknowledged, &is_done);
            scope.spawn(move || {
                for chunk in 0.. {
                    if is_done.load(Ordering::Relaxed) {
                        return;
                    }
                    let last = store(client, (chunk * 20..chunk * 20 + 20).map(|n| event(thread, n)).collect());
                    let mut highest = acknowledged.lock().expect("no thread panics");
                    *highest = last.max(*highest);
                }
            });
        }
        for round in 0..5 {
            let highest = || *acknowledged.lock().expect("no thread panics");
            let goal = highest() + 400;
            until("the load goes on", || (highest() >= goal).then_some(()));
            let before = highest();
            let answer = take(&binary.client, &format!("s{round}"));
            let last = answer.at("lastSeq").as_integer() as u64;
            ends.push((before, last));
            taken.push((data.join(format!("snapshots/s{round}")), last as usize));
        }
        is_done.store(true, Ordering::Relaxed);
    });
    for (before, last) in ends {
        assert!(last >= before, "{before} was acknowledged, the snapshot ends at {last}");
    }
    let all = export(&binary.client);
    let listed = binary.client.get("/api/admin/snapshots").expect(200);
    let names: Vec<&str> = listed.at("snapshots").as_list().iter().map(|one| one.at("name").as_text()).collect();
    assert_eq!(names, ["s4", "s3", "s2", "s1", "s0"]);
    let metrics = binary.client.get("/metrics").text();
    assert!(metrics.contains("coliseum_snapshot_failures_total 0"), "{metrics}");
    assert!(!metrics.contains("coliseum_snapshot_last_success_timestamp_seconds 0"), "{metrics}");
    drop(binary);
    for (round, (snapshot, last)) in taken.iter().enumerate() {
        assert_verified(snapshot);
        let sums = Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(snapshot).output();
        assert_good(&sums.expect("sha256sum runs"), "sha256sum");
        let to = directory.path().join(format!("restored-{round}"));
        assert_good(&restore(directory.path(), snapshot, &to, &[]), "restore");
        assert_serves_prefix(&to, &all, *last);
    }
    // A prefix that ends within the snapshot, and the same from what `cp`, `tar` and `rsync` make of it.
    let (snapshot, last) = &taken[4];
    for (tool, copy) in copies(snapshot, directory.path()) {
        assert_verified(&copy);
        let to = directory.path().join(format!("from-{tool}"));
        let until = last / 2;
        assert_good(&restore(directory.path(), &copy, &to, &["--until-seq", &until.to_string()]), tool);
        assert_serves_prefix(&to, &all, until);
    }
}

/// The daemon on `to` holds the first `last` of `all`, has the boards that a model makes of them, knows their keys, and
/// goes on with the next number.
fn assert_serves_prefix(to: &Path, all: &[Json], last: usize) {
    let binary = Binary::start(to);
    let lines = export(&binary.client);
    let (found, wanted): (Vec<_>, Vec<_>) =
        (lines.iter().map(essence).collect(), all[..last].iter().map(essence).collect());
    assert_eq!(found.len(), last);
    assert!(found == wanted, "{}: the entries differ", to.display());
    compare::boards(&binary.client, &Model::from_export(&lines, &[]), None);
    for at in [0, last / 2, last - 1] {
        let again = binary.client.post_json("/api/passport/log", all[at].at("metadata")).expect(200);
        assert_eq!(again.at("seq").as_integer() as usize, at + 1);
        assert!(again.at("duplicate").as_bool());
    }
    let next = all.get(last).map_or_else(|| event(9, 1), |line| line.at("metadata").clone());
    let fresh = binary.client.post_json("/api/passport/log", &next).expect(201);
    assert_eq!(fresh.at("seq").as_integer() as usize, last + 1);
    assert!(binary.terminate().success());
}

/// What the usual tools make of a snapshot; `rsync` where there is one.
fn copies(snapshot: &Path, directory: &Path) -> Vec<(&'static str, PathBuf)> {
    let from = shown(snapshot);
    let shell =
        |script: &str| Command::new("sh").args(["-ec", script]).current_dir(directory).output().expect("sh runs");
    assert_good(&shell(&format!("cp -r {from} by-cp")), "cp");
    let above = shown(snapshot.parent().expect("a parent"));
    assert_good(&shell(&format!("mkdir by-tar; tar -C {above} -cf - s4 | tar -C by-tar -xf -")), "tar");
    let mut made = vec![("cp", directory.join("by-cp")), ("tar", directory.join("by-tar/s4"))];
    if shell("command -v rsync").status.success() {
        assert_good(&shell(&format!("rsync -a {from}/ by-rsync")), "rsync");
        made.push(("rsync", directory.join("by-rsync")));
    }
    made
}

#[test]
fn a_daemon_that_is_killed_while_it_takes_a_snapshot_leaves_it_whole_or_absent() {
    let directory = directory();
    let data = directory.path().join("data");
    let binary = Binary::start(&data);
    fill(&binary.client, 10_000);
    drop(binary);
    let snapshots = data.join("snapshots");
    let kills = std::env::var("COLISEUM_SNAPSHOT_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(16);
    let mut outcomes = HashMap::new();
    for round in 0..kills {
        let binary = Binary::start(&data);
        let left =
            std::fs::read_dir(&snapshots).into_iter().flatten().map(|entry| entry.expect("an entry").file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "the start removes what a kill left: {left:?}");
        let (name, client) = (format!("k{round}"), binary.client.clone());
        let (partial, whole) = (snapshots.join(format!(".{name}.partial")), snapshots.join(&name));
        let asking = std::thread::spawn(move || {
            let body = object([("name", text(name.as_str()))]).render();
            client.try_request("POST", "/api/admin/snapshots", &[], body.as_bytes()).is_ok()
        });
        // Killed when so many of its files are there: at the first, in the middle, with the manifest, at its end.
        let goal = round * 3;
        let files = || std::fs::read_dir(partial.join("passport")).map_or(0, Iterator::count);
        until("the snapshot is under way", || {
            let is_at_goal = files() > goal || (goal > 30 && partial.join("SHA256SUMS").exists());
            (is_at_goal || whole.exists()).then_some(())
        });
        binary.kill();
        let was_answered = asking.join().expect("no panic");
        if whole.exists() {
            assert_verified(&whole);
        }
        assert!(whole.exists() || !was_answered, "k{round} was acknowledged and is gone");
        *outcomes.entry(whole.exists()).or_insert(0) += 1;
    }
    println!("whole or absent: {outcomes:?}");
    let binary = Binary::start(&data);
    assert_eq!(harness::head(&binary.client), 10_000, "the log itself lost nothing");
}

#[test]
fn a_name_cannot_leave_the_directory_and_no_snapshot_is_written_over() {
    let daemon = Daemon::start();
    let long = "x".repeat(101);
    for name in ["../x", "..", ".", "", "/", "/tmp/x", "x/y", "x\0", ".hidden", "auto-20260101T000000Z", "a b", &long] {
        let answer = daemon.client.post_json("/api/admin/snapshots", &object([("name", text(name))]));
        answer.problem(400, &["invalid-query", "not-json", "bad-request"]);
    }
    for body in ["", "{", "[]", "{}", "7", r#"{"name":7}"#, r#"{"name":"x","to":"/tmp"}"#] {
        daemon.client.post("/api/admin/snapshots", body.as_bytes()).problem(400, &["invalid-query", "not-json"]);
    }
    assert!(!daemon.data_dir().join("snapshots").exists(), "nothing is written for a name that is refused");
    take(&daemon.client, "once");
    let again = daemon.client.post_json("/api/admin/snapshots", &object([("name", text("once"))]));
    again.problem(409, &["bad-request"]);
    let listed = daemon.client.get("/api/admin/snapshots").expect(200);
    assert_eq!(listed.at("snapshots").as_list().len(), 1);
    daemon.assert_works_after(0, "a snapshot");
}

#[test]
fn scheduled_snapshots_come_when_they_are_due_and_the_oldest_go() {
    let start = harness::micros("2026-05-01T12:00:00Z");
    let mut daemon = Daemon::start_at_with(start, "\n[snapshots]\nevery = \"24h\"\nkeep = 2\n");
    let names = |daemon: &Daemon| -> Vec<String> {
        let listed = daemon.client.get("/api/admin/snapshots").expect(200);
        listed.at("snapshots").as_list().iter().map(|one| one.at("name").as_text().to_owned()).collect()
    };
    let become_these = |daemon: &Daemon, wanted: &[&str]| {
        until(&format!("{wanted:?}"), || (names(daemon) == wanted).then_some(()));
    };
    become_these(&daemon, &["auto-20260501T120000Z"]);
    daemon.set_now(start + HOUR);
    take(&daemon.client, "mine");
    daemon.set_now(start + 25 * HOUR);
    become_these(&daemon, &["auto-20260502T130000Z", "mine", "auto-20260501T120000Z"]);
    daemon.set_now(start + 49 * HOUR);
    become_these(&daemon, &["auto-20260503T130000Z", "auto-20260502T130000Z", "mine"]);
    // A restart neither repeats one nor forgets when the next one is due.
    daemon.set_now(start + 60 * HOUR);
    daemon.restart(true, |_| {});
    daemon.set_now(start + 73 * HOUR);
    become_these(&daemon, &["auto-20260504T130000Z", "auto-20260503T130000Z", "mine"]);
    for name in ["auto-20260504T130000Z", "auto-20260503T130000Z", "mine"] {
        assert_verified(&daemon.data_dir().join("snapshots").join(name));
    }
}

#[test]
fn the_command_works_on_a_stopped_directory_and_on_a_running_one_and_refuses_what_exists() {
    let directory = directory();
    let here = directory.path();
    let data = here.join("data");
    let nothing = run(&["snapshot", "copy", "--data-dir", "nowhere"], here);
    assert_eq!(nothing.status.code(), Some(1));
    let binary = Binary::start(&data);
    fill(&binary.client, 700);
    let said = assert_good(&run(&["snapshot", "running", "--json"], here), "snapshot of a running directory");
    let said = Json::parse(&said).expect("JSON");
    assert_eq!(said.at("lastSeq").as_integer(), 700);
    assert_eq!(said.at("path").as_text(), shown(&std::path::absolute(here.join("running")).expect("a path")));
    assert!(said.at("files").as_integer() > 2 && said.at("bytes").as_integer() > 65_536 && said.get("name").is_some());
    drop(binary);
    assert_good(&run(&["snapshot", "stopped"], here), "snapshot of a stopped directory");
    std::fs::write(here.join("file"), "").expect("written");
    std::fs::create_dir(here.join("empty")).expect("made");
    for taken in ["running", "file", "empty", "data", "/", "missing/copy"] {
        let refused = run(&["snapshot", taken], here);
        assert_eq!(refused.status.code(), Some(1), "{taken}");
        assert!(!refused.stderr.is_empty());
    }
    for name in ["running", "stopped"] {
        assert_verified(&here.join(name));
    }
    let left = std::fs::read_dir(data.join("snapshots")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "what went elsewhere is not kept in the data directory");

    let (snapshot, to) = (here.join("running"), here.join("restored"));
    assert_eq!(restore(here, &snapshot, &data, &[]).status.code(), Some(1), "a directory that holds a log");
    let beyond = restore(here, &snapshot, &here.join("all"), &["--until-seq", "701"]);
    assert!(beyond.status.success(), "all there is");
    assert!(String::from_utf8_lossy(&beyond.stderr).contains("ends at seq 700"), "and it is said");
    for usage in [
        &["--until-seq", "0"][..],
        &["--until-time", "noon"],
        &["--until-seq", "1", "--until-time", "2026-01-01T00:00:00Z"],
    ] {
        assert_eq!(restore(here, &snapshot, &to, usage).status.code(), Some(2), "{usage:?}");
    }
    assert_eq!(restore(here, &here.join("empty"), &to, &[]).status.code(), Some(1), "no snapshot");
    assert!(!to.exists(), "nothing is written by a restore that is refused");
    let early = restore(here, &snapshot, &to, &["--until-time", "2020-01-01T00:00:00Z"]);
    assert_eq!(early.status.code(), Some(1));
    assert_good(&restore(here, &snapshot, &to, &["--until-time", "2999-01-01T00:00:00Z"]), "restore by time");
    assert_good(&run(&["verify", "--data-dir", shown(&to)], here), "verify of what was restored");
}

#[test]
fn damage_in_a_snapshot_ends_verify_and_restore_with_1_and_names_the_file() {
    let directory = directory();
    let data = directory.path().join("data");
    let binary = Binary::start(&data);
    fill(&binary.client, 700);
    take(&binary.client, "one");
    drop(binary);
    let snapshot = data.join("snapshots/one");
    let files =
        std::fs::read_dir(snapshot.join("passport")).expect("a directory").map(|entry| entry.expect("an entry").path());
    for path in files.chain([snapshot.join("manifest.json")]) {
        let good = std::fs::read(&path).expect("read");
        let mut bad = good.clone();
        let at = bad.len() / 3;
        bad[at] ^= 4;
        std::fs::write(&path, &bad).expect("written");
        let verdict = run(&["verify", shown(&snapshot), "--json"], directory.path());
        assert_eq!(verdict.status.code(), Some(1));
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let found = Json::parse(&String::from_utf8_lossy(&verdict.stdout)).expect("JSON");
        assert!(!found.at("ok").as_bool());
        let named = found.at("findings").as_list().iter().any(|one| one.at("file").as_text().ends_with(&name));
        assert!(named, "{name}: {}", found.render());
        let to = directory.path().join("to");
        let refused = restore(directory.path(), &snapshot, &to, &[]);
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(&name) && said.contains("coliseum verify"), "{said}");
        assert!(!to.exists());
        std::fs::write(&path, good).expect("put back");
    }
    assert_verified(&snapshot);
}

/// What a directory holds, to the byte; `None` for a directory.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, None);
        } else {
            let bytes = std::fs::read(&path).expect("read");
            found.insert(path, Some(bytes));
        }
    }
    found
}

#[test]
fn verify_changes_nothing_in_a_snapshot_with_or_without_its_manifest() {
    let directory = directory();
    let here = directory.path();
    let data = here.join("data");
    let binary = Binary::start(&data);
    fill(&binary.client, 700);
    take(&binary.client, "one");
    drop(binary);
    let snapshot = data.join("snapshots/one");
    let good = tree(&snapshot);
    assert_verified(&snapshot);
    assert!(tree(&snapshot) == good, "verify of a good one");

    // One that went elsewhere is known by its digests, one at its own place by that.
    let moved = here.join("moved");
    assert_good(&Command::new("cp").args(["-r", shown(&snapshot), shown(&moved)]).output().expect("cp runs"), "cp");
    std::fs::remove_file(snapshot.join("SHA256SUMS")).expect("removed");
    for lost in [&moved, &snapshot] {
        std::fs::remove_file(lost.join("manifest.json")).expect("removed");
        let before = tree(lost);
        let verdict = run(&["verify", shown(lost), "--json"], here);
        assert!(tree(lost) == before, "verify of one without its manifest");
        assert_eq!(verdict.status.code(), Some(1));
        let found = Json::parse(&String::from_utf8_lossy(&verdict.stdout)).expect("JSON");
        assert!(!found.at("ok").as_bool());
        assert_eq!(found.at("findings").as_list()[0].at("file").as_text(), "manifest.json");
        let shown = run(&["verify", "."], lost);
        assert_eq!(shown.status.code(), Some(1));
        let said = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(said.starts_with("manifest.json: it is missing") && said.contains("DAMAGED"), "{said}");
        assert!(tree(lost) == before);
    }
    assert_good(&run(&["verify", shown(&data)], here), "a data directory is none of that");
}

/// The daemon waits for a manifest that nobody writes, and the stop comes meanwhile.
#[test]
fn a_stop_gives_up_the_snapshot_that_a_request_waits_for() {
    let directory = directory();
    let data = directory.path().join("data");
    let binary = Binary::start(&data);
    fill(&binary.client, 700);
    let slow = data.join("snapshots/slow/manifest.json");
    std::fs::create_dir_all(slow.parent().expect("a parent")).expect("made");
    assert_good(&Command::new("mkfifo").arg(&slow).output().expect("mkfifo runs"), "mkfifo");
    // Removed by whoever takes a snapshot, before it opens a manifest.
    let partial = data.join("snapshots/.left.partial");
    std::fs::create_dir(&partial).expect("made");
    let client = binary.client.clone();
    let asking = std::thread::spawn(move || {
        let body = object([("name", text("one"))]).render();
        client.try_request("POST", "/api/admin/snapshots", &[], body.as_bytes())
    });
    until("the snapshot is under way", || (!partial.exists()).then_some(()));
    binary.signal(Signal::TERM);
    until("the daemon stops", || binary.client.connect().is_err().then_some(()));
    // Works only once the daemon opens it to read, and lets it go on.
    let open = || std::fs::File::options().write(true).custom_flags(NONBLOCK).open(&slow).ok();
    drop(until("the daemon waits for the manifest", open));
    let answer = asking.join().expect("no panic").expect("what was accepted is answered");
    answer.problem(503, &["internal"]);
    assert!(binary.wait().success());
    assert!(!data.join("snapshots/one").exists());
}

/// A file system of its own, where links and renames do not reach.
#[test]
fn a_snapshot_to_another_file_system_is_a_copy() {
    use std::os::unix::fs::MetadataExt;
    let directory = directory();
    let test = "a_snapshot_to_another_file_system_is_a_copy";
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return skipped(test, "/dev/shm cannot be written") };
    let device = |path: &Path| std::fs::metadata(path).expect("there").dev();
    if device(other.path()) == device(directory.path()) {
        return skipped(test, "/dev/shm is the file system of the temporary directory");
    }
    let data = directory.path().join("data");
    let binary = Binary::start(&data);
    fill(&binary.client, 700);
    let target = other.path().join("copy");
    std::fs::create_dir_all(other.path().join(".copy.partial/x")).expect("what a kill left");
    assert_good(&run(&["snapshot", shown(&target)], directory.path()), "snapshot to another file system");
    assert_verified(&target);
    assert_eq!(std::fs::read_dir(other.path()).expect("a directory").count(), 1);
    assert_eq!(std::fs::read_dir(data.join("snapshots")).expect("a directory").count(), 0);
}
