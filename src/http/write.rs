//! The rows that write: their bodies into [`crate::capture`], its answers into responses.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName};

use super::body::off_reactor;
use super::call::Call;
use super::reply;
use super::route::{Answer, Handler, JSON, Kind, Param, Route};
use crate::capture::batch::{self, BatchAnswer, BatchOptions};
use crate::capture::{CaptureContext, import, native};
use crate::limits::EVENT_BYTES_MAX;
use crate::problem::Problem;

/// Whitespace that may stand around a single event: a file's last line end, an indent.
const SURROUNDING_BYTES_MAX: usize = 64;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const BATCH_PARAMS: &[Param] = &[
    Param::new("atomic", Kind::Flag, "All or nothing: one bad event and none is stored."),
    Param::new("results", Kind::Word(&["all"]), "A result for every event, newly stored ones too."),
];

/// The native write API.
pub fn routes<A: CaptureContext>() -> Vec<Route<A>> {
    vec![
        Route::post("/api/passport/log", "logEvent", "Stores one event.", Handler::Async(|call| Box::pin(log(call))))
            .takes("Event")
            .gives(&[(201, JSON, "Receipt"), (200, JSON, "Receipt")]),
        Route::post(
            "/api/passport/batch",
            "logBatch",
            "Stores many events.",
            Handler::Async(|call| Box::pin(batch(call))),
        )
        .params(BATCH_PARAMS)
        .takes("Batch")
        .gives(&[(200, JSON, "BatchResult")]),
        Route::post(
            "/api/admin/import",
            "importEvents",
            "Stores events or exported entries, one a line.",
            Handler::Async(|call| Box::pin(import(call))),
        )
        .params(BATCH_PARAMS)
        .takes("Batch")
        .gives(&[(200, JSON, "BatchResult")]),
    ]
}

/// `POST /api/passport/log`
pub async fn log<A: CaptureContext>(mut call: Call<A>) -> Answer {
    let body = call.json_body(EVENT_BYTES_MAX + SURROUNDING_BYTES_MAX).await?;
    let key = native::request_key(call.head.headers.get_all(IDEMPOTENCY_KEY).iter().map(|value| value.as_bytes()))?;
    let receipt = native::log(&*call.app, &body, key).await?;
    let status = if receipt.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok(reply::json_status(status, receipt.to_json()))
}

/// `POST /api/passport/batch`
pub async fn batch<A: CaptureContext>(mut call: Call<A>) -> Answer {
    let mut body = call.json_body(call.app.capture_limits().batch_bytes_max).await?;
    // The log's records are made from the body and about as large.
    body.reserve(body.len())?;
    let options = options(&call);
    let checked = off_reactor(body.len(), || batch::check_batch(&*call.app, &body, options))?;
    answer(batch::store(&*call.app, checked).await)
}

/// `POST /api/admin/import`
pub async fn import<A: CaptureContext>(mut call: Call<A>) -> Answer {
    let mut body = call.json_body(call.app.capture_limits().batch_bytes_max).await?;
    body.reserve(body.len())?;
    let options = options(&call);
    let checked = off_reactor(body.len(), || import::check_import(&*call.app, &body, options))?;
    answer(batch::store(&*call.app, checked).await)
}

fn answer(answer: Result<BatchAnswer, Problem>) -> Answer {
    let BatchAnswer { status, json } = answer?;
    Ok(if status == 200 { reply::json(json) } else { reply::problem_json(status, json) })
}

fn options<A>(call: &Call<A>) -> BatchOptions {
    let media_type = call.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    BatchOptions {
        atomic: call.query.flag("atomic"),
        all_results: call.query.text("results").is_some(),
        lines: media_type.contains("ndjson") || media_type.contains("jsonl"),
    }
}
