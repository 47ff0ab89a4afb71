//! The treasury views.

use super::model::analytics::PerFan;
use super::model::json::{Json, number, object, text, texts};
use super::model::time::DAY;
use super::model::treasury::Revenue;
use super::{at_now, model_of, now};

const SPENT: &str = "treasury.money_spent";
const REFUNDED: &str = "treasury.money_refunded";
const EARNED: &str = "treasury.money_earned";
const REVERSED: &str = "treasury.earning_reversed";

fn money(cents: i64) -> Json {
    object([("artistId", text("a")), ("amountCents", number(cents))])
}

#[test]
fn a_row_per_currency_sums_by_type_and_role() {
    let role = |cents, role: &str| money(cents).with("role", text(role));
    let model = model_of(&[
        ("u1", SPENT, now() - 3 * DAY, money(1000)),
        ("u1", REFUNDED, now() - 2 * DAY, money(300)),
        ("u1", EARNED, now() - 9 * DAY, role(70, "artist")),
        ("u1", REVERSED, now(), role(90, "artist")),
        ("u1", EARNED, now(), money(50)),
        ("u1", REVERSED, now(), role(20, "platform")),
        ("u1", EARNED, now(), role(7, "venue")),
        ("u1", SPENT, now(), money(11).with("currency", text("eur"))),
        ("u1", SPENT, now(), object([("eventId", text("e")), ("amountCents", number(1))])),
    ]);
    let euros = Revenue {
        artist: "a".to_owned(),
        event: None,
        currency: "eur".to_owned(),
        gross_cents: 11,
        refunded_cents: 0,
        earned_cents: 0,
        reversed_cents: 0,
        net_cents: 0,
        platform_cents: 0,
        transactions: 1,
        first_at: now(),
        last_at: now(),
    };
    let dollars = Revenue {
        currency: "usd".to_owned(),
        gross_cents: 1000,
        refunded_cents: 300,
        earned_cents: 70,
        reversed_cents: 90,
        net_cents: -20,
        platform_cents: 30,
        transactions: 7,
        first_at: now() - 9 * DAY,
        ..euros.clone()
    };
    assert_eq!(at_now(&model).artist_revenue("a"), [euros.clone(), dollars.clone()]);
    assert_eq!(at_now(&model).revenue(), [euros, dollars]);
}

#[test]
fn an_artist_s_events_have_a_row_per_currency_and_money_without_an_event_has_none() {
    let at = |event: &str, cents| money(cents).with("eventId", text(event));
    let model = model_of(&[
        ("u1", SPENT, now(), at("f", 5)),
        ("u1", SPENT, now(), at("e", 7).with("currency", text("usd"))),
        ("u1", REFUNDED, now(), at("e", 9).with("currency", text("eur"))),
        ("u1", EARNED, now(), at("e", 4)),
        ("u1", SPENT, now(), money(1)),
    ]);
    let rows = at_now(&model).event_revenue("a").into_iter();
    let rows: Vec<_> =
        rows.map(|r| (r.event.unwrap(), r.currency, r.gross_cents, r.refunded_cents, r.transactions)).collect();
    let wanted = [("e", "eur", 0, 9, 1), ("e", "usd", 7, 0, 2), ("f", "usd", 5, 0, 1)];
    assert_eq!(rows, wanted.map(|(e, c, gross, refunded, n)| (e.to_owned(), c.to_owned(), gross, refunded, n)));
}

#[test]
fn revenue_per_fan_is_of_all_time_and_counts_who_came_before_the_line_up() {
    let here = object([("eventId", text("e")), ("city", text(""))]);
    let model = model_of(&[
        ("u1", "concierto.event_attended", now() - 999 * DAY, here.clone()),
        ("u2", "concierto.event_attended", now() - 999 * DAY, here),
        ("u2", SPENT, now(), money(500)),
        ("u3", SPENT, now(), money(100)),
        ("u3", REFUNDED, now(), money(900)),
        ("u4", "concierto.event_scheduled", now(), object([("eventId", text("e")), ("artistIds", texts(&["a"]))])),
    ]);
    let wanted = PerFan {
        revenue_cents: -300,
        fans: 3,
        paying_fans: 2,
        cents_per_fan: Some(-100.0),
        cents_per_paying_fan: Some(-150.0),
    };
    assert_eq!(at_now(&model).revenue_per_fan("a"), wanted);
}
