//! Answers: bytes that are ready, problems, and bodies that come in pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};

use super::connection::AnswerToken;
use super::route::{JSON, PROBLEM_JSON};
use super::stream::{EventBody, PieceBody};
use crate::problem::Problem;
use crate::units::Seq;

/// An answer.
pub type Reply = Response<ReplyBody>;

/// `Coliseum-Applied-Seq`: the last entry that the answer's derived state holds.
pub const APPLIED_SEQ: HeaderName = HeaderName::from_static("coliseum-applied-seq");
/// Seconds after which a client that found no room may try again.
const RETRY_AFTER_SECONDS: &str = "1";

enum Content {
    Whole(Bytes),
    Pieces(PieceBody),
    Events(Box<EventBody>),
}

/// What stands behind an answer's head.
pub struct ReplyBody {
    content: Content,
    /// Dropped with the body, when hyper has taken all of it.
    token: Option<AnswerToken>,
}

impl ReplyBody {
    pub fn whole(bytes: impl Into<Bytes>) -> ReplyBody {
        ReplyBody { content: Content::Whole(bytes.into()), token: None }
    }
    pub(super) fn pieces(body: PieceBody) -> ReplyBody {
        ReplyBody { content: Content::Pieces(body), token: None }
    }
    pub(super) fn events(body: EventBody) -> ReplyBody {
        ReplyBody { content: Content::Events(Box::new(body)), token: None }
    }
    /// Ties the body to its connection's count of answers.
    pub(super) fn carry(&mut self, token: AnswerToken) {
        if matches!(self.content, Content::Events(_)) {
            token.progress().set_ends_with_client();
        }
        self.token = Some(token);
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.get_mut().content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Pieces(body) => body.poll_piece(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
            Content::Events(body) => body.poll_piece(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Pieces(_) | Content::Events(_) => SizeHint::default(),
        }
    }
}

/// An answer with one header, its media type.
pub fn with_body(status: StatusCode, media_type: &'static str, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().reserve(4);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

/// 200 with JSON that is ready.
pub fn json(bytes: impl Into<Bytes>) -> Reply {
    with_body(StatusCode::OK, JSON, ReplyBody::whole(bytes))
}

/// Another status with JSON that is ready.
pub fn json_status(status: StatusCode, bytes: impl Into<Bytes>) -> Reply {
    with_body(status, JSON, ReplyBody::whole(bytes))
}

/// Only a status.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(ReplyBody::whole(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// A problem; 429 and 503 say when to try again.
pub fn problem(problem: &Problem) -> Reply {
    problem_json(problem.status, problem.to_json())
}

/// A problem whose JSON carries more than a [`Problem`] holds.
pub fn problem_json(status: u16, bytes: impl Into<Bytes>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = with_body(status, PROBLEM_JSON, ReplyBody::whole(bytes));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    reply
}

/// 204 that names the methods of a path.
pub(super) fn options(allow: HeaderValue) -> Reply {
    let mut reply = empty(StatusCode::NO_CONTENT);
    reply.headers_mut().insert(ALLOW, allow);
    reply
}

/// Adds `Coliseum-Applied-Seq`.
pub fn applied(mut reply: Reply, seq: Seq) -> Reply {
    reply.headers_mut().insert(APPLIED_SEQ, HeaderValue::from(seq.get()));
    reply
}

/// A whole answer rendered once and given many times: sending it copies nothing.
#[derive(Clone, Debug)]
pub struct Rendered {
    media_type: &'static str,
    body: Bytes,
    etag: HeaderValue,
    applied: Option<HeaderValue>,
}

impl Rendered {
    /// `tag` names the content: two contents never share one. Printable ASCII without a quote.
    ///
    /// # Panics
    /// If `tag` holds another byte.
    pub fn new(media_type: &'static str, body: impl Into<Bytes>, tag: &str) -> Rendered {
        assert!(tag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'), "an ETag is printable: {tag:?}");
        let etag = HeaderValue::from_str(&format!("\"{tag}\"")).expect("printable ASCII is a header value");
        Rendered { media_type, body: body.into(), etag, applied: None }
    }
    /// The derived state that it was rendered from.
    pub fn applied(self, seq: Seq) -> Rendered {
        Rendered { applied: Some(HeaderValue::from(seq.get())), ..self }
    }

    /// The answer to one request: 304 where the client has it already.
    pub fn reply(&self, request_headers: &HeaderMap) -> Reply {
        let mut reply = if is_known(request_headers, &self.etag) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            with_body(StatusCode::OK, self.media_type, ReplyBody::whole(self.body.clone()))
        };
        let headers = reply.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        // It may be kept, and must be asked about again before each use.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Some(applied) = &self.applied {
            headers.insert(APPLIED_SEQ, applied.clone());
        }
        reply
    }
}

/// Whether `If-None-Match` names the tag, by weak comparison (RFC 9110, 13.1.2).
fn is_known(request_headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = etag.as_bytes();
    request_headers.get_all(IF_NONE_MATCH).iter().any(|value| {
        // No tag of ours holds a comma or a space, so splitting at commas finds each that could be equal.
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|candidate| candidate == b"*" || candidate.strip_prefix(b"W/").unwrap_or(candidate) == opaque)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_compares_weakly_and_by_list() {
        let rendered = Rendered::new(JSON, "{}", "a7-12");
        let status = |value: Option<&'static str>| {
            let headers = value.map(|value| (IF_NONE_MATCH, HeaderValue::from_static(value))).into_iter().collect();
            rendered.reply(&headers).status().as_u16()
        };
        assert_eq!(status(None), 200);
        for known in ["\"a7-12\"", "W/\"a7-12\"", "*", "\"x\", \"a7-12\"", "\"x\",W/\"a7-12\""] {
            assert_eq!(status(Some(known)), 304, "{known}");
        }
        for other in ["\"a7-1\"", "a7-12", "\"A7-12\"", ""] {
            assert_eq!(status(Some(other)), 200, "{other}");
        }
    }
}
