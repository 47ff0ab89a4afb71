//! Damage of the log under the real binary: the scrub finds it while the daemon runs, verify names it, repair mends it.

mod harness;
mod model;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use harness::binary::{Binary, run, serve_expecting_refusal};
use harness::http::Client;
use harness::until;
use model::json::{Json, number, object, text};

const EVENTS: u64 = 4_000;

fn event(n: u64) -> Json {
    object([
        ("type", text("coliseum.vote_cast")),
        ("messageId", text(format!("k-{n}"))),
        ("userId", text(format!("u{}", n % 40))),
        ("at", text("2026-01-01T00:00:30Z")),
        ("artistId", text(format!("a{}", n % 23))),
        ("eventId", text("e")),
        ("weight", number(n % 9 + 1)),
        ("pad", text(format!("{:x}", u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)).repeat(3))),
    ])
}

fn send(client: &Client, numbers: std::ops::Range<u64>) -> Json {
    let body = Json::List(numbers.map(event).collect()).render();
    client.post("/api/passport/batch", body.as_bytes()).expect(200)
}

fn files(data_dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(data_dir.join("passport")).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

/// A daemon with so small segments that several are sealed, whose scrub goes round all the time.
fn start(directory: &Path) -> (PathBuf, Binary) {
    let config = "[passport]\nsegment_bytes = 65536\nscrub_interval = \"100ms\"\nscrub_bytes_per_second = 1000000000\n";
    fs::write(directory.join("config.toml"), config).expect("writable");
    let data_dir = directory.join("data");
    let binary = Binary::start(&data_dir);
    for from in (0..EVENTS).step_by(100) {
        send(&binary.client, from..from + 100);
    }
    until("all but one segment are sealed", || (files(&data_dir, "seg").len() == 1).then_some(()));
    (data_dir, binary)
}

/// Flips one bit in place, so that whoever has the file open sees it.
fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).expect("writable");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("readable");
    byte[0] ^= 8;
    file.write_all_at(&byte, at).expect("writable");
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn scrub(client: &Client) -> Json {
    let answer = client.get("/readyz");
    assert_eq!(answer.status, 200, "damage keeps nobody from being served all else");
    answer.json().at("scrub").clone()
}

fn metric(client: &Client, name: &str) -> f64 {
    let text = client.get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no {name}"));
    line.split(' ').nth(1).expect("a value").parse().expect("a number")
}

#[test]
fn damage_under_a_running_daemon_is_found_and_told_and_answered_with_an_error_until_it_is_gone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data_dir, binary) = start(directory.path());
    let client = &binary.client;
    until("a whole pass", || scrub(client).at("lastComplete").as_optional_text().map(|_| ()));
    assert_eq!(scrub(client).at("damaged").as_integer(), 0);
    assert!(metric(client, "coliseum_scrub_bytes_total") > 0.0);
    assert!(metric(client, "coliseum_scrub_last_complete_timestamp_seconds") > 1.7e9);

    let segment = files(&data_dir, "segz").remove(1);
    let first: u64 = segment.file_stem().expect("a name").to_string_lossy().parse().expect("digits");
    flip(&segment, 40);
    let found =
        until("the scrub finds it", || Some(scrub(client)).filter(|scrub| scrub.at("damaged").as_integer() == 1));
    let told = found.at("first").as_text();
    assert!(
        told.contains(&name(&segment)) && told.contains("offset 0") && told.contains(&format!("seq {first}")),
        "{told}"
    );
    assert_eq!(metric(client, "coliseum_scrub_damaged"), 1.0);
    let answer = client.get(&format!("/api/passport/entries/{first}"));
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains(&name(&segment)), "{}", answer.text());
    // All else goes on.
    client.get("/api/passport/entries/1").expect(200);
    client.get("/api/coliseum/leaderboards/a/alltime").expect(200);
    assert_eq!(send(client, EVENTS..EVENTS + 10).at("accepted").as_integer(), 10);
    flip(&segment, 40);
    until("it is whole again", || (scrub(client).at("damaged").as_integer() == 0).then_some(()));
    client.get(&format!("/api/passport/entries/{first}")).expect(200);

    let index = files(&data_dir, "idx").remove(0);
    let good = fs::read(&index).expect("readable");
    flip(&index, good.len() as u64 / 2);
    until("the index is made again", || (fs::read(&index).ok()? == good).then_some(()));
    until("that is counted", || (metric(client, "coliseum_scrub_mended_total") >= 1.0).then_some(()));
    assert!(binary.stderr().contains("coliseum repair"), "{}", binary.stderr());
    assert!(binary.terminate().success(), "the scrub holds up no stop");
}

#[test]
fn damage_is_verified_and_repaired_and_what_could_be_read_is_imported_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data_dir, binary) = start(directory.path());
    assert!(binary.terminate().success());
    let words = |words: &[&str]| {
        let output = run(words, directory.path());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(words(&["repair"]).0, Some(0));
    let segment = files(&data_dir, "segz").remove(1);
    let first: u64 = segment.file_stem().expect("a name").to_string_lossy().parse().expect("digits");
    let len_bytes = fs::metadata(&segment).expect("there").len();
    flip(&segment, len_bytes - 20);
    let (status, said) = serve_expecting_refusal(&data_dir);
    assert!(!status.success() && said.contains(&name(&segment)) && said.contains("coliseum repair"), "{said}");
    let (code, text, _) = words(&["verify", "data", "--json"]);
    let verdict = Json::parse(&text).expect("JSON");
    assert_eq!((code, verdict.at("findings").as_list()[0].at("file").as_text()), (Some(1), name(&segment).as_str()));
    let (code, text, _) = words(&["repair"]);
    assert!(code == Some(1) && text.contains("Nothing was changed") && text.contains("--yes"), "{text}");
    assert!(text.contains("a copy of a snapshot on another disk") && text.contains("--from SNAPSHOT"), "{text}");
    let (code, text, errors) = words(&["repair", "--yes", "--json"]);
    let done = Json::parse(&text).unwrap_or_else(|error| panic!("{error}: {text} {errors}"));
    assert_eq!((code, done.at("keptTo").as_integer() as u64), (Some(0), first - 1));
    let salvaged = done.at("salvaged").as_text().to_owned();
    let (code, text, errors) = words(&["import", &salvaged, "--json"]);
    assert_eq!(code, Some(0), "{text} {errors}");
    // A flipped bit of the trailer costs no event: all blocks have their own checksums.
    assert_eq!(Json::parse(&text).expect("JSON").at("accepted").as_integer() as u64, EVENTS - first + 1);
    let (code, text, _) = words(&["verify"]);
    assert!(code == Some(0), "{text}");
    let binary = Binary::start(&data_dir);
    assert_eq!(send(&binary.client, 0..EVENTS).at("duplicates").as_integer() as u64, EVENTS, "each is there once");
    let (code, text, _) = words(&["repair"]);
    assert!(code == Some(0) && text.contains("nothing to do"), "beside a daemon it only looks: {text}");
    assert!(binary.terminate().success());
}

#[test]
fn a_log_that_lost_its_last_events_is_told_from_its_projections_and_repair_moves_those_away() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data_dir, binary) = start(directory.path());
    let head = harness::head(&binary.client);
    harness::compare::settled(&binary.client, "/api/coliseum/leaderboards/a/alltime", head, None);
    assert!(binary.terminate().success());
    let active = files(&data_dir, "seg").remove(0);
    let bytes = fs::read(&active).expect("readable");
    let last = bytes.windows(4).rposition(|four| four == b"CLMB").expect("a batch");
    let mut cut = bytes.clone();
    cut[last..].fill(0);
    fs::write(&active, cut).expect("writable");
    let (status, said) = serve_expecting_refusal(&data_dir);
    assert!(!status.success() && said.contains("the log has lost entries"), "{said}");
    let listing = || {
        let paths = fs::read_dir(data_dir.join("projections/coliseum")).map(|entries| entries.count());
        (paths.unwrap_or(0), fs::read(&active).expect("readable"))
    };
    let before = listing();
    let planned = run(&["repair"], directory.path());
    let text = String::from_utf8_lossy(&planned.stdout).into_owned();
    assert!(planned.status.code() == Some(1) && text.contains("projections/coliseum"), "{text}");
    assert!(listing() == before);
    assert!(run(&["repair", "--yes"], directory.path()).status.success());
    let binary = Binary::start(&data_dir);
    assert!(harness::head(&binary.client) < head);
    assert!(binary.terminate().success());
}
