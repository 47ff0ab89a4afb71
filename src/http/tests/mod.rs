//! The server on a real listener, asked over raw sockets.

mod answers;
mod bodies;
mod connections;
mod hostile;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use super::reply::{self, Rendered};
use super::route::{EVENT_STREAM, JSON, NDJSON};
use super::{App, Ask, Call, Derived, EventSender, Handler, HttpLimits, Param, Route, query, serve, write};
use crate::capture::fake::{FakeDaemon, Kept};
use crate::capture::{CaptureContext, CaptureLimits};
use crate::clock::Clock;
use crate::passport::Appender;
use crate::problem::{Problem, Slug};
use crate::units::Seq;

/// No single step of a test takes longer; a hang fails instead of hanging.
const DEADLINE: Duration = Duration::from_secs(30);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} did not happen in {DEADLINE:?}"))
}

/// An application with one handler of each kind.
struct TestApp {
    daemon: FakeDaemon,
    applied: watch::Sender<u64>,
    /// Tells that a slow request is being answered, and lets it finish.
    slow_began: Notify,
    slow_may_end: Notify,
    /// The sender of the last event stream.
    events: watch::Sender<Option<EventSender>>,
}

impl CaptureContext for TestApp {
    fn appender(&self) -> &Appender {
        self.daemon.appender()
    }
    fn clock(&self) -> &dyn Clock {
        self.daemon.clock()
    }
    fn capture_limits(&self) -> CaptureLimits {
        self.daemon.capture_limits()
    }
    async fn keep_pace(&self) {
        self.daemon.keep_pace().await;
    }
}

impl App for TestApp {
    fn routes() -> Vec<Route<TestApp>> {
        const LIST: &[Param] = &[query::LIMIT];
        let mut rows = write::routes();
        rows.extend([
            Route::get("/test/hello/{name}", "hello", "Greets.", Handler::Read(hello))
                .params(LIST)
                .gives(&[(200, JSON, "Health")]),
            Route::get("/test/board", "board", "A board.", Handler::Read(board)).derived().gives(&[(
                200,
                JSON,
                "Leaderboard",
            )]),
            Route::get("/test/blocking/{name}", "blocking", "Reads the disk.", Handler::Blocking(hello)).params(LIST),
            Route::get("/test/slow", "slow", "Takes its time.", Handler::Async(|call| Box::pin(slow(call)))),
            Route::get("/test/events", "events", "A stream.", Handler::Async(|call| Box::pin(events(call))))
                .gives(&[(200, EVENT_STREAM, "Entry")]),
            Route::get("/test/export", "export", "Lines.", Handler::Async(|call| Box::pin(export(call))))
                .gives(&[(200, NDJSON, "Entry")]),
            Route::get("/test/torn", "torn", "Half an export.", Handler::Async(|call| Box::pin(torn(call)))),
            Route::get("/test/panic", "panic", "Broken logic.", Handler::Read(|_, _| panic!("on purpose"))),
            Route::put(
                "/test/board",
                "putBoard",
                "Panics late.",
                Handler::Async(|_| Box::pin(async { panic!("on purpose") })),
            ),
        ]);
        rows
    }
    fn is_current(&self, _: Derived) -> bool {
        true
    }
    async fn make_current(&self, _: Derived) {}
    async fn wait_applied(&self, _: Derived, seq: Seq) {
        let _ = self.applied.subscribe().wait_for(|applied| *applied >= seq.get()).await;
    }
}

fn hello(_: &TestApp, ask: &Ask<'_>) -> super::Answer {
    Ok(reply::json(serde_json::json!({"hello": ask.path("name"), "limit": ask.query.number("limit")}).to_string()))
}

fn board(app: &TestApp, ask: &Ask<'_>) -> super::Answer {
    let applied = *app.applied.borrow();
    Ok(Rendered::new(JSON, format!("{{\"applied\":{applied}}}"), &format!("b-{applied}"))
        .applied(Seq::new(applied))
        .reply(ask.headers))
}

async fn slow(call: Call<TestApp>) -> super::Answer {
    call.app.slow_began.notify_one();
    call.app.slow_may_end.notified().await;
    Ok(reply::json("{\"slow\":true}"))
}

async fn events(call: Call<TestApp>) -> super::Answer {
    let (sender, reply) = call.event_stream();
    call.app.events.send_replace(Some(sender));
    Ok(reply)
}

async fn export(call: Call<TestApp>) -> super::Answer {
    let (mut lines, reply) = call.line_stream().map_err(|error| Problem::new(Slug::Internal, error.to_string()))?;
    tokio::task::spawn_blocking(move || {
        for number in 0..50_000 {
            lines.write(format!("{{\"n\":{number}}}\n").as_bytes())?;
        }
        lines.finish()
    });
    Ok(reply)
}

async fn torn(call: Call<TestApp>) -> super::Answer {
    let (mut lines, reply) = call.line_stream().map_err(|error| Problem::new(Slug::Internal, error.to_string()))?;
    tokio::task::spawn_blocking(move || lines.write(&vec![b'x'; 100_000]));
    Ok(reply)
}

struct Server {
    address: SocketAddr,
    app: Arc<TestApp>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Server {
        Server::with(HttpLimits::default(), CaptureLimits::default()).await
    }

    async fn with(limits: HttpLimits, capture: CaptureLimits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut daemon = FakeDaemon::new();
        daemon.limits = capture;
        let app = Arc::new(TestApp {
            daemon,
            applied: watch::channel(0).0,
            slow_began: Notify::new(),
            slow_may_end: Notify::new(),
            events: watch::channel(None).0,
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, Arc::clone(&app), limits, async {
            let _ = stopped.await;
        }));
        Server { address, app, stop: Some(stop), serving }
    }

    async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.expect("connects"), buffer: Vec::new() }
    }

    fn stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("it serves");
    }

    async fn stopped(self) {
        soon("the stop", self.serving).await.expect("no panic").expect("no error");
    }

    fn entries(&self) -> Vec<Kept> {
        self.app.daemon.entries()
    }

    /// Shows that the server goes on: one good event is stored, and nothing else was since `before`.
    async fn still_serves(&self, what: &str, before: usize) {
        assert_eq!(self.entries().len(), before, "{what} stored something");
        let answer = self.client().await.ask(&post("/api/passport/log", "", event(before))).await;
        assert_eq!(answer.status, 201, "after {what}: {answer:?}");
        assert_eq!(self.entries().len(), before + 1);
    }
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Received {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        found.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
    fn slug(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        problem["type"].as_str().and_then(|kind| kind.strip_prefix("/problems/")).expect("a slug").to_string()
    }
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        soon("a write", self.stream.write_all(bytes)).await.expect("the server reads");
    }

    /// Reads more; `false` at the end.
    async fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        let count = soon("an answer", self.stream.read(&mut piece)).await.expect("no reset");
        self.buffer.extend_from_slice(&piece[..count]);
        count > 0
    }

    /// Reads up to and with `mark`.
    async fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, mark) {
                return self.buffer.drain(..at + mark.len()).collect();
            }
            assert!(self.more().await, "the connection ended in {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    async fn head(&mut self) -> Received {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await).expect("text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Received { status, head, body: Vec::new() }
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more().await, "the body ended early");
        }
        self.buffer.drain(..count).collect()
    }

    async fn answer(&mut self) -> Received {
        let mut answer = self.head().await;
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = String::from_utf8(self.until(b"\r\n").await).expect("text");
                let size = usize::from_str_radix(size.trim(), 16).expect("a size");
                let mut chunk = self.exactly(size + 2).await;
                chunk.truncate(size);
                answer.body.extend_from_slice(&chunk);
                if size == 0 {
                    return answer;
                }
            }
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        answer.body = self.exactly(length).await;
        answer
    }

    async fn ask(&mut self, request: &[u8]) -> Received {
        self.send(request).await;
        self.answer().await
    }

    /// The server closes in order, and sends nothing more.
    async fn closed(&mut self) {
        while self.more().await {}
        assert!(self.buffer.is_empty(), "{:?}", String::from_utf8_lossy(&self.buffer));
    }
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

fn post(target: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A good event whose key is its number.
fn event(number: usize) -> String {
    format!(r#"{{"type":"x.y","userId":"u","at":"2026-05-01T00:00:00Z","messageId":"event-{number}"}}"#)
}
