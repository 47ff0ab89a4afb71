//! Answers that come in pieces: server-sent events, and lines of NDJSON with an optional coding.
//!
//! Both are fed through a small channel by whoever makes the content, so that a slow client slows its producer and
//! holds no more than a few pieces in memory. A producer learns from [`Gone`] that nobody listens any more.
//! An event stream ends in order when the server stops (the client resumes by `Last-Event-ID`); an export that is
//! dropped before [`LineWriter::finish`] breaks the connection, so that half an export never looks like a whole one.

use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, HeaderValue, VARY};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::call::Call;
use super::media::{self, Coding};
use super::reply::{self, Reply, ReplyBody};
use super::route::{EVENT_STREAM, NDJSON};

/// Events and pieces that wait for a slow client before the producer has to.
const EVENTS_WAITING_MAX: usize = 64;
const PIECES_WAITING_MAX: usize = 4;
/// Lines are gathered into pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// The client is gone, or the server stops: nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody listens to the stream any more")]
pub struct Gone;

/// The producer's end of an event stream. The stream ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct EventSender {
    events: mpsc::Sender<Bytes>,
}

impl EventSender {
    /// Sends one event, and waits while the client is behind.
    pub async fn send(&self, id: Option<u64>, data: &str) -> Result<(), Gone> {
        self.events.send(frame(id, data)).await.map_err(|_| Gone)
    }
    /// The same for threads that may block.
    pub fn send_blocking(&self, id: Option<u64>, data: &str) -> Result<(), Gone> {
        self.events.blocking_send(frame(id, data)).map_err(|_| Gone)
    }
    /// Resolves when nobody listens any more.
    pub async fn gone(&self) {
        self.events.closed().await;
    }
}

/// One event as it goes over the wire; each line of `data` gets its own field.
fn frame(id: Option<u64>, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + 32);
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    for line in data.split('\n') {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
    text.into()
}

pub(super) struct EventBody {
    events: mpsc::Receiver<Bytes>,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    every: Duration,
    heartbeat: Pin<Box<Sleep>>,
}

impl EventBody {
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let piece = match self.events.poll_recv(cx) {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                std::task::ready!(self.heartbeat.as_mut().poll(cx));
                Some(Bytes::from_static(b":\n\n"))
            }
        };
        self.heartbeat.as_mut().reset(Instant::now() + self.every);
        Poll::Ready(piece)
    }
}

/// The producer's end of an export: lines in, pieces out. For threads that may block.
pub struct LineWriter {
    pieces: mpsc::Sender<Bytes>,
    finished: Arc<AtomicBool>,
    encoder: Encoder,
}

enum Encoder {
    Identity(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Encoder> {
        Ok(match coding {
            Coding::Identity => Encoder::Identity(Vec::new()),
            Coding::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            Coding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
        })
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Identity(out) => out.write_all(bytes),
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
        }
    }
    fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Encoder::Identity(out) => out,
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Zstd(encoder) => encoder.get_mut(),
        }
    }
    /// Puts out all that was written.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::Identity(_) => Ok(()),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Identity(out) => Ok(out),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl LineWriter {
    /// Adds bytes, whole lines or parts of them; blocks while the client is behind.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.encoder.write(bytes).map_err(|_| Gone)?;
        if self.encoder.out().len() >= PIECE_BYTES {
            let piece = std::mem::replace(self.encoder.out(), Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
            self.pieces.blocking_send(piece.into()).map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Sends what was written so far: for lines that somebody waits for.
    pub fn flush(&mut self) -> Result<(), Gone> {
        self.encoder.flush().map_err(|_| Gone)?;
        let piece = std::mem::take(self.encoder.out());
        if piece.is_empty() { Ok(()) } else { self.pieces.blocking_send(piece.into()).map_err(|_| Gone) }
    }

    /// Ends the export in order. Without it the client's connection breaks.
    pub fn finish(self) -> Result<(), Gone> {
        let rest = self.encoder.finish().map_err(|_| Gone)?;
        if !rest.is_empty() {
            self.pieces.blocking_send(rest.into()).map_err(|_| Gone)?;
        }
        self.finished.store(true, Ordering::Release);
        Ok(())
    }
}

pub(super) struct PieceBody {
    pieces: mpsc::Receiver<Bytes>,
    finished: Arc<AtomicBool>,
}

impl PieceBody {
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(piece) => Some(Ok(piece)),
            None if self.finished.load(Ordering::Acquire) => None,
            None => Some(Err(io::Error::other("the export ended early"))),
        })
    }
}

impl<A> Call<A> {
    /// Answers with an event stream; what is sent into the sender goes out as it comes. A silent stream carries a
    /// comment now and then, so that a client that is gone is noticed.
    pub fn event_stream(&self) -> (EventSender, Reply) {
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let mut closing = self.room.closing.clone();
        let every = self.room.heartbeat;
        let body = EventBody {
            events: receiver,
            closing: Box::pin(async move {
                // An error means that the server is gone, which is as closed as it gets.
                let _ = closing.wait_for(|closing| *closing).await;
            }),
            every,
            heartbeat: Box::pin(tokio::time::sleep(every)),
        };
        let mut reply = reply::with_body(StatusCode::OK, EVENT_STREAM, ReplyBody::events(body));
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        (EventSender { events }, reply)
    }

    /// Answers with NDJSON in the coding that the client likes best; feed the writer from `spawn_blocking`.
    ///
    /// # Errors
    /// When the compressor cannot be set up.
    pub fn line_stream(&self) -> io::Result<(LineWriter, Reply)> {
        let coding = media::accepted_coding(&self.head.headers);
        let (pieces, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let finished = Arc::new(AtomicBool::new(false));
        let body = PieceBody { pieces: receiver, finished: Arc::clone(&finished) };
        let mut reply = reply::with_body(StatusCode::OK, NDJSON, ReplyBody::pieces(body));
        reply.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(name) = coding.name() {
            reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        Ok((LineWriter { pieces, finished, encoder: Encoder::new(coding)? }, reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_flushed_are_there_to_be_read_in_whatever_coding() {
        for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
            let (pieces, mut sent) = mpsc::channel(4);
            let encoder = Encoder::new(coding).expect("it is set up");
            let mut lines = LineWriter { pieces, finished: Arc::default(), encoder };
            lines.write(b"a line\n").expect("somebody listens");
            assert!(sent.try_recv().is_err(), "little is gathered");
            lines.flush().expect("somebody listens");
            let piece = sent.try_recv().expect("it is on its way");
            let mut read: Box<dyn io::Read> = match coding {
                Coding::Identity => Box::new(&piece[..]),
                Coding::Gzip => Box::new(flate2::read::GzDecoder::new(&piece[..])),
                Coding::Zstd => Box::new(zstd::Decoder::new(&piece[..]).expect("a frame")),
            };
            let mut text = [0; 7];
            read.read_exact(&mut text).expect("all of it");
            assert_eq!(&text, b"a line\n");
            drop(sent);
            lines.write(b"another\n").expect("it is gathered");
            assert!(lines.flush().is_err(), "nobody listens any more");
        }
    }

    #[test]
    fn an_event_is_framed_line_by_line() {
        assert_eq!(frame(Some(7), "{}"), "id: 7\ndata: {}\n\n");
        assert_eq!(frame(None, "a\nb"), "data: a\ndata: b\n\n");
    }
}
