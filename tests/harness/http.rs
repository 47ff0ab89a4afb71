//! A blocking HTTP/1.1 client over a plain socket, raw enough to send what no client library would.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::model::json::Json;

/// No answer takes longer than this; what does has hung, and the test fails.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn json(&self) -> Json {
        Json::parse(&self.text()).unwrap_or_else(|e| panic!("{e}: status {}, body {:.300}", self.status, self.text()))
    }
    /// The body of an answer that has to have this status.
    pub fn expect(&self, status: u16) -> Json {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }
    /// Checks status and slug of a problem; gives its body.
    pub fn problem(&self, status: u16, slugs: &[&str]) -> Json {
        assert_eq!(self.status, status, "not {slugs:?}: {}", self.text());
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/problem+json"), "content type {kind:?} of {}", self.text());
        let body = self.json();
        let found = body.at("type").as_text();
        assert!(slugs.iter().any(|slug| found == format!("/problems/{slug}")), "{found}, not {slugs:?}");
        assert_eq!(body.at("status").as_integer(), i64::from(status));
        assert!(!body.at("title").as_text().is_empty() && !body.at("detail").as_text().is_empty());
        body
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[derive(Clone, Debug)]
pub struct Client {
    pub address: String,
}

impl Client {
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }
    pub fn post(&self, path: &str, body: &[u8]) -> Response {
        self.request("POST", path, &[("content-type", "application/json")], body)
    }
    pub fn post_json(&self, path: &str, body: &Json) -> Response {
        self.post(path, body.render().as_bytes())
    }
    /// Panics where the daemon does not answer.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_request(method, path, headers, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }
    /// An error where the daemon is gone, or goes while it answers.
    pub fn try_request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let mut stream = self.open(method, path, headers, body)?;
        let mut content = Vec::new();
        stream.body.read_to_end(&mut content)?;
        Ok(Response { status: stream.status, headers: stream.headers, body: content })
    }
    /// Sends a request and reads the head of its answer; the body is read as it comes.
    pub fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        let mut socket = self.connect()?;
        // A daemon may answer and close before it has read a body that it refuses: read its answer all the same.
        let sent = socket.write_all(&bytes);
        Answer::read(socket, method == "HEAD").map_err(|e| sent.err().unwrap_or(e))
    }
    /// A bare connection, for bytes that are no request.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        socket.set_write_timeout(Some(READ_TIMEOUT))?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }
    /// Sends bytes as they are, ends the sending side, and gives the answer; none where the daemon just closed.
    pub fn raw(&self, bytes: &[u8]) -> Option<Response> {
        let mut socket = self.connect().expect("the daemon accepts connections");
        let _ = socket.write_all(bytes);
        let _ = socket.shutdown(Shutdown::Write);
        read_response(socket)
    }
    /// As [`Client::raw`], but with the sending side left open: whoever closes, it is the daemon.
    pub fn raw_left_open(&self, bytes: &[u8]) -> Option<Response> {
        let mut socket = self.connect().expect("the daemon accepts connections");
        let _ = socket.write_all(bytes);
        read_response(socket)
    }
}

/// One answer from a socket, none where it ended without one.
pub fn read_response(socket: TcpStream) -> Option<Response> {
    let mut answer = Answer::read(socket, false).ok()?;
    let mut body = Vec::new();
    answer.body.read_to_end(&mut body).ok()?;
    Some(Response { status: answer.status, headers: answer.headers, body })
}

/// The head of an answer and its body as a stream.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: BufReader<Body>,
}

impl Answer {
    fn read(socket: TcpStream, is_head: bool) -> io::Result<Answer> {
        let mut socket = BufReader::new(socket);
        loop {
            let mut line = String::new();
            socket.read_line(&mut line)?;
            let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            let status: u16 = status.ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
            let mut headers = Vec::new();
            loop {
                let mut line = String::new();
                if socket.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                match line.trim_end().split_once(':') {
                    Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                    None => break,
                }
            }
            if status == 100 {
                continue;
            }
            let length = header(&headers, "content-length").and_then(|length| length.parse().ok());
            let is_chunked = header(&headers, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
            let framing = match length {
                _ if is_head || status == 204 || status == 304 => Framing::Length(0),
                _ if is_chunked => Framing::Chunked { left: 0, has_ended: false },
                Some(length) => Framing::Length(length),
                None => Framing::UntilClose,
            };
            return Ok(Answer { status, headers, body: BufReader::new(Body { socket, framing }) });
        }
    }
    /// The next line without its end; none at the end of the body.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.body.read_line(&mut line).expect("the stream goes on");
        (count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

enum Framing {
    Length(u64),
    Chunked { left: u64, has_ended: bool },
    UntilClose,
}

pub struct Body {
    socket: BufReader<TcpStream>,
    framing: Framing,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.framing {
            Framing::UntilClose => self.socket.read(buffer),
            Framing::Length(left) => {
                let want = buffer.len().min(*left as usize);
                if want == 0 {
                    return Ok(0);
                }
                let count = self.socket.read(&mut buffer[..want])?;
                *left -= count as u64;
                if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
            }
            Framing::Chunked { has_ended: true, .. } => Ok(0),
            Framing::Chunked { left, has_ended } => {
                if *left == 0 {
                    let mut line = String::new();
                    self.socket.read_line(&mut line)?;
                    if line.trim().is_empty() {
                        line.clear();
                        self.socket.read_line(&mut line)?;
                    }
                    let size = u64::from_str_radix(line.trim(), 16);
                    *left =
                        size.map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, format!("chunk {line:?}")))?;
                    if *left == 0 {
                        *has_ended = true;
                        return Ok(0);
                    }
                }
                let want = buffer.len().min(*left as usize);
                let count = self.socket.read(&mut buffer[..want])?;
                *left -= count as u64;
                if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
            }
        }
    }
}
