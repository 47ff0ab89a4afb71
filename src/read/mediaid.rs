//! The profile of a fan as JSON.

use super::ReadFailure;
use super::counts::{metric_key, write_sum};
use super::json::Json;
use crate::event::Currency;
use crate::mediaid::View;

/// What a user did so far; `None` where no entry has the user.
pub fn fan(view: &View, user_id: &str) -> Result<Option<Vec<u8>>, ReadFailure> {
    let Some(fan) = view.fan(user_id)? else { return Ok(None) };
    let mut json = Json::with_capacity(2048);
    json.object(|json| {
        json.string("userId", user_id);
        json.number("appliedSeq", view.applied().get());
        json.time("firstSeenAt", fan.first_seen_at);
        json.time("lastSeenAt", fan.last_seen_at);
        json.number("activeDays", fan.active_days);
        json.number("streakDays", fan.streak_days);
        json.object_field("metrics", |json| {
            for total in &fan.metrics {
                let currency = total.currency.as_ref().map(Currency::code);
                json.object_field(&metric_key(total.metric, currency), |json| {
                    json.number("count", total.count);
                    write_sum(json, total.metric, total.sum);
                });
            }
        });
        json.array_field("topArtists", |json| {
            for artist in &fan.top_artists {
                json.object(|json| {
                    json.string("artistId", &artist.id);
                    json.optional_string("artistName", artist.name.as_deref());
                    json.number("plays", artist.plays);
                });
            }
        });
        json.array_field("topGenres", |json| {
            for genre in &fan.top_genres {
                json.object(|json| {
                    json.string("genre", &genre.name);
                    json.float("plays", Some(genre.plays));
                });
            }
        });
        json.array_field("cities", |json| {
            for city in &fan.cities {
                json.object(|json| {
                    json.string("city", &city.name);
                    json.number("count", city.count);
                });
            }
        });
    });
    Ok(Some(json.into_bytes()))
}
