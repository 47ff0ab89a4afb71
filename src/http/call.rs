//! What a handler sees of a request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use tokio::sync::{Semaphore, watch};

use super::body::{self, Body};
use super::budget::ByteHold;
use super::query::Query;
use crate::problem::Problem;

/// A request without its body, for handlers that answer at once.
pub struct Ask<'a> {
    pub(super) path: PathParams<'a>,
    pub query: &'a Query,
    pub headers: &'a HeaderMap,
}

impl Ask<'_> {
    /// The segment that the route's path calls `{name}`, decoded.
    ///
    /// # Panics
    /// If the path has no such segment: the table and its handler disagree.
    pub fn path(&self, name: &str) -> Cow<'_, str> {
        self.path.get(name)
    }
}

/// The named segments of a path. All of them are UTF-8 without NUL once decoded: the router has checked.
pub(super) struct PathParams<'a>(pub matchit::Params<'a, 'a>);

impl PathParams<'_> {
    fn get(&self, name: &str) -> Cow<'_, str> {
        let raw = self.0.get(name).unwrap_or_else(|| panic!("the route's path has no segment {{{name}}}"));
        percent_encoding::percent_decode_str(raw).decode_utf8_lossy()
    }
    pub fn to_owned(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, _)| (name.to_string(), self.get(name).into_owned())).collect()
    }
}

/// What a server lends its handlers beside the application.
#[derive(Clone)]
pub(super) struct Room {
    pub heavy: Arc<Semaphore>,
    pub closing: watch::Receiver<bool>,
    pub heartbeat: Duration,
}

/// A whole request, for handlers that read the body, wait or stream.
pub struct Call<A> {
    pub app: Arc<A>,
    pub head: Parts,
    pub query: Query,
    pub(super) path: Vec<(String, String)>,
    pub(super) body: Incoming,
    pub(super) hold: ByteHold,
    pub(super) room: Room,
}

impl<A> Call<A> {
    /// The segment that the route's path calls `{name}`, decoded.
    ///
    /// # Panics
    /// If the path has no such segment: the table and its handler disagree.
    pub fn path(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("the route's path has no segment {{{name}}}")).1
    }

    /// Takes the body: checked to be of a JSON-like media type, decompressed, at most `bytes_max` long, and counted
    /// against the server's byte budget as long as it lives. A second take gives an empty one.
    ///
    /// # Errors
    /// 413 `too-large`, 415 `unsupported-encoding`, 503 `queue-full`, 408 for a stall, 400 for a body that ends early
    /// or does not decompress.
    pub async fn json_body(&mut self, bytes_max: usize) -> Result<Body, Problem> {
        super::media::check_content_type(&self.head.headers)?;
        self.raw_body(bytes_max).await
    }

    /// The same without a look at the media type.
    pub async fn raw_body(&mut self, bytes_max: usize) -> Result<Body, Problem> {
        let hold = self.hold.take();
        body::read(&mut self.body, &self.head.headers, bytes_max, hold, &self.room.heavy).await
    }

    /// Resolves when the server stops.
    pub async fn closing(&self) {
        let mut closing = self.room.closing.clone();
        // An error means that the server is gone, which is as closed as it gets.
        let _ = closing.wait_for(|closing| *closing).await;
    }
}
