//! What an operator asks for: a check of everything, a rebuild.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::Api;
use crate::http::Call;
use crate::http::reply;
use crate::http::route::{Handler, JSON, LaterAnswer, NDJSON, Route};
use crate::passport::EntrySource;
use crate::problem::{Problem, Slug};
use crate::units::Seq;
use crate::verify::{self, Progress};

/// How long a check waits for a projection that does not move, and how often it looks.
const PROJECTION_PATIENCE: Duration = Duration::from_secs(10);
const PROJECTION_POLL: Duration = Duration::from_millis(50);

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

/// Waits until the projection holds `head`, or is held up for good; `false` if nobody listens any more.
fn wait_for_projection(api: &Api, head: Seq, show: &mut dyn FnMut(Progress) -> bool) -> bool {
    let (mut last, mut moved_at) = (Seq::ZERO, Instant::now());
    loop {
        let applied = api.coliseum.applied();
        if applied != last {
            (last, moved_at) = (applied, Instant::now());
        }
        if applied >= head || moved_at.elapsed() > PROJECTION_PATIENCE {
            return true;
        }
        if !show(Progress { phase: "projection", entries: applied.get(), total: head.get() }) {
            return false;
        }
        std::thread::sleep(PROJECTION_POLL);
    }
}

/// `POST /api/admin/verify`
fn verify(call: Call<Api>) -> LaterAnswer {
    Box::pin(async move {
        let (mut writer, answer) = call
            .line_stream()
            .map_err(|error| Problem::new(Slug::Internal, format!("The answer cannot be compressed: {error}")))?;
        let api = Arc::clone(&call.app);
        tokio::task::spawn_blocking(move || {
            let head = api.log.durable();
            let mut gone = false;
            let mut show = |progress: Progress| {
                gone = writer.write(progress.to_line().as_bytes()).is_err();
                !gone
            };
            if !wait_for_projection(&api, head, &mut show) {
                return;
            }
            let view = api.coliseum.view();
            let verdict = verify::run(&api.log, &api.key_stats, head, &view, &mut show);
            // A client that is gone needs no verdict, and half an answer has no end.
            if !gone && writer.write(verdict.to_line().as_bytes()).is_ok() {
                let _ = writer.finish();
            }
        });
        Ok(answer)
    })
}
