//! Answers: headers, conditional reads, waits, streams, the document of the API.

use std::collections::BTreeSet;
use std::io::Read;

use super::*;
use crate::http::openapi;

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_has_its_shape_and_a_key_by_header() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let bare = r#"{"type":"x.y","userId":"u","at":"2026-05-01T00:00:00Z"}"#;
    let first = client.ask(&post("/api/passport/log", "Idempotency-Key: k\r\n", bare)).await;
    assert_eq!(
        (first.status, first.json()),
        (201, serde_json::json!({"ok":true,"seq":1,"messageId":"k","duplicate":false}))
    );
    assert_eq!(
        (first.header("content-type"), first.header("x-content-type-options")),
        (Some("application/json"), Some("nosniff"))
    );
    let again = client.ask(&post("/api/passport/log", "Idempotency-Key: k\r\n", bare)).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (200, &true.into()));
    let other = bare.replace("\"u\"", "\"v\"");
    let conflict = client.ask(&post("/api/passport/log", "Idempotency-Key: k\r\n", other)).await;
    assert_eq!(
        (conflict.status, conflict.slug().as_str(), &conflict.json()["seq"]),
        (422, "idempotency-key-reused", &1.into())
    );
    let two = client.ask(&post("/api/passport/log", "Idempotency-Key: k\r\nIdempotency-Key: l\r\n", bare)).await;
    assert_eq!((two.status, &two.json()["pointer"]), (422, &"/messageId".into()));
    let atomic = client.ask(&post("/api/passport/batch?atomic=true", "", "[{}]")).await;
    assert_eq!((atomic.status, atomic.slug().as_str(), &atomic.json()["index"]), (422, "invalid-event", &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_and_a_full_disk_are_told() {
    use crate::passport::AppendError;
    let server = Server::start().await;
    let mut client = server.client().await;
    server.app.daemon.refuse(Some(AppendError::QueueFull(4096)));
    let full = client.ask(&post("/api/passport/log", "", event(0))).await;
    assert_eq!((full.status, full.slug().as_str(), full.header("retry-after")), (503, "queue-full", Some("1")));
    server.app.daemon.refuse(Some(AppendError::ReadOnly("the disk is full".into())));
    let read_only = client.ask(&post("/api/passport/log", "", event(0))).await;
    assert_eq!((read_only.status, read_only.slug().as_str()), (507, "log-read-only"));
    server.app.daemon.refuse(None);
    server.still_serves("refusals", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_is_conditional_and_names_what_is_applied() {
    let server = Server::start().await;
    server.app.applied.send_replace(7);
    let mut client = server.client().await;
    let board = client.ask(&get("/test/board")).await;
    let etag = board.header("etag").expect("a tag").to_string();
    assert_eq!((board.header("coliseum-applied-seq"), board.header("cache-control")), (Some("7"), Some("no-cache")));
    let again = client
        .ask(
            format!("GET /test/board HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"x\", W/{etag}\r\n\r\n").as_bytes(),
        )
        .await;
    assert_eq!((again.status, again.header("etag"), again.body.len()), (304, Some(etag.as_str()), 0));
    client.send(b"HEAD /test/board HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some(board.body.len().to_string().as_str())));
    assert_eq!(
        client.ask(&get("/test/hello/a%20b?limit=5")).await.json(),
        serde_json::json!({"hello":"a b","limit":5})
    );
    assert_eq!(client.ask(&get("/test/blocking/%C3%A9")).await.json()["hello"], "é");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_its_own_write_and_not_for_ever() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(&get("/test/board?minSeq=3")).await;
    server.app.applied.send_replace(3);
    assert_eq!(client.answer().await.json()["applied"], 3);
    let by_header = b"GET /test/board HTTP/1.1\r\nHost: localhost\r\nColiseum-Min-Seq: 4\r\n\r\n";
    client.send(by_header).await;
    server.app.applied.send_replace(4);
    assert_eq!(client.answer().await.json()["applied"], 4);
    let late = client.ask(&get("/test/board?minSeq=5")).await;
    assert_eq!((late.status, late.slug().as_str(), late.header("retry-after")), (503, "not-yet-applied", Some("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_sends_at_once_beats_and_ends_with_the_server() {
    let limits = HttpLimits { heartbeat: Duration::from_millis(50), ..HttpLimits::default() };
    let mut server = Server::with(limits, CaptureLimits::default()).await;
    let mut client = server.client().await;
    client.send(&get("/test/events")).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    let sender = server.app.events.borrow().clone().expect("a sender");
    sender.send(Some(7), "{\"a\":1}").await.expect("it listens");
    client.until(b"id: 7\ndata: {\"a\":1}\n\n").await;
    client.until(b":\n\n").await;
    server.stop();
    client.until(b"0\r\n\r\n").await;
    client.closed().await;
    soon("the end of the stream", sender.gone()).await;
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_ends_when_its_client_goes() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(&get("/test/events")).await;
    client.head().await;
    let sender = server.app.events.borrow().clone().expect("a sender");
    drop(client);
    soon("the end of the stream", sender.gone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_comes_whole_in_the_coding_asked_for_and_a_torn_one_breaks() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let plain = client.ask(&get("/test/export")).await;
    assert_eq!(
        (plain.header("content-encoding"), plain.body.iter().filter(|&&byte| byte == b'\n').count()),
        (None, 50_000)
    );
    for coding in ["gzip", "zstd"] {
        let request = format!("GET /test/export HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {coding}\r\n\r\n");
        let answer = client.ask(request.as_bytes()).await;
        assert_eq!(answer.header("content-encoding"), Some(coding));
        let mut text = Vec::new();
        match coding {
            "gzip" => flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut text).map(|_| ()).expect("gzip"),
            _ => text = zstd::decode_all(&answer.body[..]).expect("zstd"),
        }
        assert!(text == plain.body, "{coding} differs");
    }
    client.send(&get("/test/torn")).await;
    client.head().await;
    while client.more().await {}
    assert!(!client.buffer.ends_with(b"0\r\n\r\n"), "half an export must not end in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_with_a_tag() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let answer = client.ask(&get("/openapi.json")).await;
    assert_eq!((answer.status, &answer.json()["openapi"]), (200, &"3.1.0".into()));
    assert!(answer.json()["paths"]["/openapi.json"]["get"].is_object());
    let etag = answer.header("etag").expect("a tag");
    let again = format!("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}\r\n\r\n");
    assert_eq!(client.ask(again.as_bytes()).await.status, 304);
}

#[test]
fn every_route_is_in_the_document_and_every_reference_resolves() {
    let rows = TestApp::routes();
    let document = openapi::document(rows.iter());
    let mut ids = BTreeSet::new();
    for row in &rows {
        let operation = &document["paths"][row.path][row.method.as_str().to_ascii_lowercase()];
        assert_eq!(operation["operationId"], row.id, "{} {}", row.method, row.path);
        assert!(ids.insert(row.id), "{} is there twice", row.id);
        let named: Vec<_> =
            operation["parameters"].as_array().into_iter().flatten().map(|one| one["name"].clone()).collect();
        assert!(row.params.iter().all(|param| named.contains(&param.name.into())), "{}", row.path);
        assert_eq!(row.derived.is_some(), named.contains(&"minSeq".into()), "{}", row.path);
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(reference) if name == "$ref" => references.push(reference.to_string()),
                    _ => collect(field, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
