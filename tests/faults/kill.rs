//! Kills in the middle of sealing, key runs, merges and starts; two processes on one directory; stops with clients that
//! do not go.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::harness::binary::{Launch, run, serve_expecting_refusal};
use super::harness::load::{
    Acknowledged, assert_verified, assert_whole, event, load_until, number_from_env, send, senders,
};
use super::harness::{now, until};
use super::model::json::Json;
use super::tools::shown;
use super::{SMALL, place, rounds};

/// The next of a row of numbers that a seed stands for.
fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

#[test]
fn killed_in_the_middle_of_sealing_key_runs_and_starts_it_keeps_every_event_once() {
    let (_directory, data_dir) = place();
    let seed = number_from_env("COLISEUM_KILL_SEED", now() as u64);
    println!("COLISEUM_KILL_SEED={seed}");
    let mut random = seed;
    let launch = Launch::on(&data_dir).config(SMALL);
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    for _ in 0..rounds(4) {
        let binary = launch.start();
        let client = binary.client.clone();
        load_until(&client, &senders, &acknowledged, 800 + next(&mut random) as usize % 800, || binary.kill());
        // Starts that are cut off at any instant: before the lock, in recovery, while the keeper seals what is left.
        for _ in 0..4 {
            let binary = launch.spawn();
            std::thread::sleep(Duration::from_micros(next(&mut random) % 120_000));
            binary.kill();
        }
    }
    let binary = launch.start();
    assert_whole(&binary.client, &acknowledged);
    assert!(binary.terminate().success());
    assert_verified(&data_dir);
    let names = || std::fs::read_dir(data_dir.join("passport")).expect("the log").filter_map(Result::ok);
    let sealed = names().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "segz")).count();
    assert!(sealed > 3, "only {sealed} segments were sealed");
}

#[test]
fn the_second_process_gets_in_as_soon_as_the_first_is_killed() {
    let (_directory, data_dir) = place();
    let launch = Launch::on(&data_dir).config(SMALL);
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    let mut binary = launch.start();
    for _ in 0..rounds(2) {
        let (status, said) = serve_expecting_refusal(&data_dir);
        assert!(!status.success() && said.contains(shown(&data_dir)), "{status}: {said}");
        let client = binary.client.clone();
        load_until(&client, &senders, &acknowledged, 200, || binary.kill());
        let started = Instant::now();
        binary = launch.start();
        assert!(started.elapsed() < Duration::from_secs(5), "the lock outlived its holder by {:?}", started.elapsed());
        assert_whole(&binary.client, &acknowledged);
    }
}

#[test]
fn an_import_beside_a_daemon_goes_through_it_and_ends_when_it_is_killed() {
    let (directory, data_dir) = place();
    let launch = Launch::on(&data_dir).config(SMALL);
    let acknowledged = Acknowledged::default();
    let lines: Vec<String> = (0..6000).map(|n| event(9, n).render()).collect();
    let file = directory.path().join("events.ndjson");
    std::fs::write(&file, lines.join("\n")).expect("the test's directory is writable");
    let words = ["import", shown(&file), "--data-dir", shown(&data_dir)];
    let binary = launch.start();
    let client = binary.client.clone();
    std::thread::scope(|scope| {
        let import = scope.spawn(|| run(&words, directory.path()));
        until("the import has begun", || (super::harness::head(&client) > 0).then_some(()));
        binary.kill();
        let ended = import.join().expect("the import's thread");
        // It may have been done by then; it may never say so when it was not.
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!said.contains("panicked"), "{said}");
        println!("the import ended with {}", ended.status);
    });
    // On the stopped directory it goes on where it was; the events that are there are not counted twice.
    let again = run(&words, directory.path());
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let binary = launch.start();
    assert_whole(&binary.client, &acknowledged);
    assert_eq!(super::harness::head(&binary.client), 6000);
}

#[test]
fn a_stop_waits_for_no_client_that_does_not_go() {
    let (_directory, data_dir) = place();
    let launch = Launch::on(&data_dir).config(&format!("shutdown_timeout = 3\n{SMALL}"));
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    let binary = launch.start();
    let client = binary.client.clone();
    let first: Vec<Json> = (0..4000).map(|n| event(8, n)).collect();
    acknowledged.lock().expect("no thread panics").extend(send(&client, &first).expect("an answer"));

    let mut stream = client.open("GET", "/api/passport/stream?after=0", &[], b"").expect("a stream");
    assert!(stream.line().is_some(), "the stream has begun");
    let mut half = client.connect().expect("a connection");
    half.write_all(b"POST /api/passport/batch HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n[{\"type\":")
        .expect("half a body");
    // It asks for more than its socket holds and never reads.
    let mut hung = client.connect().expect("a connection");
    hung.write_all(b"GET /api/passport/export HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
    let silent = client.connect().expect("a connection");

    let started = Instant::now();
    let status = load_until(&client, &senders, &acknowledged, 200, || binary.terminate());
    assert!(status.success(), "SIGTERM: {status}");
    assert!(started.elapsed() < Duration::from_secs(3 + 3), "the stop took {:?}", started.elapsed());
    drop(silent);
    let mut rest = Vec::new();
    // Answered or broken off, but over.
    let _ = half.read_to_end(&mut rest);
    let binary = launch.start();
    assert_whole(&binary.client, &acknowledged);
}
