//! One artist: its profile and where it stands on the twelve boards.

use super::ReadFailure;
use super::analytics::{Strength, dominant_domain, previous, strength, write_analytics};
use super::json::Json;
use crate::coliseum::metrics::Days;
use crate::coliseum::{ArtistNo, View};
use crate::units::{Domain, Window};

/// The artist as JSON; `None` where the log has never named it.
pub fn artist(view: &View, artist_id: &str) -> Option<Vec<u8>> {
    let artist = view.artist(artist_id)?;
    let mut json = Json::with_capacity(2048);
    json.object(|json| write_artist(json, view, artist, &mut |_, _, _| {}));
    Some(json.into_bytes())
}

/// The artist with its strengths compared, and the analytics functions over `days`; `None` as [`artist`].
pub fn dna(view: &View, artist_id: &str, days: Days) -> Result<Option<Vec<u8>>, ReadFailure> {
    let Some(artist) = view.artist(artist_id) else { return Ok(None) };
    let previous = previous(view, artist)?;
    let found = view.metrics().analytics(artist.get(), view.card(artist), days)?;
    let mut json = Json::with_capacity(4096);
    json.object(|json| {
        write_artist(json, view, artist, &mut |json, domain, window| {
            let Strength { share, percentile, previous, .. } = strength(view, artist, domain, window, &previous);
            json.float("share", share);
            json.float("percentile", percentile);
            match previous {
                Some(previous) => json.score("previousScore", previous),
                None => json.null("previousScore"),
            }
        });
        json.optional_string("dominantDomain", dominant_domain(view, artist).map(Domain::upper));
        json.object_field("analytics", |json| write_analytics(json, view, artist, days, &found));
    });
    Ok(Some(json.into_bytes()))
}

/// The fields of the shape `artist`; `more` adds to each domain and window.
fn write_artist(json: &mut Json, view: &View, artist: ArtistNo, more: &mut impl FnMut(&mut Json, Domain, Window)) {
    let card = view.card(artist);
    json.string("artistId", &card.id);
    json.optional_string("artistName", card.name.as_deref());
    json.array_field("genres", |json| card.genres.iter().for_each(|genre| json.string_element(genre)));
    json.optional_string("homeCity", card.home_city.as_deref());
    json.time("asOf", view.as_of());
    json.number("appliedSeq", view.applied().get());
    json.object_field("domains", |json| {
        for domain in Domain::ALL {
            json.object_field(domain.upper(), |json| {
                for window in Window::ALL {
                    let board = view.board(domain, window);
                    let standing = board.standing_of(artist);
                    json.object_field(window.name(), |json| {
                        json.score("score", view.score(artist, domain, window));
                        json.optional_number("position", standing.map(|standing| standing.position));
                        json.optional_number("rank", standing.map(|standing| standing.rank));
                        json.number("total", board.total());
                        more(json, domain, window);
                    });
                }
            });
        }
    });
}
