//! Entries of the Passport: pages, one, and the export of all.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Api;
use crate::http::query::LIMIT;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Kind, LaterAnswer, NDJSON, Param, Route};
use crate::http::{Ask, Call, Query};
use crate::limits::{EVENT_TYPE_BYTES_MAX, ID_BYTES_MAX, LIST_LIMIT_DEFAULT, WORD_BYTES_MAX};
use crate::passport::{EntryFilter, EntrySource, Order};
use crate::problem::{Problem, Slug};
use crate::units::Seq;

/// The filters, which entries, stream and export share.
pub const USER_ID: Param = Param::new("userId", Kind::Text(ID_BYTES_MAX), "Entries of this user.");
pub const TYPE: Param = Param::new("type", Kind::Text(EVENT_TYPE_BYTES_MAX), "Entries of this type.");
pub const CATEGORY: Param =
    Param::new("category", Kind::Text(EVENT_TYPE_BYTES_MAX), "Entries whose type starts with this category.");
pub const ENTITY_TYPE: Param = Param::new(
    "entityType",
    Kind::Word(&["artist", "user", "event", "venue", "track"]),
    "Entries about an entity of this type.",
);
pub const ENTITY_ID: Param = Param::new("entityId", Kind::Text(ID_BYTES_MAX), "Entries about this entity.");
pub const ARTIST_ID: Param =
    Param::new("artistId", Kind::Text(ID_BYTES_MAX), "Entries that credit this artist, by line-up too.");
pub const SOURCE: Param = Param::new("source", Kind::Text(WORD_BYTES_MAX), "Entries that came this way in.");
pub const FROM: Param = Param::new("from", Kind::Time, "Entries that happened then or later, by `at`.");
pub const TO: Param = Param::new("to", Kind::Time, "Entries that happened before then, by `at`.");
const AFTER_SEQ: Param = Param::new(
    "afterSeq",
    Kind::Number(0, u64::MAX),
    "Entries behind this seq in the order asked for: `nextAfterSeq` of the page before.",
);
const ORDER: Param = Param::new("order", Kind::Word(&["asc", "desc"]), "By seq; asc unless given.");

const ENTRIES: &[Param] =
    &[USER_ID, TYPE, CATEGORY, ENTITY_TYPE, ENTITY_ID, ARTIST_ID, SOURCE, FROM, TO, AFTER_SEQ, ORDER, LIMIT];
const EXPORT: &[Param] = &[
    USER_ID,
    TYPE,
    CATEGORY,
    ENTITY_TYPE,
    ENTITY_ID,
    ARTIST_ID,
    SOURCE,
    FROM,
    TO,
    AFTER_SEQ,
    Param::new("limit", Kind::Number(1, u64::MAX), "How many entries; all unless given."),
];

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get("/api/passport/entries", "entries", "Entries of the log, a page of them.", Handler::Blocking(page))
            .params(ENTRIES)
            .derived()
            .gives(&[(200, JSON, "Entries")]),
        Route::get("/api/passport/entries/{seq}", "entry", "One entry of the log.", Handler::Blocking(one))
            .derived()
            .gives(&[(200, JSON, "Entry")]),
        Route::get(
            "/api/passport/export",
            "export",
            "Entries of the log, one a line, in the coding that `Accept-Encoding` likes best.",
            Handler::Async(export),
        )
        .params(EXPORT)
        .derived()
        .gives(&[(200, NDJSON, "Entry")]),
    ]
}

/// The filter that a query asks for.
pub fn filter(query: &Query) -> Result<EntryFilter, Problem> {
    let (from, to) = query.range(FROM.name, TO.name)?;
    let text = |param: Param| query.text(param.name).map(String::from);
    Ok(EntryFilter {
        user_id: text(USER_ID),
        event_type: text(TYPE),
        category: text(CATEGORY),
        entity_type: text(ENTITY_TYPE),
        entity_id: text(ENTITY_ID),
        artist_id: text(ARTIST_ID),
        or_attended_event_ids: Vec::new(),
        source: text(SOURCE),
        from,
        to,
    })
}

/// `GET /api/passport/entries`
fn page(api: &Api, ask: &Ask<'_>) -> Answer {
    let filter = filter(ask.query)?;
    let order = if ask.query.text("order") == Some("desc") { Order::Descending } else { Order::Ascending };
    let after = ask.query.number("afterSeq").map(Seq::new);
    let limit = ask.query.number("limit").map_or(LIST_LIMIT_DEFAULT, |limit| limit as usize);
    let view = api.coliseum.view();
    let applied = api.applied(&view);
    let body = api.reader().entries_page(filter, after, order, limit, &view, &applied)?;
    Ok(reply::applied(reply::json(body), applied.smallest()))
}

/// `GET /api/passport/entries/{seq}`
fn one(api: &Api, ask: &Ask<'_>) -> Answer {
    let text = ask.path("seq");
    let seq = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).map(Seq::new);
    let view = api.coliseum.view();
    let applied = api.applied(&view);
    let body = match seq {
        Some(seq) => api.reader().entry(seq, &view, &applied)?,
        None => None,
    };
    let body = body.ok_or_else(|| {
        let shown: String = text.chars().take(32).collect();
        let head = api.log.durable();
        Problem::new(Slug::NotFound, format!("There is no entry `{shown}`; the log holds seq 1 to {head}."))
    })?;
    Ok(reply::applied(reply::json(body), applied.smallest()))
}

/// `GET /api/passport/export`
fn export(call: Call<Api>) -> LaterAnswer {
    Box::pin(async move {
        let filter = filter(&call.query)?;
        let mut after = call.query.number("afterSeq").map_or(Seq::ZERO, Seq::new);
        let mut left = call.query.number("limit").unwrap_or(u64::MAX);
        let (mut writer, answer) = call
            .line_stream()
            .map_err(|error| Problem::new(Slug::Internal, format!("The export cannot be compressed: {error}")))?;
        let api = Arc::clone(&call.app);
        let view = api.coliseum.view();
        let applied = api.applied(&view);
        let smallest = applied.smallest();
        tokio::task::spawn_blocking(move || {
            let mut gone = false;
            let exported = api.reader().follow(&filter, after, &view, &applied, &mut |seq, mut line| {
                line.push(b'\n');
                after = seq;
                left -= 1;
                gone = writer.write(&line).is_err();
                if gone || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match exported {
                // A client that is gone needs no end.
                Ok(_) if gone => {}
                Ok(_) => drop(writer.finish()),
                // Dropped unfinished, the writer breaks the connection: half an export never looks like a whole one.
                Err(error) => tracing::error!(%error, %after, "an export broke off"),
            }
        });
        Ok(reply::applied(answer, smallest))
    })
}
