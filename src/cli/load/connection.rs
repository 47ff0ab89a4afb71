//! One connection of the load: a request, its answer, the next request. Two system calls an exchange, no allocation.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::wire::{Body, Head};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 16 * 1024;

/// Connects when it is first used, and again when it was closed.
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    body: Vec<u8>,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Connection {
        Connection { address, stream: None, input: Vec::with_capacity(READ_BYTES), body: Vec::new() }
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Sends a request, head and body; the status of its answer. After an error the connection is made anew.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.body.clear();
        let timed = tokio::time::timeout(ANSWER_TIMEOUT, self.try_exchange(request)).await;
        let answered = timed.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        if !matches!(answered, Ok(Head { close: false, .. })) {
            self.stream = None;
        }
        answered.map(|head| head.status)
    }

    async fn try_exchange(&mut self, request: &[u8]) -> io::Result<Head> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(request).await?;
        self.input.clear();
        let (head, at) = loop {
            read_more(&mut stream, &mut self.input).await?;
            if let Some(found) = Head::parse(&self.input).map_err(io::Error::other)? {
                break found;
            }
        };
        let mut decoder = head.body();
        self.take(&mut decoder, at)?;
        while !decoder.is_done() {
            self.input.clear();
            if let Err(error) = read_more(&mut stream, &mut self.input).await {
                if decoder.may_end_here() && error.kind() == io::ErrorKind::UnexpectedEof {
                    break;
                }
                return Err(error);
            }
            self.take(&mut decoder, 0)?;
        }
        self.stream = Some(stream);
        Ok(head)
    }

    /// Takes the body's part of the input from `at` on. There is one request at a time, so nothing may follow it.
    fn take(&mut self, decoder: &mut Body, at: usize) -> io::Result<()> {
        let body = &mut self.body;
        let used = decoder.feed(&self.input[at..], |bytes| body.extend_from_slice(bytes)).map_err(io::Error::other)?;
        if at + used == self.input.len() { Ok(()) } else { Err(io::Error::other("bytes behind the answer")) }
    }
}

async fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    input.reserve(READ_BYTES);
    match stream.read_buf(input).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the answer was whole")),
        _ => Ok(()),
    }
}
