//! The report as CSV (RFC 4180), one figure a line, so that a spreadsheet can filter and pivot it.

use super::Report;
use crate::coliseum::metrics::Days;
use crate::read::counts::metric_key;
use crate::units::{Domain, MicroPoints, Window};

/// The lines: `section,item,period,value,unit`. A value that is null is empty.
struct Lines {
    writer: ::csv::Writer<Vec<u8>>,
}

impl Lines {
    fn put(&mut self, section: &str, item: &str, period: &str, value: impl ToString, unit: &str) {
        let record = [section, item, period, &value.to_string(), unit];
        self.writer.write_record(record).expect("a Vec takes every write");
    }
    fn put_optional(&mut self, section: &str, item: &str, period: &str, value: Option<impl ToString>, unit: &str) {
        self.put(section, item, period, value.map_or_else(String::new, |value| value.to_string()), unit);
    }
}

/// A spreadsheet takes a cell that starts like this for a formula; what came from outside is given as text.
fn cell(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

pub fn render(report: &Report) -> String {
    let writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(Vec::new());
    let mut lines = Lines { writer };
    lines.put("section", "item", "period", "value", "unit");
    let period = match report.days {
        Days::Last(days) => format!("{days}d"),
        Days::AllTime => "alltime".to_owned(),
    };
    let now = report.as_of.to_rfc3339();
    lines.put("report", "artistId", "", cell(&report.card.id), "");
    lines.put_optional("report", "artistName", "", report.card.name.as_deref().map(cell), "");
    lines.put_optional("report", "homeCity", "", report.card.home_city.as_deref().map(cell), "");
    lines.put("report", "asOf", "", now, "UTC");
    lines.put("report", "appliedSeq", "", report.applied, "seq");
    lines.put_optional("report", "dominantDomain", "alltime", report.dominant.map(Domain::upper), "");
    for domain in Domain::ALL {
        for window in Window::ALL {
            let standing = &report.standings[domain.index()][window.index()];
            let (item, window) = (domain.upper(), window.name());
            lines.put("score", item, window, shown(standing.strength.score), "points");
            lines.put_optional("previousScore", item, window, standing.strength.previous.map(shown), "points");
            lines.put_optional("position", item, window, standing.position, "position");
            lines.put_optional("rank", item, window, standing.rank, "rank");
            lines.put("artistsOnBoard", item, window, standing.total, "artists");
            lines.put_optional("share", item, window, standing.strength.share, "fraction");
            lines.put_optional("percentile", item, window, standing.strength.percentile, "percent");
        }
    }
    for ((metric, currency), total) in &report.period.metrics {
        let item = metric_key(*metric, currency.as_deref());
        lines.put("count", &item, &period, total.count, "events");
        match metric.is_money() {
            true => lines.put("sum", &item, &period, total.sum, "cents"),
            false if item == "votes_cast" => {
                lines.put("sum", &item, &period, shown(MicroPoints::new(total.sum)), "votes")
            }
            false => lines.put("sum", &item, &period, total.sum, "events"),
        }
    }
    let found = &report.analytics;
    lines.put("fans", "fans", &period, found.fans, "fans");
    lines.put("fans", "repeatFans", &period, found.repeat_fans, "fans");
    lines.put_optional("fans", "repeatEngagementRate", &period, found.repeat_rate(), "fraction");
    lines.put("fans", "payingFans", &period, found.paying_fans, "fans");
    let cents = format!("cents {}", report.base_currency);
    lines.put("revenue", "revenue", &period, found.revenue_cents, &cents);
    lines.put_optional("revenue", "revenuePerFan", &period, found.revenue_per_fan(), &cents);
    lines.put_optional("revenue", "revenuePerPayingFan", &period, found.revenue_per_paying_fan(), &cents);
    lines.put_optional("genres", "genreDiversity", &period, found.genre_diversity(), "");
    lines.put_optional("genres", "effectiveGenres", &period, found.effective_genres(), "genres");
    for share in &found.genres {
        lines.put("genreShare", &cell(&share.genre), &period, share.share, "fraction");
    }
    lines.put("cities", "cities", &period, found.reach.cities, "cities");
    lines.put_optional("cities", "effectiveCities", &period, found.reach.effective_cities, "cities");
    for (city, count) in &found.reach.top {
        lines.put("city", &cell(city), &period, count, "attendances and plays");
    }
    for (start, sums) in &report.strengths {
        for domain in Domain::ALL {
            let section = format!("scoreBy{}", title(report.granularity.name()));
            let score = shown(MicroPoints::new(sums[domain.index()]));
            lines.put(&section, domain.upper(), &start.to_rfc3339(), score, "points");
        }
    }
    for (start, sum) in &report.revenue {
        lines.put("revenueByWeek", "revenue", &start.to_rfc3339(), sum, &cents);
    }
    let bytes = lines.writer.into_inner().expect("a Vec takes every write");
    String::from_utf8(bytes).expect("it was written from strings")
}

/// As JSON writes a score.
fn shown(score: MicroPoints) -> String {
    let mut out = Vec::new();
    score.write_json(&mut out);
    String::from_utf8(out).expect("digits")
}

fn title(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
