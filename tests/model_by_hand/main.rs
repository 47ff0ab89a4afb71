//! The model itself against examples that were worked out by hand from SPEC.

mod analytics;
mod dna;
mod fans;
mod metrics;
#[path = "../model/mod.rs"]
mod model;
mod money;

use model::decimal::Decimal;
use model::json::{Json, number, object, text, texts};
use model::moment::Moment;
use model::time::{self, DAY, MINUTE, minute_of};
use model::{Model, Outcome};

const NOW: &str = "2026-03-01T12:00:30Z";

fn now() -> i64 {
    time::parse(NOW).unwrap()
}

fn event<const N: usize>(key: &str, kind: &str, at: i64, more: [(&str, Json); N]) -> Json {
    let event = object([
        ("messageId", text(key)),
        ("type", text(kind)),
        ("userId", text("u1")),
        ("at", text(time::format(at))),
    ]);
    more.into_iter().fold(event, |event, (name, value)| event.with(name, value))
}

/// A model of these events: who, what, when, and its fields.
fn model_of(events: &[(&str, &str, i64, Json)]) -> Model {
    let mut model = Model::new(&[]);
    for (index, (user, kind, at, more)) in events.iter().enumerate() {
        let plain = event(&format!("k{index}"), kind, *at, []).with("userId", text(*user));
        let whole = more.members().iter().fold(plain, |event, (name, value)| event.with(name, value.clone()));
        store(&mut model, &whole);
    }
    model
}

/// What the model answers at [`NOW`].
fn at_now(model: &Model) -> Moment<'_> {
    Moment::of(model, minute_of(now()))
}

fn store(model: &mut Model, event: &Json) -> u64 {
    match model.accept(event, None, None, now()) {
        Outcome::Stored { seq } => seq,
        other => panic!("{other:?}"),
    }
}

/// `artist domain base x multiplier = effective` of every mutation, in order.
fn deltas(model: &Model) -> Vec<(String, char, i128)> {
    model.mutations().into_iter().map(|m| (m.artist, m.domain, m.effective)).collect()
}

#[test]
fn a_vip_attendance_gives_fifteen_points_of_space_and_four_and_a_half_of_behavior() {
    let mut model = Model::new(&[]);
    let more = [("eventId", text("e")), ("city", text("Oslo")), ("ticketTier", text("vip")), ("artistId", text("a"))];
    store(&mut model, &event("k", "concierto.event_attended", now(), more));
    assert_eq!(deltas(&model), [("a".into(), 'T', 4_500_000), ("a".into(), 'C', 15_000_000)]);
}

#[test]
fn a_vote_of_weight_two_and_a_half_gives_five_points_of_culture_and_one_of_behavior() {
    let mut model = Model::new(&[]);
    let more = [("artistId", text("a")), ("eventId", text("e")), ("weight", number("2.5"))];
    store(&mut model, &event("k", "coliseum.vote_cast", now(), more));
    assert_eq!(deltas(&model), [("a".into(), 'A', 5_000_000), ("a".into(), 'T', 1_000_000)]);
}

#[test]
fn money_is_converted_exactly_and_without_a_rate_scores_nothing() {
    let mut model = Model::new(&[("eur", "1.08")]);
    let spent = |key, currency: &str, cents: &str| {
        let more = [("artistId", text("a")), ("amountCents", number(cents)), ("currency", text(currency))];
        event(key, "treasury.money_spent", now(), more)
    };
    store(&mut model, &spent("k1", "eur", "1234"));
    store(&mut model, &spent("k2", "sek", "1234"));
    assert_eq!(deltas(&model), [("a".into(), 'G', 13_327_200)]);
}

#[test]
fn a_product_is_rounded_once_half_to_even() {
    for (digits, micro) in [
        ("0.0000005", 0),
        ("0.0000015", 2),
        ("0.0000025", 2),
        ("0.00000250001", 3),
        ("-0.0000005", 0),
        ("-0.0000015", -2),
        ("-0.0000025", -2),
        ("12.5e-1", 1_250_000),
    ] {
        assert_eq!(Decimal::parse(digits).unwrap().to_micro(), micro, "{digits}");
    }
}

#[test]
fn an_earning_scores_a_quarter_for_the_role_artist_only() {
    let mut model = Model::new(&[]);
    for (key, kind, role) in [
        ("k1", "treasury.money_earned", "artist"),
        ("k2", "treasury.money_earned", "venue"),
        ("k3", "treasury.earning_reversed", "artist"),
    ] {
        let more = [("artistId", text("a")), ("amountCents", number(1001)), ("role", text(role))];
        store(&mut model, &event(key, kind, now(), more));
    }
    assert_eq!(deltas(&model), [("a".into(), 'G', 2_502_500), ("a".into(), 'G', -2_502_500)]);
}

#[test]
fn a_late_line_up_credits_earlier_attendances_once_and_taking_off_only_changes_later_ones() {
    let mut model = Model::new(&[]);
    let attended =
        |key| event(key, "concierto.event_attended", now() - DAY, [("eventId", text("e")), ("city", text("Oslo"))]);
    let scheduled = |key, artists: &[&str]| {
        event(key, "concierto.event_scheduled", now(), [("eventId", text("e")), ("artistIds", texts(artists))])
    };
    store(&mut model, &attended("1"));
    store(&mut model, &scheduled("2", &["b", "a"]));
    store(&mut model, &scheduled("3", &["a"]));
    store(&mut model, &attended("4"));
    store(&mut model, &scheduled("5", &["b", "a"]));
    store(&mut model, &attended("6"));
    let made: Vec<(u64, u64, String)> =
        model.mutations().into_iter().filter(|m| m.domain == 'C').map(|m| (m.seq, m.of_seq, m.artist)).collect();
    let wanted = [(2, 1, "b"), (2, 1, "a"), (4, 4, "a"), (5, 4, "b"), (6, 6, "a"), (6, 6, "b")];
    assert_eq!(made, wanted.map(|(seq, of, artist)| (seq, of, artist.to_owned())));
    assert!(
        model.mutations().iter().filter(|m| m.seq == 2).all(|m| minute_of(m.occurred_at) == minute_of(now() - DAY))
    );
}

#[test]
fn an_event_leaves_the_window_with_the_minute_and_a_tie_goes_by_artist() {
    let mut model = Model::new(&[]);
    let favorite = |key, artist, at| {
        event(key, "player.track_favorited", at, [("trackId", text("t")), ("artistId", text(artist))])
    };
    let minute = minute_of(now());
    store(&mut model, &favorite("1", "b", now() - 7 * DAY + MINUTE));
    store(&mut model, &favorite("2", "a", now() - 7 * DAY + MINUTE));
    store(&mut model, &favorite("3", "c", now() - 7 * DAY));
    store(&mut model, &favorite("4", "d", now()));
    store(&mut model, &favorite("5", "d", now()));
    let rows = |minute| {
        let rows = model.board(&model.mutations(), 'A', "7d", minute, model.head());
        rows.into_iter().map(|r| (r.position, r.rank, r.artist, r.previous_position, r.change)).collect::<Vec<_>>()
    };
    // A day before, a and b were in the window of seven days, and c too: positions 1, 2, 3.
    let wanted = [(1, 1, "d", None, None), (2, 2, "a", Some(1), Some(-1)), (3, 2, "b", Some(2), Some(-1))];
    assert_eq!(rows(minute), wanted.map(|(p, r, a, q, c)| (p, r, a.to_owned(), q, c)));
    assert_eq!(rows(minute + 1).len(), 1);
}

#[test]
fn a_repeat_is_told_from_a_conflict_by_value() {
    let mut model = Model::new(&[]);
    let vote = |weight: &str| {
        event(
            "k",
            "coliseum.vote_cast",
            now(),
            [("artistId", text("a")), ("eventId", text("e")), ("weight", number(weight))],
        )
    };
    assert_eq!(model.accept(&vote("1"), None, None, now()), Outcome::Stored { seq: 1 });
    assert_eq!(model.accept(&vote("1.0"), None, None, now()), Outcome::Duplicate { seq: 1 });
    assert_eq!(model.accept(&vote("1").with("sentAt", text(NOW)), None, None, now()), Outcome::Duplicate { seq: 1 });
    assert_eq!(model.accept(&vote("2"), None, None, now()), Outcome::Conflict { seq: 1 });
    // An event that was stored is a duplicate even when the clock has gone back behind it.
    assert_eq!(model.accept(&vote("1"), None, None, now() - DAY), Outcome::Duplicate { seq: 1 });
}

#[test]
fn the_sender_s_clock_is_corrected_before_the_future_is_judged() {
    let mut model = Model::new(&[]);
    let ahead =
        |key, by: i64| event(key, "coliseum.vote_cast", now() + by, [("artistId", text("a")), ("eventId", text("e"))]);
    assert_eq!(model.accept(&ahead("1", 5 * MINUTE), None, None, now()), Outcome::Stored { seq: 1 });
    let rejected = Outcome::Rejected { status: 422, slug: "at-in-future", pointer: "/at".into() };
    assert_eq!(model.accept(&ahead("2", 5 * MINUTE + 1), None, None, now()), rejected);
    let fast_clock = ahead("3", DAY).with("sentAt", text(time::format(now() + DAY + MINUTE)));
    assert_eq!(model.accept(&fast_clock, None, None, now()), Outcome::Stored { seq: 2 });
    assert_eq!(model.entry(2).at, now() - MINUTE);
}

#[test]
fn an_older_client_s_play_is_read_under_today_s_names() {
    let mut model = Model::new(&[]);
    let data = object([("content_id", text("t")), ("artist_id", text("a")), ("duration_seconds", number(30))]);
    let play = object([
        ("eventType", text("audio_play")),
        ("userId", text("u")),
        ("at", text(NOW)),
        ("messageId", text("k")),
        ("eventData", data),
    ]);
    store(&mut model, &play);
    assert_eq!(model.entry(1).kind, "player.track_played");
    assert_eq!(model.entry(1).entity(), Some(("track", "t")));
    assert_eq!(deltas(&model), [("a".into(), 'A', 500_000), ("a".into(), 'T', 1_000_000)]);
}

#[test]
fn times_are_read_with_offsets_and_before_1970() {
    for (given, shown) in [
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
        ("1956-05-24T21:00:00.5+02:00", "1956-05-24T19:00:00.500000Z"),
        ("2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00.000000Z"),
        ("1900-12-31T00:00:00Z", "1900-12-31T00:00:00.000000Z"),
        ("2000-01-01T00:00:00.1234567Z", "2000-01-01T00:00:00.123456Z"),
    ] {
        assert_eq!(time::format(time::parse(given).unwrap()), shown);
    }
    for bad in ["2023-02-29T00:00:00Z", "2024-01-01", "2024-01-01T00:00:00", "2024-13-01T00:00:00Z", "now"] {
        assert_eq!(time::parse(bad), None, "{bad}");
    }
}

#[test]
fn json_keeps_its_spelling_and_compares_by_value() {
    let one = Json::parse(r#" {"a": 1.50, "b":[true,null,"\u00e9\n\ud83c\udf9b"]} "#).unwrap();
    let two = Json::parse(r#"{"b":[true,null,"é\u000a🎛"],"a":15e-1}"#).unwrap();
    assert_eq!(one, two);
    assert_eq!(one.render(), r#"{"a":1.50,"b":[true,null,"é\u000a🎛"]}"#);
    assert_ne!(one, two.with("a", number("1.5000001")));
}
