//! The application behind the HTTP room: every route, and what its handlers share.
//!
//! A handler checks what only it can check, picks one view, and calls one function of `read` or `capture`. Which path
//! leads where stands in [`Api::routes`] and nowhere else; `/openapi.json` and the query checks are made from it.

mod admin;
mod artists;
mod boards;
mod consumers;
mod counts;
mod entitlements;
mod entries;
mod health;
mod mediaid;
mod metrics;
mod pages;
mod shorthands;
mod snapshots;
mod stream;
mod treasury;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use tokio::sync::Semaphore;

use crate::capture::{CaptureContext, CaptureLimits};
use crate::clock::Clock;
use crate::coliseum::plans::Plans;
use crate::coliseum::{Coliseum, View};
use crate::http::{self, App, Derived, Route};
use crate::limits::{CURRENT_WAIT_MS, PACE_WAIT_MS};
use crate::mediaid::MediaId;
use crate::passport::keys::StatsSource;
use crate::passport::snapshot::Store;
use crate::passport::{Appender, EntrySource as _, Log, ScrubStatus, WriterStatus};
use crate::problem::{Problem, Slug};
use crate::projection::{AppliedSeqs, Consumers, Handle, Projection};
use crate::read::{ReadFailure, Reader};
use crate::treasury::Treasury;
use crate::units::Seq;

pub use boards::BoardPages;
pub use counts::TopPages;

/// What boards and scores are read from.
const OF_COLISEUM: &[&str] = &[Coliseum::NAME];

/// What every handler may use.
pub struct Api {
    pub clock: Arc<dyn Clock>,
    pub appender: Appender,
    pub writer: Arc<WriterStatus>,
    pub key_stats: StatsSource,
    pub scrub: Arc<ScrubStatus>,
    pub log: Arc<Log>,
    pub coliseum: Handle<Coliseum>,
    pub treasury: Handle<Treasury>,
    pub mediaid: Handle<MediaId>,
    /// Every projection, those above among them.
    pub consumers: Consumers,
    /// What comes with each plan.
    pub plans: Plans,
    pub capture: CaptureLimits,
    /// How many entries consumers may be behind before writes wait for them; `None`: they never wait.
    pub lag_max: Option<NonZeroU64>,
    /// Whether answers wait for the sync.
    pub durable_answers: bool,
    /// Free space under which the log takes no writes.
    pub min_free_bytes: u64,
    pub pages: BoardPages,
    pub tops: TopPages,
    pub snapshots: Arc<Store>,
    /// Held by the one request that takes a snapshot, so that those who wait keep no thread.
    pub taking_snapshot: Arc<Semaphore>,
}

impl Api {
    fn view(&self) -> Guard<Arc<View>> {
        self.coliseum.load()
    }
    fn reader(&self) -> Reader {
        Reader { log: self.log.clone() }
    }
    /// How far every consumer is, for an answer whose scores are those of `view`.
    fn applied(&self, view: &View) -> AppliedSeqs {
        self.consumers.applied().with(Coliseum::NAME, view.applied())
    }
}

impl App for Api {
    fn routes() -> Vec<Route<Api>> {
        let mut routes = http::write::routes();
        routes.extend(shorthands::routes());
        routes.extend(entries::routes());
        routes.extend(stream::routes());
        routes.extend(boards::routes());
        routes.extend(artists::routes());
        routes.extend(counts::routes());
        routes.extend(entitlements::routes());
        routes.extend(treasury::routes());
        routes.extend(mediaid::routes());
        routes.extend(consumers::routes());
        routes.extend(health::routes());
        routes.extend(metrics::routes());
        routes.extend(admin::routes());
        routes.extend(snapshots::routes());
        routes
    }

    fn is_current(&self, derived: Derived) -> bool {
        // What the others keep does not change as minutes pass.
        !derived.includes(Coliseum::NAME) || self.view().minute() == self.clock.now().minute()
    }

    async fn make_current(&self, derived: Derived) {
        if !derived.includes(Coliseum::NAME) {
            return;
        }
        // A projection that is busy answers with the minute that it has: older, and true of that minute.
        self.coliseum.wait_minute(self.clock.now().minute(), Duration::from_millis(CURRENT_WAIT_MS)).await;
    }

    async fn wait_applied(&self, derived: Derived, seq: Seq) {
        self.consumers.wait_applied(|consumer| derived.includes(consumer), seq).await;
    }
}

impl CaptureContext for Api {
    fn appender(&self) -> &Appender {
        &self.appender
    }
    fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
    fn capture_limits(&self) -> CaptureLimits {
        self.capture
    }
    async fn keep_pace(&self) {
        if let Some(lag_max) = self.lag_max {
            self.consumers.keep_pace(self.log.durable(), lag_max, Duration::from_millis(PACE_WAIT_MS)).await;
        }
    }
}

/// The OpenAPI 3.1 description of all routes.
pub fn openapi_json() -> String {
    http::openapi::of_rows(Api::routes())
}

/// Damage and failures of the disk are the daemon's, not the client's.
impl From<ReadFailure> for Problem {
    fn from(failure: ReadFailure) -> Problem {
        tracing::error!(error = %failure, "a read failed");
        Problem::new(Slug::Internal, failure.to_string())
    }
}

/// 404 for an artist that the log has never named.
fn unknown_artist(artist_id: &str) -> Problem {
    let shown: String = artist_id.chars().take(200).collect();
    Problem::new(Slug::NotFound, format!("No event, profile or line-up has named an artist `{shown}`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_waits_for_the_projection_that_it_is_made_from_and_entries_for_all() {
        for route in Api::routes().into_iter().filter(|route| route.derived.is_some()) {
            let expected = match route.path {
                path if path.starts_with("/api/coliseum/") => Derived::Of(OF_COLISEUM),
                path if path.starts_with("/api/treasury/") => Derived::Of(treasury::OF_TREASURY),
                path if path.starts_with("/api/mediaid/") => Derived::Of(mediaid::OF_MEDIAID),
                path if path.starts_with("/api/passport/") => Derived::OfAll,
                path => panic!("which projections does {path} read?"),
            };
            assert_eq!(route.derived, Some(expected), "{}", route.path);
        }
    }
}
