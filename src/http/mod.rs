//! HTTP: from an accepted socket to a handler and back.
//!
//! Owns every rule about requests that no handler should have to know: framing and sizes ([`guard`]), connections and
//! their timeouts ([`connection`], [`server`]), bodies and codings ([`body`], [`media`]), who may ask at all
//! ([`loopback`]), routes and queries ([`route`], [`router`], [`query`]), and how answers look ([`reply`], [`stream`]).
//!
//! The journey of one request: [`server::serve`] accepts it, [`guard::GuardedStream`] judges its head, hyper parses it,
//! [`service`] routes it to a row of the application's table, the row's handler answers with a [`Reply`] or a
//! [`crate::problem::Problem`].
//!
//! A route is one row in [`App::routes`]; its query parameters are checked and its OpenAPI entry is written from there.
//!
//! Limits: [`crate::limits`] and [`HttpLimits`]. Nothing here touches the disk; a crash leaves nothing behind.

mod body;
mod budget;
mod call;
mod connection;
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod loopback;
mod media;
pub mod openapi;
pub mod query;
pub mod reply;
pub mod route;
mod router;
mod schemas;
mod server;
mod service;
mod stream;
pub mod write;

#[cfg(test)]
mod tests;

pub use body::{Body, off_reactor};
pub use call::{Ask, Call};
pub use query::Query;
pub use reply::{Rendered, Reply};
pub use route::{Answer, Derived, Handler, Kind, LaterAnswer, Param, Route};
pub use server::{HttpLimits, serve};
pub use stream::{EventSender, Gone, LineWriter};

use std::future::Future;

use crate::units::Seq;

/// What is served: a table of routes, and the one thing that the server itself must ask for.
pub trait App: Sized + Send + Sync + 'static {
    /// Every route, one row each.
    fn routes() -> Vec<Route<Self>>;

    /// Whether what is derived is of the minute that the clock shows: asked before every read of derived state.
    fn is_current(&self, derived: Derived) -> bool;

    /// Resolves when it is again, or cannot soon be.
    fn make_current(&self, derived: Derived) -> impl Future<Output = ()> + Send;

    /// Resolves when everything up to `seq` is applied; may never resolve, the server gives up by itself.
    fn wait_applied(&self, derived: Derived, seq: Seq) -> impl Future<Output = ()> + Send;
}
