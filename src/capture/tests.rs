//! Native events, batches and imports against a log in memory.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::batch::{self, BatchOptions};
use super::fake::{FakeDaemon, NOW};
use super::import;
use super::native::{self, Receipt, request_key};
use crate::passport::AppendError;
use crate::problem::{Problem, Slug};

const AT: &str = "2026-05-01T11:00:00Z";
const ATOMIC: BatchOptions = BatchOptions { atomic: true, all_results: false, lines: false };
const ALL: BatchOptions = BatchOptions { atomic: false, all_results: true, lines: false };
const PLAIN: BatchOptions = BatchOptions { atomic: false, all_results: false, lines: false };

fn vote(key: &str, user: &str) -> String {
    format!(
        r#"{{"type":"coliseum.vote_cast","userId":"{user}","at":"{AT}","messageId":"{key}","artistId":"a","eventId":"e"}}"#
    )
}

async fn log(daemon: &FakeDaemon, body: &str, key: Option<&str>) -> Result<Receipt, Problem> {
    native::log(daemon, body.as_bytes(), key).await
}

async fn send(daemon: &FakeDaemon, body: &str, options: BatchOptions) -> (u16, Value) {
    send_bytes(daemon, body.as_bytes(), options).await
}

async fn send_bytes(daemon: &FakeDaemon, body: &[u8], options: BatchOptions) -> (u16, Value) {
    let outcome = match batch::check_batch(daemon, body, options) {
        Ok(checked) => batch::store(daemon, checked).await,
        Err(problem) => Err(problem),
    };
    told(outcome)
}

async fn import(daemon: &FakeDaemon, body: &str) -> (u16, Value) {
    let outcome = match import::check_import(daemon, body.as_bytes(), ALL) {
        Ok(checked) => batch::store(daemon, checked).await,
        Err(problem) => Err(problem),
    };
    told(outcome)
}

fn told(outcome: Result<batch::BatchAnswer, Problem>) -> (u16, Value) {
    match outcome {
        Ok(answer) => (answer.status, serde_json::from_slice(&answer.json).expect("the answer is JSON")),
        Err(problem) => (problem.status, serde_json::from_slice(&problem.to_json()).expect("a problem is JSON")),
    }
}

fn counts(answer: &Value) -> [i64; 3] {
    ["accepted", "duplicates", "rejected"].map(|name| answer[name].as_i64().expect(name))
}

#[tokio::test]
async fn the_payload_is_kept_byte_for_byte_without_the_space_around_it() {
    let daemon = FakeDaemon::new();
    let odd = format!(" {{ \"at\":\"{AT}\",\t\"type\":\"x.y\", \"userId\":\"u\",\"n\":1.50e1 , \"é\":\"\\u00e9\"}}");
    let receipt = log(&daemon, &format!("{odd} \r\n"), None).await.expect("stored");
    assert!(!receipt.duplicate && receipt.seq.get() == 1);
    let entry = &daemon.entries()[0];
    assert_eq!(entry.payload, odd.trim_start());
    assert_eq!((entry.source.as_str(), entry.received_at, entry.at_corrected), ("api", NOW, false));
    assert_eq!(entry.message_id, receipt.message_id);
}

#[tokio::test]
async fn every_write_that_may_store_something_keeps_pace() {
    let daemon = FakeDaemon::new();
    let paced = || daemon.paced.load(Ordering::Relaxed);
    log(&daemon, &vote("k1", "u"), None).await.expect("stored");
    assert_eq!(paced(), 1, "one event");
    send(&daemon, &format!("[{},{}]", vote("k2", "u"), vote("k3", "u")), PLAIN).await;
    import(&daemon, &vote("k4", "u")).await;
    assert_eq!(paced(), 3, "a batch and an import, each once");
    send(&daemon, &format!("[{},5]", vote("k5", "u")), ATOMIC).await;
    assert_eq!(paced(), 3, "a batch of which nothing is stored waits for nobody");
    assert_eq!(daemon.entries().len(), 4);
}

#[tokio::test]
async fn a_key_comes_from_the_payload_then_the_header_then_stripe_then_the_daemon() {
    let daemon = FakeDaemon::new();
    let bare = format!(r#"{{"type":"x.y","userId":"u","at":"{AT}"}}"#);
    let paid = format!(
        r#"{{"type":"treasury.money_spent","userId":"u","at":"{AT}","amountCents":5,"stripePaymentIntentId":"pi_1"}}"#
    );
    let key = |receipt: Result<Receipt, Problem>| receipt.expect("stored").message_id;
    assert_eq!(key(log(&daemon, &vote("own", "u"), None).await), "own");
    assert_eq!(key(log(&daemon, &vote("own", "u"), Some("own")).await), "own");
    assert_eq!(key(log(&daemon, &bare, Some("header")).await), "header");
    assert_eq!(key(log(&daemon, &paid, None).await), "stripe:pi_1:treasury.money_spent");
    assert_eq!(key(log(&daemon, &paid, Some("other")).await), "other");
    let made = key(log(&daemon, &bare, None).await);
    let uuid = uuid::Uuid::parse_str(&made).expect("a UUID");
    assert_eq!(uuid.get_version_num(), 7);
    let (seconds, _) = uuid.get_timestamp().expect("a time").to_unix();
    assert_eq!(seconds as i64, NOW.micros() / 1_000_000, "the key carries the time of receipt");
    assert_ne!(key(log(&daemon, &bare, None).await), made);
}

#[tokio::test]
async fn two_different_keys_are_a_problem_at_message_id() {
    let daemon = FakeDaemon::new();
    let problem = log(&daemon, &vote("own", "u"), Some("other")).await.expect_err("two keys");
    assert_eq!(
        (problem.slug, problem.status, problem.pointer.as_deref()),
        (Slug::InvalidEvent, 422, Some("/messageId"))
    );
    assert!(daemon.entries().is_empty());
}

#[test]
fn the_header_key_is_one_id() {
    let key = |values: &[&'static [u8]]| request_key(values.iter().copied()).map_err(|problem| problem.pointer);
    let at = Err(Some("/messageId".to_string()));
    assert_eq!(key(&[]), Ok(None));
    assert_eq!(key(&[b"k"]), Ok(Some("k")));
    assert_eq!(key(&[&[b'k'; 128]]).map(|key| key.map(str::len)), Ok(Some(128)));
    assert_eq!(key(&[b"k", b"k"]), at);
    assert_eq!(key(&[b""]), at);
    assert_eq!(key(&[&[b'k'; 129]]), at);
    assert_eq!(key(&[b"\xff"]), at);
    assert_eq!(key(&[b"a\tb"]), at);
}

#[tokio::test]
async fn the_same_event_again_is_a_duplicate_and_another_a_conflict() {
    let daemon = FakeDaemon::new();
    assert_eq!(log(&daemon, &vote("k", "u"), None).await.expect("stored").status(), 201);
    let again = log(&daemon, &vote("k", "u"), None).await.expect("known");
    assert_eq!((again.status(), again.seq.get(), again.duplicate), (200, 1, true));
    assert_eq!(again.to_json(), br#"{"ok":true,"seq":1,"messageId":"k","duplicate":true}"#);
    let conflict = log(&daemon, &vote("k", "other"), None).await.expect_err("other content");
    assert_eq!((conflict.slug, conflict.status, conflict.seq), (Slug::IdempotencyKeyReused, 422, Some(1)));
    assert_eq!(daemon.entries().len(), 1);
}

#[tokio::test]
async fn time_is_judged_by_the_clock_after_the_senders_is_corrected() {
    let daemon = FakeDaemon::new();
    let event = |at: &str, more: &str| format!(r#"{{"type":"x.y","userId":"u","at":"{at}"{more}}}"#);
    let edge = log(&daemon, &event("2026-05-01T12:05:00Z", ""), None).await;
    assert!(edge.is_ok(), "exactly five minutes ahead is not over five minutes: {edge:?}");
    let ahead = log(&daemon, &event("2026-05-01T12:05:00.000001Z", ""), None).await.expect_err("ahead");
    assert_eq!((ahead.slug, ahead.status, ahead.pointer.as_deref()), (Slug::AtInFuture, 422, Some("/at")));
    // A sender whose clock is a year off: the event happened ten seconds before it sent it.
    let off = event("2027-05-01T00:00:00Z", r#","sentAt":"2027-05-01T00:00:10Z""#);
    log(&daemon, &off, None).await.expect("corrected");
    assert_eq!(daemon.entries()[1].at, NOW.moved_by_micros(-10_000_000));
    let far = event("0001-01-01T00:00:00Z", r#","sentAt":"9999-01-01T00:00:00Z""#);
    let problem = log(&daemon, &far, None).await.expect_err("no such year");
    assert_eq!(problem.pointer.as_deref(), Some("/sentAt"));
}

#[tokio::test]
async fn what_the_log_refuses_is_told_with_its_status() {
    let daemon = FakeDaemon::new();
    for (error, slug, status) in [
        (AppendError::QueueFull(4096), Slug::QueueFull, 503),
        (AppendError::ReadOnly("the disk is full".into()), Slug::LogReadOnly, 507),
        (AppendError::Stopped("shutdown".into()), Slug::LogReadOnly, 503),
    ] {
        daemon.refuse(Some(error));
        let problem = log(&daemon, &vote("k", "u"), None).await.expect_err("refused");
        assert_eq!((problem.slug, problem.status), (slug, status));
        assert_eq!(send(&daemon, &format!("[{}]", vote("k", "u")), PLAIN).await.0, status);
    }
    daemon.refuse(None);
    assert_eq!(log(&daemon, &vote("k", "u"), None).await.expect("room again").seq.get(), 1);
}

#[tokio::test]
async fn every_form_of_a_batch_is_told_by_its_content() {
    let (one, two) = (vote("1", "u"), vote("2", "u"));
    let lines = BatchOptions { lines: true, ..PLAIN };
    for (body, options) in [
        (format!("[{one},{two}]"), PLAIN),
        (format!(" \n[ {one} ,\n{two} ]\n"), lines),
        (format!(r#"{{"events":[{one},{two}]}}"#), PLAIN),
        (format!(r#"{{"sent":1,"events":[{one},{two}],"more":{{}}}}"#), lines),
        (format!("{one}\n{two}"), PLAIN),
        (format!("{one}\r\n\r\n  {two}\r\n\n"), PLAIN),
        (format!("\n\n{one}\n{two}\n"), lines),
    ] {
        let daemon = FakeDaemon::new();
        let (status, answer) = send(&daemon, &body, options).await;
        assert_eq!((status, counts(&answer)), (200, [2, 0, 0]), "{body}");
        assert_eq!((&answer["firstSeq"], &answer["lastSeq"], &answer["results"]), (&json!(1), &json!(2), &json!([])));
        assert_eq!(daemon.entries().iter().map(|entry| entry.payload.as_str()).collect::<Vec<_>>(), [&one, &two]);
    }
}

#[tokio::test]
async fn a_batch_answers_for_each_event_as_it_would_have_been_alone() {
    let daemon = FakeDaemon::new();
    log(&daemon, &vote("known", "u"), None).await.expect("stored");
    let future = vote("late", "u").replace(AT, "2027-01-01T00:00:00Z");
    let long = format!(r#"{{"type":"x.y","userId":"u","at":"{AT}","pad":"{}"}}"#, "x".repeat(33_000));
    let body = format!(
        "{}\n{}\n{}\nnot json\n{}\n{}\n{}\n{}\n",
        vote("new", "u"),
        vote("known", "u"),
        vote("known", "other"),
        r#"{"type":"coliseum.vote_cast","userId":"u"}"#,
        future,
        long,
        vote("newer", "u"),
    );
    let (status, answer) = send(&daemon, &body, PLAIN).await;
    assert_eq!((status, counts(&answer)), (200, [2, 1, 5]));
    assert_eq!((&answer["firstSeq"], &answer["lastSeq"]), (&json!(2), &json!(3)));
    let results = answer["results"].as_array().expect("results");
    let told: Vec<_> = results
        .iter()
        .map(|item| (item["index"].as_u64(), item["status"].as_u64(), item["problem"]["type"].as_str()))
        .collect();
    let slug = |slug: &'static str| Some(slug);
    assert_eq!(
        told,
        [
            (Some(1), Some(200), None),
            (Some(2), Some(422), slug("/problems/idempotency-key-reused")),
            (Some(3), Some(400), slug("/problems/not-json")),
            (Some(4), Some(422), slug("/problems/invalid-event")),
            (Some(5), Some(422), slug("/problems/at-in-future")),
            (Some(6), Some(413), slug("/problems/too-large")),
        ]
    );
    assert_eq!(
        (&results[0]["seq"], &results[1]["seq"], &results[1]["problem"]["index"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert!(results[3]["problem"]["pointer"].is_string());
    let (_, answer) = send(&daemon, &format!("[{},{}]", vote("z", "u"), vote("z", "u")), ALL).await;
    assert_eq!(answer["results"], json!([{"index":0,"status":201,"seq":4},{"index":1,"status":200,"seq":4}]));
}

#[tokio::test]
async fn made_keys_are_given_back_where_all_results_are_asked_for() {
    let daemon = FakeDaemon::new();
    let bare = format!(r#"{{"type":"x.y","userId":"u","at":"{AT}"}}"#);
    let (_, answer) = send(&daemon, &format!("[{},{bare}]", vote("1", "u")), ALL).await;
    assert_eq!(answer["results"][0].get("messageId"), None);
    assert_eq!(answer["results"][1]["messageId"], json!(daemon.entries()[1].message_id));
}

#[tokio::test]
async fn a_line_that_is_no_utf8_rejects_itself_only() {
    let daemon = FakeDaemon::new();
    let mut body = vote("1", "u").into_bytes();
    body.extend_from_slice(b"\n{\"type\":\"\xff\"}\n");
    body.extend_from_slice(vote("2", "u").as_bytes());
    let (status, answer) = send_bytes(&daemon, &body, PLAIN).await;
    assert_eq!((status, counts(&answer)), (200, [2, 0, 1]));
    assert_eq!((&answer["results"][0]["index"], &answer["results"][0]["status"]), (&json!(1), &json!(400)));
}

#[tokio::test]
async fn what_is_no_batch_is_refused_whole() {
    let daemon = FakeDaemon::new();
    let one = vote("1", "u");
    for (body, status, slug) in [
        (String::new(), 400, "not-json"),
        (" \r\n ".into(), 400, "not-json"),
        (format!("[{one},"), 400, "not-json"),
        (format!("[{one},]"), 400, "not-json"),
        (format!("[{one}] x"), 400, "not-json"),
        (format!("\u{feff}[{one}]"), 400, "not-json"),
        ("null".into(), 400, "not-json"),
        ("\"text\"".into(), 400, "not-json"),
        (format!(r#"{{"events":[{one}"#), 400, "not-json"),
        (format!(r#"{{"events":[{one},]}}"#), 400, "not-json"),
        (r#"{"events":5}"#.into(), 400, "invalid-event"),
        (r#"{"a":1,"events":{}}"#.into(), 400, "invalid-event"),
    ] {
        let (got, problem) = send(&daemon, &body, PLAIN).await;
        assert_eq!((got, problem["type"].as_str()), (status, Some(format!("/problems/{slug}").as_str())), "{body}");
    }
    assert!(daemon.entries().is_empty());
    let (status, answer) = send(&daemon, "[]", PLAIN).await;
    assert_eq!((status, counts(&answer)), (200, [0, 0, 0]));
    assert_eq!((&answer["firstSeq"], &answer["lastSeq"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn too_many_events_are_refused_whole_in_every_form() {
    let mut daemon = FakeDaemon::new();
    daemon.limits.batch_events_max = 2;
    let (a, b, c) = (vote("1", "u"), vote("2", "u"), vote("3", "u"));
    for body in [format!("[{a},{b},{c}]"), format!(r#"{{"events":[{a},{b},{c}]}}"#), format!("{a}\n{b}\n{c}")] {
        let (status, problem) = send(&daemon, &body, PLAIN).await;
        assert_eq!((status, problem["type"].as_str()), (413, Some("/problems/too-large")), "{body}");
    }
    assert_eq!(send(&daemon, &format!("{a}\n{b}\n"), PLAIN).await.0, 200);
}

#[tokio::test]
async fn an_atomic_batch_is_stored_whole_or_not_at_all() {
    let daemon = FakeDaemon::new();
    log(&daemon, &vote("known", "u"), None).await.expect("stored");
    let bad = r#"{"type":"coliseum.vote_cast","userId":"u"}"#;
    let (status, problem) = send(&daemon, &format!("[{},{bad},3]", vote("1", "u")), ATOMIC).await;
    assert_eq!((status, &problem["status"], &problem["index"]), (422, &json!(422), &json!(1)));
    assert!(problem["pointer"].is_string());
    let listed: Vec<_> = problem["results"].as_array().expect("results").iter().map(|item| &item["index"]).collect();
    assert_eq!(listed, [&json!(1), &json!(2)]);
    let (status, problem) = send(&daemon, &format!("[{},{}]", vote("1", "u"), vote("known", "other")), ATOMIC).await;
    assert_eq!(
        (status, &problem["type"], &problem["seq"]),
        (422, &json!("/problems/idempotency-key-reused"), &json!(1))
    );
    assert_eq!(problem["results"].as_array().map(Vec::len), Some(1));
    let future = vote("late", "u").replace(AT, "2027-01-01T00:00:00Z");
    let (status, problem) = send(&daemon, &format!("[{future},{}]", vote("1", "u")), ATOMIC).await;
    assert_eq!((status, &problem["index"], &problem["pointer"]), (422, &json!(0), &json!("/at")));
    assert_eq!(daemon.entries().len(), 1);
    let (status, answer) = send(&daemon, &format!("[{},{}]", vote("known", "u"), vote("1", "u")), ATOMIC).await;
    assert_eq!((status, counts(&answer)), (200, [1, 1, 0]));
}

#[tokio::test]
async fn an_import_takes_events_entries_and_keyed_events() {
    let daemon = FakeDaemon::new();
    let bare = format!(r#"{{"type":"x.y","userId":"u","at":"{AT}"}}"#);
    let own = vote("own", "u");
    let entry = json!({
        "seq": 77, "messageId": "old", "userId": "u", "eventType": "x.y", "eventCategory": "x", "entityType": null,
        "sessionId": "s", "deviceId": null, "source": "segment", "at": "2020-01-01T00:00:00Z",
        "receivedAt": "2020-01-02T00:00:00Z", "atCorrected": true,
        "metadata": {"type": "x.y", "userId": "u", "at": "2019-01-01T00:00:00Z"},
    });
    let body = format!(
        "{own}\n{{\"importKey\":\"k1\",\"event\":{bare}}}\n{{\"importKey\":\"k2\",\"event\":{own}}}\n{entry}\n"
    );
    let (status, answer) = import(&daemon, &body).await;
    assert_eq!((status, counts(&answer)), (200, [3, 1, 0]), "{answer}");
    let entries = daemon.entries();
    assert_eq!((entries[0].source.as_str(), entries[1].message_id.as_str()), ("import", "k1"));
    assert_eq!(entries[1].payload, bare);
    let kept = &entries[2];
    assert_eq!((kept.message_id.as_str(), kept.source.as_str(), kept.at_corrected), ("old", "segment", true));
    assert_eq!(
        (kept.at.to_rfc3339(), kept.received_at.to_rfc3339()),
        ("2020-01-01T00:00:00Z".into(), "2020-01-02T00:00:00Z".into())
    );
    assert_eq!((kept.session_id.as_deref(), kept.device_id.as_deref()), (Some("s"), None));
    assert_eq!(kept.payload, entry["metadata"].to_string());
    let (_, again) = import(&daemon, &body).await;
    assert_eq!(counts(&again), [0, 4, 0], "the same file twice changes nothing");
}

#[tokio::test]
async fn bad_lines_of_an_import_are_named_and_the_others_stored() {
    let daemon = FakeDaemon::new();
    let entry = |field: &str, value: Value| {
        let mut entry = json!({
            "seq": 1, "messageId": "m", "userId": "u", "eventType": "x.y", "source": "api", "at": AT, "receivedAt": AT,
            "metadata": {"type": "x.y", "userId": "u", "at": AT},
        });
        entry[field] = value;
        entry.to_string()
    };
    for (line, pointer) in [
        (entry("metadata", Value::Null), "/metadata"),
        (entry("metadata", json!({"type": "x.y", "userId": "u", "at": "never"})), "/metadata/at"),
        (entry("eventType", json!("x.z")), "/eventType"),
        (entry("userId", json!("v")), "/userId"),
        (entry("messageId", json!("")), "/messageId"),
        (entry("at", json!("never")), "/at"),
        (entry("receivedAt", json!(5)), "/receivedAt"),
        (entry("source", json!("s".repeat(33))), "/source"),
        (entry("sessionId", json!("\n")), "/sessionId"),
        (r#"{"importKey":7,"event":{}}"#.to_string(), "/importKey"),
    ] {
        let (status, answer) = import(&daemon, &line).await;
        assert_eq!((status, counts(&answer)), (200, [0, 0, 1]), "{line}");
        assert_eq!(answer["results"][0]["problem"]["pointer"], json!(pointer), "{line}");
    }
    let (_, answer) = import(&daemon, &format!("garbage\n{}\n", vote("good", "u"))).await;
    assert_eq!(counts(&answer), [1, 0, 1]);
    assert_eq!(daemon.entries().len(), 1);
}

#[tokio::test]
async fn an_event_that_looks_like_an_entry_stays_an_event() {
    let daemon = FakeDaemon::new();
    let event = format!(
        r#"{{"type":"x.y","userId":"u","at":"{AT}","seq":4,"receivedAt":"{AT}","eventType":"a.b","metadata":{{}}}}"#
    );
    let (_, answer) = import(&daemon, &event).await;
    assert_eq!(counts(&answer), [1, 0, 0]);
    assert_eq!((daemon.entries()[0].payload.as_str(), daemon.entries()[0].received_at), (event.as_str(), NOW));
}
