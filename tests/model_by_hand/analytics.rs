//! The four functions of one artist.

use super::model::analytics::PerFan;
use super::model::json::{Json, number, object, text, texts};
use super::model::time::DAY;
use super::{at_now, model_of, now};

const PLAYED: &str = "player.track_played";
const ATTENDED: &str = "concierto.event_attended";
const PROFILE: &str = "artist.profile_updated";

fn play(genre: Option<&str>, seconds: Option<i64>) -> Json {
    let mut play = object([("trackId", text("t")), ("artistId", text("a"))]);
    if let Some(genre) = genre {
        play = play.with("genre", text(genre));
    }
    seconds.map_or(play.clone(), |seconds| play.with("durationSeconds", number(seconds)))
}

fn profile(genres: &[&str]) -> Json {
    object([("artistId", text("a")), ("artistName", text("Ann")), ("genres", texts(genres))])
}

fn attended(city: &str, artist: &str) -> Json {
    object([("eventId", text("e")), ("city", text(city)), ("artistId", text(artist))])
}

fn is_near(found: Option<f64>, wanted: f64) -> bool {
    found.is_some_and(|found| (found - wanted).abs() < 1e-12)
}

#[test]
fn plays_are_split_over_the_profile_s_genres_as_they_are_now() {
    let model = model_of(&[
        ("u1", PROFILE, now(), profile(&["metal"])),
        ("u1", PLAYED, now(), play(Some("folk"), Some(30))),
        ("u1", PLAYED, now(), play(None, None)),
        ("u1", PLAYED, now(), play(Some("short"), Some(29))),
        ("u1", PLAYED, now() - 40 * DAY, play(Some("old"), None)),
        ("u1", PROFILE, now(), profile(&["pop", "folk"])),
    ]);
    let analytics = at_now(&model).analytics("a", Some(30));
    // folk 1 + 1/2, pop 1/2, of 2: three quarters and one.
    assert_eq!(analytics.genre_shares, [("folk".to_owned(), 0.75), ("pop".to_owned(), 0.25)]);
    assert!(is_near(analytics.genre_score, 0.375));
    // exp(-(0.75 ln 0.75 + 0.25 ln 0.25)) = 4 / 3^0.75
    assert!(is_near(analytics.effective_genres, 1.754_765_350_604_132));
    let all = at_now(&model).analytics("a", None);
    // Of 3 plays: folk 1.5, old 1, pop 0.5.
    let names: Vec<&str> = all.genre_shares.iter().map(|(genre, _)| genre.as_str()).collect();
    assert_eq!(names, ["folk", "old", "pop"]);
    assert!(is_near(all.genre_score, 1.0 - (0.25 + 1.0 / 9.0 + 1.0 / 36.0)));
}

#[test]
fn equal_shares_go_by_name_and_a_genre_that_stands_twice_weighs_twice() {
    let model = model_of(&[
        ("u1", PROFILE, now(), profile(&["b", "a", "c", "c"])),
        ("u1", PLAYED, now(), play(None, None)),
        ("u1", PLAYED, now(), play(Some("A"), None)),
    ]);
    let shares = at_now(&model).analytics("a", Some(1)).genre_shares;
    let wanted = [("A", 0.5), ("c", 0.25), ("a", 0.125), ("b", 0.125)];
    assert_eq!(shares, wanted.map(|(genre, share)| (genre.to_owned(), share)));
}

#[test]
fn plays_without_any_genre_have_no_weight() {
    let model = model_of(&[("u1", PLAYED, now(), play(None, None)), ("u1", PROFILE, now(), profile(&[]))]);
    let analytics = at_now(&model).analytics("a", None);
    assert_eq!((analytics.genre_score, analytics.effective_genres, analytics.genre_shares), (None, None, vec![]));
    assert_eq!((analytics.repeat_rate, analytics.per_fan.fans), (Some(0.0), 1));
}

#[test]
fn a_fan_repeats_on_another_day_in_utc_and_refunds_make_no_fan() {
    let midnight = now() - now().rem_euclid(DAY);
    let money = |cents: i64| object([("artistId", text("a")), ("amountCents", number(cents))]);
    let model = model_of(&[
        // Two microseconds apart, and two days.
        ("u1", PLAYED, midnight - 1, play(None, Some(1))),
        ("u1", PLAYED, midnight + 1, play(None, Some(1))),
        // Nearly a day apart, and one.
        ("u2", PLAYED, midnight - DAY, play(None, None)),
        ("u2", PLAYED, midnight - 1, play(None, None)),
        // Once in the window, once long before.
        ("u3", "treasury.money_spent", now(), money(1001)),
        ("u3", "treasury.money_spent", now() - 31 * DAY, money(1001)),
        ("u4", "treasury.money_refunded", now(), money(1)),
        ("u5", "treasury.money_spent", now(), money(10).with("currency", text("eur"))),
    ]);
    let analytics = at_now(&model).analytics("a", Some(30));
    assert_eq!((analytics.repeat_fans, analytics.repeat_rate), (1, Some(0.25)));
    let per_fan = PerFan {
        revenue_cents: 1000,
        fans: 4,
        paying_fans: 1,
        cents_per_fan: Some(250.0),
        cents_per_paying_fan: Some(1000.0),
    };
    assert_eq!(analytics.per_fan, per_fan);
    assert_eq!(at_now(&model).analytics("a", None).repeat_fans, 2);
}

#[test]
fn cities_are_trimmed_folded_and_shown_as_the_log_first_spelled_them() {
    let model = model_of(&[
        ("u1", ATTENDED, now() - 90 * DAY, attended(" OSLO\u{a0}", "other")),
        ("u1", ATTENDED, now(), attended("oslo", "a")),
        ("u2", ATTENDED, now(), attended("São Paulo", "a")),
        ("u2", PLAYED, now(), play(None, Some(1)).with("city", text("SÃO PAULO"))),
        ("u2", ATTENDED, now(), attended("  ", "a")),
        ("u2", PLAYED, now(), play(None, None).with("city", text("Åre"))),
    ]);
    let analytics = at_now(&model).analytics("a", Some(7));
    let wanted = [("São Paulo", 2), ("OSLO", 1), ("Åre", 1)];
    assert_eq!(analytics.top_cities, wanted.map(|(city, count)| (city.to_owned(), count)));
    assert_eq!(analytics.cities, 3);
    // Shares of a half and twice a quarter: exp(1.5 ln 2).
    assert!(is_near(analytics.effective_cities, 8f64.sqrt()));
}

#[test]
fn only_ten_cities_are_listed_and_all_are_counted() {
    let cities: Vec<String> = (0..12).map(|n| format!("city {n:02}")).collect();
    let events: Vec<_> = cities.iter().map(|city| ("u1", ATTENDED, now(), attended(city, "a"))).collect();
    let analytics = at_now(&model_of(&events)).analytics("a", Some(365));
    assert_eq!((analytics.cities, analytics.top_cities.len()), (12, 10));
    assert_eq!(analytics.top_cities[9].0, "city 09");
    assert!(is_near(analytics.effective_cities, 12.0));
}

#[test]
fn nothing_gives_nulls_and_no_nan() {
    let model = model_of(&[("u1", PROFILE, now(), profile(&["pop"]))]);
    let analytics = at_now(&model).analytics("a", Some(365));
    assert_eq!((analytics.genre_score, analytics.repeat_rate, analytics.effective_cities), (None, None, None));
    assert_eq!((analytics.per_fan.cents_per_fan, analytics.per_fan.cents_per_paying_fan), (None, None));
    assert_eq!((analytics.cities, analytics.repeat_fans, analytics.per_fan.revenue_cents), (0, 0, 0));
}
