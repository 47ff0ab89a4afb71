//! Metrics, top lists and rollups as JSON.

use super::ReadFailure;
use super::json::Json;
use crate::coliseum::metrics::{Granularity, SubjectKind, Total};
use crate::coliseum::{ArtistNo, View};
use crate::event::Metric;
use crate::units::{Domain, MICROS_PER_MINUTE, MicroPoints, Minute, Timestamp, Window};

/// Bytes of one row of a top list, and of one bucket, about.
const ROW_BYTES: usize = 112;
const BUCKET_BYTES: usize = 320;

/// The one subject of [`SubjectKind::Global`].
const GLOBAL_ID: &str = "global";

/// Whose figures are asked for.
#[derive(Clone, Debug)]
pub struct Subject<'i> {
    pub kind: SubjectKind,
    pub id: &'i str,
    number: u32,
}

impl<'i> Subject<'i> {
    /// `None` where the log has not named it. Everything is `global`, or no id at all.
    pub fn find(view: &View, kind: SubjectKind, id: Option<&'i str>) -> Option<Subject<'i>> {
        let id = match (kind, id) {
            (SubjectKind::Global, None) => GLOBAL_ID,
            (_, id) => id?,
        };
        let number = match kind {
            SubjectKind::User => view.metrics().user(id),
            SubjectKind::Artist => view.artist(id).map(ArtistNo::get),
            SubjectKind::Event => view.metrics().event(id),
            SubjectKind::Global => (id == GLOBAL_ID).then_some(0),
        };
        number.map(|number| Subject { kind, id, number })
    }
}

/// Writes the sum of a metric in its unit: votes with their decimals, money in cents, else a count.
pub fn write_sum(json: &mut Json, metric: Metric, sum: i128) {
    match metric {
        Metric::VotesCast => json.score("sum", MicroPoints::new(sum)),
        _ => json.number("sum", sum),
    }
}

/// `money_spent:usd`, `votes_cast`: how answers with several metrics call one.
pub fn metric_key(metric: Metric, currency: Option<&str>) -> String {
    match currency {
        Some(currency) => format!("{}:{currency}", metric.name()),
        None => metric.name().to_owned(),
    }
}

fn write_currency(json: &mut Json, metric: Metric, currency: &str) {
    json.optional_string("currency", metric.is_money().then_some(currency));
}

/// A metric of one subject in a window.
pub fn metric(
    view: &View,
    subject: &Subject<'_>,
    metric: Metric,
    currency: &str,
    window: Window,
) -> Result<Vec<u8>, ReadFailure> {
    let total = view.metrics().total(subject.kind, subject.number, metric, currency, window)?;
    let mut json = Json::with_capacity(256);
    json.object(|json| {
        json.string("metric", metric.name());
        json.string("entityType", subject.kind.name());
        json.string("entityId", subject.id);
        json.string("window", window.name());
        write_currency(json, metric, currency);
        json.number("count", total.count);
        write_sum(json, metric, total.sum);
        json.time("asOf", view.as_of());
        json.number("appliedSeq", view.applied().get());
    });
    Ok(json.into_bytes())
}

/// The first subjects of a kind by a metric in a window.
pub fn top(view: &View, kind: SubjectKind, metric: Metric, currency: &str, window: Window, limit: usize) -> Vec<u8> {
    let list = view.metrics().top(kind, metric, currency, window, limit, view.cards());
    let mut json = Json::with_capacity(256 + ROW_BYTES * list.rows.len());
    json.object(|json| {
        json.string("metric", metric.name());
        json.string("entityType", kind.name());
        json.string("window", window.name());
        write_currency(json, metric, currency);
        json.time("asOf", view.as_of());
        json.number("appliedSeq", view.applied().get());
        json.number("total", list.total);
        json.array_field("entries", |json| {
            for row in &list.rows {
                json.object(|json| {
                    json.number("position", row.position);
                    json.number("rank", row.rank);
                    json.string("entityId", &row.id);
                    let name = match kind {
                        SubjectKind::Artist => view.cards()[row.number as usize].name.as_deref(),
                        SubjectKind::Event => view.event_name(&row.id),
                        SubjectKind::User | SubjectKind::Global => None,
                    };
                    json.optional_string("name", name);
                    json.number("count", row.total.count);
                    write_sum(json, metric, row.total.sum);
                });
            }
        });
    });
    json.into_bytes()
}

/// What happened to a subject by buckets of time whose start lies in `from..to`. `names_kind`: the answer says what kind
/// the subject is; else it is an artist's.
pub fn rollups(
    view: &View,
    subject: &Subject<'_>,
    granularity: Granularity,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    names_kind: bool,
) -> Result<Vec<u8>, ReadFailure> {
    // A bucket starts with a minute, so that one that starts at a time or later starts at the next minute or later.
    let minute = |at: Timestamp| at.minute().get() + i64::from(at.micros().rem_euclid(MICROS_PER_MINUTE) > 0);
    let range = (from.map(minute), to.map(minute));
    let buckets = view.metrics().rollups(subject.kind, subject.number, granularity, range)?;
    let mut json = Json::with_capacity(256 + BUCKET_BYTES * buckets.len());
    json.object(|json| {
        if names_kind {
            json.string("entityType", subject.kind.name());
            json.string("entityId", subject.id);
        } else {
            json.string("artistId", subject.id);
        }
        json.string("granularity", granularity.name());
        json.optional_string("from", from.map(Timestamp::to_rfc3339).as_deref());
        json.optional_string("to", to.map(Timestamp::to_rfc3339).as_deref());
        json.number("appliedSeq", view.applied().get());
        json.array_field("buckets", |json| {
            for (start, bucket) in &buckets {
                json.object(|json| {
                    json.time("start", Minute::new(*start).start());
                    json.object_field("metrics", |json| {
                        for ((metric, currency), total) in &bucket.metrics {
                            let Total { count, sum } = *total;
                            json.object_field(&metric_key(*metric, currency.as_deref()), |json| {
                                json.number("count", count);
                                write_sum(json, *metric, sum);
                            });
                        }
                    });
                    if subject.kind == SubjectKind::Artist {
                        json.object_field("domains", |json| {
                            for domain in Domain::ALL {
                                json.score(domain.upper(), MicroPoints::new(bucket.domains[domain.index()]));
                            }
                        });
                    }
                });
            }
        });
    });
    Ok(json.into_bytes())
}
