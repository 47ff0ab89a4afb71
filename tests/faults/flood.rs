//! Floods of large bodies: memory stays bounded, what is too much is refused, and the daemon answers afterwards.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::harness::binary::Launch;
use super::harness::http::Client;
use super::harness::until;
use super::place;

const BODY_BYTES: usize = 8 << 20;
const MEMORY_MAX_KIB: u64 = 512 * 1024;

/// A batch of just under 8 MiB; `n` keeps its keys apart from those of others.
fn large_batch(n: usize) -> Vec<u8> {
    let pad = "x".repeat(900);
    let mut body = b"[".to_vec();
    for k in 0.. {
        let event = format!(
            r#"{{"type":"coliseum.vote_cast","messageId":"f-{n}-{k}","userId":"u{k}","at":"2026-01-01T00:00:00Z","artistId":"a{}","eventId":"e1","pad":"{pad}"}}"#,
            k % 50
        );
        if body.len() + event.len() + 2 > BODY_BYTES {
            break;
        }
        if k > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event.as_bytes());
    }
    body.push(b']');
    body
}

fn head(client: &Client, length: usize, more: &str) -> String {
    let address = &client.address;
    format!(
        "POST /api/passport/batch HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n"
    )
}

/// The status of an answer, 0 where the connection ended without one.
fn status(mut socket: TcpStream) -> u16 {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn a_flood_of_large_bodies_is_refused_in_part_and_leaves_memory_bounded() {
    let (_directory, data_dir) = place();
    let binary = Launch::on(&data_dir).config("[passport]\nmin_free_bytes = 0\n").start();
    let client = &binary.client;
    // 1. Slow senders hold what they have sent: together more than may be in memory at once.
    let half = vec![b' '; BODY_BYTES / 2];
    let slow: Vec<TcpStream> = (0..24)
        .map(|_| {
            let mut socket = client.connect().expect("a connection");
            // Refused in the middle where there is no room: a client of HTTP/1.1 sees that when it reads.
            let _ = socket.write_all(head(client, BODY_BYTES, "").as_bytes()).and_then(|()| socket.write_all(&half));
            socket
        })
        .collect();
    let (stored, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // 2. Beside them, whole batches.
        for n in 0..24 {
            let (stored, refused) = (&stored, &refused);
            scope.spawn(move || {
                let body = large_batch(n);
                let mut socket = client.connect().expect("a connection");
                let _ =
                    socket.write_all(head(client, body.len(), "").as_bytes()).and_then(|()| socket.write_all(&body));
                match status(socket) {
                    200 => stored.fetch_add(1, Ordering::Relaxed),
                    503 => refused.fetch_add(1, Ordering::Relaxed),
                    // The answer may be lost where the client was still sending; never anything else.
                    0 => 0,
                    other => panic!("status {other}"),
                };
            });
        }
        // 3. And bombs: a few kilobytes that become 8 MiB, or far more.
        for bytes in [BODY_BYTES, 256 << 20] {
            scope.spawn(move || {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                std::io::copy(&mut std::io::repeat(b' ').take(bytes as u64), &mut encoder).expect("a Vec takes it");
                let bomb = encoder.finish().expect("a Vec takes it");
                for _ in 0..6 {
                    let mut socket = client.connect().expect("a connection");
                    let head = head(client, bomb.len(), "content-encoding: gzip\r\n");
                    socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&bomb)).expect("a small body");
                    let status = status(socket);
                    assert!([400, 413, 503].contains(&status), "a bomb of {bytes} bytes got {status}");
                }
            });
        }
    });
    drop(slow);
    let peak = binary.proc_status("VmHWM");
    let peak_kib: u64 = peak.trim_end_matches(" kB").trim().parse().expect("kilobytes");
    let (stored, refused) = (stored.into_inner(), refused.into_inner());
    println!("VmHWM {} MiB, {stored} batches stored, {refused} refused", peak_kib / 1024);
    assert!(peak_kib < MEMORY_MAX_KIB, "VmHWM {peak}");
    assert!(refused > 0, "nothing was refused: {stored} stored");
    // Afterwards it takes a large batch again.
    let answer = until("a large batch is taken", || {
        let answer = client.post("/api/passport/batch", &large_batch(1000));
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(answer.expect(200).at("rejected").as_integer(), 0);
    assert_eq!(client.get("/readyz").status, 200);
}
