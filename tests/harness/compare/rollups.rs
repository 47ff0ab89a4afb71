//! Rollups of all subjects, whole and by ranges.

use super::ask::Ask;
use super::metrics::totals_of;
use super::micros_of;
use crate::model::boards::DOMAINS;
use crate::model::json::Json;
use crate::model::moment::ENTITY_TYPES;
use crate::model::rollups::{Bucket, GRANULARITIES, start_of};
use crate::model::time::{self, DAY, HOUR};

/// Microseconds; none is unbounded.
type Range = [Option<i64>; 2];

pub fn rollups(ask: &Ask) {
    let mut all = Vec::new();
    for entity_type in ENTITY_TYPES {
        for id in ask.moment.known(entity_type) {
            for granularity in GRANULARITIES.into_iter().filter(|name| entity_type != "user" || *name == "day") {
                for range in ranges(ask, granularity) {
                    all.push((entity_type, id.clone(), granularity, range));
                }
            }
        }
    }
    for (index, (entity_type, id, granularity, range)) in ask.some_of(7, all).into_iter().enumerate() {
        let entity = if entity_type == "global" && index % 2 == 0 { String::new() } else { format!("&entityId={id}") };
        let path = format!("/api/coliseum/rollups?entityType={entity_type}{entity}&granularity={granularity}");
        let body = one(ask, &path, entity_type, &id, granularity, range);
        assert_eq!(body.at("entityType").as_text(), entity_type, "{path}");
        assert_eq!(body.at("entityId").as_text(), id, "{path}");
        if entity_type == "artist" {
            let path = format!("/api/coliseum/artists/{id}/rollups?granularity={granularity}");
            let body = one(ask, &path, entity_type, &id, granularity, range);
            assert_eq!(body.at("artistId").as_text(), id, "{path}");
        }
    }
    for entity_type in ENTITY_TYPES {
        ask.is_not_found(&format!("/api/coliseum/rollups?entityType={entity_type}&entityId=nobody&granularity=day"));
    }
    ask.is_not_found("/api/coliseum/artists/nobody/rollups?granularity=day");
}

/// Everything, and what lies behind, before and between the edges of buckets that hold something.
fn ranges(ask: &Ask, granularity: &str) -> Vec<Range> {
    let mut times: Vec<i64> = ask.moment.model.entries.iter().map(|entry| entry.at).collect();
    times.sort();
    let (Some(middle), Some(last)) = (times.get(times.len() / 2), times.last()) else {
        return vec![[None, None]];
    };
    let (middle_start, last_start) = (start_of(granularity, *middle), start_of(granularity, *last));
    vec![
        [None, None],
        [Some(middle_start), None],
        [Some(middle_start + 1), None],
        [None, Some(last_start)],
        [Some(middle - 20 * DAY), Some(last_start + 1)],
        [Some(middle_start), Some(middle_start)],
    ]
}

fn one(ask: &Ask, path: &str, entity_type: &str, id: &str, granularity: &str, [from, to]: Range) -> Json {
    let mut path = path.to_owned();
    if let Some(from) = from {
        // On another clock an hour ahead: the answer shows it in UTC.
        path.push_str(&format!("&from={}", time::format(from + HOUR).replace('Z', "%2B01:00")));
    }
    if let Some(to) = to {
        path.push_str(&format!("&to={}", time::format(to)));
    }
    let body = ask.of_all_time(&path);
    let is_artist = entity_type == "artist";
    let points = |bucket: &Json, domain: char| bucket.at(&format!("domains.{domain}")).as_decimal().exact_micro();
    let bucket = |bucket: &Json| Bucket {
        start: micros_of(bucket.at("start")),
        metrics: totals_of(bucket.at("metrics")),
        domains: if is_artist { DOMAINS.map(|domain| points(bucket, domain)) } else { [0; 4] },
    };
    let found: Vec<Bucket> = body.at("buckets").as_list().iter().map(bucket).collect();
    assert_eq!(found, ask.moment.rollups(entity_type, id, granularity, from, to), "{path}");
    let has_domains = |bucket: &Json| bucket.present("domains").is_some();
    assert!(is_artist || !body.at("buckets").as_list().iter().any(has_domains), "{path}: only artists have domains");
    assert_eq!(body.at("granularity").as_text(), granularity, "{path}");
    let shown = |key: &str| body.at(key).as_optional_text().map(|_| micros_of(body.at(key)));
    assert_eq!([shown("from"), shown("to")], [from, to], "{path}");
    body
}
