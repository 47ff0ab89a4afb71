//! Shorthands: a `PUT` of a thing logs the event that says so.
//!
//! The body is the event's own fields; type and id come from the path, `at` is now and the user is `system` unless the
//! body says otherwise. What is stored is the event that these make together, through the same door as any other.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde_json::value::RawValue;

use super::Api;
use crate::capture::native;
use crate::http::Call;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Route};
use crate::limits::EVENT_BYTES_MAX;
use crate::problem::{Problem, Slug};
use crate::read::json::Json;

/// Who logs a profile or a line-up when nobody is named.
const SYSTEM_USER: &str = "system";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What a path stands for.
#[derive(Clone, Copy)]
struct Shorthand {
    event_type: &'static str,
    /// The event's field that the path's last segment fills, and that segment's name.
    id_field: &'static str,
}

const PROFILE: Shorthand = Shorthand { event_type: "artist.profile_updated", id_field: "artistId" };
const LINE_UP: Shorthand = Shorthand { event_type: "concierto.event_scheduled", id_field: "eventId" };
const ENTITLEMENT: Shorthand = Shorthand { event_type: "coliseum.entitlement_changed", id_field: "userId" };

pub fn routes() -> Vec<Route<Api>> {
    const RECEIPTS: &[(u16, &str, &str)] = &[(201, JSON, "Receipt"), (200, JSON, "Receipt")];
    vec![
        Route::put(
            "/api/artists/{artistId}",
            "putArtist",
            "Logs an artist.profile_updated: name, genres, home city.",
            Handler::Async(|call| Box::pin(put(call, PROFILE))),
        )
        .takes("ArtistProfile")
        .gives(RECEIPTS),
        Route::put(
            "/api/events/{eventId}",
            "putEvent",
            "Logs a concierto.event_scheduled: the line-up as it is from now on.",
            Handler::Async(|call| Box::pin(put(call, LINE_UP))),
        )
        .takes("EventSchedule")
        .gives(RECEIPTS),
        Route::put(
            "/api/coliseum/entitlements/{userId}",
            "putEntitlements",
            "Logs a coliseum.entitlement_changed: the plan of a user.",
            Handler::Async(|call| Box::pin(put(call, ENTITLEMENT))),
        )
        .takes("Entitlements")
        .gives(RECEIPTS),
    ]
}

async fn put(mut call: Call<Api>, shorthand: Shorthand) -> Answer {
    let body = call.json_body(EVENT_BYTES_MAX).await?;
    let now = call.app.clock.now().to_rfc3339();
    let event = event(shorthand, call.path(shorthand.id_field), &body, &now)?;
    let headers = call.head.headers.get_all(IDEMPOTENCY_KEY);
    let key = native::request_key(headers.iter().map(|value| value.as_bytes()))?;
    let receipt = native::log(&*call.app, event.as_bytes(), key).await?;
    let status = if receipt.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok(reply::json_status(status, receipt.to_json()))
}

/// The event that path and body make together. The body's own text is kept as it came behind the fields added.
fn event(shorthand: Shorthand, id: &str, body: &[u8], now: &str) -> Result<String, Problem> {
    let not_json = |error: &dyn std::fmt::Display| Problem::new(Slug::NotJson, format!("The body is no JSON: {error}"));
    let body = std::str::from_utf8(body).map_err(|error| not_json(&error))?.trim();
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Problem::new(Slug::InvalidEvent, "The body must be one JSON object.").with_status(400)
        }
        _ => not_json(&error),
    })?;
    // What the path says may be said again, so that what was read can be put back; other words are a mistake.
    for (named, value) in [("type", shorthand.event_type), (shorthand.id_field, id)] {
        let Some(given) = fields.get(named) else { continue };
        if serde_json::from_str::<String>(given.get()).ok().as_deref() != Some(value) {
            let detail = format!("`{named}` comes from the path here; leave it out of the body.");
            return Err(Problem::field(format!("/{named}"), detail));
        }
    }
    let mut added = Json::with_capacity(256);
    added.object(|json| {
        if !fields.contains_key("type") {
            json.string("type", shorthand.event_type);
        }
        if !fields.contains_key(shorthand.id_field) {
            json.string(shorthand.id_field, id);
        }
        if shorthand.id_field != "userId" && !fields.contains_key("userId") {
            json.string("userId", SYSTEM_USER);
        }
        if !fields.contains_key("at") {
            json.string("at", now);
        }
    });
    let mut event = String::from_utf8(added.into_bytes()).map_err(|error| not_json(&error))?;
    event.pop();
    if !fields.is_empty() && event.len() > 1 {
        event.push(',');
    }
    // Everything behind the opening brace, which is there: the text is an object.
    event.push_str(&body[1..]);
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-05-01T00:00:00Z";

    #[test]
    fn path_and_body_make_one_event() {
        let made = event(PROFILE, "ar:\"x\"", br#" { "artistName": "X", "at" : "2026-01-01T00:00:00Z" } "#, NOW);
        let expected = r#"{"type":"artist.profile_updated","artistId":"ar:\"x\"","userId":"system", "artistName": "X", "at" : "2026-01-01T00:00:00Z" }"#;
        assert_eq!(made.expect("good"), expected);
        let made = event(ENTITLEMENT, "u1", b"{}", NOW).expect("good");
        assert_eq!(made, r#"{"type":"coliseum.entitlement_changed","userId":"u1","at":"2026-05-01T00:00:00Z"}"#);
    }

    #[test]
    fn a_body_may_say_again_what_the_path_says() {
        let body = br#"{"eventId":"e1","type":"concierto.event_scheduled","userId":"u1","at":"2026-01-01T00:00:00Z"}"#;
        assert_eq!(event(LINE_UP, "e1", body, NOW).expect("good").as_bytes(), body);
        let made = event(ENTITLEMENT, "u1", br#"{"userId":"u1","plan":"pro"}"#, NOW).expect("good");
        let added = r#"{"type":"coliseum.entitlement_changed","at":"2026-05-01T00:00:00Z",""#;
        assert_eq!(made, format!(r#"{added}userId":"u1","plan":"pro"}}"#));
    }

    #[test]
    fn a_body_that_is_no_object_or_says_what_the_path_says_is_refused() {
        let refused = |body: &[u8]| event(LINE_UP, "e1", body, NOW).expect_err("refused");
        assert_eq!((refused(b"{").slug, refused(b"{").status), (Slug::NotJson, 400));
        assert_eq!((refused(b"[]").slug, refused(b"[]").status), (Slug::InvalidEvent, 400));
        assert!(event(LINE_UP, "e1", br#"{"eventId":null}"#, NOW).is_err());
        assert_eq!(refused(br#"{"eventId":"e2"}"#).pointer.as_deref(), Some("/eventId"));
        assert_eq!(refused(br#"{"type":"x.y"}"#).pointer.as_deref(), Some("/type"));
    }
}
