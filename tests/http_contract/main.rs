//! SPEC 1 and SPEC 5 from outside, rule by rule: status, slug, pointer; and after each refusal the next good request
//! works and nothing was stored.

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../model/mod.rs"]
mod model;

mod answers;
mod bodies;
mod entitlements;
mod events;
mod idempotency;
mod reads;
mod sockets;
mod views;

use harness::{Daemon, good_event, micros};
use model::json::Json;

const NOW: &str = "2026-03-01T12:00:30Z";
const LOG: &str = "/api/passport/log";
const BATCH: &str = "/api/passport/batch";

fn daemon() -> Daemon {
    Daemon::start_at(micros(NOW))
}

/// Sends an event that has to be refused, and then a good one.
fn refused(daemon: &Daemon, event: &Json, status: u16, slugs: &[&str], pointer: Option<&str>) {
    let head = daemon.head();
    let shown = event.render();
    let problem = daemon.client.post_json(LOG, event).problem(status, slugs);
    if let Some(pointer) = pointer {
        assert_eq!(problem.at("pointer").as_text(), pointer, "{shown:.300}");
    }
    daemon.assert_works_after(head, &format!("{shown:.300}"));
}

fn invalid(daemon: &Daemon, event: &Json, pointer: &str) {
    refused(daemon, event, 422, &["invalid-event"], Some(pointer));
}

fn stored(daemon: &Daemon, event: &Json) -> u64 {
    let answer = daemon.client.post_json(LOG, event);
    assert_eq!(answer.status, 201, "{:.300} gives {}", event.render(), answer.text());
    answer.json().at("seq").as_integer() as u64
}

fn vote() -> Json {
    good_event()
}
