//! Bodies: sizes, codings, media types, chunks, stalls.

use std::io::Write;

use super::*;
use crate::limits::EVENT_BYTES_MAX;

const LOG: &str = "/api/passport/log";
const BATCH: &str = "/api/passport/batch";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("a Vec takes every write");
    encoder.finish().expect("a Vec takes every write")
}

fn chunked(target: &str, headers: &str, chunks: &[&str]) -> Vec<u8> {
    let mut bytes = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Transfer-Encoding: chunked\r\n\r\n")
        .into_bytes();
    for chunk in chunks.iter().chain([&""]) {
        bytes.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_come_by_length_in_chunks_and_compressed() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let long = (0..3000).map(event).collect::<Vec<_>>().join("\n");
    let requests = [
        post(LOG, "", event(0)),
        chunked(LOG, "", &[&event(1)[..20], &event(1)[20..]]),
        post(LOG, "Content-Encoding: gzip\r\n", gzip(event(2).as_bytes())),
        post(LOG, "Content-Encoding: zstd\r\n", zstd::encode_all(event(3).as_bytes(), 3).expect("compresses")),
        post(LOG, "Content-Encoding: identity\r\n", event(4)),
        post(LOG, "Content-Type: application/x-www-form-urlencoded\r\n", event(5)),
        post(LOG, "Content-Type: application/cloudevents+json\r\n", event(6)),
    ];
    for (number, request) in requests.iter().enumerate() {
        assert_eq!(client.ask(request).await.json()["seq"], number + 1);
    }
    let answer = client.ask(&post(BATCH, "Content-Encoding: gzip\r\n", gzip(long.as_bytes()))).await;
    assert_eq!(answer.json()["accepted"], 3000 - 7);
    let answer = client.ask(&post(BATCH, "Content-Type: application/x-ndjson\r\n", &long)).await;
    assert_eq!((&answer.json()["duplicates"], &answer.json()["firstSeq"]), (&3000.into(), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_cut_by_length_by_chunk_and_by_decompression() {
    let capture = CaptureLimits { batch_bytes_max: 1 << 20, ..CaptureLimits::default() };
    let server = Server::with(HttpLimits::default(), capture).await;
    let big = "x".repeat(EVENT_BYTES_MAX + 100);
    let bomb = vec![b' '; 64 << 20];
    let announced = format!(
        "POST {LOG} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
    );
    for (number, (what, request)) in [
        ("by length", post(LOG, "", &big)),
        ("by announced length alone", announced.into_bytes()),
        ("chunked", chunked(LOG, "", &[&big[..30_000], &big[30_000..]])),
        ("gzip bomb", post(LOG, "Content-Encoding: gzip\r\n", gzip(&bomb[..1 << 20]))),
        ("gzip bomb in a batch", post(BATCH, "Content-Encoding: gzip\r\n", gzip(&bomb))),
        ("zstd bomb", post(BATCH, "Content-Encoding: zstd\r\n", zstd::encode_all(&bomb[..], 3).expect("compresses"))),
        ("batch", post(BATCH, "", vec![b' '; (1 << 20) + 1])),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = server.client().await.ask(&request).await;
        assert_eq!((answer.status, answer.slug().as_str()), (413, "too-large"), "{what}");
        server.still_serves(what, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_codings_and_media_types_are_refused() {
    let server = Server::start().await;
    for headers in [
        "Content-Encoding: br\r\n",
        "Content-Encoding: gzip, gzip\r\n",
        "Content-Encoding: gzip\r\nContent-Encoding: zstd\r\n",
        "Content-Type: text/html\r\n",
        "Content-Type: image/png\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/json; charset=utf-16\r\n",
    ] {
        let answer = server.client().await.ask(&post(LOG, headers, event(0))).await;
        assert_eq!((answer.status, answer.slug().as_str()), (415, "unsupported-encoding"), "{headers}");
    }
    for (coding, body) in
        [("gzip", b"plain".to_vec()), ("zstd", b"plain".to_vec()), ("gzip", gzip(event(0).as_bytes())[..30].to_vec())]
    {
        let answer = server.client().await.ask(&post(LOG, &format!("Content-Encoding: {coding}\r\n"), body)).await;
        assert_eq!((answer.status, answer.slug().as_str()), (400, "not-json"), "{coding}");
    }
    server.still_serves("odd codings", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_early_or_in_bad_chunks_stores_nothing() {
    let server = Server::start().await;
    let head = format!("POST {LOG} HTTP/1.1\r\nHost: localhost\r\n");
    let whole = event(0);
    for (number, bytes) in [
        format!("{head}Content-Length: {}\r\n\r\n{whole}", whole.len() + 1),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{whole}\r\n", whole.len()),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{whole}X\r\n0\r\n\r\n", whole.len()),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\n{whole}\n0\n\n", whole.len()),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n-5\r\n{whole}\r\n0\r\n\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = server.client().await;
        client.send(bytes.as_bytes()).await;
        client.stream.shutdown().await.expect("half closed");
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.slug().as_str()), (400, "bad-request"), "{bytes}");
        client.closed().await;
        server.still_serves(&bytes, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stalls_in_head_and_body_are_told_and_silence_is_closed() {
    let limits = HttpLimits { stall: Duration::from_millis(200), ..HttpLimits::default() };
    let server = Server::with(limits, CaptureLimits::default()).await;
    for (number, bytes) in [
        "GET /test/hel".to_string(),
        "GET /test/hello/a HTTP/1.1\r\nHost: localhost\r\nX: y".to_string(),
        format!("POST {LOG} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{}", event(0)),
        format!("POST {LOG} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{{"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = server.client().await;
        let answer = client.ask(bytes.as_bytes()).await;
        assert_eq!((answer.status, answer.slug().as_str()), (408, "bad-request"), "{bytes}");
        client.closed().await;
        server.still_serves(&bytes, number).await;
    }
    server.client().await.closed().await;
    let mut client = server.client().await;
    assert_eq!(client.ask(&get("/test/hello/a")).await.status, 200);
    let mut second = server.client().await;
    second.closed().await;
    assert_eq!(client.ask(&get("/test/hello/b")).await.status, 200, "an idle connection that has been used stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_writes_everything_before_it_reads_gets_its_answer() {
    let server = Server::start().await;
    for target in [LOG, BATCH, "/nowhere"] {
        let mut client = server.client().await;
        client.send(&post(target, "", vec![b'x'; 20 << 20])).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, if target == "/nowhere" { 404 } else { 413 });
        client.closed().await;
    }
    server.still_serves("large bodies", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bodies_stops_at_the_byte_budget() {
    let limits = HttpLimits { max_inflight_bytes: 1 << 20, ..HttpLimits::default() };
    let server = Server::with(limits, CaptureLimits::default()).await;
    // Bodies that never end hold what they have sent.
    let mut holders = Vec::new();
    for _ in 0..4 {
        let mut client = server.client().await;
        client
            .send(format!("POST {BATCH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n").as_bytes())
            .await;
        client.send(&vec![b' '; 400_000]).await;
        holders.push(client);
    }
    let mut refused = 0;
    for client in &mut holders {
        // Each goes on until the budget has no room for it.
        let _ = client.stream.write_all(&vec![b' '; 1 << 20]).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.slug().as_str()), (503, "queue-full"));
        assert!(answer.header("retry-after").is_some());
        refused += 1;
    }
    assert_eq!(refused, 4);
    drop(holders);
    server.still_serves("a flood", 0).await;
}
