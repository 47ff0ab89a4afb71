//! Limits that the system puts on the process: file size, which makes writes short, and open files.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::harness::binary::Launch;
use super::harness::load::{Acknowledged, assert_whole, event, load_until, load_until_it_stops, senders};
use super::harness::until;
use super::{SMALL, place, tools};

#[test]
fn a_write_that_stops_short_ends_the_daemon_and_loses_nothing() {
    let test = "writes that stop short";
    if !tools::has(test, "prlimit", &["--fsize=4096", "true"])
        || !tools::has(test, "env", &["--ignore-signal=XFSZ", "true"])
    {
        return;
    }
    // With the signal ignored the write fails in the middle; without, it kills the process there.
    for under in [&["env", "--ignore-signal=XFSZ", "prlimit", "--fsize=150000"][..], &["prlimit", "--fsize=150000"]] {
        let (_directory, data_dir) = place();
        let config = "[passport]\nsegment_bytes = 1048576\nmin_free_bytes = 0\n";
        let launch = Launch::on(&data_dir).config(config);
        let (senders, acknowledged) = (senders(), Acknowledged::default());
        let binary = launch.start();
        let client = binary.client.clone();
        load_until(&client, &senders, &acknowledged, 10, || binary.terminate());
        let binary = launch.clone().under(under).start_unready();
        load_until_it_stops(&binary.client, &senders, &acknowledged);
        let ended = binary.wait();
        assert!(!ended.success(), "{ended}");
        let binary = launch.start();
        assert_whole(&binary.client, &acknowledged);
        load_until(&binary.client, &senders, &acknowledged, 100, || ());
        assert_whole(&binary.client, &acknowledged);
    }
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let test = "a soft limit of open files";
    if !tools::has(test, "prlimit", &["--nofile=64:300", "true"]) {
        return;
    }
    let (_directory, data_dir) = place();
    let binary = Launch::on(&data_dir).config(SMALL).under(["prlimit", "--nofile=64:300"]).start();
    let pid = binary.daemon_pid().expect("it runs").as_raw_nonzero();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let soft = line.split_whitespace().nth(3);
    assert_eq!(soft, Some("300"), "{line}");
}

#[test]
fn idle_connections_make_room_and_leave_the_log_its_files() {
    let test = "too few open files";
    if !tools::has(test, "prlimit", &["--nofile=120:120", "true"]) {
        return;
    }
    let (_directory, data_dir) = place();
    let launch = Launch::on(&data_dir).config(SMALL);
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    let mut binary = launch.clone().under(["prlimit", "--nofile=120:120"]).start();
    let client = binary.client.clone();
    // More than there are files for; each has asked once, so that it is idle and not just slow.
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..300 {
        let mut connection = client.connect().expect("a connection");
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", client.address);
        std::io::Write::write_all(&mut connection, request.as_bytes()).expect("a request");
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut connection, &mut answer).expect("an answer, however many are open");
        assert_eq!(&answer, b"HTTP/1.1 200");
        idle.push(connection);
    }
    let started = Instant::now();
    load_until(&client, &senders, &acknowledged, 2500, || ());
    assert!(started.elapsed() < Duration::from_secs(25), "the load took {:?}", started.elapsed());
    binary.assert_alive();
    until("the first segment is sealed", || data_dir.join("passport/00000000000000000001.segz").exists().then_some(()));
    assert_whole(&client, &acknowledged);
    let said = binary.stderr();
    assert!(!said.contains("panicked"), "{said}");
    binary.kill();
    let binary = launch.start();
    assert_whole(&binary.client, &acknowledged);
    let first = event(0, 0);
    binary.client.post_json("/api/passport/log", &first).expect(200);
}
