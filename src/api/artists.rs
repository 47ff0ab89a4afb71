//! One artist.

use super::{Api, OF_COLISEUM, unknown_artist};
use crate::http::Ask;
use crate::http::query::LIMIT;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Kind, Param, Route};
use crate::limits::LIST_LIMIT_DEFAULT;
use crate::read::artists;
use crate::units::Seq;

const MUTATIONS: &[Param] = &[
    LIMIT,
    Param::new("before", Kind::Number(1, u64::MAX), "Only what was caused by entries before this seq: `nextBefore`."),
];

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/coliseum/artists/{artistId}",
            "artist",
            "An artist's profile and its place on the twelve boards.",
            Handler::Read(artist),
        )
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Artist")]),
        Route::get(
            "/api/coliseum/artists/{artistId}/mutations",
            "mutations",
            "An artist's mutations, newest first; all of one seq together.",
            Handler::Blocking(mutations),
        )
        .params(MUTATIONS)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Mutations")]),
    ]
}

/// `GET /api/coliseum/artists/{artistId}`
fn artist(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let view = api.view();
    let body = artists::artist(&view, &artist_id).ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

/// `GET /api/coliseum/artists/{artistId}/mutations`
fn mutations(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let limit = ask.query.number("limit").map_or(LIST_LIMIT_DEFAULT, |limit| limit as usize);
    let before = ask.query.number("before").map(Seq::new);
    let view = api.coliseum.view();
    let body = api.reader().mutations(&artist_id, before, limit, &view)?;
    let body = body.ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}
