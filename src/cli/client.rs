//! A small blocking HTTP/1.1 client: one connection, kept alive, and answers that are read as they come.
//!
//! Every request that a command sends may be sent twice (reads, and writes that carry their idempotency keys), so one
//! that fails on a kept connection, which the server may have closed meanwhile, is sent again on a fresh one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::wire::{Body, Head, WireError};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the next byte, unless the request says otherwise.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is read whole, in bytes.
const WHOLE_ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Why a request got no answer, or not the one it wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon answers at {address}; start one with `coliseum serve`")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("the connection to {address} broke")]
    Broken { address: SocketAddr, source: io::Error },
    #[error("{address} does not speak HTTP/1.1")]
    Wire { address: SocketAddr, source: WireError },
    #[error("{0}")]
    Problem(RemoteProblem),
    #[error("the answer to {target} is not of the shape that was expected")]
    Shape { target: String, source: serde_json::Error },
}

/// A problem that the daemon answered with.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct RemoteProblem {
    /// `/problems/<slug>`.
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub detail: String,
    pub pointer: Option<String>,
    /// From the header: when to try again, in seconds.
    #[serde(skip)]
    pub retry_after_seconds: Option<u64>,
}

impl RemoteProblem {
    /// The type without its path: `invalid-query`.
    pub fn slug(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or(&self.kind)
    }
}

impl std::fmt::Display for RemoteProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the daemon answered {}", self.status)?;
        if !self.kind.is_empty() {
            write!(f, " {}", self.slug())?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        match &self.pointer {
            Some(pointer) => write!(f, " (at {pointer})"),
            None => Ok(()),
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query, percent-encoded.
    pub target: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    /// How long the server may send nothing; `None`: for ever.
    pub stall: Option<Duration>,
}

impl<'a> Request<'a> {
    pub fn get(target: &'a str) -> Request<'a> {
        Request { method: "GET", target, headers: &[], body: &[], stall: Some(STALL_TIMEOUT) }
    }
    pub fn post(target: &'a str, headers: &'a [(&'a str, &'a str)], body: &'a [u8]) -> Request<'a> {
        Request { method: "POST", headers, body, ..Request::get(target) }
    }
    /// Waits for ever for the next byte.
    pub fn patient(self) -> Request<'a> {
        Request { stall: None, ..self }
    }

    /// The request's head, ready to be sent to `host`.
    pub fn head(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || self.method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// A connection to one daemon.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Connects with the first request.
    pub fn new(address: SocketAddr) -> Client {
        Client { address, connection: None }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and gives its answer, whatever the status, as soon as the head is there.
    pub fn send(&mut self, request: Request<'_>) -> Result<Response<'_>, ClientError> {
        let kept = self.connection.is_some();
        let (head, rest) = match self.exchange(request) {
            Err(ClientError::Broken { .. }) if kept => self.exchange(request)?,
            other => other?,
        };
        Ok(Response { head, body: head.body(), connection: Some(rest), client: self })
    }

    /// Sends a request; an answer that is no 2xx is an error.
    pub fn send_ok(&mut self, request: Request<'_>) -> Result<Response<'_>, ClientError> {
        let response = self.send(request)?;
        if (200..300).contains(&response.head.status) { Ok(response) } else { Err(response.into_problem()) }
    }

    /// Gets a JSON answer.
    pub fn get_json<T: serde::de::DeserializeOwned>(&mut self, target: &str) -> Result<T, ClientError> {
        self.send_ok(Request::get(target))?.json(target)
    }

    /// One request and the head of its answer. The connection is given along and comes back when the body was read.
    fn exchange(&mut self, request: Request<'_>) -> Result<(Head, BufReader<TcpStream>), ClientError> {
        let address = self.address;
        let broken = |source| ClientError::Broken { address, source };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let stream = connection.get_mut();
        stream.set_read_timeout(request.stall).map_err(broken)?;
        let mut head = request.head(&address.to_string());
        let sent = if request.body.len() <= 16 * 1024 {
            head.extend_from_slice(request.body);
            stream.write_all(&head)
        } else {
            stream.write_all(&head).and_then(|()| stream.write_all(request.body))
        };
        // A server that refuses a body answers before it has read all of it: the answer says more than the write error.
        match (sent, read_head(&mut connection)) {
            (_, Ok(Ok(head))) => Ok((head, connection)),
            (Err(source), _) | (Ok(()), Err(source)) => Err(broken(source)),
            (Ok(()), Ok(Err(source))) => Err(ClientError::Wire { address, source }),
        }
    }

    fn connect(&self) -> Result<BufReader<TcpStream>, ClientError> {
        let address = self.address;
        let connected = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(STALL_TIMEOUT))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(BufReader::with_capacity(64 * 1024, stream)),
            Err(source) => Err(ClientError::Connect { address, source }),
        }
    }
}

/// Reads up to the end of a head, past interim answers.
fn read_head(connection: &mut BufReader<TcpStream>) -> io::Result<Result<Head, WireError>> {
    let mut seen = Vec::new();
    loop {
        let fresh = connection.fill_buf()?;
        if fresh.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before it answered"));
        }
        let before = seen.len();
        seen.extend_from_slice(fresh);
        match Head::parse(&seen) {
            Ok(None) => connection.consume(seen.len() - before),
            Ok(Some((head, bytes))) => {
                connection.consume(bytes - before);
                if head.status >= 200 {
                    return Ok(Ok(head));
                }
                seen.clear();
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// An answer. Its body is read with [`Read`]; dropped before its end, the connection is closed.
#[derive(Debug)]
pub struct Response<'a> {
    pub head: Head,
    body: Body,
    /// There until the body was read to its end.
    connection: Option<BufReader<TcpStream>>,
    client: &'a mut Client,
}

impl Response<'_> {
    /// Reads the whole body.
    pub fn bytes(mut self) -> Result<Vec<u8>, ClientError> {
        let address = self.client.address;
        let mut bytes = Vec::new();
        let read = self.by_ref().take(WHOLE_ANSWER_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|source| ClientError::Broken { address, source })?;
        Ok(bytes)
    }

    /// Reads the whole body as JSON; `target` is named where it has another shape.
    pub fn json<T: serde::de::DeserializeOwned>(self, target: &str) -> Result<T, ClientError> {
        let bytes = self.bytes()?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Shape { target: target.to_string(), source })
    }

    /// Reads the body as the problem it describes; one that is no JSON is cited.
    pub fn into_problem(self) -> ClientError {
        let head = self.head;
        let bytes = match self.bytes() {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        let mut problem: RemoteProblem = serde_json::from_slice(&bytes).unwrap_or_else(|_| RemoteProblem {
            detail: String::from_utf8_lossy(&bytes).chars().take(200).collect(),
            ..RemoteProblem::default()
        });
        problem.status = head.status;
        problem.retry_after_seconds = head.retry_after_seconds;
        ClientError::Problem(problem)
    }
}

impl Read for Response<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let mut written = 0;
        while written == 0 && !self.body.is_done() {
            let Some(connection) = self.connection.as_mut() else { return Ok(0) };
            let fresh = connection.fill_buf()?;
            if fresh.is_empty() {
                if self.body.may_end_here() {
                    return Ok(0);
                }
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended in the middle"));
            }
            // A body is never longer than its framed bytes, so what is fed fits into `out`.
            let fed = &fresh[..fresh.len().min(out.len())];
            let used = self.body.feed(fed, |bytes| {
                out[written..written + bytes.len()].copy_from_slice(bytes);
                written += bytes.len();
            });
            let used = used.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            connection.consume(used);
        }
        Ok(written)
    }
}

impl Drop for Response<'_> {
    fn drop(&mut self) {
        if self.body.is_done() && !self.head.close {
            self.client.connection = self.connection.take();
        }
    }
}

/// Percent-encodes a value for a path segment or a query.
pub fn encode(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Serves each connection the given answers, one for each request head that ends, then closes it.
    fn server(connections: Vec<Vec<&'static str>>) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for answers in connections {
                let (mut stream, _) = listener.accept().expect("a client");
                for answer in answers {
                    let mut request = Vec::new();
                    let mut byte = [0];
                    while !request.ends_with(b"\r\n\r\n") {
                        stream.read_exact(&mut byte).expect("a request");
                        request.push(byte[0]);
                    }
                    seen.push(String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_string());
                    stream.write_all(answer.as_bytes()).expect("answered");
                }
            }
            seen
        });
        (address, thread)
    }

    #[test]
    fn a_connection_is_kept_over_answers_and_renewed_when_it_was_closed() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n";
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[2]";
        let (address, thread) = server(vec![vec![chunked, plain], vec![plain]]);
        let mut client = Client::new(address);
        assert_eq!(client.get_json::<Vec<u8>>("/a").expect("answered"), [1]);
        assert_eq!(client.get_json::<Vec<u8>>("/b").expect("answered"), [2]);
        assert_eq!(client.get_json::<Vec<u8>>("/c").expect("answered again on a fresh connection"), [2]);
        let seen = thread.join().expect("served");
        assert_eq!(seen, ["GET /a HTTP/1.1", "GET /b HTTP/1.1", "GET /c HTTP/1.1"]);
    }

    #[test]
    fn a_problem_is_read_with_its_slug_and_when_to_try_again() {
        let body = r#"{"type":"/problems/queue-full","status":503,"detail":"full"}"#;
        let answer: &'static str = Box::leak(
            format!("HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .into_boxed_str(),
        );
        let (address, thread) = server(vec![vec![answer]]);
        let mut client = Client::new(address);
        let Err(ClientError::Problem(problem)) = client.send_ok(Request::get("/")) else { panic!("no problem") };
        assert_eq!((problem.slug(), problem.status, problem.retry_after_seconds), ("queue-full", 503, Some(1)));
        thread.join().expect("served");
    }

    #[test]
    fn an_answer_that_ends_in_the_middle_is_an_error() {
        let (address, thread) = server(vec![vec!["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"]]);
        let mut client = Client::new(address);
        let error = client.get_json::<Vec<u8>>("/").expect_err("cut");
        let error = format!("{:#}", anyhow::Error::from(error));
        assert!(error.contains("ended in the middle"), "{error}");
        thread.join().expect("served");
    }

    #[test]
    fn no_daemon_says_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let error = Client::new(address).get_json::<Vec<u8>>("/").expect_err("nobody").to_string();
        assert!(error.contains("coliseum serve"), "{error}");
    }
}
