//! What a user's plan lets the user read.

use super::{Api, OF_COLISEUM};
use crate::http::Ask;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Route};
use crate::read::entitlements;

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/coliseum/entitlements/{userId}",
            "entitlements",
            "What a user's plan gives now: the free plan where nothing gave another one, or it has ended.",
            Handler::Read(of_user),
        )
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "UserEntitlements")]),
    ]
}

/// `GET /api/coliseum/entitlements/{userId}`
fn of_user(api: &Api, ask: &Ask<'_>) -> Answer {
    let view = api.view();
    let body = entitlements::entitlements(&view, &api.plans, &ask.path("userId"), api.clock.now());
    Ok(reply::applied(reply::json(body), view.applied()))
}
