//! One artist: its profile and where it stands on the twelve boards.

use super::json::Json;
use crate::coliseum::View;
use crate::units::{Domain, Window};

/// The artist as JSON; `None` where the log has never named it.
pub fn artist(view: &View, artist_id: &str) -> Option<Vec<u8>> {
    let artist = view.artist(artist_id)?;
    let card = view.card(artist);
    let mut json = Json::with_capacity(2048);
    json.object(|json| {
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
                        });
                    }
                });
            }
        });
    });
    Some(json.into_bytes())
}
