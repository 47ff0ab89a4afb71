//! What an operator asks for: a check of everything, a rebuild.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::Api;
use crate::http::Call;
use crate::http::query::invalid;
use crate::http::reply;
use crate::http::route::{Handler, JSON, Kind, LaterAnswer, NDJSON, Param, Route};
use crate::limits::ID_BYTES_MAX;
use crate::passport::EntrySource;
use crate::problem::{Problem, Slug};
use crate::projection::Consumer;
use crate::units::Seq;
use crate::verify::{self, Progress, Views};

const REBUILD: &[Param] = &[Param::new("consumer", Kind::Text(ID_BYTES_MAX), "The one to rebuild; all unless given.")];

/// How long a check waits for projections that do not move, and how often it looks.
const PROJECTION_PATIENCE: Duration = Duration::from_secs(10);
const PROJECTION_POLL: Duration = Duration::from_millis(50);

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::post(
            "/api/admin/rebuild",
            "rebuild",
            "Builds every projection, or one of them, anew from the log, beside the one that serves meanwhile.",
            Handler::Async(rebuild),
        )
        .params(REBUILD)
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
        let consumers = &call.app.consumers;
        match call.query.text("consumer") {
            None => consumers.iter().for_each(Consumer::rebuild),
            Some(name) => consumers.get(name).ok_or_else(|| no_such_consumer(&call.app))?.rebuild(),
        }
        let body = &br#"{"ok":true,"detail":"rebuilding; GET /api/passport/consumers says how far it is"}"#[..];
        Ok(reply::json_status(StatusCode::ACCEPTED, body))
    })
}

fn no_such_consumer(api: &Api) -> Problem {
    let names: Vec<&str> = api.consumers.names().collect();
    invalid(format!("The parameter `consumer` takes the name of a consumer: {}.", names.join(", ")))
}

/// Waits until every projection holds `head`, or those that do not are held up for good; `false` if nobody listens any
/// more.
fn wait_for_projections(api: &Api, head: Seq, show: &mut dyn FnMut(Progress) -> bool) -> bool {
    let (mut last, mut moved_at) = (None, Instant::now());
    loop {
        let all = api.consumers.applied();
        let applied = all.smallest();
        if last.as_ref() != Some(&all) {
            (last, moved_at) = (Some(all), Instant::now());
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
                // At once: it is shown, and a client that has gone is noticed.
                gone = writer.write(progress.to_line().as_bytes()).and_then(|()| writer.flush()).is_err();
                !gone
            };
            if !wait_for_projections(&api, head, &mut show) {
                return;
            }
            let (coliseum, treasury, mediaid) = (api.coliseum.view(), api.treasury.view(), api.mediaid.view());
            let views = Views { coliseum: &coliseum, treasury: &treasury, mediaid: &mediaid };
            let verdict = verify::run(&api.log, &api.key_stats, head, &views, &mut show);
            // A client that is gone needs no verdict, and half an answer has no end.
            if !gone && writer.write(verdict.to_line().as_bytes()).is_ok() {
                let _ = writer.finish();
            }
        });
        Ok(answer)
    })
}
