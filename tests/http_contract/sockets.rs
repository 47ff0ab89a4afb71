//! The wire: framing, heads, methods, and connections that stall, end early or are too many.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::harness::Daemon;
use crate::harness::http::{Client, read_response};
use crate::{BATCH, LOG, daemon, vote};

/// One raw request with a body of one good event: `lines` stand between request line and the blank line.
fn raw_post(lines: &str) -> Vec<u8> {
    format!("POST {LOG} HTTP/1.1\r\n{lines}\r\n{}", vote().render()).into_bytes()
}

/// Whether the daemon closed the connection by itself after its answer.
fn closes_after(client: &Client, bytes: &[u8]) -> (u16, bool) {
    let mut socket = client.connect().expect("the daemon accepts connections");
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let has_closed = match socket.read_to_end(&mut answer) {
        Ok(_) => true,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    };
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), has_closed)
}

#[test]
fn framing_that_two_readers_could_read_differently_is_a_400_and_closes() {
    let daemon = daemon();
    let host = format!("host: {}\r\n", daemon.client.address);
    let length = format!("content-length: {}\r\n", vote().render().len());
    let body = vote().render();
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "both lengths",
            format!("POST {LOG} HTTP/1.1\r\n{host}{length}transfer-encoding: chunked\r\n\r\n{chunks}").into_bytes(),
        ),
        ("two lengths", raw_post(&format!("{host}{length}content-length: 5\r\n"))),
        ("the same length twice", raw_post(&format!("{host}{length}{length}"))),
        ("a length with a sign", raw_post(&format!("{host}content-length: +5\r\n"))),
        ("a length that is none", raw_post(&format!("{host}content-length: five\r\n"))),
        ("no host", raw_post(&length)),
        ("two hosts", raw_post(&format!("{host}{host}{length}"))),
        ("an ill-formed host", raw_post(&format!("host: a b/c\r\n{length}"))),
        ("an empty host", raw_post(&format!("host:\r\n{length}"))),
        ("a bare LF", raw_post(&format!("{host}{length}")).iter().copied().filter(|b| *b != b'\r').collect()),
        ("one bare LF", raw_post(&format!("{host}x-a: b\n{length}"))),
        ("a space before the colon", raw_post(&format!("{host}content-length : 5\r\n"))),
        (
            "a chunk that is none",
            format!("POST {LOG} HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\nzz\r\n").into_bytes(),
        ),
        ("no HTTP", b"hello there\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in cases {
        let head = daemon.head();
        assert_eq!(closes_after(&daemon.client, &bytes), (400, true), "{what}");
        daemon.assert_works_after(head, what);
    }
}

#[test]
fn heads_targets_expectations_and_methods_that_are_too_much_have_their_own_status() {
    let daemon = daemon();
    let client = &daemon.client;
    let host = format!("host: {}\r\nconnection: close\r\n", client.address);
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let wide = format!("x-wide: {}\r\n", "w".repeat(17 * 1024));
    let long = format!("/api/passport/entries?userId={}", "u".repeat(8 * 1024));
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\n{host}{more}\r\n");
    let cases: Vec<(&str, String, u16)> = vec![
        ("over 100 headers", get("/healthz", &many), 431),
        ("16 KiB of headers", get("/healthz", &wide), 431),
        ("a target over 8 KiB", get(&long, ""), 414),
        (
            "an unknown Expect",
            format!("POST {LOG} HTTP/1.1\r\n{host}expect: 200-maybe\r\ncontent-length: 2\r\n\r\n{{}}"),
            417,
        ),
        ("CONNECT", format!("CONNECT example.com:80 HTTP/1.1\r\n{host}\r\n"), 405),
        ("TRACE", format!("TRACE /healthz HTTP/1.1\r\n{host}\r\n"), 405),
        ("a method of its own", format!("BREW {LOG} HTTP/1.1\r\n{host}\r\n"), 405),
    ];
    for (what, bytes, status) in cases {
        let head = daemon.head();
        let answer = client.raw_left_open(bytes.as_bytes()).unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        daemon.assert_works_after(head, what);
    }
    let expecting = format!(
        "POST {LOG} HTTP/1.1\r\n{host}expect: 100-continue\r\ncontent-length: {}\r\n\r\n{}",
        vote().render().len(),
        vote().render()
    );
    assert_eq!(client.raw_left_open(expecting.as_bytes()).expect("an answer").status, 201);
}

#[test]
fn another_method_is_a_405_that_says_which_ones_are_allowed() {
    let daemon = daemon();
    let cases = [
        ("DELETE", LOG, "POST"),
        ("GET", BATCH, "POST"),
        ("POST", "/api/passport/entries", "GET"),
        ("POST", "/api/coliseum/leaderboards/a/7d", "GET"),
        ("PATCH", "/api/coliseum/artists/a1", "GET"),
        ("POST", "/healthz", "GET"),
    ];
    for (method, path, allowed) in cases {
        let answer = daemon.client.request(method, path, &[], b"");
        answer.problem(405, &["method-not-allowed"]);
        let allow = answer.header("allow").unwrap_or_default();
        assert!(allow.split(',').any(|word| word.trim() == allowed), "{method} {path}: Allow is {allow:?}");
    }
    daemon.client.get("/api/nowhere").problem(404, &["not-found"]);
    daemon.client.get("/api/coliseum/leaderboards/x/7d").problem(404, &["not-found"]);
    daemon.client.get("/api/coliseum/leaderboards/a/8d").problem(404, &["not-found"]);
    daemon.client.get("/api/coliseum/artists/nobody").problem(404, &["not-found"]);
}

#[test]
fn a_body_that_ends_early_stores_nothing() {
    let daemon = daemon();
    let body = vote().render();
    let host = format!("host: {}\r\n", daemon.client.address);
    let short = format!("POST {LOG} HTTP/1.1\r\n{host}content-length: {}\r\n\r\n{body}", body.len() + 10);
    let chunk =
        format!("POST {LOG} HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
    let half = format!("POST {LOG} HTTP/1.1\r\n{host}content-length: {}\r\n\r\n{}", body.len(), &body[..20]);
    for bytes in [short, chunk, half] {
        let head = daemon.head();
        let answer = daemon.client.raw(bytes.as_bytes());
        assert!(answer.is_none_or(|answer| answer.status == 400), "a body that ends early is accepted");
        daemon.assert_works_after(head, "a body that ends early");
    }
}

/// Takes the 10 s after which SPEC lets go of a connection; both run at once.
#[test]
fn headers_that_do_not_come_and_a_body_that_stalls_are_let_go() {
    let daemon = daemon();
    let host = format!("host: {}\r\n", daemon.client.address);
    let no_head = format!("POST {LOG} HTTP/1.1\r\n{host}");
    let stalled = format!("POST {LOG} HTTP/1.1\r\n{host}content-length: 500\r\n\r\n{{\"type\":");
    let head = daemon.head();
    std::thread::scope(|scope| {
        for bytes in [no_head, stalled] {
            let client = &daemon.client;
            scope.spawn(move || {
                let mut socket = client.connect().expect("the daemon accepts connections");
                socket.write_all(bytes.as_bytes()).expect("the head is taken");
                let mut reading = socket.try_clone().expect("a second handle");
                let answer = read_response(socket);
                assert!(answer.is_none_or(|answer| answer.status == 408), "a stalled request is answered");
                let mut rest = Vec::new();
                let end = reading.read_to_end(&mut rest);
                assert!(!matches!(&end, Err(e) if e.kind() == ErrorKind::WouldBlock), "the connection stays open");
            });
        }
    });
    daemon.assert_works_after(head, "stalled requests");
}

#[test]
fn of_too_many_connections_the_oldest_idle_one_is_closed() {
    let daemon = Daemon::start_with("[http]\nmax_connections = 4\n");
    let asked = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", daemon.client.address);
    let idle = || {
        let mut socket = daemon.client.connect().expect("the daemon accepts connections");
        socket.write_all(asked.as_bytes()).expect("a request goes out");
        let mut status = [0; 12];
        socket.read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200");
        socket
    };
    let mut oldest = idle();
    let _others: Vec<TcpStream> = (0..3).map(|_| idle()).collect();
    // The fifth is served, since the first makes room; that one reads its end, or a reset.
    let _fifth = idle();
    let mut rest = Vec::new();
    let end = oldest.read_to_end(&mut rest);
    let is_open = matches!(&end, Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!is_open, "the oldest idle connection stays open");
    daemon.assert_works_after(0, "more connections than there may be");
}

#[test]
fn more_request_bytes_than_memory_may_hold_are_a_503() {
    const BODY: usize = 7 * 1024 * 1024;
    let daemon = Daemon::start_with("[http]\nmax_inflight_bytes = 16777216\n");
    let client = &daemon.client;
    let head = format!("POST {BATCH} HTTP/1.1\r\nhost: {}\r\ncontent-length: {BODY}\r\n\r\n", client.address);
    let almost = vec![b' '; BODY - 1];
    // Eight bodies that lack their last byte: 56 MiB, where 16 may be.
    let sockets: Vec<TcpStream> = (0..8).map(|_| client.connect().expect("the daemon accepts connections")).collect();
    let refusals = std::thread::scope(|scope| {
        let senders: Vec<_> = sockets
            .iter()
            .map(|mut socket| {
                let (head, almost) = (&head, &almost);
                scope.spawn(move || {
                    let sent = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(almost));
                    sent.is_err()
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("a sender ends")).filter(|is_cut| *is_cut).count()
    });
    let answered: Vec<u16> = sockets
        .into_iter()
        .map(|mut socket| {
            // The last byte: white space is no batch, so that the ones that were taken end as a 400.
            let _ = socket.write_all(b" ");
            read_response(socket).map_or(0, |answer| answer.status)
        })
        .collect();
    let refused = answered.iter().filter(|status| **status == 503).count();
    assert!(refused + refusals > 0, "all of them were held in memory: {answered:?}");
    assert!(answered.iter().all(|status| matches!(status, 0 | 400 | 408 | 503)), "{answered:?}");
    daemon.assert_works_after(0, "a flood of large bodies");
}
