//! What went wrong, in the shape that a client reads: RFC 9457 problem details.

use std::fmt;

/// The kinds of problem; each has one slug, one status and one title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slug {
    NotJson,
    InvalidEvent,
    AtInFuture,
    IdempotencyKeyReused,
    TooLarge,
    UnsupportedEncoding,
    QueueFull,
    LogReadOnly,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    InvalidQuery,
    NotYetApplied,
    BadRequest,
    Internal,
}

impl Slug {
    /// `(slug, usual status, title)`.
    pub const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Slug::NotJson => ("not-json", 400, "The body is not JSON"),
            Slug::InvalidEvent => ("invalid-event", 422, "The event breaks a rule of the catalogue"),
            Slug::AtInFuture => ("at-in-future", 422, "The event lies too far in the future"),
            Slug::IdempotencyKeyReused => {
                ("idempotency-key-reused", 422, "The idempotency key belongs to another event")
            }
            Slug::TooLarge => ("too-large", 413, "Too large"),
            Slug::UnsupportedEncoding => ("unsupported-encoding", 415, "Encoding or media type not supported"),
            Slug::QueueFull => ("queue-full", 503, "Too much work is waiting"),
            Slug::LogReadOnly => ("log-read-only", 507, "The log takes no writes"),
            Slug::Unauthorized => ("unauthorized", 401, "No valid credential"),
            Slug::Forbidden => ("forbidden", 403, "Not allowed"),
            Slug::NotFound => ("not-found", 404, "Not found"),
            Slug::MethodNotAllowed => ("method-not-allowed", 405, "Method not allowed"),
            Slug::InvalidQuery => ("invalid-query", 400, "The query is not valid"),
            Slug::NotYetApplied => ("not-yet-applied", 503, "Not applied yet"),
            Slug::BadRequest => ("bad-request", 400, "The request is malformed"),
            Slug::Internal => ("internal", 500, "Internal error"),
        }
    }
}

/// One problem: which kind, what exactly, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub slug: Slug,
    /// The HTTP status; the slug's usual one unless set with [`Problem::with_status`].
    pub status: u16,
    /// One or two sentences for a person: expected, actual, what to do.
    pub detail: String,
    /// JSON Pointer (RFC 6901) to the field.
    pub pointer: Option<String>,
    /// Place in the batch, from 0.
    pub index: Option<usize>,
    /// The stored event that this is about.
    pub seq: Option<u64>,
}

impl Problem {
    pub fn new(slug: Slug, detail: impl Into<String>) -> Problem {
        Problem { slug, status: slug.parts().1, detail: detail.into(), pointer: None, index: None, seq: None }
    }
    /// 422 `invalid-event` at a field; `pointer` is a JSON Pointer such as `/weight`.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
        Problem { pointer: Some(pointer.into()), ..Problem::new(Slug::InvalidEvent, detail) }
    }
    pub fn with_status(self, status: u16) -> Problem {
        Problem { status, ..self }
    }
    pub fn with_pointer(self, pointer: impl Into<String>) -> Problem {
        Problem { pointer: Some(pointer.into()), ..self }
    }
    pub fn with_index(self, index: usize) -> Problem {
        Problem { index: Some(index), ..self }
    }
    pub fn with_seq(self, seq: u64) -> Problem {
        Problem { seq: Some(seq), ..self }
    }
    /// As `application/problem+json`.
    pub fn to_json(&self) -> Vec<u8> {
        let (slug, _, title) = self.slug.parts();
        let mut object = serde_json::Map::new();
        object.insert("type".into(), format!("/problems/{slug}").into());
        object.insert("title".into(), title.into());
        object.insert("status".into(), self.status.into());
        object.insert("detail".into(), self.detail.clone().into());
        if let Some(pointer) = &self.pointer {
            object.insert("pointer".into(), pointer.clone().into());
        }
        if let Some(index) = self.index {
            object.insert("index".into(), index.into());
        }
        if let Some(seq) = self.seq {
            object.insert("seq".into(), seq.into());
        }
        serde_json::Value::Object(object).to_string().into_bytes()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slug, _, _) = self.slug.parts();
        write!(f, "{slug} ({}): {}", self.status, self.detail)?;
        if let Some(pointer) = &self.pointer {
            write!(f, " at {pointer}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
