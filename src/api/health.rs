//! Whether the daemon lives, and whether it serves.

use hyper::StatusCode;

use super::Api;
use crate::http::Ask;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Route};
use crate::passport::EntrySource;
use crate::read::json::Json;

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get("/healthz", "health", "200 while the process lives.", Handler::Read(health))
            .gives(&[(200, JSON, "Health")]),
        Route::get(
            "/readyz",
            "ready",
            "200 when the log is recovered and takes writes, and the projections have caught up since the start.",
            Handler::Read(ready),
        )
        .gives(&[(200, JSON, "Health"), (503, JSON, "Health")]),
    ]
}

/// `GET /healthz`
fn health(_: &Api, _: &Ask<'_>) -> Answer {
    Ok(reply::json(&br#"{"status":"ok"}"#[..]))
}

/// `GET /readyz`
fn ready(api: &Api, _: &Ask<'_>) -> Answer {
    let read_only = api.writer.read_only();
    let ready = read_only.is_none() && api.consumers.caught_up_once();
    let scrub = api.scrub.report();
    let mut json = Json::with_capacity(256);
    json.object(|json| {
        json.string("status", if ready { "ready" } else { "not ready" });
        json.object_field("log", |json| {
            json.bool("writable", read_only.is_none());
            json.optional_string("why", read_only.as_deref());
            json.string("durability", if api.durable_answers { "sync" } else { "interval" });
            json.number("headSeq", api.log.durable().get());
        });
        json.object_field("consumers", |json| {
            for consumer in api.consumers.iter() {
                let status = consumer.status();
                json.object_field(status.name, |json| {
                    json.bool("caughtUp", consumer.caught_up_once());
                    json.string("state", &status.state);
                    json.optional_string("detail", status.detail.as_deref());
                });
            }
        });
        // Damage that the scrub found keeps nobody from being served all else.
        json.object_field("scrub", |json| {
            json.number("damaged", scrub.damaged);
            json.optional_string("first", scrub.first.as_deref());
            json.optional_string("lastComplete", scrub.last_complete.map(|at| at.to_rfc3339()).as_deref());
        });
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(reply::json_status(status, json.into_bytes()))
}
