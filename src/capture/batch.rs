//! Many events a request: `POST /api/passport/batch`, and the same answer for imports.
//!
//! The form is told by content: a JSON array, an object with `events`, or one event a line. What is wrong with one
//! element rejects that element; a document that is broken as a whole, or more events than a batch may have, rejects
//! the request. All events that are good by themselves go to the log as one group, under one sync.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Arrival, Candidate, CaptureContext, CaptureLimits, append, refusal, trim, utf8};
use crate::event::batch_elements;
use crate::passport::{Group, Outcome};
use crate::problem::{Problem, Slug};

/// How the caller wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchOptions {
    /// All or nothing.
    pub atomic: bool,
    /// A result for every event, not only for those that were not newly stored.
    pub all_results: bool,
    /// The media type says one event a line.
    pub lines: bool,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAnswer {
    /// 200, or 422 for an atomic batch that was refused (the JSON is a problem then).
    pub status: u16,
    pub json: Vec<u8>,
}

/// The elements of a batch, each as its own text.
enum Elements<'a> {
    Texts(Vec<&'a str>),
    /// Lines are checked for UTF-8 one by one, so that a bad one rejects itself only.
    Lines(Vec<&'a [u8]>),
}

impl<'a> Elements<'a> {
    fn len(&self) -> usize {
        match self {
            Elements::Texts(texts) => texts.len(),
            Elements::Lines(lines) => lines.len(),
        }
    }
    fn get(&self, index: usize) -> Result<&'a str, Problem> {
        match self {
            Elements::Texts(texts) => Ok(texts[index]),
            Elements::Lines(lines) => utf8(lines[index]),
        }
    }
}

/// Reads one element. The native batch and the import differ in this alone.
type Reader = for<'a> fn(&'a str, &Arrival) -> Result<Candidate<'a>, Problem>;

/// Reads a batch; the work of a large one is worth keeping off an async thread.
///
/// # Errors
/// `not-json` or `invalid-event` 400 for a body that is no batch, `too-large` 413 for too many events.
pub fn check_batch<C: CaptureContext>(context: &C, body: &[u8], options: BatchOptions) -> Result<Checked, Problem> {
    let limits = context.capture_limits();
    let elements = split(body, options.lines, limits.batch_events_max)?;
    Ok(check(context, &elements, |text, arrival| Candidate::new(text, None, None, arrival), "api", options))
}

/// Reads NDJSON through another reader; always line by line.
pub(super) fn check_lines<C: CaptureContext>(
    context: &C,
    body: &[u8],
    read: Reader,
    source: &'static str,
    options: BatchOptions,
) -> Result<Checked, Problem> {
    let elements = split_lines(body, context.capture_limits().batch_events_max)?;
    Ok(check(context, &elements, read, source, options))
}

/// `{"events": …}`, whatever else is in it.
#[derive(Deserialize)]
struct WithEvents<'a> {
    #[serde(borrow, rename = "events")]
    _events: &'a RawValue,
}

fn split(body: &[u8], lines: bool, events_max: usize) -> Result<Elements<'_>, Problem> {
    let first = body.trim_ascii_start();
    match first.first() {
        None => Err(Problem::new(Slug::NotJson, "The body is empty; send an array of events or one event a line.")),
        Some(b'{') => split_object(body, lines, events_max),
        Some(b'[') => batch_elements(trim(utf8(body)?), "events", events_max).map(Elements::Texts),
        Some(_) if lines => split_lines(body, events_max),
        Some(_) => {
            Err(Problem::new(Slug::NotJson, "The body is neither an array, nor an object, nor one event a line."))
        }
    }
}

/// A body that begins with `{`: an object with `events`, or the first of many lines.
fn split_object(body: &[u8], lines: bool, events_max: usize) -> Result<Elements<'_>, Problem> {
    let is_wrapper = |text: &str| {
        let inside = text.trim_start_matches(['{', ' ', '\t', '\r', '\n']);
        inside.starts_with("\"events\"")
    };
    let text = utf8(body).map(trim);
    let problem = match text.as_ref().map(|text| batch_elements(text, "events", events_max)) {
        Ok(Ok(elements)) => return Ok(Elements::Texts(elements)),
        Ok(Err(problem)) => problem,
        Err(problem) => problem.clone(),
    };
    if problem.slug == Slug::TooLarge {
        return Err(problem);
    }
    // Whoever begins with `events` meant the object; whoever has it somewhere in one whole object did too.
    let meant_object =
        text.is_ok_and(|text| !lines && is_wrapper(text) || serde_json::from_str::<WithEvents<'_>>(text).is_ok());
    if meant_object { Err(problem) } else { split_lines(body, events_max) }
}

fn split_lines(body: &[u8], events_max: usize) -> Result<Elements<'_>, Problem> {
    let mut lines = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest[..end].trim_ascii();
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            continue;
        }
        if lines.len() == events_max {
            return Err(Problem::new(Slug::TooLarge, format!("The batch has more than {events_max} events.")));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(Problem::new(Slug::NotJson, "The body is empty; send one event a line."));
    }
    Ok(Elements::Lines(lines))
}

/// A batch whose elements have been read: what goes to the log, and what does not.
pub struct Checked {
    options: BatchOptions,
    limits: CaptureLimits,
    count: usize,
    group: Group,
    /// By index, ascending.
    rejected: Vec<(usize, Problem)>,
    /// The keys that the daemon made, by index, ascending; kept only where they are given back.
    made_keys: Vec<(usize, String)>,
}

fn check<C: CaptureContext>(
    context: &C,
    elements: &Elements<'_>,
    read: Reader,
    source: &'static str,
    options: BatchOptions,
) -> Checked {
    let limits = context.capture_limits();
    let arrival = Arrival { received_at: context.clock().now(), at_ahead_seconds: limits.at_ahead_seconds, source };
    let count = elements.len();
    let (mut group, mut rejected, mut made_keys) = (Group::new(options.atomic), Vec::new(), Vec::new());
    for index in 0..count {
        match elements.get(index).and_then(|text| read(text, &arrival)) {
            Ok(candidate) => {
                candidate.push(&mut group);
                if candidate.key_made && options.all_results {
                    made_keys.push((index, candidate.message_id.into_owned()));
                }
            }
            Err(problem) => rejected.push((index, problem.with_index(index))),
        }
    }
    Checked { options, limits, count, group, rejected, made_keys }
}

/// Stores what was read as one group; resolves when what was accepted is on disk.
///
/// # Errors
/// What the log says when it takes nothing; nothing is stored then.
pub async fn store<C: CaptureContext>(context: &C, mut checked: Checked) -> Result<BatchAnswer, Problem> {
    let doomed = checked.options.atomic && !checked.rejected.is_empty();
    let group = std::mem::take(&mut checked.group);
    let outcomes =
        if doomed || group.is_empty() { vec![Outcome::Withheld; group.len()] } else { append(context, group).await? };
    if outcomes.len() + checked.rejected.len() != checked.count {
        return Err(Problem::new(Slug::Internal, "The log gave another number of answers than events."));
    }
    Ok(answer(checked, &outcomes))
}

/// Puts what was rejected here and what the log said together, in the order of the batch.
fn answer(checked: Checked, outcomes: &[Outcome]) -> BatchAnswer {
    let (options, limits) = (checked.options, checked.limits);
    let mut rejected = checked.rejected.into_iter().peekable();
    let mut made_keys = checked.made_keys.into_iter().peekable();
    let mut outcomes = outcomes.iter();
    let mut results = Results::default();
    let (mut accepted, mut duplicates, mut refused) = (0_u64, 0_u64, 0_u64);
    let (mut first, mut last, mut first_bad) = (None, None, None);
    for index in 0..checked.count {
        let problem = match rejected.next_if(|(at, _)| *at == index) {
            Some((_, problem)) => Some(problem),
            None => {
                let outcome = outcomes.next().copied().unwrap_or(Outcome::Withheld);
                let key = made_keys.next_if(|(at, _)| *at == index).map(|(_, key)| key);
                match outcome {
                    Outcome::Stored(seq) => {
                        accepted += 1;
                        first = first.or(Some(seq.get()));
                        last = Some(seq.get());
                        if options.all_results {
                            results.stored(index, 201, seq.get(), key.as_deref());
                        }
                    }
                    Outcome::Duplicate(seq) => {
                        duplicates += 1;
                        results.stored(index, 200, seq.get(), None);
                    }
                    Outcome::Conflict(_) | Outcome::Ahead | Outcome::Withheld => {}
                }
                refusal(outcome, limits).map(|problem| problem.with_index(index))
            }
        };
        if let Some(problem) = problem {
            refused += 1;
            results.refused(index, &problem);
            first_bad.get_or_insert(problem);
        }
    }
    match first_bad {
        Some(problem) if options.atomic => BatchAnswer { status: 422, json: results.into_problem(problem) },
        _ => {
            let counts = format!(
                "{{\"accepted\":{accepted},\"duplicates\":{duplicates},\"rejected\":{refused},\"firstSeq\":{},\"lastSeq\":{},\"results\":",
                or_null(first),
                or_null(last)
            );
            BatchAnswer { status: 200, json: results.close(counts.into_bytes()) }
        }
    }
}

fn or_null(seq: Option<u64>) -> String {
    seq.map_or_else(|| "null".to_string(), |seq| seq.to_string())
}

/// The elements of `results`, as JSON text without its brackets.
#[derive(Default)]
struct Results {
    json: Vec<u8>,
}

impl Results {
    fn open(&mut self, index: usize, status: u16) {
        if !self.json.is_empty() {
            self.json.push(b',');
        }
        self.json.extend_from_slice(format!("{{\"index\":{index},\"status\":{status}").as_bytes());
    }
    fn seq(&mut self, seq: u64) {
        self.json.extend_from_slice(b",\"seq\":");
        self.json.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    }
    fn stored(&mut self, index: usize, status: u16, seq: u64, made_key: Option<&str>) {
        self.open(index, status);
        self.seq(seq);
        if let Some(key) = made_key {
            // A made key is a UUID: nothing in it needs an escape.
            self.json.extend_from_slice(format!(",\"messageId\":\"{key}\"").as_bytes());
        }
        self.json.push(b'}');
    }
    fn refused(&mut self, index: usize, problem: &Problem) {
        self.open(index, problem.status);
        if let Some(seq) = problem.seq {
            self.seq(seq);
        }
        self.json.extend_from_slice(b",\"problem\":");
        self.json.extend_from_slice(&problem.to_json());
        self.json.push(b'}');
    }
    /// `head`, then the results, then the end of the object.
    fn close(self, mut head: Vec<u8>) -> Vec<u8> {
        head.push(b'[');
        head.extend_from_slice(&self.json);
        head.extend_from_slice(b"]}");
        head
    }
    /// The problem of an atomic batch: its first bad event's, with every bad one beside it.
    fn into_problem(self, first_bad: Problem) -> Vec<u8> {
        let mut json = first_bad.with_status(422).to_json();
        json.pop();
        json.extend_from_slice(b",\"results\":");
        self.close(json)
    }
}
