//! How a daemon is asked for what is counted and derived, and how its numbers are held against the model's.

use super::super::http::Client;
use super::settled;
use crate::model::decimal::Decimal;
use crate::model::json::Json;
use crate::model::moment::Moment;

/// How far a float may lie off, by its size where that is over 1.
const FLOAT_SLACK: f64 = 1e-12;

/// A daemon, what the model says of it, and the minute at which both are asked.
pub struct Ask<'a> {
    pub client: &'a Client,
    pub moment: Moment<'a>,
    /// Microseconds.
    pub now: i64,
}

impl Ask<'_> {
    pub fn head(&self) -> u64 {
        self.moment.model.head()
    }
    /// An answer that depends on a window, as of this minute.
    pub fn at_minute(&self, path: &str) -> Json {
        settled(self.client, path, self.head(), Some(self.now))
    }
    /// An answer that no window bounds.
    pub fn of_all_time(&self, path: &str) -> Json {
        settled(self.client, path, self.head(), None)
    }
    /// What nothing in the log names has no answer.
    pub fn is_not_found(&self, path: &str) {
        self.client.get(path).problem(404, &["not-found"]);
    }
    /// Every `step`-th of these, other ones at another head: a check asks for a part, and many checks for all.
    pub fn some_of<T>(&self, step: usize, all: Vec<T>) -> Vec<T> {
        let first = self.head() as usize;
        all.into_iter()
            .enumerate()
            .filter(|(index, _)| (index + first).is_multiple_of(step))
            .map(|(_, item)| item)
            .collect()
    }
}

/// A float to twelve digits; null where the model has none.
pub fn assert_near(found: &Json, wanted: Option<f64>, what: &str) {
    let shown = match found {
        Json::Null => None,
        Json::Number(digits) => Some(digits.parse::<f64>().unwrap_or_else(|_| panic!("{what}: {digits} is no float"))),
        other => panic!("{what}: {} is no number", other.render()),
    };
    let is_near = match (shown, wanted) {
        (Some(shown), Some(wanted)) => (shown - wanted).abs() <= FLOAT_SLACK * wanted.abs().max(1.0),
        (shown, wanted) => shown == wanted,
    };
    assert!(is_near, "{what}: {shown:?}, not {wanted:?}");
}

/// The list of this field: the texts under `name` equal, the floats under `size` near, in the same order.
pub fn assert_near_rows(found: &Json, [name, size]: [&str; 2], wanted: &[(String, f64)], what: &str) {
    let names: Vec<&str> = found.as_list().iter().map(|row| row.at(name).as_text()).collect();
    let wanted_names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, wanted_names, "{what}: {}", found.render());
    for (row, (name, wanted)) in found.as_list().iter().zip(wanted) {
        assert_near(row.at(size), Some(*wanted), &format!("{what}: {name}"));
    }
}

/// The rows of a list of cities.
pub fn cities_of(found: &Json) -> Vec<(String, i64)> {
    let row = |row: &Json| (row.at("city").as_text().to_owned(), row.at("count").as_integer());
    found.as_list().iter().map(row).collect()
}

/// A whole number, however its zeros are written.
pub fn whole(found: &Json) -> i128 {
    let number: Decimal = found.as_decimal();
    assert_eq!(number.decimals(), 0, "{} is not whole", found.render());
    number.exact_micro() / 1_000_000
}
