//! What one row of the route table says. The table is the only place that knows a path: the router, the check of the
//! query and `/openapi.json` are made from it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Method;

use super::call::{Ask, Call};
use super::reply::{Rendered, Reply};
use crate::problem::Problem;

/// What every handler gives.
pub type Answer = Result<Reply, Problem>;

/// An answer on its way.
pub type LaterAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// How a route is answered.
pub enum Handler<A> {
    /// At once, on the reactor's thread: for answers out of memory, with no allocation beside the answer's own.
    Read(fn(&A, &Ask<'_>) -> Answer),
    /// On a thread that may block: for answers that read the disk.
    Blocking(fn(&A, &Ask<'_>) -> Answer),
    /// With the request's body, a stream for an answer, or a wait: `|call| Box::pin(module::handler(call))`.
    Async(fn(Call<A>) -> LaterAnswer),
    /// Always with these bytes.
    Fixed(Arc<Rendered>),
}

/// What a query parameter may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text of 1 to that many bytes.
    Text(usize),
    /// A whole number in that range, both ends included.
    Number(u64, u64),
    /// RFC 3339 with an offset.
    Time,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number in that range, or the word.
    NumberOr(u64, u64, &'static str),
    /// Three lower-case letters.
    Currency,
}

/// One query parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
}

impl Param {
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Param {
        Param { name, kind, doc }
    }
}

/// Which derived state a route reads, by the names of the consumers that keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived {
    /// That of these.
    Of(&'static [&'static str]),
    /// That of every consumer there is.
    OfAll,
}

impl Derived {
    pub fn includes(self, consumer: &str) -> bool {
        match self {
            Derived::Of(names) => names.contains(&consumer),
            Derived::OfAll => true,
        }
    }
}

/// One row: a method and a path, what they mean, and who answers.
pub struct Route<A> {
    pub method: Method,
    /// With `{name}` for a segment; `{*name}` for the rest.
    pub path: &'static str,
    /// `operationId`.
    pub id: &'static str,
    pub summary: &'static str,
    pub params: &'static [Param],
    /// Where it reads derived state, it takes `minSeq` and `Coliseum-Min-Seq`, which wait for the consumers named here.
    pub derived: Option<Derived>,
    /// Schema of the request's body.
    pub request: Option<&'static str>,
    /// Status, media type and schema of the good answers.
    pub responses: &'static [(u16, &'static str, &'static str)],
    pub handler: Handler<A>,
}

/// Good answers of a kind, for [`Route::gives`].
pub const JSON: &str = "application/json";
pub const NDJSON: &str = "application/x-ndjson";
pub const HTML: &str = "text/html";
pub const CSV: &str = "text/csv";
pub const EVENT_STREAM: &str = "text/event-stream";
pub const PROBLEM_JSON: &str = "application/problem+json";

impl<A> Route<A> {
    fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: Handler<A>,
    ) -> Route<A> {
        Route { method, path, id, summary, params: &[], derived: None, request: None, responses: &[], handler }
    }
    pub fn get(path: &'static str, id: &'static str, summary: &'static str, handler: Handler<A>) -> Route<A> {
        Route::new(Method::GET, path, id, summary, handler)
    }
    pub fn post(path: &'static str, id: &'static str, summary: &'static str, handler: Handler<A>) -> Route<A> {
        Route::new(Method::POST, path, id, summary, handler)
    }
    pub fn put(path: &'static str, id: &'static str, summary: &'static str, handler: Handler<A>) -> Route<A> {
        Route::new(Method::PUT, path, id, summary, handler)
    }
    pub fn delete(path: &'static str, id: &'static str, summary: &'static str, handler: Handler<A>) -> Route<A> {
        Route::new(Method::DELETE, path, id, summary, handler)
    }
    pub fn params(self, params: &'static [Param]) -> Route<A> {
        Route { params, ..self }
    }
    /// It reads what every consumer keeps: `minSeq` waits for the slowest one before the handler runs.
    pub fn derived(self) -> Route<A> {
        Route { derived: Some(Derived::OfAll), ..self }
    }
    /// It reads what the consumers of these names keep: `minSeq` waits for them and for no other.
    pub fn derived_of(self, consumers: &'static [&'static str]) -> Route<A> {
        Route { derived: Some(Derived::Of(consumers)), ..self }
    }
    pub fn takes(self, schema: &'static str) -> Route<A> {
        Route { request: Some(schema), ..self }
    }
    pub fn gives(self, responses: &'static [(u16, &'static str, &'static str)]) -> Route<A> {
        Route { responses, ..self }
    }
}
