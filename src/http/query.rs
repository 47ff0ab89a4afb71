//! Query strings, checked against the route's own parameters before its handler runs.

use std::borrow::Cow;
use std::fmt::Write;

use super::route::{Kind, Param};
use crate::event::parse_rfc3339;
use crate::limits::LIST_LIMIT_MAX;
use crate::problem::{Problem, Slug};
use crate::units::Timestamp;

/// The parameter that reads of derived state take beside their own.
pub const MIN_SEQ: Param = Param::new(
    "minSeq",
    Kind::Number(0, u64::MAX),
    "Waits until this seq is applied, at most 2 s, then 503 with Retry-After.",
);

/// How many rows a list gives; a row of [`Param`]s for it.
pub const LIMIT: Param =
    Param::new("limit", Kind::Number(1, LIST_LIMIT_MAX as u64), "How many rows, 100 unless given.");

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(u64),
    Time(Timestamp),
    Flag(bool),
}

/// The parameters that a request gave, each once and of its kind.
#[derive(Clone, Debug, Default)]
pub struct Query {
    values: Vec<(&'static str, Value)>,
}

impl Query {
    /// Reads `text`, what stands behind the `?`.
    ///
    /// # Errors
    /// `invalid-query` 400 for an unknown or repeated parameter or a value that is not of its kind; the detail names
    /// the parameter and what it takes.
    pub fn parse(text: Option<&str>, params: &'static [Param], derived: bool) -> Result<Query, Problem> {
        let mut query = Query::default();
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(query) };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let known = params
                .iter()
                .find(|param| param.name == name)
                .or((derived && name == MIN_SEQ.name).then_some(&MIN_SEQ));
            let Some(param) = known else { return Err(unknown(&name, params, derived)) };
            if query.value(param.name).is_some() {
                return Err(invalid(format!("The parameter `{}` is given twice.", param.name)));
            }
            let value = read(param, &decode(value)?)
                .ok_or_else(|| invalid(format!("The parameter `{}` takes {}.", param.name, describe(param.kind))))?;
            query.values.push((param.name, value));
        }
        Ok(query)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
    /// A `Text` or `Word` parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Some(&Value::Number(number)) => Some(number),
            _ => None,
        }
    }
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        match self.value(name) {
            Some(&Value::Time(time)) => Some(time),
            _ => None,
        }
    }
    /// A `Flag` parameter; `false` when it was not given.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Flag(true)))
    }
    /// `from` and `to`, where given in the right order.
    ///
    /// # Errors
    /// `invalid-query` 400 when `from` lies behind `to`.
    pub fn range(&self, from: &str, to: &str) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
        match (self.time(from), self.time(to)) {
            (Some(start), Some(end)) if start > end => {
                Err(invalid(format!("The range is reversed: `{from}` lies behind `{to}`.")))
            }
            range => Ok(range),
        }
    }
}

/// `invalid-query` 400 with a detail, for what only a handler can judge.
pub fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Slug::InvalidQuery, detail)
}

fn unknown(name: &str, params: &[Param], derived: bool) -> Problem {
    let shown: String = name.chars().take(64).collect();
    let mut detail = format!("The parameter `{}` is unknown here; ", shown.escape_debug());
    let names = params.iter().map(|param| param.name).chain(derived.then_some(MIN_SEQ.name));
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    let _ = match names.as_slice() {
        [] => write!(detail, "none is taken."),
        names => write!(detail, "known are {}.", names.join(", ")),
    };
    invalid(detail)
}

/// `+` and percent escapes undone.
fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(|text| Cow::Owned(text.into_owned()))
        .map_err(|_| invalid("The query holds percent escapes that are no UTF-8."))
}

fn read(param: &Param, text: &str) -> Option<Value> {
    match param.kind {
        Kind::Text(bytes_max) => {
            let good = !text.is_empty() && text.len() <= bytes_max && !text.contains('\0');
            good.then(|| Value::Text(text.to_string()))
        }
        Kind::Number(low, high) => whole_number(text, low, high),
        Kind::Time => parse_rfc3339(text).map(Value::Time),
        Kind::Flag => match text {
            "true" => Some(Value::Flag(true)),
            "false" => Some(Value::Flag(false)),
            _ => None,
        },
        Kind::Word(words) => words.contains(&text).then(|| Value::Text(text.to_string())),
        Kind::NumberOr(_, _, word) if text == word => Some(Value::Text(text.to_string())),
        Kind::NumberOr(low, high, _) => whole_number(text, low, high),
        Kind::Currency => {
            let good = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase());
            good.then(|| Value::Text(text.to_string()))
        }
    }
}

fn whole_number(text: &str, low: u64, high: u64) -> Option<Value> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()?;
    (low..=high).contains(&number).then_some(Value::Number(number))
}

fn describe(kind: Kind) -> String {
    match kind {
        Kind::Text(bytes_max) => format!("a text of 1 to {bytes_max} bytes"),
        Kind::Number(low, u64::MAX) => format!("a whole number from {low} up"),
        Kind::Number(low, high) => format!("a whole number from {low} to {high}"),
        Kind::Time => "an RFC 3339 time with an offset, such as 2026-11-23T05:00:00Z (a `+` in it written %2B)".into(),
        Kind::Flag => "`true` or `false`".into(),
        Kind::NumberOr(low, high, word) => format!("a whole number from {low} to {high}, or `{word}`"),
        Kind::Currency => "a currency as three lower-case letters, such as `usd`".into(),
        Kind::Word(words) => {
            format!("one of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: &[Param] = &[
        LIMIT,
        Param::new("userId", Kind::Text(8), ""),
        Param::new("order", Kind::Word(&["asc", "desc"]), ""),
        Param::new("atomic", Kind::Flag, ""),
    ];

    fn detail(text: &str) -> String {
        let problem = Query::parse(Some(text), PARAMS, false).expect_err(text);
        assert_eq!((problem.slug, problem.status), (Slug::InvalidQuery, 400), "{text}");
        problem.detail
    }

    #[test]
    fn given_parameters_are_read_and_others_absent() {
        let query = Query::parse(Some("limit=7&userId=a%20b+c&order=desc&&atomic=true"), PARAMS, false).expect("good");
        assert_eq!(query.number("limit"), Some(7));
        assert_eq!(query.text("userId"), Some("a b c"));
        assert_eq!(query.text("order"), Some("desc"));
        assert!(query.flag("atomic"));
        assert_eq!(Query::parse(None, PARAMS, false).expect("empty").number("limit"), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_it_takes() {
        for bad in [
            "limit=-1",
            "limit=0",
            "limit=1001",
            "limit=1e3",
            "limit=",
            "limit",
            "limit=%2B5",
            "limit=99999999999999999999",
        ] {
            assert!(detail(bad).contains("`limit` takes a whole number from 1 to 1000"), "{bad}");
        }
        assert!(detail("limit=1&limit=1").contains("`limit` is given twice"));
        assert!(detail("limt=1").contains("`limt` is unknown") && detail("limt=1").contains("`limit`"));
        assert!(detail("order=up").contains("`asc`, `desc`"));
        assert!(detail("userId=").contains("1 to 8 bytes"));
        assert!(detail("userId=123456789").contains("1 to 8 bytes"));
        assert!(detail("userId=a%00").contains("`userId`"));
        assert!(detail("userId=%ff").contains("UTF-8"));
        assert!(detail("atomic=1").contains("`true` or `false`"));
        assert!(detail("minSeq=1").contains("unknown"));
    }

    #[test]
    fn min_seq_is_taken_where_derived_state_is_read() {
        assert_eq!(Query::parse(Some("minSeq=12"), PARAMS, true).expect("good").number("minSeq"), Some(12));
    }
}
