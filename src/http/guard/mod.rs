//! The guard between the socket and hyper: it sees every byte of a request before hyper does, and lets only well-formed
//! heads through.
//!
//! hyper 1.12 takes a missing or doubled Host, a bare LF, CONNECT, a target of any length, any Expect, and
//! Transfer-Encoding beside Content-Length, and has no timeout for bodies. The guard follows the framing (head, body by
//! length, chunks), so that it knows where each head begins, and hands a head on only when it is whole and good. A head
//! in one read is scanned where it lies and never copied; one in pieces is kept aside until it is whole.
//!
//! When it refuses a head it goes silent towards hyper; once the answers to earlier requests are out, the connection's
//! task takes the socket back, writes the refusal and closes ([`super::connection`]).
//!
//! Deadlines, all [`crate::limits::HTTP_STALL_SECONDS`]: a fresh connection's first byte (closed without a word), a head from its first
//! byte (408), each further piece of a body (the body fails with `TimedOut`, which becomes a 408), and each piece of an
//! answer that the client does not take (closed). They are kept as plain instants; a timer exists only while a poll
//! waits for one of them.

mod chunks;
mod head;
mod reject;

pub use chunks::ChunkScan;
pub use head::HeadScan;
pub use reject::{ALLOW_ANYWHERE, Reject};

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::connection::Progress;
use head::Framing;

/// Which part of a request the next byte belongs to.
#[derive(Debug)]
enum Stage {
    Head(HeadScan),
    Length(u64),
    Chunks(ChunkScan),
    /// A refused head, or chunks that are none: nothing more is read as HTTP.
    Broken,
}

/// A timer that is only armed while someone waits.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` is over.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}

/// A TCP stream that shows hyper nothing but well-formed requests.
pub struct GuardedStream {
    inner: TcpStream,
    progress: Arc<Progress>,
    stage: Stage,
    /// A head that is not whole yet, or bytes that may go on but did not fit: the first `ready` bytes may go on.
    held: Vec<u8>,
    ready: usize,
    /// Nothing has come yet.
    fresh: bool,
    refused: Option<Reject>,
    answer_bodiless: bool,
    stall: Duration,
    /// When the wait that is under way began: the connection, a head's first byte, a body's last piece.
    waiting_since: Option<Instant>,
    writing_since: Option<Instant>,
    read_alarm: Alarm,
    write_alarm: Alarm,
}

impl GuardedStream {
    pub fn new(inner: TcpStream, progress: Arc<Progress>, stall: Duration) -> GuardedStream {
        GuardedStream {
            inner,
            progress,
            stage: Stage::Head(HeadScan::default()),
            held: Vec::new(),
            ready: 0,
            fresh: true,
            refused: None,
            answer_bodiless: false,
            stall,
            waiting_since: Some(Instant::now()),
            writing_since: None,
            read_alarm: Alarm::default(),
            write_alarm: Alarm::default(),
        }
    }

    /// The socket, and the refusal that its client is still owed.
    pub fn into_parts(self) -> (TcpStream, Option<Vec<u8>>) {
        (self.inner, self.refused.map(|reject| reject.to_response_bytes(self.answer_bodiless)))
    }

    fn refuse(&mut self, reject: Reject, bodiless: bool) {
        self.refused = Some(reject);
        self.answer_bodiless = bodiless;
        self.stage = Stage::Broken;
        self.progress.end_when_answered();
    }

    /// Follows the framing through `bytes` and returns how many of them hyper may have.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            match &mut self.stage {
                Stage::Broken => break,
                Stage::Length(left) => {
                    let step = (*left).min(rest.len() as u64);
                    *left -= step;
                    passed += step as usize;
                    if *left == 0 {
                        self.stage = Stage::Head(HeadScan::default());
                    }
                }
                Stage::Chunks(scan) => match scan.feed(rest) {
                    Ok((used, ended)) => {
                        passed += used;
                        if ended {
                            self.stage = Stage::Head(HeadScan::default());
                        }
                    }
                    Err(chunks::BadChunk) => self.stage = Stage::Broken,
                },
                Stage::Head(scan) => match scan.scan(rest) {
                    Ok(Some(head)) => {
                        passed += head.len;
                        self.progress.head_passed();
                        self.stage = match head.framing {
                            Framing::None => Stage::Head(HeadScan::default()),
                            Framing::Length(length) => Stage::Length(length),
                            Framing::Chunked => Stage::Chunks(ChunkScan::new()),
                        };
                    }
                    Ok(None) => break,
                    Err(reject) => {
                        let bodiless = scan.head_method;
                        self.refuse(reject, bodiless);
                    }
                },
            }
        }
        passed
    }

    /// Takes in what the last read brought: bytes `before..` of the buffer. Returns whether hyper got any.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        let fresh = &buf.filled()[before..];
        if self.held.is_empty() {
            let passed = self.follow(fresh);
            self.held.extend_from_slice(&buf.filled()[before + passed..]);
            buf.set_filled(before + passed);
        } else {
            self.held.extend_from_slice(fresh);
            buf.set_filled(before);
            let held = std::mem::take(&mut self.held);
            self.ready = self.follow(&held);
            self.held = held;
            self.hand_on(buf);
        }
        let in_head = matches!(self.stage, Stage::Head(_));
        let mid_head = in_head && self.held.len() > self.ready;
        self.progress.set_mid_head(mid_head);
        // A head's wait runs from its first byte; a body's begins anew with each piece; between requests there is none.
        match (in_head, mid_head) {
            (true, true) if self.fresh || self.waiting_since.is_none() || buf.filled().len() > before => {
                self.waiting_since = Some(Instant::now());
            }
            (true, true) => {}
            (true, false) => self.waiting_since = None,
            (false, _) => self.waiting_since = Some(Instant::now()),
        }
        self.fresh = false;
        buf.filled().len() > before
    }

    /// Moves held bytes that may go on into the buffer.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.ready.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.drain(..count);
        self.ready -= count;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// The client said that nothing more comes.
    fn end_of_input(&mut self) -> Poll<io::Result<()>> {
        let mid_body = matches!(self.stage, Stage::Length(_) | Stage::Chunks(_));
        // hyper would drop an answer under way when it sees the end; a client may close its half and still listen.
        if mid_body || self.progress.all_answered() || self.progress.ends_with_client() {
            return Poll::Ready(Ok(()));
        }
        self.progress.end_when_answered();
        Poll::Pending
    }

    /// Nothing to read: which deadline runs?
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(since) = self.waiting_since else { return Poll::Pending };
        ready!(self.read_alarm.poll_until(cx, since + self.stall));
        self.waiting_since = None;
        match &self.stage {
            Stage::Head(_) if self.held.is_empty() => Poll::Ready(Ok(())),
            Stage::Head(scan) => {
                let bodiless = scan.head_method;
                self.refuse(Reject::Stalled, bodiless);
                Poll::Pending
            }
            _ => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the body stalled"))),
        }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ready > 0 {
            this.hand_on(buf);
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.refused.is_some() {
                return Poll::Pending;
            }
            if matches!(this.stage, Stage::Broken) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the chunks are malformed")));
            }
            let before = buf.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, buf) {
                Poll::Pending => return this.wait(cx),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if buf.filled().len() == before => return this.end_of_input(),
                Poll::Ready(Ok(())) => {
                    if this.inspect(buf, before) {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl GuardedStream {
    /// A write that waits may not wait for ever: a client that takes nothing holds its answer in memory.
    fn judge_write<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing_since = None;
            return outcome;
        }
        let since = *self.writing_since.get_or_insert_with(Instant::now);
        ready!(self.write_alarm.poll_until(cx, since + self.stall));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no answer")))
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.progress.set_flushed(false);
        let outcome = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.judge_write(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.progress.set_flushed(false);
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.judge_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.progress.set_flushed(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
