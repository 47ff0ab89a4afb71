//! Which fields each row has, and in which order their problems are told.

use super::*;

#[test]
fn the_catalogue_lists_the_types_that_have_rows() {
    assert_eq!(EVENT_TYPES.to_vec(), rows().iter().map(|row| row.event_type).collect::<Vec<_>>());
    for row in rows() {
        let text = Json::Object(event(row.event_type, &row.full)).to_string();
        let parsed = Event::parse(&text).expect(row.event_type);
        assert_eq!(parsed.event_type, row.event_type);
        assert!(!matches!(parsed.facts, Facts::Other { .. }), "{}", row.event_type);
        let stored = Facts::of_stored(row.event_type, &text).expect(row.event_type);
        assert_eq!(format!("{stored:?}"), format!("{:?}", parsed.facts));
    }
}

#[test]
fn a_required_field_is_missing_where_it_is_left_out_or_null() {
    for row in rows() {
        for key in row.required.iter().chain(&["type", "userId", "at"]) {
            assert_field_problem(&without(full(row.event_type), key), &format!("/{key}"));
            assert_field_problem(&with(full(row.event_type), key, Json::Null), &format!("/{key}"));
        }
    }
    let problem = Event::parse("{}").expect_err("has nothing");
    assert_eq!(problem.pointer.as_deref(), Some("/type"));
    assert_eq!(
        problem.detail,
        "`type`: expected a type as `category.name` of a-z, 0-9 and _, at most 64 bytes, but it is missing"
    );
}

#[test]
fn an_optional_field_may_be_left_out_or_null() {
    for row in rows() {
        let optional = row.full.as_object().expect("is an object").keys();
        for key in optional.filter(|key| !row.required.contains(&key.as_str())) {
            let left_out = without(full(row.event_type), key);
            let null = with(full(row.event_type), key, Json::Null);
            let facts = |text| format!("{:?}", Event::parse(text).expect(text).facts);
            assert_eq!(facts(&left_out), facts(&null), "{left_out}");
        }
        for key in ["messageId", "sessionId", "deviceId", "source", "sentAt"] {
            assert!(Event::parse(&with(full(row.event_type), key, Json::Null)).is_ok(), "{key}");
        }
    }
}

#[test]
fn a_field_of_another_kind_is_refused_where_it_stands() {
    for row in rows() {
        for key in row.full.as_object().expect("is an object").keys() {
            for wrong in ["true", "{}", "[[]]", "\"\u{1f3b5}\""] {
                let text = spelled(row.event_type, key, wrong);
                match Event::parse(&text) {
                    Err(problem) => {
                        let pointer = problem.pointer.clone().expect("a field");
                        assert_eq!(problem.status, 422, "{text}");
                        assert!([format!("/{key}"), format!("/{key}/0")].contains(&pointer), "{text}: {pointer}");
                    }
                    // Four bytes of text are a good id, word, name or date.
                    Ok(_) => assert!(wrong.starts_with('"') && row.full[key].is_string(), "{text}"),
                }
            }
        }
        for key in ["type", "userId", "at", "messageId", "sessionId", "deviceId", "source", "sentAt"] {
            for wrong in ["7", "false", "{}", "[]"] {
                assert_field_problem(&spelled(row.event_type, key, wrong), &format!("/{key}"));
            }
        }
    }
}

#[test]
fn the_first_problem_is_that_of_the_first_field_in_the_order_of_the_contract() {
    let order = ["type", "userId", "at", "messageId", "sessionId", "deviceId", "source", "sentAt"];
    let mut broken = full("treasury.money_spent");
    let row = ["amountCents", "currency", "reason", "eventId", "artistId", "stripePaymentIntentId"];
    for key in order.iter().chain(&row) {
        broken.insert((*key).to_owned(), json!(false));
    }
    let whole = full("treasury.money_spent");
    for key in order.iter().chain(&row) {
        assert_field_problem(&Json::Object(broken.clone()).to_string(), &format!("/{key}"));
        match whole.get(*key) {
            Some(value) => _ = broken.insert((*key).to_owned(), value.clone()),
            None => _ = broken.remove(*key),
        }
    }
    assert!(Event::parse(&Json::Object(broken).to_string()).is_ok());
}

#[test]
fn the_common_fields_are_read() {
    let text = with(full("social.follow"), "source", json!("web"));
    let text = text.replace("{\"", "{\"sentAt\":\"2026-05-01T22:15:01+02:00\",\"messageId\":\"m\\u00e9\",\"");
    let event = Event::parse(&text).expect(&text);
    assert_eq!((event.user_id.as_ref(), event.message_id.as_deref()), ("u1", Some("mé")));
    assert_eq!(event.at.to_rfc3339(), "2026-05-01T20:15:00.250Z");
    assert_eq!(event.sent_at.map(Timestamp::to_rfc3339).as_deref(), Some("2026-05-01T20:15:01Z"));
    assert_eq!(
        (event.source.as_deref(), event.session_id.as_deref(), event.device_id.as_deref()),
        (Some("web"), None, None)
    );
    assert_eq!(event.category(), "social");
}

#[test]
fn the_usual_event_is_borrowed_from_its_text() {
    let text = Json::Object(full("player.track_played")).to_string();
    let event = Event::parse(&text).expect(&text);
    assert!(matches!(event.user_id, Cow::Borrowed(_)) && matches!(event.event_type, Cow::Borrowed(_)));
    assert!(matches!(event.facts, Facts::Played { track_id: Cow::Borrowed(_), genre: Some(Cow::Borrowed(_)), .. }));
}

#[test]
fn money_takes_its_defaults() {
    let minimal = |event_type| Json::Object(event(event_type, &json!({"amountCents": 1}))).to_string();
    for event_type in ["treasury.money_spent", "treasury.money_refunded"] {
        let text = minimal(event_type);
        let Facts::Money { currency, reason, role, stripe_id, .. } = Event::parse(&text).expect(&text).facts else {
            panic!("{text} is money")
        };
        assert_eq!((&*currency, &*reason, role, stripe_id), ("usd", "other", None, None));
    }
    for event_type in ["treasury.money_earned", "treasury.earning_reversed"] {
        let text = minimal(event_type);
        let Facts::Money { currency, reason, role, .. } = Event::parse(&text).expect(&text).facts else {
            panic!("{text} is money")
        };
        assert_eq!((&*currency, &*reason, role.as_deref()), ("usd", "other", Some("platform")));
    }
}

#[test]
fn the_source_of_an_earning_is_what_it_was_earned_with() {
    for event_type in ["treasury.money_earned", "treasury.earning_reversed"] {
        for (fields, earn_source) in [
            (json!({"amountCents": 1, "source": "stream"}), "stream"),
            (json!({"amountCents": 1, "source": "stream", "earnSource": null}), "stream"),
            (json!({"amountCents": 1, "source": "stream", "earnSource": "vote"}), "vote"),
        ] {
            let text = Json::Object(event(event_type, &fields)).to_string();
            let event = Event::parse(&text).expect(&text);
            assert_eq!(event.source, None);
            assert!(matches!(&event.facts, Facts::Money { reason, .. } if reason == earn_source), "{text}");
            let stored = Facts::of_stored(event_type, &text).expect(&text);
            assert!(matches!(stored, Facts::Money { reason, .. } if reason == earn_source), "{text}");
        }
        let empty = event(event_type, &json!({"amountCents": 1, "source": ""}));
        assert_field_problem(&Json::Object(empty).to_string(), "/source");
    }
    let spent = event("treasury.money_spent", &json!({"amountCents": 1, "source": "pos"}));
    assert_eq!(Event::parse(&Json::Object(spent).to_string()).expect("is good").source.as_deref(), Some("pos"));
}

#[test]
fn the_older_clients_play_is_a_play() {
    let data = json!({"content_id": "t1", "artist_id": "a1", "artist_name": "ABBA", "duration_seconds": 31, "x": 1});
    for type_key in ["eventType", "type"] {
        let text =
            json!({type_key: "audio_play", "userId": "u1", "at": AT, "eventData": data, "trackId": 7}).to_string();
        let event = Event::parse(&text).expect(&text);
        assert_eq!(event.event_type, "player.track_played");
        assert_eq!(event.entity(), Some((EntityType::Track, "t1")));
        assert_eq!(event.facts.credited(false).collect::<Vec<_>>(), ["a1"]);
        let stored = Facts::of_stored("player.track_played", &text).expect(&text);
        for facts in [event.facts, stored] {
            let Facts::Played { duration_seconds, .. } = facts else { panic!("{text} is a play") };
            assert_eq!(duration_seconds, Decimal::parse("31"));
        }
    }
    let older =
        |data: Json| json!({"eventType": "audio_play", "userId": "u1", "at": AT, "eventData": data}).to_string();
    for (data, pointer) in [
        (json!({"artist_id": "a1"}), "/eventData/content_id"),
        (json!({"content_id": "t1"}), "/eventData/artist_id"),
        (json!({"content_id": "t1", "artist_id": 7}), "/eventData/artist_id"),
        (json!({"content_id": "t1", "artist_id": "a1", "duration_seconds": -1}), "/eventData/duration_seconds"),
        (json!("t1"), "/eventData"),
        (json!([]), "/eventData"),
        (Json::Null, "/eventData/content_id"),
    ] {
        assert_field_problem(&older(data), pointer);
    }
    let nothing = json!({"type": null, "eventType": "audio_play", "userId": "u1", "at": AT, "trackId": "t1"});
    assert_field_problem(&nothing.to_string(), "/eventData/content_id");
    let other_type = with(full("social.follow"), "eventType", json!("audio_play"));
    assert_eq!(Event::parse(&other_type).expect("has a type").event_type, "social.follow");
    let no_type = json!({"eventType": "player.track_played", "userId": "u1", "at": AT, "eventData": {}});
    assert_field_problem(&no_type.to_string(), "/type");
}

#[test]
fn fields_outside_the_row_are_not_looked_at() {
    let text = with(full("social.follow"), "amountCents", json!("a lot"));
    assert!(Event::parse(&text).is_ok());
    let text = spelled("social.follow", "big", "[1e400, -0.00000000000000000000000000000000000000000000001]");
    assert!(Event::parse(&text).is_ok());
}
