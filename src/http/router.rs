//! From method and path to a row of the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Method;
use hyper::header::HeaderValue;

use super::call::PathParams;
use super::openapi;
use super::reply::Rendered;
use super::route::{Handler, JSON, Route};
use crate::problem::{Problem, Slug};

/// All rows, found by path, then by method.
pub(super) struct Router<A> {
    paths: matchit::Router<Path<A>>,
}

/// The rows of one path.
struct Path<A> {
    rows: Vec<Route<A>>,
    allow: HeaderValue,
}

/// Where a request goes.
pub(super) enum Found<'a, A> {
    Row(&'a Route<A>, PathParams<'a>),
    /// OPTIONS: the methods that the path has.
    Options(&'a HeaderValue),
    /// 405: those too.
    NoSuchMethod(&'a HeaderValue),
    Problem(Problem),
}

impl<A> Router<A> {
    /// # Panics
    /// If two rows have the same method and path, or a path is no pattern: the table is broken.
    pub fn new(mut rows: Vec<Route<A>>) -> Router<A> {
        rows.push(openapi::route(&rows));
        let mut by_path: BTreeMap<&'static str, Vec<Route<A>>> = BTreeMap::new();
        for row in rows {
            by_path.entry(row.path).or_default().push(row);
        }
        let mut paths = matchit::Router::new();
        for (path, rows) in by_path {
            let mut names: Vec<&str> = rows.iter().map(|row| row.method.as_str()).collect();
            if names.contains(&"GET") {
                names.push("HEAD");
            }
            names.push("OPTIONS");
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{path} has one method twice: {names:?}");
            let allow = HeaderValue::from_str(&names.join(", ")).expect("method names are header values");
            paths.insert(path, Path { rows, allow }).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        Router { paths }
    }

    pub fn find<'a>(&'a self, method: &Method, path: &'a str) -> Found<'a, A> {
        let Ok(found) = self.paths.at(path) else {
            let shown: String = path.chars().take(200).collect();
            return Found::Problem(Problem::new(Slug::NotFound, format!("There is nothing at {shown}.")));
        };
        let Path { rows, allow } = found.value;
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        let Some(row) = rows.iter().find(|row| row.method == wanted) else {
            return if method == Method::OPTIONS { Found::Options(allow) } else { Found::NoSuchMethod(allow) };
        };
        for (name, value) in found.params.iter() {
            if value.contains('%') && !is_text(value) {
                let detail = format!("The path's {name} is no UTF-8, or holds U+0000, once its escapes are undone.");
                return Found::Problem(Problem::new(Slug::BadRequest, detail));
            }
        }
        Found::Row(row, PathParams(found.params))
    }
}

fn is_text(escaped: &str) -> bool {
    percent_encoding::percent_decode_str(escaped).decode_utf8().is_ok_and(|text| !text.contains('\0'))
}

/// A document that never changes while the daemon runs.
pub(super) fn fixed<A>(path: &'static str, id: &'static str, summary: &'static str, body: Vec<u8>) -> Route<A> {
    let tag = format!("{:08x}-{:x}", crc32fast::hash(&body), body.len());
    Route::get(path, id, summary, Handler::Fixed(Arc::new(Rendered::new(JSON, body, &tag))))
}
