//! Metrics of one subject and their top lists.

use std::collections::BTreeMap;

use super::ask::{Ask, whole};
use crate::model::boards::WINDOWS;
use crate::model::json::Json;
use crate::model::metrics::{METRICS, TopRow, Total, is_money};
use crate::model::moment::ENTITY_TYPES;

/// None asks without a currency, which is dollars. Nobody pays in kroner.
const CURRENCIES: [Option<&str>; 6] = [None, Some("usd"), Some("eur"), Some("jpy"), Some("sek"), Some("dkk")];

/// A `{count, sum}`: votes by their weight, money in cents, else the count.
pub fn total_of(metric: &str, found: &Json) -> Total {
    let sum = found.at("sum");
    let sum = if metric == "votes_cast" { sum.as_decimal().exact_micro() } else { whole(sum) };
    Total { count: found.at("count").as_integer(), sum }
}

/// `{"votes_cast": {count, sum}, "money_spent:usd": …}`.
pub fn totals_of(found: &Json) -> BTreeMap<String, Total> {
    let members = found.members().iter();
    let totals: BTreeMap<String, Total> =
        members.map(|(key, total)| (key.clone(), total_of(key.split(':').next().expect("a name"), total))).collect();
    assert_eq!(totals.len(), found.members().len(), "a metric stands twice in {}", found.render());
    totals
}

/// A part of all metrics of all subjects in all windows.
pub fn metrics(ask: &Ask) {
    let mut all = Vec::new();
    for entity_type in ENTITY_TYPES {
        for id in ask.moment.known(entity_type) {
            for metric in METRICS {
                all.extend(WINDOWS.map(|window| (entity_type, id.clone(), metric, window)));
            }
        }
    }
    for (index, (entity_type, id, metric, window)) in ask.some_of(7, all).into_iter().enumerate() {
        let currency = CURRENCIES[index % CURRENCIES.len()];
        let entity = if entity_type == "global" && index % 2 == 0 { String::new() } else { format!("&entityId={id}") };
        let path = format!(
            "/api/coliseum/metrics/{metric}?entityType={entity_type}{entity}&window={window}{}",
            parameter(currency)
        );
        let body = ask.at_minute(&path);
        let currency = currency.unwrap_or("usd");
        let wanted = ask.moment.metric(entity_type, &id, metric, window, currency);
        assert_eq!(total_of(metric, &body), wanted, "{path}");
        assert_eq!(body.at("entityId").as_text(), id, "{path}");
        assert_names(&body, [metric, entity_type, window], currency, &path);
    }
    for entity_type in ENTITY_TYPES {
        ask.is_not_found(&format!(
            "/api/coliseum/metrics/follows?entityType={entity_type}&entityId=nobody&window=alltime"
        ));
    }
}

/// A part of all top lists, and a smaller one of those in other currencies.
pub fn top_lists(ask: &Ask) {
    let (mut plain, mut more) = (Vec::new(), Vec::new());
    for entity_type in ["user", "artist", "event"] {
        for metric in METRICS {
            for window in WINDOWS {
                plain.push((entity_type, metric, window, None));
                more.extend(CURRENCIES[1..].iter().map(|currency| (entity_type, metric, window, *currency)));
            }
        }
    }
    let asked = ask.some_of(2, plain).into_iter().chain(ask.some_of(17, more));
    for (entity_type, metric, window, currency) in asked {
        top_list(ask, entity_type, metric, window, currency);
    }
}

fn top_list(ask: &Ask, entity_type: &str, metric: &str, window: &str, currency: Option<&str>) {
    let path =
        format!("/api/coliseum/metrics/{metric}/top?entityType={entity_type}&window={window}{}", parameter(currency));
    let currency = currency.unwrap_or("usd");
    let mut wanted = ask.moment.top(entity_type, metric, window, currency);
    let total = wanted.len() as i64;
    // One after the other: as many as there are by default, the most that may be asked for, and a few.
    let (path, limit) = match ask.head() % 3 {
        0 => (path, 100),
        1 => (format!("{path}&limit=1000"), 1000),
        _ => (format!("{path}&limit=2"), 2),
    };
    wanted.truncate(limit);
    let body = ask.at_minute(&path);
    let row = |row: &Json| TopRow {
        position: row.at("position").as_integer(),
        rank: row.at("rank").as_integer(),
        id: row.at("entityId").as_text().to_owned(),
        name: row.at("name").as_optional_text().map(str::to_owned),
        total: total_of(metric, row),
    };
    let found: Vec<TopRow> = body.at("entries").as_list().iter().map(row).collect();
    assert_eq!(found, wanted, "{path}");
    assert_eq!(body.at("total").as_integer(), total, "{path}");
    assert_names(&body, [metric, entity_type, window], currency, &path);
}

/// The answer says what it is of; it has a currency where it is of money.
fn assert_names(body: &Json, [metric, entity_type, window]: [&str; 3], currency: &str, path: &str) {
    assert_eq!(body.at("metric").as_text(), metric, "{path}");
    assert_eq!(body.at("entityType").as_text(), entity_type, "{path}");
    assert_eq!(body.at("window").as_text(), window, "{path}");
    assert_eq!(body.at("currency").as_optional_text(), is_money(metric).then_some(currency), "{path}");
}

fn parameter(currency: Option<&str>) -> String {
    currency.map_or(String::new(), |currency| format!("&currency={currency}"))
}
