//! What the value of each field may be.

use super::*;

#[test]
fn a_type_is_a_category_and_names() {
    let longest = format!("a.{}", "b".repeat(62));
    for good in ["a.b", "segment.identify", "stripe.charge.dispute.created", "a_1.b_2.c", &longest] {
        let text = Json::Object(event(good, &json!({}))).to_string();
        let event = Event::parse(&text).expect(good);
        assert_eq!(event.event_type, good);
        assert!(matches!(event.facts, Facts::Other { .. }));
    }
    let too_long = format!("a.{}", "b".repeat(63));
    for bad in
        ["", "a", "a.", ".a", "a..b", "A.b", "a.B", "1.a", "a.1", "_a.b", "a._b", "a-b.c", "a.b ", "é.b", &too_long]
    {
        assert_field_problem(&Json::Object(event(bad, &json!({}))).to_string(), "/type");
    }
    let escaped = r#"{"type":"a.\u0062","userId":"u","at":"2026-05-01T20:15:00Z"}"#;
    assert_eq!(Event::parse(escaped).expect(escaped).event_type, "a.b");
}

#[test]
fn ids_have_1_to_128_bytes_and_no_control_characters() {
    let ids = [
        ("coliseum.vote_cast", "userId"),
        ("coliseum.vote_cast", "messageId"),
        ("coliseum.vote_cast", "artistId"),
        ("coliseum.vote_cast", "eventId"),
        ("concierto.event_attended", "artistId"),
        ("treasury.money_spent", "stripePaymentIntentId"),
        ("treasury.money_earned", "stripeTransferId"),
        ("player.track_played", "trackId"),
        ("social.share", "targetId"),
        ("coliseum.entitlement_changed", "stripeSubscriptionId"),
    ];
    for (event_type, key) in ids {
        for good in ["x", "ar:käärijä", " a b ", "\u{a0}", &"x".repeat(128), &"é".repeat(64)] {
            assert!(Event::parse(&with(full(event_type), key, json!(good))).is_ok(), "{key} {good}");
        }
        for bad in ["", "a\nb", "\t", "\u{7f}", "a\u{85}", "\u{9f}b", "\u{1}", &"x".repeat(129), &"é".repeat(65)] {
            assert_field_problem(&with(full(event_type), key, json!(bad)), &format!("/{key}"));
        }
    }
    for key in ["sessionId", "deviceId"] {
        assert!(Event::parse(&with(full("social.follow"), key, json!(""))).is_ok());
        assert!(Event::parse(&with(full("social.follow"), key, json!("x".repeat(128)))).is_ok());
        for bad in ["a\nb", "\u{9b}", &"x".repeat(129)] {
            assert_field_problem(&with(full("social.follow"), key, json!(bad)), &format!("/{key}"));
        }
    }
    assert!(Event::parse(&with(full("social.follow"), "source", json!("x".repeat(32)))).is_ok());
    assert_field_problem(&with(full("social.follow"), "source", json!("x".repeat(33))), "/source");
}

#[test]
fn lists_of_ids_are_bounded_and_point_at_the_bad_one() {
    let many = |count: usize| json!((0..count).map(|number| format!("a{number}")).collect::<Vec<_>>());
    for (event_type, fewest) in [("concierto.event_attended", 0), ("concierto.event_scheduled", 1)] {
        for count in [fewest, 1, 100] {
            assert!(Event::parse(&with(full(event_type), "artistIds", many(count))).is_ok(), "{event_type} {count}");
        }
        assert_field_problem(&with(full(event_type), "artistIds", many(101)), "/artistIds");
        assert_field_problem(&with(full(event_type), "artistIds", json!("a1")), "/artistIds");
        for bad in [json!(""), json!(7), json!(null), json!("a\n"), json!(["a1"])] {
            assert_field_problem(&with(full(event_type), "artistIds", json!(["a1", "a2", bad])), "/artistIds/2");
        }
    }
    assert_field_problem(&with(full("concierto.event_scheduled"), "artistIds", json!([])), "/artistIds");
}

#[test]
fn texts_are_bounded_and_the_required_ones_have_something_in_them() {
    let texts = [
        ("concierto.event_attended", "city", true),
        ("concierto.event_attended", "ticketTier", false),
        ("player.track_played", "genre", false),
        ("player.track_played", "city", false),
        ("social.share", "platform", true),
        ("artist.profile_updated", "artistName", true),
        ("artist.profile_updated", "homeCity", false),
        ("concierto.event_scheduled", "city", false),
        ("concierto.event_scheduled", "name", false),
    ];
    for (event_type, key, required) in texts {
        assert!(Event::parse(&with(full(event_type), key, json!("x".repeat(1024)))).is_ok(), "{key}");
        assert_field_problem(&with(full(event_type), key, json!("x".repeat(1025))), &format!("/{key}"));
        let empty = with(full(event_type), key, json!(""));
        if required {
            assert_field_problem(&empty, &format!("/{key}"));
        } else {
            assert!(Event::parse(&empty).is_ok(), "{key}");
        }
    }
    let profile = || full("artist.profile_updated");
    assert!(Event::parse(&with(profile(), "genres", json!([]))).is_ok());
    assert_field_problem(&with(profile(), "genres", json!(["pop", 7])), "/genres/1");
    assert_field_problem(&with(profile(), "genres", json!(["x".repeat(1025)])), "/genres/0");
    assert_field_problem(&with(profile(), "genres", json!(vec!["x"; 101])), "/genres");
    let scheduled = || full("concierto.event_scheduled");
    assert!(Event::parse(&with(scheduled(), "startsAt", json!("2026-05-16T21:00:00.5Z"))).is_ok());
    for bad in [json!("2026-05-16"), json!("tomorrow"), json!("2026-05-16T21:00:00"), json!(1_778_965_200)] {
        assert_field_problem(&with(scheduled(), "startsAt", bad), "/startsAt");
    }
}

#[test]
fn words_outside_the_known_ones_are_kept_and_closed_lists_are_closed() {
    let words = [
        ("treasury.money_spent", "reason"),
        ("treasury.money_refunded", "reason"),
        ("treasury.money_earned", "role"),
        ("treasury.earning_reversed", "earnSource"),
        ("coliseum.vote_cast", "channel"),
    ];
    for (event_type, key) in words {
        let text = with(full(event_type), key, json!("Purchase #1"));
        let facts = format!("{:?}", Event::parse(&text).expect(&text).facts);
        assert!(facts.contains("Purchase #1"), "{facts}");
        assert!(Event::parse(&with(full(event_type), key, json!("x".repeat(32)))).is_ok());
        for bad in ["", &"x".repeat(33)] {
            assert_field_problem(&with(full(event_type), key, json!(bad)), &format!("/{key}"));
        }
    }
    for word in ["artist", "user", "event", "venue", "track"] {
        let text = with(full("social.follow"), "targetType", json!(word));
        assert_eq!(Event::parse(&text).expect(word).entity().expect("has a target").0.name(), word);
    }
    for word in ["free", "basic", "pro", "enterprise"] {
        assert!(Event::parse(&with(full("coliseum.entitlement_changed"), "plan", json!(word))).is_ok(), "{word}");
    }
    for bad in ["", "Artist", "label"] {
        assert_field_problem(&with(full("social.follow"), "targetType", json!(bad)), "/targetType");
        assert_field_problem(&with(full("coliseum.entitlement_changed"), "plan", json!(bad)), "/plan");
    }
}

#[test]
fn money_is_an_integer_of_cents_by_its_value() {
    for (text, cents) in [("1", 1), ("100.0", 100), ("1e2", 100), ("0.1E1", 1), ("1000000000000", 1_000_000_000_000)] {
        let text = spelled("treasury.money_spent", "amountCents", text);
        let event = Event::parse(&text).expect(&text);
        assert!(matches!(event.facts, Facts::Money { amount_cents, .. } if amount_cents == cents), "{text}");
    }
    for bad in
        ["0", "-1", "12.5", "1000000000001", "1e400", "1e-2", "\"5\"", "9223372036854775808", "1.00000000000000000001"]
    {
        assert_field_problem(&spelled("treasury.money_refunded", "amountCents", bad), "/amountCents");
    }
    for bad in ["", "us", "usdt", "USD", "u1d", "éd"] {
        assert_field_problem(&with(full("treasury.money_earned"), "currency", json!(bad)), "/currency");
    }
}

#[test]
fn a_weight_is_over_0_to_1000_with_6_decimals() {
    for (text, millionths) in [
        ("2.50000000", 2_500_000),
        ("0.000001", 1),
        ("1e3", 1_000_000_000),
        ("1000.000000", 1_000_000_000),
        ("25e-1", 2_500_000),
    ] {
        let text = spelled("coliseum.vote_cast", "weight", text);
        let event = Event::parse(&text).expect(&text);
        assert!(matches!(event.facts, Facts::Vote { weight, .. } if weight.at_scale(6) == Some(millionths)), "{text}");
    }
    for bad in ["0", "-0.0", "-1", "1000.000001", "0.0000001", "1e400", "1e-400", "\"1\"", "1e99999999999999999999"] {
        assert_field_problem(&spelled("coliseum.vote_cast", "weight", bad), "/weight");
    }
    let text = without(full("coliseum.vote_cast"), "weight");
    assert!(matches!(Event::parse(&text).expect(&text).facts, Facts::Vote { weight, .. } if weight == Decimal::ONE));
    let text = without(full("coliseum.vote_cast"), "channel");
    assert!(matches!(Event::parse(&text).expect(&text).facts, Facts::Vote { channel, .. } if channel == "app"));
}

#[test]
fn a_play_lasts_0_to_86400_seconds() {
    for good in ["0", "-0", "86400", "86400.000", "29.999999999", "1e2", "3E-10"] {
        let text = spelled("player.track_played", "durationSeconds", good);
        let event = Event::parse(&text).expect(&text);
        let exact = Decimal::parse(good);
        assert!(matches!(event.facts, Facts::Played { duration_seconds, .. } if duration_seconds == exact), "{text}");
    }
    for bad in ["-1", "-0.001", "86400.001", "1e5", "1e400", "\"30\"", "1e-400"] {
        assert_field_problem(&spelled("player.track_played", "durationSeconds", bad), "/durationSeconds");
    }
}

#[test]
fn an_entitlement_names_its_domains_once_and_a_depth_that_is_an_integer() {
    const TYPE: &str = "coliseum.entitlement_changed";
    for good in ["[]", "[\"C\",\"A\"]", "[\"A\",\"T\",\"G\",\"C\"]"] {
        assert!(Event::parse(&spelled(TYPE, "domains", good)).is_ok(), "{good}");
    }
    for (bad, pointer) in [
        ("[\"a\"]", "/domains/0"),
        ("[\"A\",7]", "/domains/1"),
        ("[\"A\",\"C\",\"A\"]", "/domains/2"),
        ("[\"A\",\"T\",\"G\",\"C\",\"A\"]", "/domains"),
        ("\"A\"", "/domains"),
    ] {
        assert_field_problem(&spelled(TYPE, "domains", bad), pointer);
    }
    for (good, depth) in [("0", 0), ("9007199254740992", 1 << 53), ("1e3", 1000)] {
        let text = spelled(TYPE, "leaderboardDepth", good);
        let facts = Event::parse(&text).expect(&text).facts;
        assert!(matches!(facts, Facts::Entitlement { leaderboard_depth: Some(read), .. } if read == depth), "{text}");
    }
    for bad in ["-1", "1.5", "9007199254740993", "1e400", "\"9\""] {
        assert_field_problem(&spelled(TYPE, "leaderboardDepth", bad), "/leaderboardDepth");
    }
    for bad in ["\"2027-01-01\"", "\"\"", "7"] {
        assert_field_problem(&spelled(TYPE, "expiresAt", bad), "/expiresAt");
    }
}

#[test]
fn times_are_rfc_3339_with_offset() {
    for key in ["at", "sentAt"] {
        for bad in ["", "now", "2026-05-01", "2026-05-01T20:15:00", "2026-05-01 20:15:00Z", "2026-02-30T00:00:00Z"] {
            assert_field_problem(&with(full("social.follow"), key, json!(bad)), &format!("/{key}"));
        }
        assert_field_problem(&with(full("social.follow"), key, json!(1_777_666_500)), &format!("/{key}"));
    }
}
