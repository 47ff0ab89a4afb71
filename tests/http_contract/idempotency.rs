//! Keys, and what is given back of an event: its metadata, its type, its source.

use crate::events::full_event;
use crate::harness::http::Response;
use crate::harness::micros;
use crate::model::json::{Json, number, text};
use crate::model::time::DAY;
use crate::{LOG, NOW, daemon, stored, vote};

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
fn of_many_that_send_one_key_at_once_one_wins_and_the_others_get_its_seq() {
    let daemon = daemon();
    for round in 0..20 {
        let body = vote().with("messageId", text(format!("race-{round}"))).render();
        let head = daemon.head();
        let answers: Vec<Response> = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..6).map(|_| scope.spawn(|| daemon.client.post(LOG, body.as_bytes()))).collect();
            senders.into_iter().map(|sender| sender.join().expect("a sender ends")).collect()
        });
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 201]);
        for answer in answers {
            assert_eq!(answer.json().at("seq").as_integer() as u64, head + 1);
        }
    }
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
