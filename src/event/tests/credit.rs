//! Whom an event credits, what it is about, and how it is read again.

use super::*;

#[test]
fn a_type_outside_the_catalogue_credits_ids_only_where_a_rule_names_it() {
    let text = |fields| Json::Object(event("club.night_out", &fields)).to_string();
    for (fields, credited) in [
        (json!({"artistId": "a1", "artistIds": ["a2", "a1", "a3"]}), vec!["a1", "a2", "a3"]),
        (json!({"artistId": 7, "artistIds": ["a2"]}), vec!["a2"]),
        (json!({"artistId": "", "artistIds": ["a2", 7]}), vec![]),
        (json!({"artistIds": vec!["a"; 101]}), vec![]),
        (json!({"eventId": {}, "weight": -1}), vec![]),
    ] {
        let text = text(fields);
        let event = Event::parse(&text).expect(&text);
        assert_eq!(event.facts.credited(true).collect::<Vec<_>>(), credited, "{text}");
        assert_eq!(event.facts.credited(false).count(), 0, "{text}");
        assert_eq!(event.entity(), None);
    }
}

#[test]
fn an_event_credits_the_artists_of_its_own_row_in_order_and_once() {
    let credited = |text: &str| {
        let event = Event::parse(text).expect(text);
        event.facts.credited(true).map(str::to_owned).collect::<Vec<_>>()
    };
    let expected: [(&str, &[&str]); 13] = [
        ("concierto.event_attended", &["a1", "a2"]),
        ("treasury.money_spent", &["a1"]),
        ("treasury.money_refunded", &["a1"]),
        ("treasury.money_earned", &["a1"]),
        ("treasury.earning_reversed", &["a1"]),
        ("coliseum.vote_cast", &["a1"]),
        ("player.track_played", &["a1"]),
        ("player.track_favorited", &["a1"]),
        ("social.follow", &["a9"]),
        ("social.share", &["a1", "a9"]),
        ("artist.profile_updated", &["a1"]),
        ("concierto.event_scheduled", &["a1", "a2"]),
        ("coliseum.entitlement_changed", &[]),
    ];
    for (event_type, artists) in expected {
        assert_eq!(credited(&Json::Object(full(event_type)).to_string()), artists, "{event_type}");
    }
    let foreign = with(full("social.follow"), "artistIds", json!(["a5"]));
    assert_eq!(credited(&foreign), ["a9"], "artistIds is no field of a follow");
    assert_eq!(credited(&with(full("social.share"), "targetId", json!("a1"))), ["a1"]);
    assert_eq!(credited(&with(full("social.share"), "targetType", json!("event"))), ["a1"]);
    assert!(credited(&with(full("social.follow"), "targetType", json!("user"))).is_empty());
}

#[test]
fn an_event_is_about_the_entity_of_its_row() {
    let entity = |text: &str| {
        let event = Event::parse(text).expect(text);
        event.entity().map(|(kind, id)| format!("{} {id}", kind.name()))
    };
    let expected = [
        ("concierto.event_attended", "event e1"),
        ("treasury.money_spent", "artist a1"),
        ("treasury.money_refunded", "artist a1"),
        ("treasury.money_earned", "artist a1"),
        ("treasury.earning_reversed", "artist a1"),
        ("coliseum.vote_cast", "artist a1"),
        ("player.track_played", "track t1"),
        ("player.track_favorited", "track t1"),
        ("social.follow", "artist a9"),
        ("social.share", "artist a9"),
        ("artist.profile_updated", "artist a1"),
        ("concierto.event_scheduled", "event e1"),
        ("coliseum.entitlement_changed", "user u1"),
    ];
    for (event_type, about) in expected {
        assert_eq!(entity(&Json::Object(full(event_type)).to_string()).as_deref(), Some(about), "{event_type}");
    }
    let mut spent = full("treasury.money_spent");
    spent.remove("artistId");
    assert_eq!(entity(&Json::Object(spent.clone()).to_string()).as_deref(), Some("event e1"));
    spent.remove("eventId");
    assert_eq!(entity(&Json::Object(spent).to_string()).as_deref(), Some("user u1"));
}

#[test]
fn a_stripe_id_makes_a_key_of_its_own() {
    let key = |text: &str| Event::parse(text).expect(text).stripe_key();
    let spent = Json::Object(full("treasury.money_spent")).to_string();
    assert_eq!(key(&spent).as_deref(), Some("stripe:pi_1:treasury.money_spent"));
    let reversed = Json::Object(full("treasury.earning_reversed")).to_string();
    assert_eq!(key(&reversed).as_deref(), Some("stripe:tr_1:treasury.earning_reversed"));
    assert_eq!(key(&without(full("treasury.money_spent"), "stripePaymentIntentId")), None);
}

#[test]
fn a_stored_payload_that_cannot_be_read_is_a_problem() {
    for payload in ["", "null", "{}", "{\"artistId\":\"a1\"}"] {
        assert!(Facts::of_stored("coliseum.vote_cast", payload).is_err(), "{payload}");
    }
    assert!(Facts::of_stored("club.night_out", "{}").is_ok());
}
