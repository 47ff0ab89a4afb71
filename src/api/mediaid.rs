//! The profiles of fans.

use super::Api;
use crate::http::Ask;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Route};
use crate::mediaid::MediaId;
use crate::problem::{Problem, Slug};
use crate::projection::Projection as _;
use crate::read::mediaid;

pub(super) const OF_MEDIAID: &[&str] = &[MediaId::NAME];

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/mediaid/users/{userId}",
            "fan",
            "A fan's profile: metrics of all time, active days, top artists and genres, cities.",
            Handler::Blocking(fan),
        )
        .derived_of(OF_MEDIAID)
        .gives(&[(200, JSON, "Fan")]),
    ]
}

/// `GET /api/mediaid/users/{userId}`
fn fan(api: &Api, ask: &Ask<'_>) -> Answer {
    let user_id = ask.path("userId");
    let view = api.mediaid.view();
    let body = mediaid::fan(&view, &user_id)?.ok_or_else(|| {
        let shown: String = user_id.chars().take(200).collect();
        Problem::new(Slug::NotFound, format!("No event has a user `{shown}`."))
    })?;
    Ok(reply::applied(reply::json(body), view.applied()))
}
