//! What an operator asks for: a check of everything, a rebuild.

use std::sync::Arc;

use hyper::StatusCode;

use super::Api;
use crate::http::Call;
use crate::http::reply;
use crate::http::route::{Handler, JSON, LaterAnswer, NDJSON, Route};
use crate::problem::{Problem, Slug};
use crate::verify;

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::post(
            "/api/admin/rebuild",
            "rebuild",
            "Builds every projection anew from the log, beside the one that serves meanwhile.",
            Handler::Async(rebuild),
        )
        .gives(&[(202, JSON, "Report")]),
        Route::post(
            "/api/admin/verify",
            "verify",
            "Checks every checksum, every seq and every projection; lines of progress, then the verdict.",
            Handler::Async(verify),
        )
        .gives(&[(200, NDJSON, "Report")]),
    ]
}

/// `POST /api/admin/rebuild`
fn rebuild(call: Call<Api>) -> LaterAnswer {
    Box::pin(async move {
        call.app.coliseum.rebuild();
        let body = &br#"{"ok":true,"detail":"rebuilding; GET /api/passport/consumers says how far it is"}"#[..];
        Ok(reply::json_status(StatusCode::ACCEPTED, body))
    })
}

/// `POST /api/admin/verify`
fn verify(call: Call<Api>) -> LaterAnswer {
    Box::pin(async move {
        let (mut writer, answer) = call
            .line_stream()
            .map_err(|error| Problem::new(Slug::Internal, format!("The answer cannot be compressed: {error}")))?;
        let api = Arc::clone(&call.app);
        tokio::task::spawn_blocking(move || {
            let view = api.coliseum.view();
            let mut gone = false;
            let verdict = verify::run(&api.log, &view, &mut |progress| {
                gone = writer.write(progress.to_line().as_bytes()).is_err();
                !gone
            });
            // A client that is gone needs no verdict, and half an answer has no end.
            if !gone && writer.write(verdict.to_line().as_bytes()).is_ok() {
                let _ = writer.finish();
            }
        });
        Ok(answer)
    })
}
