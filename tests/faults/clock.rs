//! The machine's clock set forward and back while the daemon runs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use super::harness::binary::{Binary, Launch};
use super::harness::{compare, export, head, micros, until};
use super::model::Model;
use super::model::json::{Json, number, object, text};
use super::model::time::minute_of;
use super::{SMALL, place, tools};

const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

fn vote(key: &str, at: &str) -> Json {
    object([
        ("messageId", text(key)),
        ("type", text("coliseum.vote_cast")),
        ("userId", text("u1")),
        ("at", text(at)),
        ("artistId", text(format!("a{}", key.len()))),
        ("eventId", text("e1")),
        ("weight", number(key.len())),
    ])
}

/// Sets the clock, which then stands still, and waits until the boards are of its minute.
fn set(file: &Path, binary: &Binary, now: &str) {
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, now.replace('T', " ").trim_end_matches('Z')).expect("the test's directory is writable");
    std::fs::rename(&temporary, file).expect("the test's directory is writable");
    let minute = minute_of(micros(now));
    until("the boards are of the clock's minute", || {
        let body = binary.client.get("/api/coliseum/leaderboards/a/7d").expect(200);
        (compare::as_of(&body) == minute).then_some(())
    });
}

#[test]
fn boards_follow_a_clock_that_is_set_forward_and_back_and_nothing_is_lost() {
    let test = "a clock that is set";
    let Some(library) = LIBRARIES.iter().find(|path| Path::new(path).exists()) else {
        return tools::skipped(test, "libfaketime is not installed");
    };
    let (directory, data_dir) = place();
    let file = directory.path().join("time");
    std::fs::write(&file, "2026-03-01 12:00:30").expect("the test's directory is writable");
    let launch = Launch::on(&data_dir)
        .config(SMALL)
        .environment("LD_PRELOAD", library)
        .environment("TZ", "UTC")
        .environment("FAKETIME_TIMESTAMP_FILE", file.as_os_str())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let binary = launch.start();
    let seqs = RefCell::new(HashMap::new());
    let store = |key: &str, at: &str, status: u16| {
        let answer = binary.client.post_json("/api/passport/log", &vote(key, at));
        assert_eq!(answer.status, status, "{key} at {at}: {}", answer.text());
        if status < 300 {
            let seq = answer.json().at("seq").as_integer() as u64;
            assert!(
                seqs.borrow_mut().insert(key.to_owned(), seq).is_none_or(|first| first == seq),
                "{key} is {seq} now"
            );
        }
    };
    let judge = |now: &str| {
        let lines = export(&binary.client);
        compare::boards(&binary.client, &Model::from_export(&lines, &[]), Some(micros(now)));
        let seqs: Vec<i64> = lines.iter().map(|line| line.at("seq").as_integer()).collect();
        assert_eq!(seqs, (1..=lines.len() as i64).collect::<Vec<_>>());
    };
    set(&file, &binary, "2026-03-01T12:00:30Z");
    store("k", "2026-03-01T11:00:00Z", 201);
    store("kk", "2026-02-23T12:00:00Z", 201);
    store("in the future", "2026-03-01T12:10:00Z", 422);
    judge("2026-03-01T12:00:30Z");
    // Eight days on: the week is over, the month is not, and what was the future is the past.
    set(&file, &binary, "2026-03-09T12:00:30Z");
    judge("2026-03-09T12:00:30Z");
    store("kkk", "2026-03-09T12:05:00Z", 201);
    store("in the future", "2026-03-09T12:06:00Z", 422);
    judge("2026-03-09T12:00:30Z");
    // Back to before all of it: the same event is a duplicate still, and the newest one lies in the future.
    set(&file, &binary, "2026-02-20T00:00:30Z");
    store("kkk", "2026-03-09T12:05:00Z", 200);
    store("k", "2026-03-01T11:00:00Z", 200);
    store("in the future", "2026-03-01T11:00:00Z", 422);
    store("kkkk", "2026-02-19T23:59:59Z", 201);
    judge("2026-02-20T00:00:30Z");
    // And forty days on, then to where it was.
    set(&file, &binary, "2026-04-20T00:00:30Z");
    judge("2026-04-20T00:00:30Z");
    set(&file, &binary, "2026-03-01T12:02:30Z");
    store("kkkkk", "2026-03-01T12:02:00Z", 201);
    judge("2026-03-01T12:02:30Z");
    assert_eq!(head(&binary.client), 5);

    binary.kill();
    std::fs::write(&file, "2026-02-25 00:00:30").expect("the test's directory is writable");
    let binary = launch.start();
    let lines = export(&binary.client);
    assert_eq!(lines.len(), 5);
    compare::boards(&binary.client, &Model::from_export(&lines, &[]), Some(micros("2026-02-25T00:00:30Z")));
}
