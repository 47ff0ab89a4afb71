//! Every line of SPEC 5, *Hostile input*.

use super::*;
use crate::limits::HTTP_TARGET_BYTES_MAX;

const LOG: &str = "/api/passport/log";

fn raw(head: &str) -> Vec<u8> {
    head.as_bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_event_are_told_and_stored_nowhere() {
    let server = Server::start().await;
    let good = event(0);
    let with = |field: &str| good.replacen('{', &format!("{{{field},"), 1);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases = vec![
        ("no JSON", b"hello".to_vec(), 400, "not-json", None),
        ("two documents", format!("{good}{good}").into_bytes(), 400, "not-json", None),
        ("trailing bytes", format!("{good} x").into_bytes(), 400, "not-json", None),
        ("a BOM", format!("\u{feff}{good}").into_bytes(), 400, "not-json", None),
        ("UTF-16", utf16, 400, "not-json", None),
        ("invalid UTF-8", with("\"x\":\"?\"").replace('?', "\u{1}").into_bytes(), 400, "not-json", None),
        (
            "bytes that are no UTF-8",
            [b"{\"x\":\"\xff\",".as_slice(), &good.as_bytes()[1..]].concat(),
            400,
            "not-json",
            None,
        ),
        ("a lone surrogate", with(r#""x":"\ud800""#).into_bytes(), 400, "not-json", None),
        ("NaN", with(r#""x":NaN"#).into_bytes(), 400, "not-json", None),
        (
            "nesting too deep",
            with(&format!("\"x\":{}{}", "[".repeat(32), "]".repeat(32))).into_bytes(),
            400,
            "not-json",
            None,
        ),
        ("an empty body", Vec::new(), 400, "not-json", None),
        ("an array", format!("[{good}]").into_bytes(), 400, "invalid-event", None),
        ("null", b"null".to_vec(), 400, "invalid-event", None),
        ("a key twice", with(r#""userId":"u""#).into_bytes(), 400, "invalid-event", Some("/userId")),
        (
            "a missing field",
            br#"{"type":"x.y","at":"2026-05-01T00:00:00Z"}"#.to_vec(),
            422,
            "invalid-event",
            Some("/userId"),
        ),
        ("an ill-typed field", good.replace("\"u\"", "5").into_bytes(), 422, "invalid-event", Some("/userId")),
        (
            "a control character in an id",
            good.replace("\"u\"", "\"u\\u0007\"").into_bytes(),
            422,
            "invalid-event",
            Some("/userId"),
        ),
        ("an event too large", with(&format!("\"x\":\"{}\"", "y".repeat(33_000))).into_bytes(), 413, "too-large", None),
        (
            "a future event",
            good.replace("2026", "2027").replace("event-0", "late").into_bytes(),
            422,
            "at-in-future",
            Some("/at"),
        ),
    ];
    for (number, (what, body, status, slug, pointer)) in cases.into_iter().enumerate() {
        let answer = server.client().await.ask(&post(LOG, "", &body)).await;
        assert_eq!((answer.status, answer.slug().as_str()), (status, slug), "{what}: {answer:?}");
        assert_eq!(answer.json()["pointer"].as_str(), pointer, "{what}: {answer:?}");
        server.still_serves(what, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_answered_and_closed() {
    let server = Server::start().await;
    let body = event(999);
    let length = body.len();
    let framed = |headers: &str| raw(&format!("POST {LOG} HTTP/1.1\r\n{headers}\r\n{body}"));
    let host = "Host: localhost\r\n";
    let cases = vec![
        (
            "both framings",
            framed(&format!("{host}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n")),
            400,
            "bad-request",
        ),
        (
            "two lengths",
            framed(&format!("{host}Content-Length: {length}\r\nContent-Length: {length}\r\n")),
            400,
            "bad-request",
        ),
        ("two lengths in one", framed(&format!("{host}Content-Length: {length}, {length}\r\n")), 400, "bad-request"),
        ("a bad length", framed(&format!("{host}Content-Length: +{length}\r\n")), 400, "bad-request"),
        ("another coding", framed(&format!("{host}Transfer-Encoding: gzip, chunked\r\n")), 400, "bad-request"),
        ("no Host", framed(&format!("Content-Length: {length}\r\n")), 400, "bad-request"),
        ("two Hosts", framed(&format!("{host}{host}Content-Length: {length}\r\n")), 400, "bad-request"),
        ("a bad Host", framed(&format!("Host: a b\r\nContent-Length: {length}\r\n")), 400, "bad-request"),
        ("a bare LF", framed(&format!("Host: localhost\nContent-Length: {length}\r\n")), 400, "bad-request"),
        ("a folded header", framed(&format!("{host}X: a\r\n b\r\nContent-Length: {length}\r\n")), 400, "bad-request"),
        ("too many headers", framed(&format!("{host}{}", "x: y\r\n".repeat(100))), 431, "too-large"),
        ("too large a head", framed(&format!("{host}x: {}\r\n", "y".repeat(17_000))), 431, "too-large"),
        ("too long a target", get(&format!("/{}", "a".repeat(HTTP_TARGET_BYTES_MAX))), 414, "too-large"),
        ("a 12 kB target", get(&format!("/{}", "a".repeat(12_000))), 414, "too-large"),
        (
            "an unknown Expect",
            framed(&format!("{host}Expect: tea\r\nContent-Length: {length}\r\n")),
            417,
            "bad-request",
        ),
        ("CONNECT", raw("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"), 405, "method-not-allowed"),
        ("TRACE", raw("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 405, "method-not-allowed"),
        ("garbage", raw("hello there\r\n\r\n"), 400, "bad-request"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01".to_vec(), 400, "bad-request"),
        ("HTTP/2", raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400, "bad-request"),
        ("a target in braces that hyper may not like", get("/^`"), 400, "bad-request"),
    ];
    for (number, (what, bytes, status, slug)) in cases.into_iter().enumerate() {
        let mut client = server.client().await;
        client.send(&bytes).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.slug().as_str()), (status, slug), "{what}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{what}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{what}");
        client.closed().await;
        server.still_serves(what, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_behind_a_good_one_is_refused_after_the_good_ones_answer() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let bad = "POST /api/passport/log HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}";
    client.send(&[post(LOG, "", event(0)), get("/test/hello/a"), raw(bad)].concat()).await;
    assert_eq!(client.answer().await.status, 201);
    assert_eq!(client.answer().await.json()["hello"], "a");
    assert_eq!(client.answer().await.slug(), "bad-request");
    client.closed().await;
    server.still_serves("a smuggled request", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_paths_are_told_what_there_is() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for method in ["DELETE", "PUT", "GET", "HEAD", "get", "BREW"] {
        client.send(format!("{method} {LOG} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        let answer = if method == "HEAD" { client.head().await } else { client.answer().await };
        assert_eq!((answer.status, answer.header("allow")), (405, Some("OPTIONS, POST")), "{method}");
    }
    let options = client.ask(b"OPTIONS /test/board HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS, PUT")));
    for path in ["/nowhere", "/", "/api/passport/log/", "/test/hello", "//api/passport/log"] {
        let answer = client.ask(&get(path)).await;
        assert_eq!((answer.status, answer.slug().as_str()), (404, "not-found"), "{path}");
    }
    for path in ["/test/hello/%ff", "/test/hello/a%00b"] {
        assert_eq!(client.ask(&get(path)).await.status, 400, "{path}");
    }
    server.still_serves("all that", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_query_names_the_parameter() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for (target, named) in [
        ("/test/hello/a?limit=-1", "`limit`"),
        ("/test/hello/a?limit=1001", "`limit`"),
        ("/test/hello/a?limit=1&limit=2", "`limit`"),
        ("/test/hello/a?depth=3", "`depth`"),
        ("/test/blocking/a?limit=x", "`limit`"),
        ("/test/board?minSeq=-1", "`minSeq`"),
    ] {
        let answer = client.ask(&get(target)).await;
        assert_eq!((answer.status, answer.slug().as_str()), (400, "invalid-query"), "{target}");
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{answer:?}");
    }
    let answer = client.ask(&post("/api/passport/batch?atomic=yes", "", "[]")).await;
    assert_eq!((answer.status, answer.slug().as_str()), (400, "invalid-query"));
    server.still_serves("bad queries", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_foreign_pages_are_refused() {
    let server = Server::start().await;
    let port = server.address.port();
    let ask = |headers: String| {
        post(LOG, "", event(0))
            .strip_prefix(b"POST /api/passport/log HTTP/1.1\r\nHost: localhost\r\n".as_slice())
            .map(|rest| [format!("POST {LOG} HTTP/1.1\r\n{headers}").as_bytes(), rest].concat())
            .expect("the head of a post")
    };
    for headers in [
        "Host: evil.example\r\n".to_string(),
        format!("Host: evil.example:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: null\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: http://localhost:{port}\r\n"),
    ] {
        let answer = server.client().await.ask(&ask(headers.clone())).await;
        assert_eq!((answer.status, answer.slug().as_str()), (403, "forbidden"), "{headers}");
    }
    assert_eq!(server.entries().len(), 0);
    let own = ask(format!("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"));
    assert_eq!(server.client().await.ask(&own).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_panic_fail_their_request_alone() {
    let server = Server::start().await;
    let mut client = server.client().await;
    assert_eq!(client.ask(&get("/test/panic")).await.slug(), "internal");
    assert_eq!(client.ask(b"PUT /test/board HTTP/1.1\r\nHost: localhost\r\n\r\n").await.slug(), "internal");
    assert_eq!(client.ask(&get("/test/hello/a")).await.status, 200);
    server.still_serves("panics", 0).await;
}
