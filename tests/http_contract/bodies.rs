//! Bodies: what is no event, too large, encoded; and batches of events.

use std::io::Read;

use crate::model::json::{Json, number, object, text};
use crate::{BATCH, LOG, daemon, refused, stored, vote};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::best()).read_to_end(&mut body).expect("gzip into memory");
    body
}

#[test]
fn what_is_no_event_object_is_told_apart_and_stores_nothing() {
    let daemon = daemon();
    let good = vote().render();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = |levels: usize| {
        let inner = format!("{}{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        good.replace("\"u1\"", &format!("\"u1\",\"deep\":{inner}"))
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no JSON", b"{".to_vec()),
        ("no JSON at all", b"hello".to_vec()),
        ("an empty body", Vec::new()),
        ("only white space", b" \r\n ".to_vec()),
        ("two documents", format!("{good}{good}").into_bytes()),
        ("trailing bytes", format!("{good} x").into_bytes()),
        ("a trailing NUL", format!("{good}\0").into_bytes()),
        ("a byte order mark", [b"\xef\xbb\xbf", good.as_bytes()].concat()),
        ("UTF-16", utf16),
        ("invalid UTF-8", [&good.as_bytes()[..good.len() - 1], b",\"x\":\"\xff\"}"].concat()),
        ("an overlong NUL", [&good.as_bytes()[..good.len() - 1], b",\"x\":\"\xc0\x80\"}"].concat()),
        ("a surrogate in UTF-8", [&good.as_bytes()[..good.len() - 1], b",\"x\":\"\xed\xa0\x80\"}"].concat()),
        ("a lone surrogate", good.replace("\"u1\"", "\"u1\",\"x\":\"\\ud800\"").into_bytes()),
        ("a lone low surrogate", good.replace("\"u1\"", "\"u1\",\"x\":\"\\udc00y\"").into_bytes()),
        ("NaN", good.replace("\"u1\"", "\"u1\",\"weight\":NaN").into_bytes()),
        ("Infinity", good.replace("\"u1\"", "\"u1\",\"weight\":-Infinity").into_bytes()),
        ("a leading zero", good.replace("\"u1\"", "\"u1\",\"weight\":01").into_bytes()),
        ("a leading plus", good.replace("\"u1\"", "\"u1\",\"weight\":+1").into_bytes()),
        ("a trailing comma", good.replace('}', ",}").into_bytes()),
        ("single quotes", good.replace('"', "'").into_bytes()),
        ("a raw line feed in a string", good.replace("u1", "u\n1").into_bytes()),
        ("nesting of 33", deep(33).into_bytes()),
        ("nesting of 10,000", deep(10_000).into_bytes()),
        ("an array for an object", format!("[{good}]").into_bytes()),
        ("an array of the values", b"[\"coliseum.vote_cast\",\"u1\",\"2024-02-29T12:00:01Z\"]".to_vec()),
        ("a string", b"\"coliseum.vote_cast\"".to_vec()),
        ("null", b"null".to_vec()),
        ("a key given twice", good.replace("\"u1\"", "\"u1\",\"userId\":\"u1\"").into_bytes()),
        ("a key given twice, once escaped", good.replace("\"u1\"", "\"u1\",\"user\\u0049d\":\"u1\"").into_bytes()),
        ("an unknown key given twice", good.replace("\"u1\"", "\"u1\",\"x\":1,\"x\":1").into_bytes()),
    ];
    for (what, body) in cases {
        let head = daemon.head();
        let answer = daemon.client.post(LOG, &body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        answer.problem(400, &["not-json", "invalid-event"]);
        daemon.assert_works_after(head, what);
    }
    daemon.client.post(LOG, deep(31).as_bytes()).expect(201);
    // A key may well come twice further down.
    daemon.client.post(LOG, good.replace("\"u1\"", "\"u1\",\"x\":{\"y\":1,\"y\":2}").as_bytes()).expect(201);
}

#[test]
fn a_nul_in_any_string_is_refused() {
    let daemon = daemon();
    for event in [vote().with("note", text("a\u{0}")), vote().with("nested", object([("x", text("\u{0}"))]))] {
        let head = daemon.head();
        let answer = daemon.client.post_json(LOG, &event);
        assert!(matches!(answer.status, 400 | 422), "{}", answer.text());
        answer.problem(answer.status, &["invalid-event", "not-json"]);
        daemon.assert_works_after(head, "a NUL in a string");
    }
}

#[test]
fn what_is_too_large_is_a_413_by_length_in_chunks_and_unpacked() {
    let daemon = daemon();
    let sized = |bytes: usize| {
        let event = vote().with("pad", text(""));
        event.with("pad", text("x".repeat(bytes - event.render().len())))
    };
    stored(&daemon, &sized(32 * 1024));
    refused(&daemon, &sized(32 * 1024 + 1), 413, &["too-large"], None);
    let client = &daemon.client;
    let head = daemon.head();
    let body = sized(40_000).render();
    let chunked = format!(
        "POST {LOG} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        client.address,
        body.len()
    );
    client.raw_left_open(chunked.as_bytes()).expect("an answer").problem(413, &["too-large"]);
    let announced =
        format!("POST {BATCH} HTTP/1.1\r\nhost: {}\r\ncontent-length: 99999999999\r\n\r\n[", client.address);
    client.raw_left_open(announced.as_bytes()).expect("an answer").problem(413, &["too-large"]);
    let over_8_mib = vec![b' '; 8 * 1024 * 1024 + 1];
    client.post(BATCH, &over_8_mib).problem(413, &["too-large"]);
    let many = format!("[{}]", vec![vote().render(); 10_001].join(","));
    client.post(BATCH, many.as_bytes()).problem(413, &["too-large"]);
    // A bomb: 64 MiB of spaces in some 64 kB.
    let bomb = vec![b' '; 64 * 1024 * 1024];
    let packed = [("gzip", gzip(&bomb)), ("zstd", zstd::encode_all(&bomb[..], 1).expect("zstd into memory"))];
    for (encoding, body) in packed {
        for path in [BATCH, LOG] {
            client.request("POST", path, &[("content-encoding", encoding)], &body).problem(413, &["too-large"]);
        }
    }
    daemon.assert_works_after(head, "bodies that are too large");
    // In a batch the others go on, and the item has the status that it would have had alone.
    let batch = Json::List(vec![sized(40_000), vote()]);
    let answer = client.post_json(BATCH, &batch).expect(200);
    assert_eq!((answer.at("accepted").as_integer(), answer.at("rejected").as_integer()), (1, 1));
    let result = &answer.at("results").as_list()[0];
    assert_eq!((result.at("index").as_integer(), result.at("status").as_integer()), (0, 413));
}

#[test]
fn other_encodings_and_types_that_are_no_json_are_a_415() {
    let daemon = daemon();
    let body = vote().render();
    let post = |headers: &[(&str, &str)]| daemon.client.request("POST", LOG, headers, body.as_bytes());
    let head = daemon.head();
    post(&[("content-encoding", "br")]).problem(415, &["unsupported-encoding"]);
    post(&[("content-encoding", "gzip, gzip")]);
    assert_eq!(daemon.head(), head);
    for kind in ["text/html", "image/png", "application/xml", "multipart/form-data; boundary=x"] {
        assert_eq!(post(&[("content-type", kind)]).status, 415, "{kind}");
    }
    daemon.client.request("POST", LOG, &[("content-encoding", "gzip")], b"no gzip").problem(400, &["not-json"]);
    let cut = gzip(body.as_bytes());
    let cut = &cut[..cut.len() - 9];
    daemon.client.request("POST", LOG, &[("content-encoding", "gzip")], cut).problem(400, &["not-json"]);
    daemon.assert_works_after(head, "another encoding");
    assert_eq!(post(&[]).status, 201);
    for kind in ["application/x-www-form-urlencoded", "application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(post(&[("content-type", kind)]).status, 201, "{kind}");
    }
    daemon.client.request("POST", LOG, &[("content-encoding", "gzip")], &gzip(body.as_bytes())).expect(201);
    daemon.client.request("POST", LOG, &[("content-encoding", "identity")], body.as_bytes()).expect(201);
}

/// The same events in one of the three forms; between the lines stands an empty one, which counts as none.
fn written(form: &str, items: Vec<Json>) -> String {
    let lines: Vec<String> = items.iter().map(Json::render).collect();
    match form {
        "array" => Json::List(items).render(),
        "object" => object([("events", Json::List(items))]).render(),
        _ => format!("{}\r\n\n{}\n", lines[..2].join("\n"), lines[2..].join("\r\n")),
    }
}

#[test]
fn a_batch_comes_as_array_object_or_lines_and_lists_what_was_not_newly_stored() {
    let daemon = daemon();
    let keyed = |key: &str| vote().with("messageId", text(key));
    let seq = stored(&daemon, &keyed("old"));
    let items = |prefix: &str| {
        vec![
            keyed(&format!("{prefix}-1")),
            keyed("old"),
            keyed(&format!("{prefix}-2")),
            vote().with("weight", number(-1)),
        ]
    };
    for (name, kind) in
        [("array", "application/json"), ("object", "application/json"), ("lines", "application/x-ndjson")]
    {
        let head = daemon.head() as i64;
        let answer =
            daemon.client.request("POST", BATCH, &[("content-type", kind)], written(name, items(name)).as_bytes());
        let answer = answer.expect(200);
        let counts =
            ["accepted", "duplicates", "rejected", "firstSeq", "lastSeq"].map(|key| answer.at(key).as_integer());
        assert_eq!(counts, [2, 1, 1, head + 1, head + 2], "{name}");
        let results = answer.at("results").as_list();
        let shown: Vec<(i64, i64)> =
            results.iter().map(|r| (r.at("index").as_integer(), r.at("status").as_integer())).collect();
        assert_eq!(shown, [(1, 200), (3, 422)], "{name}");
        assert_eq!(results[0].at("seq").as_integer() as u64, seq);
        assert_eq!(results[1].at("problem").at("pointer").as_text(), "/weight");
        assert_eq!(results[1].at("problem").at("type").as_text(), "/problems/invalid-event");
    }
    let head = daemon.head() as i64;
    let all = daemon.client.post_json(&format!("{BATCH}?results=all"), &Json::List(items("all"))).expect(200);
    let shown = all.at("results").as_list().iter().map(|r| (r.at("status").as_integer(), r.get("seq").cloned()));
    let statuses: Vec<i64> = shown.clone().map(|(status, _)| status).collect();
    assert_eq!(statuses, [201, 200, 201, 422]);
    let seqs: Vec<Option<Json>> = shown.map(|(_, seq)| seq).collect();
    assert_eq!((&seqs[0], &seqs[2]), (&Some(number(head + 1)), &Some(number(head + 2))));
    let nothing_new = daemon.client.post_json(BATCH, &Json::List(vec![keyed("old")])).expect(200);
    assert_eq!((nothing_new.at("firstSeq"), nothing_new.at("lastSeq")), (&Json::Null, &Json::Null));
    // Twice in one batch: the second is a duplicate of the first; with other content a conflict.
    let twice = Json::List(vec![keyed("twice"), keyed("twice"), keyed("twice").with("weight", number(2))]);
    let answer = daemon.client.post_json(&format!("{BATCH}?results=all"), &twice).expect(200);
    let results = answer.at("results").as_list();
    assert_eq!(results.iter().map(|r| r.at("status").as_integer()).collect::<Vec<_>>(), [201, 200, 422]);
    assert_eq!(results[0].at("seq"), results[1].at("seq"));
}

#[test]
fn a_bad_line_or_a_bad_item_does_not_hold_up_the_others_and_a_broken_document_does() {
    let daemon = daemon();
    let good = vote().render();
    let head = daemon.head();
    let lines = format!("{good}\n{{\n[]\n{good}");
    let answer = daemon.client.request("POST", BATCH, &[("content-type", "application/x-ndjson")], lines.as_bytes());
    let answer = answer.expect(200);
    assert_eq!((answer.at("accepted").as_integer(), answer.at("rejected").as_integer()), (2, 2));
    for (result, index) in answer.at("results").as_list().iter().zip([1, 2]) {
        assert_eq!((result.at("index").as_integer(), result.at("status").as_integer()), (index, 400));
    }
    let mixed = format!("[{good},5,{{\"type\":\"bad\"}}]");
    let answer = daemon.client.post(BATCH, mixed.as_bytes()).expect(200);
    assert_eq!((answer.at("accepted").as_integer(), answer.at("rejected").as_integer()), (1, 2));
    assert_eq!(daemon.head(), head + 3);
    for broken in [format!("[{good},"), format!("[{good}"), format!("[{good}] x"), String::new()] {
        daemon.client.post(BATCH, broken.as_bytes()).problem(400, &["not-json", "invalid-event"]);
    }
    daemon.assert_works_after(head + 3, "broken batches");
}

#[test]
fn an_atomic_batch_is_stored_whole_or_not_at_all() {
    let daemon = daemon();
    let head = daemon.head();
    let path = format!("{BATCH}?atomic=true");
    let bad = Json::List(vec![vote(), vote().with("weight", number(0)), vote()]);
    let problem = daemon.client.post_json(&path, &bad).problem(422, &["invalid-event"]);
    assert_eq!((problem.at("index").as_integer(), problem.at("pointer").as_text()), (1, "/weight"));
    daemon.assert_works_after(head, "an atomic batch with a bad item");
    let key = |key: &str| vote().with("messageId", text(key));
    let reused = Json::List(vec![key("in-one"), key("in-one").with("weight", number(2))]);
    daemon.client.post_json(&path, &reused).problem(422, &["idempotency-key-reused"]);
    daemon.assert_works_after(head + 1, "an atomic batch with a key that is used twice");
    let answer = daemon.client.post_json(&path, &Json::List(vec![key("in-one"), vote()])).expect(200);
    assert_eq!((answer.at("accepted").as_integer(), answer.at("firstSeq").as_integer() as u64), (2, head + 3));
}
