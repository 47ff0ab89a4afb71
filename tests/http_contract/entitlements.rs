//! SPEC 3: what a user's plan gives, by the last event that says so, the configuration and the clock.

use super::{Daemon, NOW, daemon, micros};
use crate::model::json::{Json, number, object, text, texts};

const MINUTE: i64 = 60_000_000;

fn path(user: &str) -> String {
    format!("/api/coliseum/entitlements/{user}")
}

/// Logs a change; gives its seq.
fn put(daemon: &Daemon, user: &str, body: &Json) -> u64 {
    let headers = [("content-type", "application/json")];
    let answer = daemon.client.request("PUT", &path(user), &headers, body.render().as_bytes());
    answer.expect(201).at("seq").as_integer() as u64
}

/// What the daemon says of a user once it has applied `seq`: plan, domains, depth, end.
fn given(daemon: &Daemon, user: &str, seq: u64) -> (String, String, Option<i64>, Option<String>) {
    let answer = daemon.client.get(&format!("{}?minSeq={seq}", path(user)));
    let body = answer.expect(200);
    assert_eq!(body.at("userId").as_text(), user);
    assert_eq!(body.at("appliedSeq").as_integer() as u64, seq);
    assert_eq!(answer.header("coliseum-applied-seq"), Some(seq.to_string().as_str()));
    let domains = body.at("domains").as_list().iter().map(Json::as_text).collect();
    let depth = body.at("leaderboardDepth").as_optional_integer();
    (body.at("plan").as_text().to_owned(), domains, depth, body.at("expiresAt").as_optional_text().map(str::to_owned))
}

fn plain(plan: &str, domains: &str, depth: Option<i64>) -> (String, String, Option<i64>, Option<String>) {
    (plan.to_owned(), domains.to_owned(), depth, None)
}

#[test]
fn each_plan_has_its_defaults_and_nobody_has_the_free_one() {
    let daemon = daemon();
    assert_eq!(given(&daemon, "nobody", 0), plain("free", "A", Some(10)));
    for (plan, domains, depth) in
        [("free", "A", Some(10)), ("basic", "AT", Some(50)), ("pro", "ATGC", Some(500)), ("enterprise", "ATGC", None)]
    {
        let seq = put(&daemon, "u1", &object([("plan", text(plan))]));
        assert_eq!(given(&daemon, "u1", seq), plain(plan, domains, depth));
    }
    assert_eq!(given(&daemon, "u2", 4), plain("free", "A", Some(10)), "the plan of another user");
}

#[test]
fn the_last_event_counts_and_what_it_leaves_out_is_the_plans() {
    let daemon = daemon();
    let body = object([("plan", text("basic")), ("domains", texts(&["C", "A"])), ("leaderboardDepth", number(3))]);
    let seq = put(&daemon, "u1", &body);
    assert_eq!(given(&daemon, "u1", seq), plain("basic", "AC", Some(3)));
    let body = object([("plan", text("pro")), ("domains", Json::List(Vec::new())), ("leaderboardDepth", Json::Null)]);
    let seq = put(&daemon, "u1", &body);
    assert_eq!(given(&daemon, "u1", seq), plain("pro", "", Some(500)));
    let seq = put(&daemon, "u1", &object([("plan", text("pro"))]));
    assert_eq!(given(&daemon, "u1", seq), plain("pro", "ATGC", Some(500)));
    // What was read can be put back.
    let read = daemon.client.get(&path("u1")).expect(200);
    let seq = put(&daemon, "u1", &read);
    assert_eq!(given(&daemon, "u1", seq), plain("pro", "ATGC", Some(500)));
}

#[test]
fn a_plan_ends_at_its_instant_by_the_daemons_clock() {
    let daemon = daemon();
    let body = object([("plan", text("pro")), ("expiresAt", text("2026-03-01T13:00:45.5+00:00"))]);
    let seq = put(&daemon, "u1", &body);
    let running = ("pro".to_owned(), "ATGC".to_owned(), Some(500), Some("2026-03-01T13:00:45.500Z".to_owned()));
    assert_eq!(given(&daemon, "u1", seq), running);
    let end = micros(NOW) + 60 * MINUTE + 15_500_000;
    daemon.set_now(end - 1);
    assert_eq!(given(&daemon, "u1", seq), running);
    daemon.set_now(end);
    assert_eq!(given(&daemon, "u1", seq), plain("free", "A", Some(10)));
    let body = object([("plan", text("basic")), ("expiresAt", Json::Null)]);
    let seq = put(&daemon, "u1", &body);
    daemon.set_now(end + 1_000_000 * MINUTE);
    assert_eq!(given(&daemon, "u1", seq), plain("basic", "AT", Some(50)));
}

#[test]
fn they_survive_a_restart_a_crash_and_a_rebuild() {
    let mut daemon = daemon();
    let first = put(&daemon, "u1", &object([("plan", text("basic"))]));
    assert_eq!(given(&daemon, "u1", first), plain("basic", "AT", Some(50)));
    daemon.restart(true, |_| {});
    assert_eq!(given(&daemon, "u1", first), plain("basic", "AT", Some(50)));
    let second = put(&daemon, "u1", &object([("plan", text("enterprise"))]));
    daemon.restart(false, |_| {});
    assert_eq!(given(&daemon, "u1", second), plain("enterprise", "ATGC", None));
    daemon.restart(true, |data| std::fs::remove_dir_all(data.join("projections")).expect("removable"));
    assert_eq!(given(&daemon, "u1", second), plain("enterprise", "ATGC", None));
}

#[test]
fn plans_are_as_configured_and_a_change_is_no_new_version_of_the_projection() {
    let mut daemon = daemon();
    let seq = put(&daemon, "u1", &object([("plan", text("basic"))]));
    assert_eq!(given(&daemon, "u1", seq), plain("basic", "AT", Some(50)));
    let mut before = Vec::new();
    let files = |data: &std::path::Path| {
        let listed = std::fs::read_dir(data.join("projections/coliseum")).expect("its directory");
        listed.map(|entry| entry.expect("an entry").file_name()).collect::<Vec<_>>()
    };
    daemon.restart_with(
        "\n[plans.basic]\ndomains = [\"G\"]\nleaderboard_depth = \"unlimited\"\n[plans.free]\nleaderboard_depth = 2\n",
        |data| before = files(data),
    );
    assert_eq!(given(&daemon, "u1", seq), plain("basic", "G", None));
    assert_eq!(given(&daemon, "nobody", seq), plain("free", "A", Some(2)));
    assert_eq!((before.len(), files(&daemon.data_dir())), (1, before));
}

#[test]
fn what_is_no_entitlement_is_refused() {
    let daemon = daemon();
    let refused = |body: &Json| {
        let headers = [("content-type", "application/json")];
        let answer = daemon.client.request("PUT", &path("u1"), &headers, body.render().as_bytes());
        answer.problem(422, &["invalid-event"]).at("pointer").as_text().to_owned()
    };
    assert_eq!(refused(&object([("domains", Json::List(Vec::new()))])), "/plan");
    assert_eq!(refused(&object([("plan", text("gold"))])), "/plan");
    assert_eq!(refused(&object([("plan", text("pro")), ("domains", texts(&["A", "X"]))])), "/domains/1");
    assert_eq!(refused(&object([("plan", text("pro")), ("expiresAt", text("tomorrow"))])), "/expiresAt");
    daemon.client.get(&format!("{}?now=1", path("u1"))).problem(400, &["invalid-query"]);
    daemon.assert_works_after(0, "an entitlement with a bad field");
}
