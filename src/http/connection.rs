//! One connection from accept to close.
//!
//! [`Progress`] is what its guard, its requests and the registry share: how many heads went in, how many answers came
//! out. A connection with as many answers as heads is idle and may be closed at any moment without loss. A close that
//! leaves unread bytes behind is a lingering one: the sending half is shut, and what the client still sends is read and
//! dropped for a while, since a plain close would reset the connection and destroy the answer on its way.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::guard::GuardedStream;
use super::server::Shared;
use super::service::Service;

/// How long and how much a lingering close reads on.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_CLOSING: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// hyper's buffer of one connection: bodies are read in pieces of up to this many bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How far the requests of one connection have come. Written by the connection's own task; read by the registry too.
#[derive(Debug, Default)]
pub struct Progress {
    heads: AtomicU32,
    answers: AtomicU32,
    mid_head: AtomicBool,
    flushed: AtomicBool,
    end_when_answered: AtomicBool,
    ends_with_client: AtomicBool,
    /// A number that grows with every answer of the whole server: the smallest is idle the longest.
    last_answer: AtomicU64,
    close: Notify,
}

impl Progress {
    pub(super) fn new(now: u64) -> Progress {
        Progress { last_answer: AtomicU64::new(now), flushed: AtomicBool::new(true), ..Progress::default() }
    }
    pub(super) fn head_passed(&self) {
        self.ends_with_client.store(false, Ordering::Relaxed);
        self.heads.fetch_add(1, Ordering::Release);
    }
    fn answered(&self, now: u64) {
        self.last_answer.store(now, Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Release);
    }
    pub(super) fn set_mid_head(&self, mid_head: bool) {
        self.mid_head.store(mid_head, Ordering::Release);
    }
    pub(super) fn set_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Ordering::Relaxed);
    }
    /// No further request is taken; the connection ends once what it owes is sent.
    pub(super) fn end_when_answered(&self) {
        self.end_when_answered.store(true, Ordering::Relaxed);
    }
    /// The answer under way has no end of its own: it ends when the client closes its half.
    pub(super) fn set_ends_with_client(&self) {
        self.ends_with_client.store(true, Ordering::Relaxed);
    }
    pub(super) fn ends_with_client(&self) -> bool {
        self.ends_with_client.load(Ordering::Relaxed)
    }
    pub(super) fn all_answered(&self) -> bool {
        self.heads.load(Ordering::Acquire) == self.answers.load(Ordering::Acquire)
    }
    /// Between requests, or before the first: closing now loses nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.all_answered() && !self.mid_head.load(Ordering::Acquire)
    }
    pub(super) fn last_answer(&self) -> u64 {
        self.last_answer.load(Ordering::Relaxed)
    }
    /// Asks the connection to close as soon as nothing is under way.
    pub(super) fn ask_to_close(&self) {
        self.close.notify_one();
    }
    fn is_over(&self) -> bool {
        self.end_when_answered.load(Ordering::Relaxed)
            && (self.ends_with_client() || self.all_answered() && self.flushed.load(Ordering::Relaxed))
    }
}

/// Lives as long as an answer: when hyper drops its body, the answer is out.
#[derive(Debug)]
pub struct AnswerToken {
    progress: Arc<Progress>,
    ticks: Arc<AtomicU64>,
}

impl AnswerToken {
    pub(super) fn new(progress: Arc<Progress>, ticks: Arc<AtomicU64>) -> AnswerToken {
        AnswerToken { progress, ticks }
    }
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Drop for AnswerToken {
    fn drop(&mut self) {
        self.progress.answered(self.ticks.fetch_add(1, Ordering::Relaxed));
    }
}

/// Serves one connection until it ends.
pub(super) async fn run<A: super::App>(stream: TcpStream, progress: Arc<Progress>, shared: Arc<Shared<A>>) {
    let guard = GuardedStream::new(stream, Arc::clone(&progress), shared.limits.stall);
    let service = Service::new(Arc::clone(&shared), Arc::clone(&progress));
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX);
    let mut connection = builder.serve_connection(TokioIo::new(guard), service);
    let mut closed_idle = false;
    {
        let mut asked = pin!(progress.close.notified());
        let mut closing = false;
        let mut told = false;
        poll_fn(|cx: &mut Context<'_>| {
            closing = closing || asked.as_mut().poll(cx).is_ready();
            loop {
                if let Poll::Ready(outcome) = connection.poll_without_shutdown(cx) {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "connection ended");
                    }
                    return Poll::Ready(());
                }
                if progress.is_over() {
                    return Poll::Ready(());
                }
                // A head that has begun to arrive is waited for: hyper knows nothing of it yet and would close.
                if !closing || told || progress.mid_head.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
                told = true;
                closed_idle = progress.all_answered();
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        })
        .await;
    }
    let (stream, refusal) = connection.into_parts().io.into_inner().into_parts();
    // Nothing was under way, so nothing can be destroyed: the client's next step need not be waited for.
    if closed_idle {
        return;
    }
    let linger = if *shared.closing.borrow() { LINGER_CLOSING } else { LINGER };
    close(stream, refusal, linger).await;
}

/// Sends the last words, shuts the sending half and reads on until the client is done.
pub(super) async fn close(mut stream: TcpStream, last_words: Option<Vec<u8>>, linger: Duration) {
    let goodbye = async {
        if let Some(bytes) = last_words {
            stream.write_all(&bytes).await?;
        }
        stream.shutdown().await?;
        let mut scratch = vec![0; 16 * 1024];
        let mut dropped = 0;
        while dropped < LINGER_BYTES_MAX {
            match stream.read(&mut scratch).await? {
                0 => break,
                count => dropped += count,
            }
        }
        std::io::Result::Ok(())
    };
    // Whatever goes wrong here, the connection is closed next: there is nobody left to tell.
    if let Ok(Err(error)) = timeout(linger, goodbye).await {
        tracing::trace!(%error, "the client was gone before the close");
    }
}
