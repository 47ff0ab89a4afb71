//! The functions of an artist over some days, and its DNA.

use super::ask::{Ask, assert_near, assert_near_rows, cities_of, whole};
use crate::model::analytics::{Analytics, BASE_CURRENCY, PerFan};
use crate::model::boards::{DOMAINS, WINDOWS};
use crate::model::json::Json;

/// What `days` may say; none where nothing is said, which is 30.
const DAYS: [Option<&str>; 8] =
    [None, Some("1"), Some("2"), Some("7"), Some("30"), Some("31"), Some("365"), Some("alltime")];

pub fn artists(ask: &Ask) {
    for artist in ask.moment.known("artist") {
        for days in ask.some_of(3, DAYS.to_vec()) {
            let path = format!("/api/coliseum/artists/{artist}/analytics{}", parameter(days));
            let body = ask.at_minute(&path);
            assert_eq!(body.at("artistId").as_text(), artist, "{path}");
            assert_functions(ask, &body, &artist, days, &path);
        }
        for days in ask.some_of(DAYS.len(), DAYS.to_vec()) {
            dna(ask, &artist, days);
        }
    }
    ask.is_not_found("/api/coliseum/artists/nobody/analytics");
    ask.is_not_found("/api/coliseum/artists/nobody/dna");
}

fn parameter(days: Option<&str>) -> String {
    days.map_or(String::new(), |days| format!("?days={days}"))
}

fn assert_functions(ask: &Ask, body: &Json, artist: &str, days: Option<&str>, path: &str) {
    let days = days.unwrap_or("30");
    let wanted: Analytics = ask.moment.analytics(artist, days.parse().ok());
    match body.at("days") {
        Json::Text(shown) => assert_eq!((shown.as_str(), days), ("alltime", "alltime"), "{path}"),
        shown => assert_eq!(shown.as_integer().to_string(), days, "{path}"),
    }
    assert_eq!(body.at("fans").as_integer(), wanted.per_fan.fans, "fans in {path}");
    let diversity = body.at("genreDiversity");
    assert_near(diversity.at("score"), wanted.genre_score, &format!("score in {path}"));
    assert_near(diversity.at("effectiveGenres"), wanted.effective_genres, &format!("effectiveGenres in {path}"));
    assert_near_rows(diversity.at("shares"), ["genre", "share"], &wanted.genre_shares, path);

    let repeat = body.at("repeatEngagementRate");
    assert_near(repeat.at("rate"), wanted.repeat_rate, &format!("rate in {path}"));
    let counts = [repeat.at("repeatFans").as_integer(), repeat.at("fans").as_integer()];
    assert_eq!(counts, [wanted.repeat_fans, wanted.per_fan.fans], "{path}");

    assert_per_fan(body.at("revenuePerFan"), &wanted.per_fan, path);

    let reach = body.at("geographicReach");
    assert_eq!(reach.at("cities").as_integer(), wanted.cities, "cities in {path}");
    assert_near(reach.at("effectiveCities"), wanted.effective_cities, &format!("effectiveCities in {path}"));
    assert_eq!(cities_of(reach.at("top")), wanted.top_cities, "{path}");
}

/// Revenue by fan, which the treasury shows too.
pub fn assert_per_fan(found: &Json, wanted: &PerFan, what: &str) {
    assert_eq!(found.at("currency").as_text(), BASE_CURRENCY, "{what}");
    assert_eq!(whole(found.at("revenueCents")), i128::from(wanted.revenue_cents), "revenueCents in {what}");
    let counts = [found.at("fans").as_integer(), found.at("payingFans").as_integer()];
    assert_eq!(counts, [wanted.fans, wanted.paying_fans], "fans and payingFans in {what}");
    assert_near(found.at("revenuePerFanCents"), wanted.cents_per_fan, &format!("revenuePerFanCents in {what}"));
    assert_near(
        found.at("revenuePerPayingFanCents"),
        wanted.cents_per_paying_fan,
        &format!("revenuePerPayingFanCents in {what}"),
    );
}

fn dna(ask: &Ask, artist: &str, days: Option<&str>) {
    let path = format!("/api/coliseum/artists/{artist}/dna{}", parameter(days));
    let body = ask.at_minute(&path);
    let profile = ask.moment.model.profile(artist, ask.head());
    assert_eq!(body.at("artistId").as_text(), artist);
    assert_eq!(body.at("artistName").as_optional_text(), profile.name.as_deref(), "{path}");
    assert_eq!(body.at("homeCity").as_optional_text(), profile.home_city.as_deref(), "{path}");
    let genres = if body.present("genres").is_some() { body.texts_of("genres") } else { Vec::new() };
    assert_eq!(genres, profile.genres, "{path}");
    let dominant = ask.moment.dominant_domain(artist).map(String::from);
    assert_eq!(body.at("dominantDomain").as_optional_text(), dominant.as_deref(), "{path}");
    for domain in DOMAINS {
        for window in WINDOWS {
            let wanted = ask.moment.strength(artist, domain, window);
            let cell = body.at(&format!("domains.{domain}.{window}"));
            let what = format!("{domain} {window} in {path}");
            assert_eq!(cell.at("score").as_decimal().exact_micro(), wanted.score, "score of {what}");
            let optional = |key: &str| cell.at(key).as_optional_integer();
            assert_eq!([optional("position"), optional("rank")], [wanted.position, wanted.rank], "{what}");
            assert_eq!(cell.at("total").as_integer(), wanted.total, "total of {what}");
            assert_near(cell.at("share"), wanted.share, &format!("share of {what}"));
            assert_near(cell.at("percentile"), wanted.percentile, &format!("percentile of {what}"));
            let previous = cell.present("previousScore").map(|score| score.as_decimal().exact_micro());
            assert_eq!(previous, wanted.previous_score, "previousScore of {what}");
        }
    }
    assert_functions(ask, body.at("analytics"), artist, days, &path);
}
