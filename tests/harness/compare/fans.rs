//! The profiles of fans, and what their plans let them read.

use super::ask::{Ask, assert_near_rows, cities_of, whole};
use super::metrics::totals_of;
use super::micros_of;
use crate::model::entitlements::Entitlement;
use crate::model::fans::Fan;
use crate::model::json::Json;

pub fn profiles(ask: &Ask) {
    for user in ask.moment.known("user") {
        let path = format!("/api/mediaid/users/{user}");
        let body = ask.of_all_time(&path);
        let wanted: Fan = ask.moment.fan(&user).expect("a known user has an entry");
        assert_eq!(body.at("userId").as_text(), user);
        let seen = [micros_of(body.at("firstSeenAt")), micros_of(body.at("lastSeenAt"))];
        assert_eq!(seen, [wanted.first_seen_at, wanted.last_seen_at], "{path}");
        let days = [body.at("activeDays").as_integer(), body.at("streakDays").as_integer()];
        assert_eq!(days, [wanted.active_days, wanted.streak_days], "{path}");
        assert_eq!(totals_of(body.at("metrics")), wanted.metrics, "{path}");
        let artist = |row: &Json| {
            let name = row.at("artistName").as_optional_text().map(str::to_owned);
            (row.at("artistId").as_text().to_owned(), name, whole(row.at("plays")) as i64)
        };
        let artists: Vec<_> = body.at("topArtists").as_list().iter().map(artist).collect();
        assert_eq!(artists, wanted.top_artists, "{path}");
        let genres: Vec<(String, f64)> =
            wanted.top_genres.iter().map(|(genre, plays)| (genre.clone(), plays.to_f64())).collect();
        assert_near_rows(body.at("topGenres"), ["genre", "plays"], &genres, &path);
        assert_eq!(cities_of(body.at("cities")), wanted.cities, "{path}");
    }
    ask.is_not_found("/api/mediaid/users/nobody");
}

/// Of every user, and of one that the log has never seen.
pub fn entitlements(ask: &Ask) {
    for user in ask.moment.known("user").into_iter().chain(["nobody".to_owned()]) {
        let path = format!("/api/coliseum/entitlements/{user}");
        let body = ask.of_all_time(&path);
        let wanted: Entitlement = ask.moment.entitlement(&user, ask.now);
        assert_eq!(body.at("userId").as_text(), user);
        assert_eq!(body.at("plan").as_text(), wanted.plan, "{path}");
        assert_eq!(body.texts_of("domains"), wanted.domains, "{path}");
        let depth = body.present("leaderboardDepth").map(|depth| whole(depth) as i64);
        assert_eq!(depth, wanted.leaderboard_depth, "{path}");
        assert_eq!(body.present("expiresAt").map(micros_of), wanted.expires_at, "{path}");
    }
}
