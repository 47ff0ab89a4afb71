//! HTTP/1.1 as the commands read it: the head of an answer and its body, from bytes that arrive in any pieces. Pure.

/// Bytes of an answer's head that are read before it is given up.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one chunk's size line, extensions included.
const CHUNK_LINE_BYTES_MAX: u32 = 4096;

/// Bytes that are no HTTP/1.1 answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the answer does not start with an HTTP/1.1 status line")]
    StatusLine,
    #[error("the answer has a header line that is none")]
    HeaderLine,
    #[error("the answer's head is over {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    #[error("the answer's Content-Length is no number")]
    ContentLength,
    #[error("the answer has a chunk that is not framed as one")]
    Chunk,
}

/// What the commands need to know of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Whether the connection ends with this answer.
    pub close: bool,
    pub retry_after_seconds: Option<u64>,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// Reads the head at the start of `bytes`: the head and its length, or `None` if more bytes are needed.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, WireError> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return if bytes.len() > HEAD_BYTES_MAX { Err(WireError::HeadTooLong) } else { Ok(None) };
        };
        let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let status_line = lines.next().unwrap_or_default();
        let status = status(status_line).ok_or(WireError::StatusLine)?;
        let mut head = Head {
            status,
            close: status_line.starts_with(b"HTTP/1.0"),
            retry_after_seconds: None,
            framing: Framing::UntilClose,
        };
        for line in lines {
            let colon = memchr::memchr(b':', line).ok_or(WireError::HeaderLine)?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                if head.framing != Framing::Chunked {
                    head.framing = Framing::Length(number(value).ok_or(WireError::ContentLength)?);
                }
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                head.framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case(b"connection") {
                head.close |= value.eq_ignore_ascii_case(b"close");
            } else if name.eq_ignore_ascii_case(b"retry-after") {
                head.retry_after_seconds = number(value);
            }
        }
        if matches!(status, 100..=199 | 204 | 304) {
            head.framing = Framing::Length(0);
        }
        head.close |= head.framing == Framing::UntilClose;
        Ok(Some((head, end + 4)))
    }

    /// A decoder for the body behind this head.
    pub fn body(&self) -> Body {
        Body(match self.framing {
            Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Bytes(left),
            Framing::Chunked => State::Size { size: 0, digits: 0, line_bytes: 0 },
            Framing::UntilClose => State::UntilClose,
        })
    }
}

/// `HTTP/1.1 200 OK` gives 200.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5).filter(|_| matches!(rest[0], b'0' | b'1') && rest[1] == b' ')?;
    number(digits).and_then(|status| u16::try_from(status).ok()).filter(|status| (100..1000).contains(status))
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Takes the bytes behind a head and gives those of the body, however they are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(State);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes to go, then done.
    Bytes(u64),
    UntilClose,
    /// In the line with a chunk's size.
    Size {
        size: u64,
        digits: u32,
        line_bytes: u32,
    },
    /// Behind the size's digits, before the end of its line.
    SizeEnd {
        size: u64,
        line_bytes: u32,
    },
    /// In a chunk.
    Chunk(u64),
    /// Behind a chunk, before its line end; `true` once the CR was seen.
    ChunkEnd(bool),
    /// In the lines behind the last chunk; the number of bytes in the current one.
    Trailer(u32),
    Done,
}

impl Body {
    pub fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// Whether the end of the connection is an end of this body, too.
    pub fn may_end_here(&self) -> bool {
        matches!(self.0, State::Done | State::UntilClose)
    }

    /// Gives `sink` the body's bytes in `input`; returns how many bytes of `input` belong to this answer.
    pub fn feed(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, WireError> {
        let mut at = 0;
        while at < input.len() && self.0 != State::Done {
            at += self.step(&input[at..], &mut sink)?;
        }
        Ok(at)
    }

    /// Takes one run of body bytes, or one byte of the framing; `input` is not empty.
    fn step(&mut self, input: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<usize, WireError> {
        let byte = input[0];
        self.0 = match self.0 {
            State::Done => return Ok(0),
            State::UntilClose => {
                sink(input);
                return Ok(input.len());
            }
            State::Bytes(left) | State::Chunk(left) => {
                let take = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                sink(&input[..take]);
                let left = left - take as u64;
                self.0 = match (&self.0, left) {
                    (State::Bytes(_), 0) => State::Done,
                    (State::Bytes(_), _) => State::Bytes(left),
                    (_, 0) => State::ChunkEnd(false),
                    (_, _) => State::Chunk(left),
                };
                return Ok(take);
            }
            State::Size { size, digits, line_bytes } => match (byte as char).to_digit(16) {
                Some(_) if digits == 15 => return Err(WireError::Chunk),
                Some(digit) => {
                    State::Size { size: size * 16 + u64::from(digit), digits: digits + 1, line_bytes: line_bytes + 1 }
                }
                None if digits == 0 || !matches!(byte, b';' | b' ' | b'\t' | b'\r') => return Err(WireError::Chunk),
                None => State::SizeEnd { size, line_bytes },
            },
            State::SizeEnd { line_bytes: CHUNK_LINE_BYTES_MAX, .. } => return Err(WireError::Chunk),
            State::SizeEnd { size: 0, line_bytes: _ } if byte == b'\n' => State::Trailer(0),
            State::SizeEnd { size, line_bytes: _ } if byte == b'\n' => State::Chunk(size),
            State::SizeEnd { size, line_bytes } => State::SizeEnd { size, line_bytes: line_bytes + 1 },
            State::ChunkEnd(false) if byte == b'\r' => State::ChunkEnd(true),
            State::ChunkEnd(true) if byte == b'\n' => State::Size { size: 0, digits: 0, line_bytes: 0 },
            State::ChunkEnd(_) => return Err(WireError::Chunk),
            State::Trailer(0) if byte == b'\n' => State::Done,
            State::Trailer(_) if byte == b'\n' => State::Trailer(0),
            State::Trailer(0) if byte == b'\r' => State::Trailer(0),
            State::Trailer(CHUNK_LINE_BYTES_MAX) => return Err(WireError::Chunk),
            State::Trailer(bytes) => State::Trailer(bytes + 1),
        };
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes()).expect(text).expect(text).0
    }

    /// Feeds `bytes` in pieces of `piece` bytes; the body, and the bytes behind it.
    fn decode(head: &Head, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), WireError> {
        let (mut body, mut out, mut used) = (head.body(), Vec::new(), 0);
        for part in bytes.chunks(piece) {
            used += body.feed(part, |bytes| out.extend_from_slice(bytes))?;
            if body.is_done() {
                break;
            }
        }
        Ok((out, used, body.is_done()))
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text =
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-LENGTH: 3\r\nRetry-After: 2\r\nConnection: Close\r\n\r\nabc";
        let whole = text.len() - 3;
        for end in 0..whole {
            assert_eq!(Head::parse(&text[..end]), Ok(None));
        }
        let (head, bytes) = Head::parse(text).expect("good").expect("whole");
        assert_eq!((head.status, head.close, head.retry_after_seconds, bytes), (503, true, Some(2), whole));
    }

    #[test]
    fn bytes_that_are_no_answer_are_an_error() {
        for text in ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n"] {
            assert_eq!(Head::parse(text.as_bytes()), Err(WireError::StatusLine), "{text}");
        }
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), Err(WireError::HeaderLine));
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(WireError::ContentLength));
        assert_eq!(Head::parse(&vec![b'x'; HEAD_BYTES_MAX + 1]), Err(WireError::HeadTooLong));
    }

    #[test]
    fn an_answer_without_a_body_is_done_at_once() {
        for text in ["HTTP/1.1 304 x\r\n\r\n", "HTTP/1.1 204 x\r\n\r\n", "HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n"]
        {
            assert!(head(text).body().is_done(), "{text}");
        }
    }

    #[test]
    fn a_body_of_known_length_stops_there() {
        let head = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(decode(&head, b"helloHTTP/1.1", 3), Ok((b"hello".to_vec(), 5, true)));
        assert_eq!(decode(&head, b"hell", 3), Ok((b"hell".to_vec(), 4, false)));
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let head = head(CHUNKED);
        let bytes = b"5;ext=1\r\nhello\r\n1\r\n \r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nNEXT";
        for piece in 1..bytes.len() {
            let (out, used, done) = decode(&head, bytes, piece).expect("framed");
            assert_eq!(
                (out.as_slice(), used, done),
                (b"hello 0123456789".as_slice(), bytes.len() - 4, true),
                "{piece}"
            );
        }
        for end in 0..bytes.len() - 4 {
            assert!(!decode(&head, &bytes[..end], 7).expect("framed").2, "cut at {end}");
        }
    }

    #[test]
    fn a_chunk_that_is_not_framed_is_an_error() {
        let head = head(CHUNKED);
        for text in ["\r\n", "x\r\n", "5\r\nhelloX", "-5\r\n", "1000000000000000\r\n", "5\r\nhello\rX"] {
            assert_eq!(decode(&head, text.as_bytes(), 2), Err(WireError::Chunk), "{text:?}");
        }
        assert_eq!(decode(&head, format!("1;{}", "x".repeat(5000)).as_bytes(), 64), Err(WireError::Chunk));
        assert_eq!(decode(&head, format!("0\r\n{}", "x".repeat(5000)).as_bytes(), 64), Err(WireError::Chunk));
    }

    #[test]
    fn a_body_without_a_length_goes_on_until_the_connection_ends() {
        let head = head("HTTP/1.1 200 OK\r\n\r\n");
        assert!(head.close && head.body().may_end_here());
        assert_eq!(decode(&head, b"all of it", 4), Ok((b"all of it".to_vec(), 9, false)));
    }

    proptest! {
        #[test]
        fn any_body_survives_any_cut(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8), piece in 1usize..50) {
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let (out, used, done) = decode(&head(CHUNKED), &bytes, piece).expect("framed");
            prop_assert_eq!((out, used, done), (parts.concat(), bytes.len(), true));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
            let _ = Head::parse(&bytes);
            let _ = decode(&head(CHUNKED), &bytes, piece);
        }
    }
}
