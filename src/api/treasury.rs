//! The treasury: the money of all artists, of one, and of its events.

use super::{Api, unknown_artist};
use crate::http::Ask;
use crate::http::query::LIMIT;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Kind, Param, Route};
use crate::limits::{ID_BYTES_MAX, LIST_LIMIT_DEFAULT};
use crate::projection::Projection as _;
use crate::read::treasury;
use crate::treasury::Treasury;

pub(super) const OF_TREASURY: &[&str] = &[Treasury::NAME];

const REVENUE: &[Param] = &[
    LIMIT,
    Param::new(
        "after",
        Kind::Text(ID_BYTES_MAX),
        "An artist's id: only artists behind it, `nextAfter` of the page before.",
    ),
];
const EVENTS: &[Param] = &[
    LIMIT,
    Param::new(
        "after",
        Kind::Text(ID_BYTES_MAX),
        "An event's id: only events behind it, `nextAfter` of the page before.",
    ),
];

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/treasury/revenue",
            "revenue",
            "The money of all artists, by artist and currency; the rows of one artist stay together.",
            Handler::Read(revenue),
        )
        .params(REVENUE)
        .derived_of(OF_TREASURY)
        .gives(&[(200, JSON, "RevenueList")]),
        Route::get(
            "/api/treasury/artists/{artistId}",
            "artistRevenue",
            "An artist's money by currency, and what it brings by fan.",
            Handler::Blocking(artist),
        )
        .derived_of(OF_TREASURY)
        .gives(&[(200, JSON, "ArtistRevenue")]),
        Route::get(
            "/api/treasury/artists/{artistId}/events",
            "eventRevenue",
            "An artist's money by event and currency; the rows of one event stay together.",
            Handler::Blocking(events),
        )
        .params(EVENTS)
        .derived_of(OF_TREASURY)
        .gives(&[(200, JSON, "EventRevenueList")]),
    ]
}

/// The parameters of a list.
fn page<'q>(ask: &'q Ask<'_>) -> (Option<&'q str>, usize) {
    let limit = ask.query.number("limit").map_or(LIST_LIMIT_DEFAULT, |limit| limit as usize);
    (ask.query.text("after"), limit)
}

/// `GET /api/treasury/revenue`
fn revenue(api: &Api, ask: &Ask<'_>) -> Answer {
    let view = api.treasury.load();
    let (after, limit) = page(ask);
    Ok(reply::applied(reply::json(treasury::revenue(&view, after, limit)), view.applied()))
}

/// `GET /api/treasury/artists/{artistId}`
fn artist(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let view = api.treasury.view();
    let body = treasury::artist(&view, &artist_id)?.ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

/// `GET /api/treasury/artists/{artistId}/events`
fn events(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let view = api.treasury.view();
    let (after, limit) = page(ask);
    let body = treasury::events(&view, &artist_id, after, limit)?.ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}
