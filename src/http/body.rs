//! Reading a request's body: bounded in length before and after decompression, and in memory with all others together.

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Read};
use std::ops::Deref;
use std::pin::Pin;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body as _, Incoming};
use tokio::sync::Semaphore;

use super::budget::ByteHold;
use super::media::{self, Coding};
use crate::limits::HTTP_STALL_SECONDS;
use crate::problem::{Problem, Slug};

/// Decompressing needs this much at a time beside its output.
const PIECE_BYTES: usize = 32 * 1024;
/// The largest zstd window that is served, as a power of two: 8 MiB, what every level but the ultra ones uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Work on more bytes than this is kept off the reactor's thread.
pub const HEAVY_BYTES: usize = 256 * 1024;

/// A body as its sender meant it, decompressed. Its bytes count against the server's budget until it is dropped.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    hold: ByteHold,
}

impl Body {
    /// Counts `bytes` more that are made from this body and live no longer than it.
    ///
    /// # Errors
    /// `queue-full` 503 when the budget has no room.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), Problem> {
        self.hold.grow(bytes)
    }
}

impl Deref for Body {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Runs work that takes long on a thread that may block, where the runtime has more than one.
pub fn off_reactor<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let many = tokio::runtime::Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if many && bytes > HEAVY_BYTES { tokio::task::block_in_place(work) } else { work() }
}

/// Reads the body to its end.
pub(super) async fn read(
    body: &mut Incoming,
    headers: &HeaderMap,
    bytes_max: usize,
    mut hold: ByteHold,
    heavy: &Semaphore,
) -> Result<Body, Problem> {
    let coding = media::content_coding(headers)?;
    let announced = body.size_hint().upper();
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let raw = collect(body, announced.map(|bytes| bytes as usize), bytes_max, &mut hold).await?;
    if coding == Coding::Identity {
        return Ok(Body { bytes: raw, hold });
    }
    let _permit = heavy.acquire().await.map_err(|_| Problem::new(Slug::Internal, "The server is gone."))?;
    // Even a small body may grow to the limit.
    let decoded = off_reactor(bytes_max, || decompress(&raw, coding, bytes_max, &mut hold))?;
    hold.shrink(raw.len());
    Ok(Body { bytes: decoded.into(), hold })
}

async fn collect(
    body: &mut Incoming,
    announced: Option<usize>,
    bytes_max: usize,
    hold: &mut ByteHold,
) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(piece) = frame.into_data() else { continue };
        hold.grow(piece.len())?;
        if first.len() + whole.len() + piece.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        // A body in one piece, the usual case, is never copied.
        if first.is_empty() && whole.is_empty() {
            first = piece;
            continue;
        }
        if whole.is_empty() {
            let room = announced.unwrap_or(0).min(HEAVY_BYTES);
            whole = Vec::with_capacity(room.max(first.len() + piece.len()));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(if whole.is_empty() { first } else { whole.into() })
}

fn decompress(raw: &[u8], coding: Coding, bytes_max: usize, hold: &mut ByteHold) -> Result<Vec<u8>, Problem> {
    match coding {
        Coding::Identity => Ok(raw.to_vec()),
        Coding::Gzip => read_capped(flate2::read::MultiGzDecoder::new(raw), bytes_max, hold),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(raw).map_err(|error| undecodable(&error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| undecodable(&error))?;
            read_capped(decoder, bytes_max, hold)
        }
    }
}

/// Reads to the end, or to one byte over the limit, whichever comes first.
fn read_capped(mut reader: impl Read, bytes_max: usize, hold: &mut ByteHold) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match reader.read(&mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(undecodable(&error)),
        };
        if bytes.len() + count > bytes_max {
            return Err(too_large(bytes_max));
        }
        hold.grow(count)?;
        bytes.extend_from_slice(&piece[..count]);
    }
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Slug::TooLarge, format!("The body is larger than the {bytes_max} bytes that this route takes."))
}

fn undecodable(error: &io::Error) -> Problem {
    Problem::new(Slug::NotJson, format!("The body does not decompress as its Content-Encoding says: {error}."))
}

/// A body that did not come whole: too slow, malformed in its chunks, or cut off.
fn broken(error: &hyper::Error) -> Problem {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::TimedOut => Problem::new(
                    Slug::BadRequest,
                    format!("The body stalled for {HTTP_STALL_SECONDS} seconds; nothing was stored."),
                )
                .with_status(408),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    Problem::new(Slug::BadRequest, "The chunks of the body are malformed; nothing was stored.")
                }
                _ => cut_off(),
            };
        }
        source = cause.source();
    }
    cut_off()
}

fn cut_off() -> Problem {
    Problem::new(Slug::BadRequest, "The body ended before its announced end; nothing was stored.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::budget::ByteBudget;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("a Vec takes every write");
        encoder.finish().expect("a Vec takes every write")
    }

    fn undo(raw: &[u8], coding: Coding, bytes_max: usize) -> Result<Vec<u8>, Problem> {
        let budget = ByteBudget::new(1 << 20);
        let mut hold = budget.hold();
        decompress(raw, coding, bytes_max, &mut hold)
    }

    #[test]
    fn both_codings_round_trip_up_to_the_limit_exactly() {
        let text = vec![b'a'; 100_000];
        let zstd = zstd::encode_all(&text[..], 3).expect("compresses");
        for (raw, coding) in [(gzip(&text), Coding::Gzip), (zstd, Coding::Zstd)] {
            assert_eq!(undo(&raw, coding, text.len()).expect("fits"), text);
            let over = undo(&raw, coding, text.len() - 1).expect_err("one byte over");
            assert_eq!((over.slug, over.status), (Slug::TooLarge, 413));
            for cut in [0, 1, raw.len() / 2, raw.len() - 1] {
                if coding == Coding::Zstd && cut == 0 {
                    continue; // Nothing is a valid run of no frames; the empty text is refused as no JSON later.
                }
                let cut = undo(&raw[..cut], coding, text.len()).expect_err("cut short");
                assert_eq!((cut.slug, cut.status), (Slug::NotJson, 400), "{coding:?}");
            }
            assert_eq!(undo(b"not compressed at all", coding, 100).expect_err("garbage").status, 400);
        }
    }

    #[test]
    fn a_bomb_is_cut_at_the_budget_too() {
        let bomb = gzip(&vec![0; 4 << 20]);
        let budget = ByteBudget::new(1 << 20);
        let problem = decompress(&bomb, Coding::Gzip, 64 << 20, &mut budget.hold()).expect_err("over the budget");
        assert_eq!((problem.slug, problem.status), (Slug::QueueFull, 503));
        assert_eq!(budget.left(), 1 << 20);
    }
}
