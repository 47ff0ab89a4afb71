//! Shares, percentiles and the window before.

use super::model::json::{Json, number, object, text};
use super::model::time::{DAY, MINUTE};
use super::{at_now, model_of, now};

const VOTE: &str = "coliseum.vote_cast";

fn vote(artist: &str) -> Json {
    object([("artistId", text(artist)), ("eventId", text("e"))])
}

fn money(cents: i64) -> Json {
    object([("artistId", text("a")), ("amountCents", number(cents))])
}

#[test]
fn a_share_is_of_the_positive_strengths_and_zero_for_others() {
    let model = model_of(&[("u1", VOTE, now(), vote("a")), ("u1", "treasury.money_refunded", now(), money(500))]);
    let moment = at_now(&model);
    let share = |domain| moment.strength("a", domain, "7d").share;
    // A 2, T 1, G -5, C 0.
    assert_eq!(
        [share('A'), share('T'), share('G'), share('C')],
        [Some(2.0 / 3.0), Some(1.0 / 3.0), Some(0.0), Some(0.0)]
    );
    assert_eq!(moment.strength("a", 'G', "7d").score, -5_000_000);
    assert_eq!(moment.strength("a", 'G', "7d").percentile, Some(100.0));
    assert_eq!(moment.dominant_domain("a"), Some('A'));
}

#[test]
fn a_percentile_counts_all_with_no_more_and_is_null_off_the_board() {
    let artists = ["a", "b", "b", "c", "c", "d", "d", "d"];
    let events: Vec<_> = artists.iter().map(|artist| ("u1", VOTE, now(), vote(artist))).collect();
    let model = model_of(&events);
    let moment = at_now(&model);
    let percentile = |artist| moment.strength(artist, 'A', "30d").percentile;
    assert_eq!(
        [percentile("a"), percentile("b"), percentile("c"), percentile("d")],
        [Some(25.0), Some(75.0), Some(75.0), Some(100.0)]
    );
    let off = moment.strength("a", 'C', "30d");
    assert_eq!((off.percentile, off.position, off.rank, off.total), (None, None, None, 0));
}

#[test]
fn the_previous_score_is_of_the_window_before_to_the_minute() {
    let model = model_of(&[
        ("u1", VOTE, now() - 7 * DAY + MINUTE, vote("a")),
        ("u1", VOTE, now() - 7 * DAY, vote("a")),
        ("u1", VOTE, now() - 14 * DAY + MINUTE, vote("a")),
        ("u1", VOTE, now() - 14 * DAY, vote("a")),
    ]);
    let moment = at_now(&model);
    let scores = |window| {
        let strength = moment.strength("a", 'A', window);
        (strength.score, strength.previous_score)
    };
    assert_eq!(scores("7d"), (2_000_000, Some(4_000_000)));
    assert_eq!(scores("30d"), (8_000_000, Some(0)));
    assert_eq!(scores("alltime"), (8_000_000, None));
}

#[test]
fn the_dominant_domain_is_of_all_time_and_the_first_of_equals() {
    let earned =
        |cents: i64| ("u1", "treasury.money_earned", now() - 99 * DAY, money(cents).with("role", text("artist")));
    // A quarter of 8 dollars is 2 points, as many as the vote gives A.
    let model = model_of(&[("u1", VOTE, now(), vote("a")), earned(800)]);
    assert_eq!(at_now(&model).dominant_domain("a"), Some('A'));
    let model = model_of(&[("u1", VOTE, now(), vote("a")), earned(801)]);
    assert_eq!(at_now(&model).dominant_domain("a"), Some('G'));
    let model = model_of(&[("u1", "treasury.money_refunded", now(), money(1))]);
    assert_eq!(at_now(&model).dominant_domain("a"), None);
}
