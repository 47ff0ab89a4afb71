//! Sends a chunk until the daemon has taken it, and says what became of each item.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use super::chunk::Chunk;
use super::item::Reject;
use crate::cli::client::{Client, ClientError, RemoteProblem, Request};

const TARGET: &str = "/api/admin/import";
const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];
/// The first wait after a 503, doubled up to the last, unless the daemon says how long.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// How long a daemon may go on saying 503 before the import gives up.
const RETRY_PATIENCE: Duration = Duration::from_secs(120);

/// What became of a chunk's items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejects: Vec<Reject>,
    /// The highest seq that any item has; 0 if none has one.
    pub last_seq: u64,
}

/// As the daemon writes it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    accepted: u64,
    duplicates: u64,
    last_seq: Option<u64>,
    #[serde(default)]
    results: Vec<ItemResult>,
}

#[derive(Deserialize)]
struct ItemResult {
    index: usize,
    status: u16,
    seq: Option<u64>,
    problem: Option<RemoteProblem>,
}

/// Sends chunks over one connection, one request at a time.
pub struct Sender<'a> {
    client: &'a mut Client,
    /// Items of one request; less once the daemon found that many too large.
    items_max: usize,
}

impl<'a> Sender<'a> {
    pub fn new(client: &'a mut Client) -> Sender<'a> {
        Sender { client, items_max: usize::MAX }
    }

    /// Sends a chunk; waits and tries again while the daemon is busy; halves what it finds too large.
    pub fn send(&mut self, chunk: &Chunk) -> anyhow::Result<Answer> {
        let mut answer = Answer::default();
        let (mut from, mut start) = (0, 0);
        while from < chunk.items.len() {
            let to = from.saturating_add(self.items_max).min(chunk.items.len());
            let (last_line, end) = chunk.items[to - 1];
            match self.post(&chunk.body[start..end]) {
                Ok(body) => add(chunk, from, to, body, &mut answer)?,
                Err(ClientError::Problem(problem)) if problem.status == 413 => {
                    if to - from > 1 {
                        self.items_max = (to - from) / 2;
                        continue;
                    }
                    answer.rejects.push(reject(last_line, 413, Some(problem)));
                }
                Err(ClientError::Problem(problem)) if problem.status == 507 => {
                    return Err(ClientError::Problem(problem)).context("the disk is full: free some space");
                }
                Err(error) => return Err(error.into()),
            }
            (from, start) = (to, end);
        }
        Ok(answer)
    }

    fn post(&mut self, body: &[u8]) -> Result<Body, ClientError> {
        let started = Instant::now();
        let mut wait = RETRY_FIRST;
        loop {
            let sent = self.client.send_ok(Request::post(TARGET, NDJSON, body)).and_then(|answer| answer.json(TARGET));
            match sent {
                Err(ClientError::Problem(problem)) if problem.status == 503 && started.elapsed() < RETRY_PATIENCE => {
                    let told = problem.retry_after_seconds.map(Duration::from_secs);
                    std::thread::sleep(told.unwrap_or(wait).min(RETRY_LAST));
                    wait = (wait * 2).min(RETRY_LAST);
                }
                other => return other,
            }
        }
    }
}

/// Adds what the daemon says about the items `from..to`, after a check that it says something about each.
fn add(chunk: &Chunk, from: usize, to: usize, body: Body, answer: &mut Answer) -> anyhow::Result<()> {
    let mut rejected = 0;
    for result in body.results {
        let item = chunk.items.get(from + result.index).filter(|_| from + result.index < to);
        let Some((line, _)) = item else {
            anyhow::bail!("the daemon's answer speaks of item {} of {}", result.index, to - from);
        };
        answer.last_seq = answer.last_seq.max(result.seq.unwrap_or(0));
        if result.status >= 400 {
            rejected += 1;
            answer.rejects.push(reject(*line, result.status, result.problem));
        }
    }
    let told = body.accepted + body.duplicates + rejected;
    anyhow::ensure!(told == (to - from) as u64, "the daemon's answer counts {told} items of {}", to - from);
    answer.accepted += body.accepted;
    answer.duplicates += body.duplicates;
    answer.last_seq = answer.last_seq.max(body.last_seq.unwrap_or(0));
    Ok(())
}

fn reject(line: u64, status: u16, problem: Option<RemoteProblem>) -> Reject {
    let problem = problem.unwrap_or_default();
    Reject { line, status, slug: problem.slug().to_string(), pointer: problem.pointer, detail: problem.detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    fn chunk() -> Chunk {
        Chunk { body: b"a\nb\nc\n".to_vec(), items: vec![(4, 2), (5, 4), (9, 6)], ..Chunk::default() }
    }

    fn body(json: &str) -> Body {
        serde_json::from_str(json).expect("a body")
    }

    #[test]
    fn rejected_items_are_named_by_their_line_in_the_file() {
        let mut answer = Answer::default();
        let body = body(
            r#"{"accepted":1,"duplicates":1,"rejected":1,"firstSeq":7,"lastSeq":7,"results":[
                {"index":0,"status":200,"seq":3},
                {"index":2,"status":422,"seq":null,"problem":{"type":"/problems/invalid-event","status":422,
                 "detail":"takes a number","pointer":"/weight"}}]}"#,
        );
        add(&chunk(), 0, 3, body, &mut answer).expect("counts add up");
        let expected = Reject {
            line: 9,
            status: 422,
            slug: "invalid-event".into(),
            pointer: Some("/weight".into()),
            detail: "takes a number".into(),
        };
        assert_eq!(answer, Answer { accepted: 1, duplicates: 1, rejects: vec![expected], last_seq: 7 });
    }

    /// Takes at most two lines a request, and is busy the first time; the bodies that it took.
    fn small_and_busy_daemon() -> (std::net::SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let thread = std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().expect("a client").0);
            let (mut taken, mut busy) = (Vec::new(), true);
            loop {
                let (mut bytes, mut line) = (0, String::new());
                while stream.read_line(&mut line).expect("a head") > 0 && line != "\r\n" {
                    if let Some(length) = line.strip_prefix("Content-Length: ") {
                        bytes = length.trim().parse().expect("a number");
                    }
                    line.clear();
                }
                if line.is_empty() {
                    return taken;
                }
                let mut body = vec![0; bytes];
                stream.read_exact(&mut body).expect("a body");
                let body = String::from_utf8(body).expect("UTF-8");
                let lines = body.lines().count();
                let (status, answer) = match lines {
                    _ if std::mem::take(&mut busy) => (503, "{}".to_string()),
                    3.. => (413, "{}".to_string()),
                    1 if body.starts_with('b') => (413, r#"{"type":"/problems/too-large"}"#.to_string()),
                    _ => (200, format!(r#"{{"accepted":{lines},"duplicates":0,"lastSeq":{}}}"#, taken.len() + 1)),
                };
                if status == 200 {
                    taken.push(body);
                }
                let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", answer.len());
                stream.get_mut().write_all((head + &answer).as_bytes()).expect("answered");
            }
        });
        (address, thread)
    }

    #[test]
    fn a_busy_daemon_is_asked_again_and_what_is_too_large_goes_in_parts_in_order() {
        let (address, thread) = small_and_busy_daemon();
        let mut client = Client::new(address);
        let body = b"a\nc\nd\ne\nb\nf\n".to_vec();
        let items = (1..=6).map(|line| (line, line as usize * 2)).collect();
        let chunk = Chunk { body, items, ..Chunk::default() };
        let answer = Sender::new(&mut client).send(&chunk).expect("taken");
        drop(client);
        assert_eq!(thread.join().expect("served"), ["a\n", "c\n", "d\n", "e\n", "f\n"]);
        assert_eq!((answer.accepted, answer.last_seq), (5, 5));
        assert_eq!(
            answer.rejects.iter().map(|reject| (reject.line, reject.slug.as_str())).collect::<Vec<_>>(),
            [(5, "too-large")]
        );
    }

    #[test]
    fn an_answer_that_does_not_account_for_every_item_is_an_error() {
        for json in [
            r#"{"accepted":1,"duplicates":1,"results":[]}"#,
            r#"{"accepted":3,"duplicates":0,"results":[{"index":3,"status":422}]}"#,
        ] {
            assert!(add(&chunk(), 0, 3, body(json), &mut Answer::default()).is_err(), "{json}");
        }
    }
}
