//! Reads: queries, caching, waiting, streams, exports, and what describes the daemon itself.

use std::io::Read;

use crate::harness::http::Answer;
use crate::model::json::{Json, number, object, text, texts};
use crate::{BATCH, LOG, daemon, stored, vote};

#[test]
fn a_query_that_makes_no_sense_is_a_400() {
    let daemon = daemon();
    stored(&daemon, &vote());
    let board = "/api/coliseum/leaderboards/a/7d";
    let cases = [
        "/api/passport/entries?limit=-1".to_owned(),
        "/api/passport/entries?limit=0x10".to_owned(),
        "/api/passport/entries?limit=99999999999999999999".to_owned(),
        "/api/passport/entries?from=2026-02-02T00:00:00Z&to=2026-02-01T00:00:00Z".to_owned(),
        "/api/passport/entries?from=yesterday".to_owned(),
        "/api/passport/entries?order=sideways".to_owned(),
        "/api/passport/entries?afterSeq=-1".to_owned(),
        "/api/passport/entries?colour=red".to_owned(),
        "/api/passport/entries?minSeq=one".to_owned(),
        "/api/passport/export?colour=red".to_owned(),
        "/api/passport/stream?after=-1".to_owned(),
        format!("{board}?limit=-1"),
        format!("{board}?offset=-1"),
        format!("{board}?colour=red"),
        format!("{board}?at=then"),
        "/api/coliseum/artists/a1/mutations?before=x".to_owned(),
    ];
    for path in cases {
        daemon.client.get(&path).problem(400, &["invalid-query"]);
    }
    daemon
        .client
        .post_json(&format!("{BATCH}?atomic=perhaps"), &Json::List(vec![vote()]))
        .problem(400, &["invalid-query"]);
    daemon.client.post_json(&format!("{LOG}?colour=red"), &vote()).problem(400, &["invalid-query"]);
    daemon.assert_works_after(1, "queries that make no sense");
}

#[test]
fn a_board_has_an_etag_that_changes_with_its_content() {
    let daemon = daemon();
    let seq = stored(&daemon, &vote());
    let path = format!("/api/coliseum/leaderboards/a/alltime?minSeq={seq}");
    let first = daemon.client.get(&path);
    let tag = first.header("etag").expect("a board has an ETag").to_owned();
    let again = |tag: &str, path: &str| daemon.client.request("GET", path, &[("if-none-match", tag)], b"");
    let unchanged = again(&tag, &path);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    assert_eq!(again(&format!("\"other\", {tag}"), &path).status, 304);
    assert_eq!(again("*", &path).status, 304);
    assert_eq!(again("\"other\"", &path).status, 200);
    let seq = stored(&daemon, &vote());
    let changed = again(&tag, &format!("/api/coliseum/leaderboards/a/alltime?minSeq={seq}"));
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    assert_eq!(changed.header("coliseum-applied-seq"), Some(seq.to_string().as_str()));
}

#[test]
fn a_read_waits_for_min_seq_and_says_when_it_is_not_there() {
    let daemon = daemon();
    let seq = stored(&daemon, &vote());
    let path = "/api/coliseum/leaderboards/a/alltime";
    for (query, headers) in
        [(format!("?minSeq={seq}"), vec![]), (String::new(), vec![("coliseum-min-seq", seq.to_string())])]
    {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = daemon.client.request("GET", &format!("{path}{query}"), &headers, b"");
        assert_eq!(answer.expect(200).at("appliedSeq").as_integer() as u64, seq);
    }
    let answer = daemon.client.get(&format!("{path}?minSeq={}", seq + 1000));
    answer.problem(503, &["not-yet-applied"]);
    let wait = answer.header("retry-after").expect("a 503 says when to come back");
    assert!(wait.parse::<u32>().is_ok(), "Retry-After: {wait}");
}

#[test]
fn head_is_get_without_a_body() {
    let daemon = daemon();
    stored(&daemon, &vote());
    for path in
        ["/api/coliseum/leaderboards/a/alltime", "/api/passport/entries", "/healthz", "/readyz", "/openapi.json"]
    {
        let (get, head) = (daemon.client.get(path), daemon.client.request("HEAD", path, &[], b""));
        assert_eq!((get.status, head.status, head.body.len()), (200, 200, 0), "{path}");
        assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
    }
    assert_eq!(daemon.client.request("HEAD", "/api/nowhere", &[], b"").status, 404);
}

/// The `id:` and `data:` of the next event of a stream; comments are passed over.
fn next_event(answer: &mut Answer) -> (u64, Json) {
    let (mut id, mut data) = (None, String::new());
    loop {
        let line = answer.line().expect("the stream goes on");
        if let Some(value) = line.strip_prefix("id:") {
            id = value.trim().parse().ok();
        } else if let Some(value) = line.strip_prefix("data:") {
            data.push_str(value.trim_start());
        } else if line.is_empty() && !data.is_empty() {
            return (id.expect("an event has an id"), Json::parse(&data).expect("data is JSON"));
        }
    }
}

#[test]
fn a_stream_goes_on_where_it_was_left_with_nothing_skipped_and_nothing_twice() {
    const EVENTS: u64 = 400;
    let daemon = daemon();
    let client = &daemon.client;
    for _ in 0..50 {
        stored(&daemon, &vote());
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..(EVENTS - 50) / 10 {
                let batch = Json::List(vec![vote().with("n", number(n)); 10]);
                client.post_json(BATCH, &batch).expect(200);
            }
        });
        let mut last = 20;
        let mut by_header = false;
        while last < EVENTS {
            let seen = last.to_string();
            let headers: Vec<(&str, &str)> = if by_header { vec![("last-event-id", &seen)] } else { vec![] };
            let path = if by_header {
                "/api/passport/stream".to_owned()
            } else {
                format!("/api/passport/stream?after={last}")
            };
            let mut answer = client.open("GET", &path, &headers, b"").expect("the stream opens");
            assert_eq!(answer.status, 200);
            // Each connection is dropped after some events and taken up again.
            for _ in 0..75.min(EVENTS - last) {
                let (id, entry) = next_event(&mut answer);
                assert_eq!(id, last + 1, "resumed by header: {by_header}");
                assert_eq!(entry.at("seq").as_integer() as u64, id);
                last = id;
            }
            by_header = !by_header;
        }
    });
    let mut filtered =
        client.open("GET", "/api/passport/stream?after=0&userId=u2", &[], b"").expect("the stream opens");
    let seq = stored(&daemon, &vote().with("userId", text("u2")));
    assert_eq!(next_event(&mut filtered).0, seq);
}

#[test]
fn the_export_is_the_entries_whatever_the_encoding_and_the_filter() {
    let daemon = daemon();
    for n in 0..30 {
        stored(&daemon, &vote().with("userId", text(format!("u{}", n % 3))).with("n", number(n)));
    }
    let path = "/api/passport/entries?limit=1000&order=asc&minSeq=30";
    let entries = daemon.client.get(path).expect(200);
    let exported = daemon.client.get("/api/passport/export?minSeq=30");
    let lines: Vec<Json> = exported.text().lines().map(|line| Json::parse(line).expect("a line is JSON")).collect();
    assert_eq!(lines, entries.at("entries").as_list());
    let only = daemon.client.get("/api/passport/export?userId=u1");
    assert_eq!(only.text().lines().count(), 10);
    let plain = exported.text();
    for encoding in ["gzip", "zstd"] {
        let packed =
            daemon.client.request("GET", "/api/passport/export?minSeq=30", &[("accept-encoding", encoding)], b"");
        assert_eq!(packed.header("content-encoding"), Some(encoding));
        let mut unpacked = Vec::new();
        match encoding {
            "gzip" => {
                flate2::read::MultiGzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).expect("gzip");
            }
            _ => unpacked = zstd::decode_all(&packed.body[..]).expect("zstd"),
        }
        assert_eq!(String::from_utf8_lossy(&unpacked), plain, "{encoding}");
    }
}

#[test]
fn shorthands_log_the_matching_event() {
    let daemon = daemon();
    let put = |path: &str, body: &Json| {
        let answer =
            daemon.client.request("PUT", path, &[("content-type", "application/json")], body.render().as_bytes());
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
        let head = daemon.head();
        daemon.client.get(&format!("/api/passport/entries/{head}?minSeq={head}")).expect(200)
    };
    let profile = put("/api/artists/a7", &object([("artistName", text("Seven")), ("genres", texts(&["pop"]))]));
    assert_eq!(profile.at("eventType").as_text(), "artist.profile_updated");
    assert_eq!(profile.at("entityId").as_text(), "a7");
    let head = daemon.head();
    let artist = daemon.client.get(&format!("/api/coliseum/artists/a7?minSeq={head}")).expect(200);
    assert_eq!(artist.at("artistName").as_text(), "Seven");
    let scheduled = put("/api/events/e7", &object([("artistIds", texts(&["a7"])), ("city", text("Oslo"))]));
    assert_eq!(scheduled.at("eventType").as_text(), "concierto.event_scheduled");
    assert_eq!(scheduled.at("entityId").as_text(), "e7");
    let plan = put("/api/coliseum/entitlements/u7", &object([("plan", text("pro"))]));
    assert_eq!(plan.at("eventType").as_text(), "coliseum.entitlement_changed");
    assert_eq!((plan.at("userId").as_text(), plan.at("entityId").as_text()), ("u7", "u7"));
    let head = daemon.head();
    let bad = daemon.client.request("PUT", "/api/artists/a7", &[], b"{\"artistName\":5}");
    assert_eq!(bad.problem(422, &["invalid-event"]).at("pointer").as_text(), "/artistName");
    daemon.assert_works_after(head, "a shorthand with a bad field");
}

#[test]
fn consumers_and_dead_letters_have_their_shape() {
    let daemon = daemon();
    let seq = stored(&daemon, &vote());
    daemon.client.get(&format!("/api/coliseum/leaderboards/a/7d?minSeq={seq}")).expect(200);
    let body = daemon.client.get("/api/passport/consumers").expect(200);
    assert_eq!(body.at("headSeq").as_integer() as u64, seq);
    let coliseum = body.at("consumers").as_list().iter().find(|c| c.at("name").as_text() == "coliseum");
    let coliseum = coliseum.expect("the consumer of the boards");
    let numbers = ["appliedSeq", "lag", "deadLetters"].map(|key| coliseum.at(key).as_integer());
    assert_eq!(numbers, [seq as i64, 0, 0]);
    assert!(!coliseum.at("lagSeconds").as_decimal().is_negative());
    assert!(!coliseum.at("state").as_text().is_empty());
    let letters = daemon.client.get("/api/passport/dead-letters").expect(200);
    assert!(letters.at("deadLetters").as_list().is_empty());
}

/// The paths of the engine that others ask for by SPEC's names.
const PATHS: &[&str] = &[
    "/api/passport/log",
    "/api/passport/batch",
    "/api/passport/consumers",
    "/api/passport/entries",
    "/api/passport/entries/{seq}",
    "/api/passport/stream",
    "/api/passport/export",
    "/api/passport/dead-letters",
    "/api/coliseum/leaderboards/{domain}/{window}",
    "/api/coliseum/leaderboards/{domain}/{window}/{artistId}/why",
    "/api/coliseum/artists/{id}",
    "/api/coliseum/artists/{id}/mutations",
    "/api/artists/{id}",
    "/api/events/{id}",
    "/api/coliseum/entitlements/{userId}",
    "/openapi.json",
    "/metrics",
    "/healthz",
    "/readyz",
];

#[test]
fn the_openapi_document_has_every_path_of_the_engine() {
    let daemon = daemon();
    let document = daemon.client.get("/openapi.json").expect(200);
    assert!(document.at("openapi").as_text().starts_with("3.1"));
    document.at("info.version");
    // The names of parameters are the document's own.
    let shape = |path: &str| {
        path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
    };
    let known: Vec<String> = document.at("paths").members().iter().map(|(path, _)| shape(path)).collect();
    for path in PATHS {
        assert!(known.contains(&shape(path)), "{path} is not among {known:?}");
    }
}

#[test]
fn the_metrics_are_in_the_text_format_of_prometheus() {
    let daemon = daemon();
    stored(&daemon, &vote());
    let answer = daemon.client.get("/metrics");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(text.contains("# TYPE ") && text.contains("coliseum"), "{text:.300}");
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(value.parse::<f64>().is_ok(), "{line} has no value");
    }
    for gauge in ["applied_seq", "lag_events", "dead_letters", "running"] {
        let sample = format!("\ncoliseum_consumer_{gauge}{{consumer=\"coliseum\"}} ");
        assert!(text.contains(&sample), "each consumer has its own {gauge}: {text}");
    }
    assert!(text.contains(r#"log_sync_seconds_bucket{le="+Inf"} 1"#), "a histogram ends with +Inf: {text}");
}

#[test]
fn an_export_has_one_entry_a_line_however_the_event_was_written() {
    let daemon = daemon();
    let spread = vote().render().replace(',', ",\r\n  ");
    let answer = daemon.client.request("POST", LOG, &[("content-type", "application/json")], spread.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    stored(&daemon, &vote());
    let text = daemon.client.get("/api/passport/export?minSeq=2").text();
    let seqs: Vec<i64> = text.lines().map(|line| Json::parse(line).expect("JSON").at("seq").as_integer()).collect();
    assert_eq!(seqs, [1, 2]);
}

#[test]
fn nothing_lies_behind_the_last_seq_that_a_number_can_name() {
    let daemon = daemon();
    stored(&daemon, &vote());
    let last = u64::MAX;
    let page = daemon.client.get(&format!("/api/passport/entries?minSeq=1&afterSeq={last}"));
    assert_eq!(page.expect(200).at("entries").as_list().len(), 0);
    let export = daemon.client.get(&format!("/api/passport/export?minSeq=1&afterSeq={last}"));
    assert_eq!((export.status, export.text().as_str()), (200, ""));
    daemon.assert_works_after(1, "a seq that is the last of all");
}

#[test]
fn a_page_of_large_entries_ends_early_and_the_next_one_goes_on() {
    const EVENTS: u64 = 300;
    let daemon = daemon();
    let large = |_| vote().with("note", text("x".repeat(30_000)));
    for _ in 0..2 {
        daemon.client.post_json(BATCH, &Json::List((0..EVENTS / 2).map(large).collect())).expect(200);
    }
    let (mut after, mut seen, mut pages) = (Some(0), Vec::new(), 0);
    while let Some(seq) = after {
        let answer = daemon.client.get(&format!("/api/passport/entries?limit=1000&minSeq={EVENTS}&afterSeq={seq}"));
        assert!(answer.body.len() < 5_000_000, "a page of {} bytes", answer.body.len());
        let page = answer.expect(200);
        seen.extend(page.at("entries").as_list().iter().map(|entry| entry.at("seq").as_integer() as u64));
        after = page.at("nextAfterSeq").as_optional_integer();
        pages += 1;
    }
    assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
    assert!(pages > 1);
}
