//! One request: checked, routed, handed to its handler, answered.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Method, Request};

use super::App;
use super::call::{Ask, Call, Room};
use super::connection::{AnswerToken, Progress};
use super::guard::ALLOW_ANYWHERE;
use super::loopback;
use super::query::{MIN_SEQ, Query, invalid};
use super::reply::{self, Reply};
use super::route::{Answer, Derived, Handler, LaterAnswer, Route};
use super::router::Found;
use super::server::Shared;
use crate::limits::MIN_SEQ_WAIT_MS;
use crate::problem::{Problem, Slug};
use crate::units::Seq;

/// The header that says the same as `minSeq`.
const MIN_SEQ_HEADER: HeaderName = HeaderName::from_static("coliseum-min-seq");

/// One connection's way to the application.
pub(super) struct Service<A: App> {
    shared: Arc<Shared<A>>,
    progress: Arc<Progress>,
}

impl<A: App> Service<A> {
    pub fn new(shared: Arc<Shared<A>>, progress: Arc<Progress>) -> Service<A> {
        Service { shared, progress }
    }
}

/// An answer, there at once or on its way. Answers out of memory need no box.
pub(super) struct Answering {
    state: State,
    token: Option<AnswerToken>,
}

enum State {
    Now(Option<Answer>),
    Later(LaterAnswer),
}

impl Future for Answering {
    type Output = Result<Reply, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let answer = match &mut this.state {
            State::Now(answer) => answer.take().unwrap_or_else(|| Err(panicked())),
            // A handler that panics has broken logic; its request fails, the daemon goes on.
            State::Later(later) => match catch_unwind(AssertUnwindSafe(|| later.as_mut().poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(answer)) => answer,
                Err(_) => Err(panicked()),
            },
        };
        let mut reply = answer.unwrap_or_else(|problem| reply::problem(&problem));
        reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(token) = this.token.take() {
            reply.body_mut().carry(token);
        }
        Poll::Ready(Ok(reply))
    }
}

fn panicked() -> Problem {
    Problem::new(Slug::Internal, "The request could not be answered; the daemon's log says more.")
}

impl<A: App> hyper::service::Service<Request<Incoming>> for Service<A> {
    type Response = Reply;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let token = AnswerToken::new(Arc::clone(&self.progress), Arc::clone(&self.shared.ticks));
        let (head, body) = request.into_parts();
        let state = catch_unwind(AssertUnwindSafe(|| begin(&self.shared, head, body)));
        Answering { state: state.unwrap_or_else(|_| State::Now(Some(Err(panicked())))), token: Some(token) }
    }
}

/// Checks and routes a request, and answers it at once where its handler can.
fn begin<A: App>(shared: &Arc<Shared<A>>, head: Parts, body: Incoming) -> State {
    let now = |answer| State::Now(Some(answer));
    if let Err(problem) = loopback::check(&head) {
        return now(Err(problem));
    }
    if head.uri.path() == "*" {
        return now(Ok(reply::options(HeaderValue::from_static(ALLOW_ANYWHERE))));
    }
    let (route, path) = match shared.router.find(&head.method, head.uri.path()) {
        Found::Row(route, path) => (route, path),
        Found::Problem(problem) => return now(Err(problem)),
        Found::Options(allow) => return now(Ok(reply::options(allow.clone()))),
        Found::NoSuchMethod(allow) => return now(Ok(no_such_method(&head.method, allow))),
    };
    let query = match Query::parse(head.uri.query(), route.params, route.derived.is_some()) {
        Ok(query) => query,
        Err(problem) => return now(Err(problem)),
    };
    let min_seq = match min_seq(route, &query, &head) {
        Ok(min_seq) => min_seq,
        Err(problem) => return now(Err(problem)),
    };
    let later = match &route.handler {
        Handler::Fixed(rendered) => return now(Ok(rendered.reply(&head.headers))),
        Handler::Read(handler) if min_seq.is_none() && is_current(&*shared.app, route.derived) => {
            return now(handler(&shared.app, &Ask { path, query: &query, headers: &head.headers }));
        }
        Handler::Read(handler) => Later::Read(*handler),
        Handler::Blocking(handler) => Later::Blocking(*handler),
        Handler::Async(handler) => Later::Async(*handler, path.to_owned(), body),
    };
    let derived = route.derived;
    State::Later(Box::pin(answer_later(Arc::clone(shared), head, query, derived, min_seq, later)))
}

/// A handler that cannot answer at once, and what only it needs.
enum Later<A> {
    Read(fn(&A, &Ask<'_>) -> Answer),
    Blocking(fn(&A, &Ask<'_>) -> Answer),
    Async(fn(Call<A>) -> LaterAnswer, Vec<(String, String)>, Incoming),
}

fn no_such_method(method: &Method, allow: &HeaderValue) -> Reply {
    let shown: String = method.as_str().chars().take(32).collect();
    let mut reply = reply::problem(&Problem::new(Slug::MethodNotAllowed, format!("{shown} is not served here.")));
    reply.headers_mut().insert(ALLOW, allow.clone());
    reply
}

/// The seq that a read must have applied, by parameter or header.
fn min_seq<A>(route: &Route<A>, query: &Query, head: &Parts) -> Result<Option<Seq>, Problem> {
    if route.derived.is_none() {
        return Ok(None);
    }
    let by_header = match head.headers.get(MIN_SEQ_HEADER) {
        None => None,
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            Some(number.ok_or_else(|| invalid("The header `Coliseum-Min-Seq` takes a whole number."))?)
        }
    };
    Ok(query.number(MIN_SEQ.name).max(by_header).map(Seq::new))
}

fn is_current<A: App>(app: &A, derived: Option<Derived>) -> bool {
    derived.is_none_or(|derived| app.is_current(derived))
}

/// Waits until the derived state that a route reads is of this minute, and holds the seq that the request asks for.
async fn make_ready<A: App>(app: &A, derived: Derived, min_seq: Option<Seq>) -> Result<(), Problem> {
    if !app.is_current(derived) {
        app.make_current(derived).await;
    }
    let Some(seq) = min_seq else { return Ok(()) };
    let wait = tokio::time::timeout(Duration::from_millis(MIN_SEQ_WAIT_MS), app.wait_applied(derived, seq));
    wait.await.map_err(|_| {
        let detail = format!("Seq {seq} was not applied within {MIN_SEQ_WAIT_MS} ms; try again in a moment.");
        Problem::new(Slug::NotYetApplied, detail)
    })
}

async fn answer_later<A: App>(
    shared: Arc<Shared<A>>,
    head: Parts,
    query: Query,
    derived: Option<Derived>,
    min_seq: Option<Seq>,
    later: Later<A>,
) -> Answer {
    if let Some(derived) = derived {
        make_ready(&*shared.app, derived, min_seq).await?;
    }
    match later {
        Later::Read(handler) => ask(&shared, &head, &query, handler),
        Later::Blocking(handler) => {
            let work = tokio::task::spawn_blocking(move || ask(&shared, &head, &query, handler));
            work.await.unwrap_or_else(|_| Err(panicked()))
        }
        Later::Async(handler, path, body) => {
            let room = Room {
                heavy: Arc::clone(&shared.heavy),
                closing: shared.closing.clone(),
                heartbeat: shared.limits.heartbeat,
            };
            let hold = shared.budget.hold();
            handler(Call { app: Arc::clone(&shared.app), head, query, path, body, hold, room }).await
        }
    }
}

/// Runs a handler that borrows from the request; the path is matched again, since a match borrows from it too.
fn ask<A: App>(shared: &Shared<A>, head: &Parts, query: &Query, handler: fn(&A, &Ask<'_>) -> Answer) -> Answer {
    let Found::Row(_, path) = shared.router.find(&head.method, head.uri.path()) else { return Err(panicked()) };
    handler(&shared.app, &Ask { path, query, headers: &head.headers })
}
