//! The real binary, killed in the middle of a load again and again and looked at from outside.
//!
//! `COLISEUM_KILL_ROUNDS` sets how often, `COLISEUM_KILL_SEED` when.

mod harness;
mod model;

use harness::binary::{Binary, serve_expecting_refusal};
use harness::load::{Acknowledged, assert_verified, assert_whole, event, load_until, number_from_env, send, senders};
use model::json::Json;

#[test]
fn after_each_kill_every_acknowledged_event_is_there_once_and_the_boards_are_exact() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let seed = number_from_env("COLISEUM_KILL_SEED", harness::now() as u64);
    println!("COLISEUM_KILL_SEED={seed}");
    let mut random = seed;
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    for _ in 0..number_from_env("COLISEUM_KILL_ROUNDS", 8) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let binary = Binary::start(&data_dir);
        assert_whole(&binary.client, &acknowledged);
        let client = binary.client.clone();
        load_until(&client, &senders, &acknowledged, (random >> 33) as usize % 400, || binary.kill());
        assert_verified(&data_dir);
    }
    let binary = Binary::start(&data_dir);
    assert_whole(&binary.client, &acknowledged);
    assert_verified(&data_dir);
    assert!(binary.terminate().success());
    assert_verified(&data_dir);
}

#[test]
fn a_stop_under_load_finishes_what_was_accepted_and_ends_well() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    for _ in 0..2 {
        let binary = Binary::start(&data_dir);
        let client = binary.client.clone();
        let status = load_until(&client, &senders, &acknowledged, 300, || binary.terminate());
        assert!(status.success(), "SIGTERM: {status}");
    }
    let binary = Binary::start(&data_dir);
    assert_whole(&binary.client, &acknowledged);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let binary = Binary::start(&data_dir);
    let (status, said) = serve_expecting_refusal(&data_dir);
    assert!(!status.success());
    let shown = data_dir.to_str().expect("a temporary directory is UTF-8");
    assert!(said.contains(shown), "the message names no directory: {said}");
    assert!(!said.contains("panicked"), "{said}");
    binary.client.post_json("/api/passport/log", &event(0, 0)).expect(201);
    drop(binary);
    // The lock goes with the process, not with a file that stays.
    let binary = Binary::start(&data_dir);
    binary.client.post_json("/api/passport/log", &event(0, 0)).expect(200);
}

#[test]
fn projections_that_are_deleted_are_rebuilt_to_the_same_boards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let acknowledged = Acknowledged::default();
    let binary = Binary::start(&data_dir);
    let events: Vec<Json> = (0..500).map(|n| event(1, n)).collect();
    let receipts = send(&binary.client, &events).expect("an answer");
    acknowledged.lock().expect("no thread panics").extend(receipts);
    binary.kill();
    std::fs::remove_dir_all(data_dir.join("projections")).expect("projections/ may be deleted");
    let binary = Binary::start(&data_dir);
    assert_whole(&binary.client, &acknowledged);
}
