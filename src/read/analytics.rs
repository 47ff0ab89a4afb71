//! The analytics functions of an artist, and its DNA, as JSON.

use super::ReadFailure;
use super::json::Json;
use crate::coliseum::metrics::{Analytics, Days};
use crate::coliseum::{ArtistNo, View};
use crate::units::{Domain, MicroPoints, Window};

impl Days {
    /// As answers write it: a number, or `"alltime"`.
    pub(crate) fn write(self, json: &mut Json, name: &str) {
        match self {
            Days::Last(days) => json.number(name, days),
            Days::AllTime => json.string(name, "alltime"),
        }
    }
}

/// The four functions over the last days; `None` where the log has never named the artist.
pub fn analytics(view: &View, artist_id: &str, days: Days) -> Result<Option<Vec<u8>>, ReadFailure> {
    let Some(artist) = view.artist(artist_id) else { return Ok(None) };
    let found = view.metrics().analytics(artist.get(), view.card(artist), days)?;
    let mut json = Json::with_capacity(1024);
    json.object(|json| write_analytics(json, view, artist, days, &found));
    Ok(Some(json.into_bytes()))
}

/// The fields of the shape `analytics`.
pub fn write_analytics(json: &mut Json, view: &View, artist: ArtistNo, days: Days, found: &Analytics) {
    json.string("artistId", &view.card(artist).id);
    days.write(json, "days");
    json.time("asOf", view.as_of());
    json.number("appliedSeq", view.applied().get());
    write_functions(json, view.metrics().base_currency(), found);
}

/// What the four functions found.
pub fn write_functions(json: &mut Json, base_currency: &str, found: &Analytics) {
    json.number("fans", found.fans);
    json.object_field("genreDiversity", |json| {
        json.float("score", found.genre_diversity());
        json.float("effectiveGenres", found.effective_genres());
        json.array_field("shares", |json| {
            for share in &found.genres {
                json.object(|json| {
                    json.string("genre", &share.genre);
                    json.float("share", Some(share.share));
                });
            }
        });
    });
    json.object_field("repeatEngagementRate", |json| {
        json.float("rate", found.repeat_rate());
        json.number("repeatFans", found.repeat_fans);
        json.number("fans", found.fans);
    });
    json.object_field("revenuePerFan", |json| {
        json.string("currency", base_currency);
        json.number("revenueCents", found.revenue_cents);
        json.number("fans", found.fans);
        json.number("payingFans", found.paying_fans);
        json.float("revenuePerFanCents", found.revenue_per_fan());
        json.float("revenuePerPayingFanCents", found.revenue_per_paying_fan());
    });
    json.object_field("geographicReach", |json| {
        json.number("cities", found.reach.cities);
        json.float("effectiveCities", found.reach.effective_cities);
        json.array_field("top", |json| {
            for (city, count) in &found.reach.top {
                json.object(|json| {
                    json.string("city", city);
                    json.number("count", *count);
                });
            }
        });
    });
}

/// How strong an artist is in a domain and window, beside its place on the board.
pub struct Strength {
    pub score: MicroPoints,
    /// Of the positive strengths of the four domains; `None` where there is none.
    pub share: Option<f64>,
    /// Of the artists on the board, in percent, those whose score is not higher. `None` off the board.
    pub percentile: Option<f64>,
    /// In the window of the same length before this one; `None` for all time.
    pub previous: Option<MicroPoints>,
}

/// What an artist had in the windows before these, by window and domain in their order.
pub type Previous = [Option<[MicroPoints; 4]>; 3];

/// Reads the rows of two windows.
pub fn previous(view: &View, artist: ArtistNo) -> Result<Previous, ReadFailure> {
    let now = view.minute().get();
    let mut previous = [None; 3];
    for window in Window::ALL {
        if let Some(minutes) = window.minutes() {
            let points = view.metrics().points(artist.get(), now - 2 * minutes, now - minutes)?;
            previous[window.index()] = Some(points.map(MicroPoints::new));
        }
    }
    Ok(previous)
}

/// Of one artist.
pub fn strength(view: &View, artist: ArtistNo, domain: Domain, window: Window, previous: &Previous) -> Strength {
    let positive = |domain: Domain| view.score(artist, domain, window).get().max(0);
    let all: i128 = Domain::ALL.into_iter().map(positive).sum();
    let board = view.board(domain, window);
    Strength {
        score: view.score(artist, domain, window),
        share: (all > 0).then(|| positive(domain) as f64 / all as f64),
        percentile: board.standing_of(artist).map(|standing| {
            let at_most = board.total() as u64 - (standing.rank - 1);
            100.0 * at_most as f64 / board.total() as f64
        }),
        previous: previous[window.index()].map(|points| points[domain.index()]),
    }
}

/// The strongest domain of all time, the first of equals; `None` if none is positive.
pub fn dominant_domain(view: &View, artist: ArtistNo) -> Option<Domain> {
    let score = |domain: &Domain| view.score(artist, *domain, Window::AllTime).get();
    // The last of equals is the largest to `max_by_key`.
    Domain::ALL.into_iter().rev().filter(|domain| score(domain) > 0).max_by_key(score)
}
