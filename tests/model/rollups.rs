//! SPEC 2.3: rollups by hour, day and ISO week, in UTC.

use std::collections::BTreeMap;

use super::Entry;
use super::boards::DOMAINS;
use super::metrics::{Total, totals};
use super::moment::Moment;
use super::time::{DAY, HOUR};

pub const GRANULARITIES: [&str; 3] = ["hour", "day", "week"];

#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Microseconds.
    pub start: i64,
    pub metrics: BTreeMap<String, Total>,
    /// Micro-points of A, T, G, C; zeros for what is no artist.
    pub domains: [i128; 4],
}

/// The start of the bucket that holds this instant.
pub fn start_of(granularity: &str, micros: i64) -> i64 {
    match granularity {
        "hour" => micros.div_euclid(HOUR) * HOUR,
        "day" => micros.div_euclid(DAY) * DAY,
        "week" => {
            // 1970-01-01 was a Thursday: three days after a Monday.
            let day = micros.div_euclid(DAY);
            (day - (day + 3).rem_euclid(7)) * DAY
        }
        other => panic!("no granularity {other}"),
    }
}

impl Moment<'_> {
    /// The buckets that hold anything, oldest first: those with `from <= start < to`.
    pub fn rollups(
        &self,
        entity_type: &str,
        id: &str,
        granularity: &str,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Vec<Bucket> {
        let entries = self.of_subject(entity_type, id);
        let is_own = |artist: &str| entity_type == "artist" && artist == id;
        let mutations: Vec<_> = self.mutations.iter().filter(|mutation| is_own(&mutation.artist)).collect();
        let times = entries.iter().map(|entry| entry.at).chain(mutations.iter().map(|mutation| mutation.occurred_at));
        let mut starts: Vec<i64> = times.map(|micros| start_of(granularity, micros)).collect();
        starts.sort();
        starts.dedup();
        starts.retain(|start| from.is_none_or(|from| from <= *start) && to.is_none_or(|to| *start < to));
        let mut buckets = Vec::new();
        for start in starts {
            let is_inside = |micros: i64| start_of(granularity, micros) == start;
            let inside: Vec<&Entry> = entries.iter().filter(|entry| is_inside(entry.at)).copied().collect();
            let points = |domain: char| {
                let inside = mutations.iter().filter(|m| m.domain == domain && is_inside(m.occurred_at));
                inside.map(|mutation| mutation.effective).sum()
            };
            buckets.push(Bucket { start, metrics: totals(&inside), domains: DOMAINS.map(points) });
        }
        buckets.retain(|bucket| !bucket.metrics.is_empty() || bucket.domains != [0; 4]);
        buckets
    }
}
