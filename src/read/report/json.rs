//! The report as JSON: the figures as the other answers write them.

use super::{Report, Standing};
use crate::coliseum::metrics::Total;
use crate::read::analytics::write_functions;
use crate::read::counts::{metric_key, write_sum};
use crate::read::json::Json;
use crate::units::{Domain, MicroPoints, Window};

pub fn render(report: &Report) -> Vec<u8> {
    let mut json = Json::with_capacity(8 * 1024);
    json.object(|json| {
        let card = &report.card;
        json.string("artistId", &card.id);
        json.optional_string("artistName", card.name.as_deref());
        json.array_field("genres", |json| card.genres.iter().for_each(|genre| json.string_element(genre)));
        json.optional_string("homeCity", card.home_city.as_deref());
        report.days.write(json, "days");
        json.time("asOf", report.as_of);
        json.number("appliedSeq", report.applied.get());
        json.object_field("units", |json| {
            json.string("scores", "points");
            json.string("money", "cents");
            json.string("currency", &report.base_currency);
            json.string("times", "UTC");
        });
        json.optional_string("dominantDomain", report.dominant.map(Domain::upper));
        json.object_field("domains", |json| {
            for domain in Domain::ALL {
                json.object_field(domain.upper(), |json| {
                    for window in Window::ALL {
                        let standing = &report.standings[domain.index()][window.index()];
                        json.object_field(window.name(), |json| write_standing(json, standing));
                    }
                });
            }
        });
        json.object_field("strengths", |json| {
            json.string("granularity", report.granularity.name());
            json.array_field("buckets", |json| {
                for (start, sums) in &report.strengths {
                    json.object(|json| {
                        json.time("start", *start);
                        for domain in Domain::ALL {
                            json.score(domain.upper(), MicroPoints::new(sums[domain.index()]));
                        }
                    });
                }
            });
        });
        json.object_field("revenueByWeek", |json| {
            json.string("currency", &report.base_currency);
            json.array_field("weeks", |json| {
                for (start, cents) in &report.revenue {
                    json.object(|json| {
                        json.time("start", *start);
                        json.number("cents", *cents);
                    });
                }
            });
        });
        json.object_field("metrics", |json| {
            for ((metric, currency), total) in &report.period.metrics {
                let Total { count, sum } = *total;
                json.object_field(&metric_key(*metric, currency.as_deref()), |json| {
                    json.number("count", count);
                    write_sum(json, *metric, sum);
                });
            }
        });
        json.object_field("analytics", |json| {
            write_functions(json, &report.base_currency, &report.analytics);
        });
    });
    json.into_bytes()
}

fn write_standing(json: &mut Json, standing: &Standing) {
    json.score("score", standing.strength.score);
    json.optional_number("position", standing.position);
    json.optional_number("rank", standing.rank);
    json.number("total", standing.total);
    json.float("share", standing.strength.share);
    json.float("percentile", standing.strength.percentile);
    match standing.strength.previous {
        Some(previous) => json.score("previousScore", previous),
        None => json.null("previousScore"),
    }
}
