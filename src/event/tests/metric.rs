//! Which metric an event counts in, where it was, and whom it makes a fan.

use super::*;

/// Metric, sum and currency, event, city, and whether it is a fan event, as one line.
fn counted(text: &str) -> String {
    let event = Event::parse(text).expect(text);
    let facts = &event.facts;
    let measure = facts.measure().map_or("nothing".to_owned(), |measure| {
        assert_eq!(measure.metric.is_money(), measure.currency.is_some(), "{text}");
        format!("{} {} {}", measure.metric.name(), measure.sum, measure.currency.unwrap_or("-"))
    });
    let (event_id, city) = (facts.event_id().unwrap_or("-"), facts.city().unwrap_or("-"));
    format!("{measure}, {event_id}, {city}, {}", if facts.is_fan_event() { "fan" } else { "no fan" })
}

#[test]
fn each_type_counts_in_its_metric() {
    let expected = [
        ("concierto.event_attended", "events_attended 1 -, e1, Malmö, fan"),
        ("treasury.money_spent", "money_spent 1250 eur, e1, -, fan"),
        ("treasury.money_refunded", "money_spent -1250 eur, e1, -, no fan"),
        ("treasury.money_earned", "money_earned 1250 eur, e1, -, no fan"),
        ("treasury.earning_reversed", "money_earned -1250 eur, e1, -, no fan"),
        ("coliseum.vote_cast", "votes_cast 2500000 -, e1, -, fan"),
        ("player.track_played", "tracks_played 1 -, -, Malmö, fan"),
        ("player.track_favorited", "favorites 1 -, -, -, fan"),
        ("social.follow", "follows 1 -, -, -, fan"),
        ("social.share", "shares 1 -, -, -, fan"),
        ("artist.profile_updated", "nothing, -, -, no fan"),
        ("concierto.event_scheduled", "nothing, e1, -, no fan"),
        ("coliseum.entitlement_changed", "nothing, -, -, no fan"),
    ];
    assert_eq!(expected.len(), EVENT_TYPES.len());
    for (event_type, line) in expected {
        assert_eq!(counted(&Json::Object(full(event_type)).to_string()), line, "{event_type}");
    }
    let foreign = Json::Object(event("club.night_out", &json!({"eventId": "e1", "city": "Malmö"}))).to_string();
    assert_eq!(counted(&foreign), "nothing, -, -, no fan", "fields of a type outside the catalogue say nothing");
}

#[test]
fn what_an_event_leaves_out_is_counted_by_its_default() {
    let expected = [
        ("treasury.money_spent", "currency", "money_spent 1250 usd, e1, -, fan"),
        ("treasury.money_spent", "eventId", "money_spent 1250 eur, -, -, fan"),
        ("coliseum.vote_cast", "weight", "votes_cast 1000000 -, e1, -, fan"),
        ("player.track_played", "city", "tracks_played 1 -, -, -, fan"),
    ];
    for (event_type, left_out, line) in expected {
        assert_eq!(counted(&without(full(event_type), left_out)), line, "{event_type} without {left_out}");
    }
    for (weight, sum) in [(json!(0.000001), 1), (json!(1000), 1_000_000_000), (json!(1.25), 1_250_000)] {
        let text = with(full("coliseum.vote_cast"), "weight", weight);
        assert_eq!(counted(&text), format!("votes_cast {sum} -, e1, -, fan"));
    }
}

#[test]
fn a_metric_is_found_by_its_name_and_stands_at_its_index() {
    for (place, metric) in Metric::ALL.into_iter().enumerate() {
        assert_eq!((metric.index(), Metric::from_name(metric.name())), (place, Some(metric)));
    }
    assert_eq!(Metric::from_name("Votes_cast"), None);
}

#[test]
fn cities_are_one_whatever_their_case_and_the_space_around_them() {
    for (name, folded) in [
        ("Malmö", Some(("Malmö", "malmö"))),
        ("\u{2003}MALMÖ\t\n", Some(("MALMÖ", "malmö"))),
        ("New  York ", Some(("New  York", "new  york"))),
        ("İzmir", Some(("İzmir", "i\u{307}zmir"))),
        (" \u{a0}\u{3000}", None),
        ("", None),
    ] {
        let expected = folded.map(|(trimmed, folded)| (trimmed, folded.to_owned()));
        assert_eq!(fold_city(name), expected, "{name:?}");
    }
}
