//! Questions that have no answer: each is told which parameter is at fault.

use super::ask::Ask;

/// A path, and the parameter that its refusal has to name.
const BAD: &[(&str, &str)] = &[
    ("metrics/follows?entityType=venue&entityId=v&window=7d", "entityType"),
    ("metrics/follows?entityType=global&window=8d", "window"),
    ("metrics/follows?entityType=global&window=7d&currency=USD", "currency"),
    ("metrics/money_spent?entityType=global&window=7d&currency=euro", "currency"),
    ("metrics/money_spent?entityType=global&window=7d&color=red", "color"),
    ("metrics/follows/top?entityType=global&window=7d", "entityType"),
    ("metrics/follows/top?entityType=user&window=day", "window"),
    ("metrics/follows/top?entityType=user&window=7d&limit=0", "limit"),
    ("metrics/follows/top?entityType=user&window=7d&limit=1001", "limit"),
    ("metrics/money_earned/top?entityType=user&window=7d&currency=us", "currency"),
    ("rollups?entityType=venue&entityId=v&granularity=day", "entityType"),
    ("rollups?entityType=global&granularity=month", "granularity"),
    ("rollups?entityType=global&granularity=day&from=yesterday", "from"),
    ("rollups?entityType=global&granularity=day&to=2026-02-30T00:00:00Z", "to"),
    ("rollups?entityType=global&granularity=day&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
    ("rollups?entityType=global&granularity=day&color=red", "color"),
];

/// The same below `artists/{id}/`, for an artist that there is.
const BAD_OF_ARTIST: &[(&str, &str)] = &[
    ("analytics?days=0", "days"),
    ("analytics?days=366", "days"),
    ("analytics?days=-1", "days"),
    ("analytics?days=7.5", "days"),
    ("analytics?days=all", "days"),
    ("analytics?color=red", "color"),
    ("dna?days=0", "days"),
    ("rollups?granularity=minute", "granularity"),
    ("rollups?granularity=week&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
];

pub fn refusals(ask: &Ask) {
    let mut all: Vec<(String, &str)> =
        BAD.iter().map(|(path, parameter)| (format!("/api/coliseum/{path}"), *parameter)).collect();
    if let Some(artist) = ask.moment.known("artist").first() {
        let below = BAD_OF_ARTIST.iter();
        all.extend(below.map(|(path, parameter)| (format!("/api/coliseum/artists/{artist}/{path}"), *parameter)));
    }
    if let Some(user) = ask.moment.known("user").first() {
        for granularity in ["hour", "week"] {
            let path = format!("/api/coliseum/rollups?entityType=user&entityId={user}&granularity={granularity}");
            all.push((path, "granularity"));
        }
    }
    all.extend(["0", "1001", "x"].map(|limit| (format!("/api/treasury/revenue?limit={limit}"), "limit")));
    for (path, parameter) in ask.some_of(4, all) {
        let problem = ask.client.get(&path).problem(400, &["invalid-query"]);
        let detail = problem.at("detail").as_text();
        assert!(detail.contains(parameter), "{path} does not name {parameter}: {detail}");
    }
}
