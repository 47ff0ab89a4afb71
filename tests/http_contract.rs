//! SPEC 1 and SPEC 5 from outside, rule by rule: status, slug, pointer; and after each refusal the next good request
//! works and nothing was stored.

mod harness;
mod model;

use std::io::{Read, Write};

use harness::http::{Client, Response, read_response};
use harness::{Daemon, good_event, micros};
use model::catalogue::{CATALOGUE, Field, Holds};
use model::json::{Json, number, object, text, texts};
use model::time::{self, DAY, MINUTE};

const NOW: &str = "2026-03-01T12:00:30Z";
const LOG: &str = "/api/passport/log";
const BATCH: &str = "/api/passport/batch";

fn daemon() -> Daemon {
    Daemon::start_at(micros(NOW))
}

/// Sends an event that has to be refused, and then a good one.
fn refused(daemon: &Daemon, event: &Json, status: u16, slugs: &[&str], pointer: Option<&str>) {
    let head = daemon.head();
    let shown = event.render();
    let problem = daemon.client.post_json(LOG, event).problem(status, slugs);
    if let Some(pointer) = pointer {
        assert_eq!(problem.at("pointer").as_text(), pointer, "{shown:.300}");
    }
    daemon.assert_works_after(head, &format!("{shown:.300}"));
}

fn invalid(daemon: &Daemon, event: &Json, pointer: &str) {
    refused(daemon, event, 422, &["invalid-event"], Some(pointer));
}

fn stored(daemon: &Daemon, event: &Json) -> u64 {
    let answer = daemon.client.post_json(LOG, event);
    assert_eq!(answer.status, 201, "{:.300} gives {}", event.render(), answer.text());
    answer.json().at("seq").as_integer() as u64
}

/// A good value of a field.
fn sample(holds: Holds) -> Json {
    match holds {
        Holds::Id => text("id-1"),
        Holds::Word => text("word"),
        Holds::Closed(words) => text(words[0]),
        Holds::Text => text("Oslo"),
        Holds::LineUp | Holds::Ids => texts(&["a1", "a2"]),
        Holds::Texts => texts(&["A"]),
        Holds::Cents => number(2500),
        Holds::Currency => text("eur"),
        Holds::Weight => number("2.5"),
        Holds::Duration => number("31.5"),
        Holds::Integer => number(10),
        Holds::Time => text("2026-02-01T20:00:00+01:00"),
    }
}

/// An event of this type with every field of its row.
fn full_event(kind: &str, row: &[Field]) -> Json {
    let event = object([("type", text(kind)), ("userId", text("u1")), ("at", text("2026-02-28T12:00:00Z"))]);
    // On an earning `source` is another name of `earnSource`: one of the two is enough.
    let named = row.iter().filter(|field| field.name != "source");
    named.fold(event, |event, field| event.with(field.name, sample(field.holds)))
}

fn vote() -> Json {
    good_event()
}

#[test]
fn every_type_is_stored_with_all_its_fields_and_with_the_required_ones_alone() {
    let daemon = daemon();
    for (kind, row) in CATALOGUE {
        // Without its Stripe id: that would be the key of both.
        let full = full_event(kind, row).without("stripePaymentIntentId").without("stripeTransferId");
        stored(&daemon, &full);
        let optional = row.iter().filter(|field| !field.required);
        stored(&daemon, &optional.clone().fold(full.clone(), |event, field| event.without(field.name)));
        // An optional field that is null is absent.
        let seq = stored(&daemon, &optional.fold(full, |event, field| event.with(field.name, Json::Null)));
        let entry = daemon.client.get(&format!("/api/passport/entries/{seq}")).expect(200);
        assert_eq!(entry.at("eventType").as_text(), *kind);
    }
}

#[test]
fn a_required_field_that_is_missing_or_null_is_named() {
    let daemon = daemon();
    for (kind, row) in CATALOGUE {
        for field in row.iter().filter(|field| field.required) {
            let pointer = format!("/{}", field.name);
            invalid(&daemon, &full_event(kind, row).without(field.name), &pointer);
            invalid(&daemon, &full_event(kind, row).with(field.name, Json::Null), &pointer);
        }
    }
    for name in ["type", "userId", "at"] {
        invalid(&daemon, &vote().without(name), &format!("/{name}"));
        invalid(&daemon, &vote().with(name, Json::Null), &format!("/{name}"));
    }
}

/// Values that a field cannot hold, with where below the field the fault lies.
fn bad_values(holds: Holds) -> Vec<(Json, &'static str)> {
    let here = |values: Vec<Json>| values.into_iter().map(|value| (value, "")).collect::<Vec<_>>();
    let numbers = |digits: &[&str]| digits.iter().map(number).collect::<Vec<_>>();
    let ids = || {
        vec![
            (texts(&["a1", ""]), "/1"),
            (Json::List(vec![number(1)]), "/0"),
            (texts(&["a1", "a2", "a\u{7}"]), "/2"),
            (texts(&["a1", &"a".repeat(129)]), "/1"),
            (text("a1"), ""),
        ]
    };
    match holds {
        Holds::Id => {
            let mut bad = vec![text(""), text("a".repeat(129)), text("é".repeat(65))];
            bad.extend(["a\u{0}b", "a\nb", "\u{1f}", "a\u{7f}"].map(text));
            bad.extend([number(7), Json::Bool(true), texts(&["a1"]), object([])]);
            here(bad)
        }
        Holds::Word => here(vec![text(""), text("w".repeat(33)), number(1), texts(&["word"]), Json::Bool(false)]),
        Holds::Closed(_) => here(vec![text(""), text("planet"), text("ARTIST"), number(1), texts(&["artist"])]),
        Holds::Text => here(vec![number(1), Json::Bool(true), texts(&["Oslo"]), object([])]),
        Holds::LineUp => {
            let crowd: Vec<String> = (0..101).map(|n| format!("a{n}")).collect();
            ids().into_iter().chain([(Json::List(vec![]), ""), (texts(&crowd), "")]).collect()
        }
        Holds::Ids => ids(),
        Holds::Texts => vec![(text("A"), ""), (Json::List(vec![text("A"), number(1)]), "/1"), (number(1), "")],
        Holds::Cents => {
            let mut bad = numbers(&["0", "-1", "1000000000001", "12.5", "1e400", "18446744073709551616", "0.99"]);
            bad.extend([text("2500"), Json::Bool(true), Json::List(vec![])]);
            here(bad)
        }
        Holds::Currency => {
            here(["", "us", "usdd", "USD", "u1d", "öre"].map(text).into_iter().chain([number(1)]).collect())
        }
        Holds::Weight => {
            let mut bad =
                numbers(&["0", "-1", "-0.000001", "1000.000001", "1001", "0.0000001", "1.0000001", "1e400", "1e4"]);
            bad.extend([text("1"), Json::Bool(true)]);
            here(bad)
        }
        Holds::Duration => {
            let bad = numbers(&["-1", "-0.001", "86400.001", "86401", "1e400"]);
            here(bad.into_iter().chain([text("30"), Json::Bool(true)]).collect())
        }
        Holds::Integer => here(vec![text("10"), number("1.5"), Json::Bool(true)]),
        Holds::Time => {
            let bad =
                ["", "yesterday", "2026-02-01", "2026-02-01T20:00:00", "2026-02-30T20:00:00Z", "2026-02-01T25:00:00Z"];
            here(bad.map(text).into_iter().chain([number("1767225600"), Json::Bool(true)]).collect())
        }
    }
}

#[test]
fn a_field_that_cannot_hold_its_value_is_named() {
    let daemon = daemon();
    for (kind, row) in CATALOGUE {
        for field in *row {
            for (value, below) in bad_values(field.holds) {
                let event = full_event(kind, row);
                let event = if field.name == "source" { event.without("earnSource") } else { event };
                let event = event.with(field.name, value);
                // Without a key of its own it would be keyed by the very id that is broken.
                let event = event.with("messageId", text("never-stored"));
                invalid(&daemon, &event, &format!("/{}{below}", field.name));
            }
        }
    }
}

#[test]
fn the_envelope_is_checked() {
    let daemon = daemon();
    for name in ["userId", "messageId", "sessionId", "deviceId"] {
        for (value, _) in bad_values(Holds::Id) {
            if name == "userId" || name == "messageId" || value != text("") {
                invalid(&daemon, &vote().with(name, value), &format!("/{name}"));
            }
        }
    }
    for name in ["at", "sentAt"] {
        for (value, _) in bad_values(Holds::Time) {
            invalid(&daemon, &vote().with(name, value), &format!("/{name}"));
        }
    }
    for value in [text("s".repeat(33)), number(1), text("a\u{1}")] {
        invalid(&daemon, &vote().with("source", value), "/source");
    }
    let long = format!("a.{}", "b".repeat(63));
    let bad_types = ["", "vote", "Coliseum.vote", "a..b", ".a", "a.", "1a.b", "a.1b", "a-b.c", "a.b c", "ä.b", &long];
    for value in bad_types.map(text).into_iter().chain([number(1), texts(&["a.b"])]) {
        invalid(&daemon, &vote().with("type", value), "/type");
    }
}

#[test]
fn the_bounds_themselves_are_good() {
    let daemon = daemon();
    let spent = |cents: &str| {
        let event = full_event("treasury.money_spent", &[]).with("amountCents", number(cents));
        event.with("artistId", text("a1"))
    };
    for cents in ["1", "1000000000000", "2500.0", "25e2"] {
        stored(&daemon, &spent(cents));
    }
    for weight in ["0.000001", "1000", "1e3", "1000.000000", "2.50"] {
        stored(&daemon, &vote().with("weight", number(weight)));
    }
    let played = full_event("player.track_played", &[]).with("trackId", text("t")).with("artistId", text("a"));
    for seconds in ["0", "86400", "29.999999", "30"] {
        stored(&daemon, &played.with("durationSeconds", number(seconds)));
    }
    for name in ["userId", "messageId", "sessionId", "deviceId", "artistId"] {
        stored(&daemon, &vote().with(name, text(format!("{}é", "x".repeat(126)))).with("nth", text(name)));
    }
    stored(&daemon, &vote().with("source", text("s".repeat(32))).with("channel", text("c".repeat(32))));
    stored(&daemon, &vote().with("type", text(format!("a.{}", "b".repeat(62)))));
    stored(&daemon, &vote().with("type", text("a1_.b_2.c")));
    let crowd: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    let scheduled = full_event("concierto.event_scheduled", &[]).with("eventId", text("e"));
    stored(&daemon, &scheduled.with("artistIds", texts(&crowd)));
}

#[test]
fn an_event_may_be_five_minutes_ahead_and_not_a_microsecond_more() {
    let daemon = daemon();
    let at = |micros: i64| vote().with("at", text(time::format(micros)));
    stored(&daemon, &at(micros(NOW) + 5 * MINUTE));
    refused(&daemon, &at(micros(NOW) + 5 * MINUTE + 1), 422, &["at-in-future"], Some("/at"));
    stored(&daemon, &at(micros("1957-03-03T00:00:00Z")));
    stored(&daemon, &vote().with("at", text("2026-03-01T14:04:59+02:00")));
    // A sender whose clock is a day fast: `at := receivedAt - (sentAt - at)`.
    let corrected = at(micros(NOW) + DAY).with("sentAt", text(time::format(micros(NOW) + DAY + MINUTE)));
    let seq = stored(&daemon, &corrected);
    let entry = daemon.client.get(&format!("/api/passport/entries/{seq}")).expect(200);
    assert_eq!(time::parse(entry.at("at").as_text()), Some(micros(NOW) - MINUTE));
    assert_eq!(time::parse(entry.at("receivedAt").as_text()), Some(micros(NOW)));
    let ahead = at(micros(NOW)).with("sentAt", text(time::format(micros(NOW) - 10 * MINUTE)));
    refused(&daemon, &ahead, 422, &["at-in-future"], Some("/at"));
}

#[test]
fn a_stored_key_answers_as_the_first_time_and_refuses_other_content() {
    let daemon = daemon();
    let event = vote().with("messageId", text("once")).with("weight", number(1));
    let seq = stored(&daemon, &event);
    let respelled = r#" {"weight":1.0, "eventId":"e1","artist\u0049d":"\u00611","at":"2024-02-29T12:00:01Z",
        "userId":"u1", "type":"coliseum.vote_cast", "messageId":"once", "sentAt":"2024-02-29T12:00:01Z"} "#;
    for body in [event.render(), respelled.to_owned()] {
        let again = daemon.client.post(LOG, body.as_bytes()).expect(200);
        assert!(again.at("duplicate").as_bool() && again.at("ok").as_bool());
        assert_eq!(again.at("seq").as_integer() as u64, seq);
        assert_eq!(again.at("messageId").as_text(), "once");
    }
    let head = daemon.head();
    for other in [event.with("weight", number("1.000001")), event.without("weight"), event.with("extra", Json::Null)] {
        let problem = daemon.client.post_json(LOG, &other).problem(422, &["idempotency-key-reused"]);
        assert_eq!(problem.at("seq").as_integer() as u64, seq);
    }
    daemon.assert_works_after(head, "a key with other content");
    // The key comes before the time: sent again when the daemon's clock is behind the event, it is a duplicate still.
    let newest = vote().with("messageId", text("newest")).with("at", text(NOW));
    stored(&daemon, &newest);
    daemon.set_now(micros(NOW) - DAY);
    daemon.client.post_json(LOG, &newest).expect(200);
}

#[test]
fn the_header_s_key_serves_for_a_single_event_and_has_to_agree_with_the_payload_s() {
    let daemon = daemon();
    let post = |event: &Json, key: &str| {
        daemon.client.request("POST", LOG, &[("idempotency-key", key)], event.render().as_bytes())
    };
    let first = post(&vote(), "from-header").expect(201);
    assert_eq!(first.at("messageId").as_text(), "from-header");
    assert!(post(&vote(), "from-header").expect(200).at("duplicate").as_bool());
    post(&vote().with("messageId", text("both")), "both").expect(201);
    let head = daemon.head();
    post(&vote().with("messageId", text("one")), "another").problem(422, &["invalid-event"]);
    post(&vote(), &"k".repeat(129)).problem(422, &["invalid-event"]);
    daemon.assert_works_after(head, "keys that differ");
}

#[test]
fn an_event_without_a_key_is_keyed_by_its_stripe_id_or_by_a_uuid_of_version_7() {
    let daemon = daemon();
    let spent = full_event("treasury.money_spent", &[]).with("amountCents", number(100));
    let spent = spent.with("stripePaymentIntentId", text("pi_1"));
    let answer = daemon.client.post_json(LOG, &spent).expect(201);
    assert_eq!(answer.at("messageId").as_text(), "stripe:pi_1:treasury.money_spent");
    daemon.client.post_json(LOG, &spent).expect(200);
    let refund = spent.with("type", text("treasury.money_refunded"));
    let answer = daemon.client.post_json(LOG, &refund).expect(201);
    assert_eq!(answer.at("messageId").as_text(), "stripe:pi_1:treasury.money_refunded");
    let earned = full_event("treasury.money_earned", &[]).with("amountCents", number(100));
    let answer = daemon.client.post_json(LOG, &earned.with("stripeTransferId", text("tr_1"))).expect(201);
    assert_eq!(answer.at("messageId").as_text(), "stripe:tr_1:treasury.money_earned");
    let (one, two) =
        (daemon.client.post_json(LOG, &vote()).expect(201), daemon.client.post_json(LOG, &vote()).expect(201));
    let made = one.at("messageId").as_text();
    assert_ne!(made, two.at("messageId").as_text());
    assert!(made.len() == 36 && made.as_bytes()[14] == b'7', "{made} is no UUIDv7");
}

/// The text of `metadata` in an answer, to the byte.
fn metadata_text(answer: &Response) -> String {
    let body = answer.text();
    let from = body.find("\"metadata\":").expect("an entry has metadata") + "\"metadata\":".len();
    let from = from + body[from..].len() - body[from..].trim_start().len();
    let (mut depth, mut in_string, mut is_escaped) = (0, false, false);
    for (offset, byte) in body[from..].bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return body[from..=from + offset].to_owned();
        }
    }
    panic!("metadata without an end: {body}");
}

#[test]
fn metadata_comes_back_with_every_key_in_order_and_every_number_as_spelled() {
    let daemon = daemon();
    let sent = r#"{"z":1.50,"type":"coliseum.vote_cast","weight":2.50,"userId":"u1","a":[1e2,-0.0,0.1E-7,12345678901234567890123],"at":"2024-02-29T13:00:01.5+01:00","artistId":"a1","eventId":"e1","emoji":"🎛é","nested":{"b":null,"a":{"":true}},"unknown":null,"n":{"dup":1,"x":1.0}}"#;
    let seq = daemon.client.post(LOG, sent.as_bytes()).expect(201).at("seq").as_integer();
    let one = daemon.client.get(&format!("/api/passport/entries/{seq}"));
    assert_eq!(metadata_text(&one), sent);
    assert_eq!(metadata_text(&daemon.client.get("/api/passport/export")), sent);
    assert_eq!(metadata_text(&daemon.client.get("/api/passport/entries?order=desc&limit=1")), sent);
    // Escapes may be written another way, the text they stand for may not change; white space may go.
    let escaped =
        r#"{ "type":"venue.note", "userId":"u1", "at":"2024-02-29T12:00:01Z", "t":"\u00e9\ud83c\udf9b\n\/\\\"" }"#;
    let seq = daemon.client.post(LOG, escaped.as_bytes()).expect(201).at("seq").as_integer();
    let entry = daemon.client.get(&format!("/api/passport/entries/{seq}")).expect(200);
    assert_eq!(entry.at("metadata").at("t").as_text(), "é🎛\n/\\\"");
}

#[test]
fn an_older_client_s_play_is_stored_under_today_s_type_and_its_metadata_is_what_came() {
    let daemon = daemon();
    let sent = r#"{"eventType":"audio_play","userId":"u1","at":"2024-02-29T12:00:01Z","messageId":"old-1","eventData":{"content_id":"t9","artist_id":"a9","artist_name":"Nine","duration_seconds":200}}"#;
    let seq = daemon.client.post(LOG, sent.as_bytes()).expect(201).at("seq").as_integer();
    let answer = daemon.client.get(&format!("/api/passport/entries/{seq}?minSeq={seq}"));
    let entry = answer.expect(200);
    assert_eq!(entry.at("eventType").as_text(), "player.track_played");
    assert_eq!((entry.at("entityType").as_text(), entry.at("entityId").as_text()), ("track", "t9"));
    assert_eq!(metadata_text(&answer), sent);
    let credited =
        entry.at("dnaInfluence").as_list().iter().map(|m| (m.at("artistId").as_text(), m.at("domain").as_text()));
    assert_eq!(credited.collect::<Vec<_>>(), [("a9", "A"), ("a9", "T")]);
    // An artistName on a play changes no profile.
    let artist = daemon.client.get(&format!("/api/coliseum/artists/a9?minSeq={seq}")).expect(200);
    assert_eq!(artist.at("artistName").as_optional_text(), None);
    let named_type = sent.replace("eventType", "type").replace("old-1", "old-2");
    daemon.client.post(LOG, named_type.as_bytes()).expect(201);
    let head = daemon.head();
    daemon
        .client
        .post(LOG, sent.replace("200", "-1").replace("old-1", "old-3").as_bytes())
        .problem(422, &["invalid-event"]);
    daemon
        .client
        .post(LOG, sent.replace("artist_id", "x").replace("old-1", "old-4").as_bytes())
        .problem(422, &["invalid-event"]);
    daemon.assert_works_after(head, "an older client's bad play");
}

#[test]
fn a_source_on_an_earning_is_its_earn_source_and_the_entry_s_is_the_way_in() {
    let daemon = daemon();
    let source_of = |event: &Json| {
        let seq = stored(&daemon, event);
        daemon.client.get(&format!("/api/passport/entries/{seq}")).expect(200).at("source").as_text().to_owned()
    };
    let earned = full_event("treasury.money_earned", &[]).with("amountCents", number(100));
    assert_eq!(source_of(&earned.with("source", text("stream"))), "api");
    assert_eq!(source_of(&earned.with("type", text("treasury.earning_reversed")).with("source", text("tip"))), "api");
    assert_eq!(source_of(&vote().with("source", text("kiosk"))), "kiosk");
    assert_eq!(source_of(&vote()), "api");
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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::best()).read_to_end(&mut body).expect("gzip into memory");
    body
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
    client.raw(chunked.as_bytes()).expect("an answer").problem(413, &["too-large"]);
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
    let bodies: [(&str, &str, fn(Vec<Json>) -> String); 3] = [
        ("array", "application/json", |items| Json::List(items).render()),
        ("object", "application/json", |items| object([("events", Json::List(items))]).render()),
        ("lines", "application/x-ndjson", |items| {
            let lines: Vec<String> = items.iter().map(Json::render).collect();
            format!("{}\r\n\n{}\n", lines[..2].join("\n"), lines[2..].join("\r\n"))
        }),
    ];
    for (name, kind, render) in bodies {
        let head = daemon.head() as i64;
        let answer = daemon.client.request("POST", BATCH, &[("content-type", kind)], render(items(name)).as_bytes());
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
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
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
                assert!(
                    !matches!(&end, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock),
                    "the connection stays open"
                );
            });
        }
    });
    daemon.assert_works_after(head, "stalled requests");
}

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
fn next_event(answer: &mut harness::http::Answer) -> (u64, Json) {
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
                drop(flate2::read::MultiGzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).expect("gzip"))
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
}
