//! SPEC 2.3: metrics and their top lists.

use std::collections::BTreeMap;

use super::Entry;
use super::boards::Span;
use super::moment::Moment;

pub const METRICS: [&str; 8] =
    ["events_attended", "money_spent", "money_earned", "votes_cast", "tracks_played", "favorites", "follows", "shares"];

/// Whether a metric is kept per currency.
pub fn is_money(metric: &str) -> bool {
    metric.starts_with("money_")
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    pub count: i64,
    /// Cents of money, millionths of votes, else the count.
    pub sum: i128,
}

/// What one event adds to the one metric that it counts in.
pub struct Part<'a> {
    pub metric: &'static str,
    pub currency: Option<&'a str>,
    pub amount: i128,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TopRow {
    pub position: i64,
    pub rank: i64,
    pub id: String,
    pub name: Option<String>,
    pub total: Total,
}

impl Entry {
    pub fn metric_part(&self) -> Option<Part<'_>> {
        let one = |metric| Some(Part { metric, currency: None, amount: 1 });
        let money = |metric, sign| {
            Some(Part { metric, currency: Some(self.currency()), amount: sign * i128::from(self.amount_cents()) })
        };
        match self.kind.as_str() {
            "concierto.event_attended" => one("events_attended"),
            "treasury.money_spent" => money("money_spent", 1),
            "treasury.money_refunded" => money("money_spent", -1),
            "treasury.money_earned" => money("money_earned", 1),
            "treasury.earning_reversed" => money("money_earned", -1),
            "coliseum.vote_cast" => {
                let weight = self.fields.present("weight").map_or(1_000_000, |weight| weight.as_decimal().to_micro());
                Some(Part { metric: "votes_cast", currency: None, amount: weight })
            }
            "player.track_played" => one("tracks_played"),
            "player.track_favorited" => one("favorites"),
            "social.follow" => one("follows"),
            "social.share" => one("shares"),
            _ => None,
        }
    }
}

/// The totals of these events by `votes_cast`, ..., `money_spent:usd`; without those that none of them counts in.
pub fn totals(entries: &[&Entry]) -> BTreeMap<String, Total> {
    let mut totals: BTreeMap<String, Total> = BTreeMap::new();
    for part in entries.iter().filter_map(|entry| entry.metric_part()) {
        let key = part.currency.map_or(part.metric.to_owned(), |currency| format!("{}:{currency}", part.metric));
        let total = totals.entry(key).or_default();
        total.count += 1;
        total.sum += part.amount;
    }
    totals
}

impl Moment<'_> {
    /// A metric of one subject in a window; `currency` matters to money only.
    pub fn metric(&self, entity_type: &str, id: &str, metric: &str, window: &str, currency: &str) -> Total {
        let span = Span::current(window, self.minute);
        let mut total = Total::default();
        for entry in self.of_subject(entity_type, id).into_iter().filter(|entry| span.holds(entry.at)) {
            let Some(part) = entry.metric_part() else { continue };
            if part.metric == metric && part.currency.is_none_or(|own| own == currency) {
                total.count += 1;
                total.sum += part.amount;
            }
        }
        total
    }

    /// The subjects with a count over 0, by sum descending, then id ascending.
    pub fn top(&self, entity_type: &str, metric: &str, window: &str, currency: &str) -> Vec<TopRow> {
        let mut rows: Vec<(String, Total)> = Vec::new();
        for id in self.known(entity_type) {
            let total = self.metric(entity_type, &id, metric, window, currency);
            if total.count > 0 {
                rows.push((id, total));
            }
        }
        rows.sort_by(|a, b| b.1.sum.cmp(&a.1.sum).then(a.0.as_bytes().cmp(b.0.as_bytes())));
        let row = |(index, (id, total)): (usize, &(String, Total))| TopRow {
            position: index as i64 + 1,
            rank: rows.iter().filter(|(_, other)| other.sum > total.sum).count() as i64 + 1,
            id: id.clone(),
            name: self.name(entity_type, id),
            total: *total,
        };
        rows.iter().enumerate().map(row).collect()
    }
}
