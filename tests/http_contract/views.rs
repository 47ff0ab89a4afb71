//! The treasury's views and the profiles of fans: their shapes, pages, waits and refusals.

use crate::model::json::{Json, number, object, text, texts};
use crate::{BATCH, daemon, stored};

const AT: &str = "2026-02-27T23:59:59.250Z";

/// An event of a user with these fields.
fn event(user: &str, kind: &str, at: &str, fields: Json) -> Json {
    let common = object([("type", text(kind)), ("userId", text(user)), ("at", text(at))]);
    fields.members().iter().fold(common, |event, (name, value)| event.with(name, value.clone()))
}

fn money(kind: &str, cents: i64, artist: &str, more: Json) -> Json {
    let fields = object([("amountCents", number(cents)), ("artistId", text(artist))]);
    let fields = more.members().iter().fold(fields, |fields, (name, value)| fields.with(name, value.clone()));
    event("fan", &format!("treasury.{kind}"), AT, fields)
}

/// The names of an object's members, in their order.
fn keys(object: &Json) -> Vec<&str> {
    object.members().iter().map(|(name, _)| name.as_str()).collect()
}

const ROW: [&str; 11] = [
    "artistId",
    "currency",
    "grossCents",
    "refundedCents",
    "earnedCents",
    "reversedCents",
    "netCents",
    "platformCents",
    "transactions",
    "firstAt",
    "lastAt",
];

#[test]
fn the_money_of_an_artist_is_told_by_currency_fan_and_event() {
    let daemon = daemon();
    let none = || object([]);
    let at_event = |event: &str| object([("eventId", text(event))]);
    let of_role = |role: &str| object([("role", text(role)), ("eventId", text("e1"))]);
    let line_up = object([("eventId", text("e1")), ("artistIds", texts(&["a"])), ("name", text("Final"))]);
    let attended = object([("eventId", text("e1")), ("city", text("Turin"))]);
    let events = [
        event("guest", "concierto.event_attended", AT, attended),
        event("crew", "concierto.event_scheduled", AT, line_up),
        event("crew", "artist.profile_updated", AT, object([("artistId", text("a")), ("artistName", text("ABBA"))])),
        money("money_spent", 1_000, "a", at_event("e1")),
        money("money_refunded", 250, "a", none()),
        money("money_spent", 5, "a", object([("currency", text("eur")), ("eventId", text("e0"))])),
        money("money_earned", 300, "a", of_role("artist")),
        money("earning_reversed", 40, "a", of_role("artist")),
        money("money_earned", 9, "a", of_role("platform")),
        money("money_earned", 77, "a", of_role("venue")),
    ];
    let seq = events.iter().map(|event| stored(&daemon, event)).last().expect("some");
    let answer = daemon.client.get(&format!("/api/treasury/artists/a?minSeq={seq}"));
    assert_eq!(answer.header("coliseum-applied-seq"), Some(seq.to_string().as_str()));
    let body = answer.expect(200);
    assert_eq!(keys(&body), ["artistId", "artistName", "appliedSeq", "currencies", "perFan"]);
    assert_eq!((body.at("artistId").as_text(), body.at("artistName").as_text()), ("a", "ABBA"));
    let [eur, usd] = body.at("currencies").as_list() else { panic!("{}", body.render()) };
    assert_eq!(keys(usd), ROW);
    let cents = |row: &Json| -> Vec<i64> { ROW[2..9].iter().map(|name| row.at(name).as_integer()).collect() };
    assert_eq!((eur.at("currency").as_text(), cents(eur)), ("eur", vec![5, 0, 0, 0, 0, 0, 1]));
    assert_eq!((usd.at("currency").as_text(), cents(usd)), ("usd", vec![1_000, 250, 300, 40, 260, 9, 6]));
    assert_eq!((usd.at("firstAt").as_text(), usd.at("lastAt").as_text()), (AT, AT));
    let per_fan = body.at("perFan").render();
    let expected = r#"{"currency":"usd","fans":2,"payingFans":1,"revenueCents":750,"revenuePerFanCents":375.0,"revenuePerPayingFanCents":750.0}"#;
    assert_eq!(per_fan, expected, "who attended before the line-up is a fan too");

    let body = daemon.client.get(&format!("/api/treasury/artists/a/events?minSeq={seq}")).expect(200);
    assert_eq!(keys(&body), ["artistId", "appliedSeq", "events", "nextAfter"]);
    let [first, second] = body.at("events").as_list() else { panic!("{}", body.render()) };
    assert_eq!(keys(first), [&["eventId", "eventName"], &ROW[..]].concat());
    assert_eq!((first.at("eventId").as_text(), first.at("eventName").as_optional_text()), ("e0", None));
    assert_eq!((second.at("eventId").as_text(), second.at("eventName").as_text()), ("e1", "Final"));
    assert_eq!(cents(second), [1_000, 0, 300, 40, 260, 9, 5], "what names no event is not the event's");
    assert_eq!(body.at("nextAfter").as_optional_text(), None);
}

#[test]
fn lists_of_money_come_in_pages_that_keep_together_what_belongs_together() {
    let daemon = daemon();
    let spent = |artist: &str, event: &str, currency: &str| {
        let fields = object([("eventId", text(event)), ("currency", text(currency))]);
        money("money_spent", 1, artist, fields)
    };
    let all = ["B", "a", "a-10"].into_iter().flat_map(|artist| {
        ["e9", "e10"].into_iter().flat_map(move |event| ["usd", "eur"].map(|currency| spent(artist, event, currency)))
    });
    let seq = 12;
    daemon.client.post_json(BATCH, &Json::List(all.collect())).expect(200);
    let page = |path: &str, list: &str, name: &str| {
        let body = daemon.client.get(&format!("{path}minSeq={seq}")).expect(200);
        let row = |row: &Json| format!("{} {}", row.at(name).as_text(), row.at("currency").as_text());
        let rows: Vec<String> = body.at(list).as_list().iter().map(row).collect();
        (rows.join(", "), body.at("nextAfter").as_optional_text().map(str::to_owned))
    };
    let revenue = |query: &str| page(&format!("/api/treasury/revenue?{query}"), "artists", "artistId");
    assert_eq!(revenue(""), ("B eur, B usd, a eur, a usd, a-10 eur, a-10 usd".into(), None));
    assert_eq!(revenue("limit=1&"), ("B eur, B usd".into(), Some("B".into())));
    assert_eq!(revenue("limit=3&after=B&"), ("a eur, a usd".into(), Some("a".into())));
    assert_eq!(revenue("limit=2&after=a-1&"), ("a-10 eur, a-10 usd".into(), None));
    let events = |query: &str| page(&format!("/api/treasury/artists/a/events?{query}"), "events", "eventId");
    assert_eq!(events(""), ("e10 eur, e10 usd, e9 eur, e9 usd".into(), None));
    assert_eq!(events("limit=3&"), ("e10 eur, e10 usd".into(), Some("e10".into())));
    assert_eq!(events("after=e10&"), ("e9 eur, e9 usd".into(), None));
}

#[test]
fn a_fan_is_told_with_all_it_did() {
    let daemon = daemon();
    let genres = object([("artistId", text("a")), ("artistName", text("ABBA")), ("genres", texts(&["pop", "disco"]))]);
    let play = |more: Json| {
        let fields = object([("trackId", text("t")), ("artistId", text("a"))]);
        more.members().iter().fold(fields, |fields, (name, value)| fields.with(name, value.clone()))
    };
    let next_day = "2026-02-28T00:00:00Z";
    let vote =
        object([("artistId", text("b")), ("eventId", text("e")), ("weight", Json::parse("2.5").expect("a number"))]);
    let events = [
        event("crew", "artist.profile_updated", AT, genres),
        event("fan", "player.track_played", AT, play(object([("city", text(" turin "))]))),
        event("fan", "player.track_played", next_day, play(object([("genre", text("folk")), ("city", text("Turin"))]))),
        event("fan", "player.track_played", next_day, play(object([("durationSeconds", number(29))]))),
        event("fan", "coliseum.vote_cast", next_day, vote),
        money("money_refunded", 40, "a", object([])),
    ];
    let seq = events.iter().map(|event| stored(&daemon, event)).last().expect("some");
    let answer = daemon.client.get(&format!("/api/mediaid/users/fan?minSeq={seq}"));
    assert_eq!(answer.header("coliseum-applied-seq"), Some(seq.to_string().as_str()));
    let expected = format!(
        concat!(
            r#"{{"userId":"fan","appliedSeq":{seq},"firstSeenAt":"{first}","lastSeenAt":"{last}","#,
            r#""activeDays":2,"streakDays":2,"metrics":{{"money_spent:usd":{{"count":1,"sum":-40}},"#,
            r#""votes_cast":{{"count":1,"sum":2.5}},"tracks_played":{{"count":3,"sum":3}}}},"#,
            r#""topArtists":[{{"artistId":"a","artistName":"ABBA","plays":2}}],"#,
            r#""topGenres":[{{"genre":"folk","plays":1.0}},{{"genre":"disco","plays":0.5}},{{"genre":"pop","plays":0.5}}],"#,
            r#""cities":[{{"city":"turin","count":2}}]}}"#
        ),
        seq = seq,
        first = AT,
        last = next_day
    );
    assert_eq!(answer.expect(200).render(), expected);
}

#[test]
fn who_was_never_named_is_not_found_and_what_makes_no_sense_is_refused() {
    let daemon = daemon();
    let seq = stored(&daemon, &money("money_spent", 5, "a", object([])));
    for path in ["/api/treasury/artists/nobody", "/api/treasury/artists/nobody/events", "/api/mediaid/users/nobody"] {
        let problem = daemon.client.get(&format!("{path}?minSeq={seq}")).problem(404, &["not-found"]);
        assert!(problem.at("detail").as_text().contains("`nobody`"), "{}", problem.render());
    }
    for (path, name) in [
        ("/api/treasury/revenue?limit=0", "limit"),
        ("/api/treasury/revenue?limit=1001", "limit"),
        ("/api/treasury/revenue?after=", "after"),
        ("/api/treasury/artists/a/events?limit=x", "limit"),
        ("/api/treasury/artists/a?colour=red", "colour"),
        ("/api/mediaid/users/fan?limit=1", "limit"),
        ("/api/mediaid/users/fan?minSeq=one", "minSeq"),
    ] {
        let problem = daemon.client.get(path).problem(400, &["invalid-query"]);
        assert!(problem.at("detail").as_text().contains(&format!("`{name}`")), "{path}: {}", problem.render());
    }
    for path in ["/api/treasury/revenue", "/api/treasury/artists/a", "/api/mediaid/users/fan"] {
        let answer = daemon.client.get(&format!("{path}?minSeq={}", seq + 1000));
        answer.problem(503, &["not-yet-applied"]);
        assert!(answer.header("retry-after").is_some(), "{path}");
    }
    daemon.assert_works_after(seq, "views that do not exist");
}

#[test]
fn every_consumer_is_listed_and_has_processed_what_it_holds() {
    let daemon = daemon();
    let seq = stored(&daemon, &money("money_spent", 5, "a", object([])));
    let entry = daemon.client.get(&format!("/api/passport/entries/{seq}?minSeq={seq}")).expect(200);
    assert_eq!(entry.at("processedBy").render(), r#"{"mediaid":true,"treasury":true,"coliseum":true}"#);
    let body = daemon.client.get("/api/passport/consumers").expect(200);
    let names: Vec<&str> =
        body.at("consumers").as_list().iter().map(|consumer| consumer.at("name").as_text()).collect();
    assert_eq!(names, ["coliseum", "treasury", "mediaid"]);
}
