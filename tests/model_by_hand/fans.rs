//! Fan profiles and entitlements.

use super::model::entitlements::Entitlement;
use super::model::fraction::Fraction;
use super::model::json::{Json, number, object, text, texts};
use super::model::metrics::Total;
use super::model::time::{self, DAY};
use super::{at_now, model_of, now};

const PLAYED: &str = "player.track_played";
const ENTITLED: &str = "coliseum.entitlement_changed";

fn play(artist: &str) -> Json {
    object([("trackId", text("t")), ("artistId", text(artist))])
}

#[test]
fn a_streak_ends_at_the_last_active_day_and_any_entry_makes_a_day_active() {
    let midnight = now() - now().rem_euclid(DAY);
    let profile = object([("artistId", text("a")), ("artistName", text("Ann"))]);
    let model = model_of(&[
        ("u1", PLAYED, midnight - 10 * DAY, play("a")),
        ("u1", "venue.door_opened", midnight - 3 * DAY - 1, object([])),
        ("u1", "artist.profile_updated", midnight - 3 * DAY, profile),
        ("u1", PLAYED, midnight - 2 * DAY + 5, play("a")),
        ("u1", PLAYED, midnight - 2 * DAY + 7, play("a")),
        ("u2", PLAYED, midnight, play("a")),
    ]);
    let fan = at_now(&model).fan("u1").unwrap();
    // Days -10, -4, -3, -2.
    assert_eq!((fan.active_days, fan.streak_days), (4, 3));
    assert_eq!((fan.first_seen_at, fan.last_seen_at), (midnight - 10 * DAY, midnight - 2 * DAY + 7));
    assert_eq!(at_now(&model).fan("u3"), None);
}

#[test]
fn a_fan_s_artists_genres_cities_and_totals_are_of_the_fan_alone() {
    let profile = object([("artistId", text("b")), ("artistName", text("Bo")), ("genres", texts(&["x", "y", "z"]))]);
    let short = play("c").with("durationSeconds", number("29.9"));
    let model = model_of(&[
        ("u2", PLAYED, now(), play("b").with("city", text("BERGEN"))),
        ("u1", PLAYED, now(), play("b").with("city", text("bergen"))),
        ("u1", PLAYED, now(), play("b")),
        ("u1", PLAYED, now(), play("a").with("genre", text("y"))),
        ("u1", PLAYED, now(), short),
        ("u1", "treasury.money_spent", now(), object([("amountCents", number(5)), ("currency", text("eur"))])),
        ("u3", "artist.profile_updated", now(), profile),
    ]);
    let fan = at_now(&model).fan("u1").unwrap();
    assert_eq!(fan.top_artists, [("b".to_owned(), Some("Bo".to_owned()), 2), ("a".to_owned(), None, 1)]);
    let third = |n| Fraction::new(n, 3);
    let wanted = [("y", third(5)), ("x", third(2)), ("z", third(2))];
    assert_eq!(fan.top_genres, wanted.map(|(genre, plays)| (genre.to_owned(), plays)));
    assert_eq!(fan.cities, [("BERGEN".to_owned(), 1)]);
    let metrics: Vec<(String, Total)> = fan.metrics.into_iter().collect();
    let one = |key: &str, count, sum| (key.to_owned(), Total { count, sum });
    assert_eq!(metrics, [one("money_spent:eur", 1, 5), one("tracks_played", 4, 4)]);
}

#[test]
fn the_last_change_decides_and_what_it_gives_replaces_the_plan_s() {
    let plan = |plan: &str| object([("plan", text(plan))]);
    let own = plan("basic").with("domains", texts(&["C", "A"])).with("leaderboardDepth", number(7));
    let model = model_of(&[
        ("u1", ENTITLED, now(), plan("enterprise")),
        ("u2", ENTITLED, now(), plan("pro")),
        ("u2", ENTITLED, now() - 9 * DAY, own),
        ("u3", ENTITLED, now(), plan("free").with("domains", Json::Null)),
    ]);
    let moment = at_now(&model);
    let of = |user| {
        let entitlement = moment.entitlement(user, now());
        (entitlement.plan, entitlement.domains.concat(), entitlement.leaderboard_depth)
    };
    assert_eq!(of("u1"), ("enterprise".to_owned(), "ATGC".to_owned(), None));
    assert_eq!(of("u2"), ("basic".to_owned(), "AC".to_owned(), Some(7)));
    assert_eq!(of("u3"), ("free".to_owned(), "A".to_owned(), Some(10)));
    assert_eq!(of("nobody"), of("u3"));
}

#[test]
fn a_plan_ends_at_its_instant_and_takes_its_domains_with_it() {
    let ends = now() + 90_000_001;
    let change = object([
        ("plan", text("pro")),
        ("domains", texts(&["G"])),
        ("leaderboardDepth", number(3)),
        ("expiresAt", text(time::format(ends))),
    ]);
    let model = model_of(&[("u1", ENTITLED, now(), change)]);
    let moment = at_now(&model);
    let pro =
        Entitlement { plan: "pro".to_owned(), domains: vec!["G"], leaderboard_depth: Some(3), expires_at: Some(ends) };
    let free =
        Entitlement { plan: "free".to_owned(), domains: vec!["A"], leaderboard_depth: Some(10), expires_at: None };
    assert_eq!(moment.entitlement("u1", ends - 1), pro);
    assert_eq!(moment.entitlement("u1", ends), free);
}
