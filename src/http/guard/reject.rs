//! Why a request never reaches a handler, and the answer that its connection gets before it is closed.

use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_STALL_SECONDS, HTTP_TARGET_BYTES_MAX};
use crate::problem::{Problem, Slug};

/// Everything that a request head can be refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    NotHttp,
    Version,
    BareLf,
    Target,
    TargetTooLong,
    Method,
    HeaderLine,
    TooManyHeaders,
    HeadTooLarge,
    HostMissing,
    HostTwice,
    HostMalformed,
    LengthAndEncoding,
    TwoLengths,
    Length,
    TransferEncoding,
    Expectation,
    /// The head began and was not whole in time.
    Stalled,
    /// Every connection that may be open is open and busy.
    Full,
}

/// What a 405 that no route answers names as allowed.
pub const ALLOW_ANYWHERE: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

impl Reject {
    pub fn problem(self) -> Problem {
        let malformed = |detail: &str| Problem::new(Slug::BadRequest, detail);
        match self {
            Reject::NotHttp => malformed("This is no HTTP request line; HTTP/1.1 is spoken here."),
            Reject::Version => malformed("Only HTTP/1.1 and HTTP/1.0 are spoken here."),
            Reject::BareLf => malformed("A line of the request head ends in LF alone; lines end in CR LF."),
            Reject::Target => {
                malformed("The request target is neither a path nor an http address, or holds a forbidden byte.")
            }
            Reject::TargetTooLong => Problem::new(
                Slug::TooLarge,
                format!("The request target is longer than {HTTP_TARGET_BYTES_MAX} bytes."),
            )
            .with_status(414),
            Reject::Method => Problem::new(Slug::MethodNotAllowed, "CONNECT and TRACE are not served."),
            Reject::HeaderLine => malformed("A header line is not `name: value` with printable bytes."),
            Reject::TooManyHeaders => {
                Problem::new(Slug::TooLarge, format!("The request has more than {HTTP_HEADERS_MAX} headers."))
                    .with_status(431)
            }
            Reject::HeadTooLarge => {
                Problem::new(Slug::TooLarge, format!("The request head is larger than {HTTP_HEAD_BYTES_MAX} bytes."))
                    .with_status(431)
            }
            Reject::HostMissing => malformed("The Host header is missing."),
            Reject::HostTwice => malformed("The Host header is given twice."),
            Reject::HostMalformed => malformed("The Host header is not `name` or `name:port`."),
            Reject::LengthAndEncoding => malformed("Content-Length and Transfer-Encoding exclude each other."),
            Reject::TwoLengths => malformed("Content-Length is given twice."),
            Reject::Length => malformed("Content-Length is not a number of bytes."),
            Reject::TransferEncoding => malformed("The only Transfer-Encoding served is `chunked`, once, in HTTP/1.1."),
            Reject::Expectation => malformed("The only Expect that can be met is `100-continue`.").with_status(417),
            Reject::Stalled => {
                malformed(&format!("The request head was not there within {HTTP_STALL_SECONDS} seconds."))
                    .with_status(408)
            }
            Reject::Full => Problem::new(Slug::QueueFull, "Every connection is in use; try again in a moment."),
        }
    }

    /// The whole answer as bytes on the wire; it closes the connection. `bodiless` for an answer to HEAD.
    pub fn to_response_bytes(self, bodiless: bool) -> Vec<u8> {
        let problem = self.problem();
        let body = problem.to_json();
        let reason = hyper::StatusCode::from_u16(problem.status).ok().and_then(|status| status.canonical_reason());
        let extra = match self {
            Reject::Method => format!("allow: {ALLOW_ANYWHERE}\r\n"),
            Reject::Full => "retry-after: 1\r\n".to_string(),
            _ => String::new(),
        };
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\nx-content-type-options: nosniff\r\n{extra}\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            problem.status,
            reason.unwrap_or("Error"),
            body.len()
        )
        .into_bytes();
        if !bodiless {
            bytes.extend_from_slice(&body);
        }
        bytes
    }
}
