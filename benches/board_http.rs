//! A top-100 board over HTTP beside a bare hyper server that answers the same bytes and does nothing else.
//!
//! `cargo bench --bench board_http` starts both in this process, asks them in turn (A B A B …) over the same number of
//! connections, and prints requests a second of each and the median of the ratios. What the daemon does more (judging the
//! raw head, the route, the query, one look at the view and one at the page, headers) is what the ratio shows.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coliseum::clock::SystemClock;
use coliseum::config::Config;
use coliseum::daemon;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

const TARGET: &str = "/api/coliseum/leaderboards/a/7d?limit=100";
const CONNECTIONS: usize = 16;
const TURN: Duration = Duration::from_secs(2);
const TURNS: usize = 5;

fn main() {
    let scratch = tempfile::tempdir().expect("a directory");
    let config = Config {
        data_dir: scratch.path().join("data"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..Config::default()
    };
    let running = daemon::start(config, Arc::new(SystemClock)).expect("a daemon");
    fill(running.address());
    let body = ask(running.address());
    let bare = serve_bare(Bytes::from(body.clone()));
    println!("board of {} bytes, {CONNECTIONS} connections, {TURNS} turns of {} s each", body.len(), TURN.as_secs());
    let mut ratios = Vec::new();
    for turn in 1..=TURNS {
        let (ours, theirs) = (rate(running.address()), rate(bare));
        println!("turn {turn}: coliseum {ours:>9.0} requests/s, bare hyper {theirs:>9.0}, ratio {:.3}", ours / theirs);
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[TURNS / 2]);
    running.shutdown().expect("a stop in order");
}

/// Votes for a few hundred artists, so that a page is full.
fn fill(address: SocketAddr) {
    let now = jiff::Timestamp::now();
    let lines: String = (0..1000)
        .map(|n| {
            format!(
                "{{\"type\":\"coliseum.vote_cast\",\"userId\":\"u{n}\",\"at\":\"{now}\",\"artistId\":\"artist-{:04}\",\
                 \"eventId\":\"e\",\"weight\":{}}}\n",
                n % 400,
                1 + n * 7 % 900
            )
        })
        .collect();
    let request = format!(
        "POST /api/passport/batch HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{lines}",
        lines.len()
    );
    let answer = exchange(address, &request);
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

fn ask(address: SocketAddr) -> Vec<u8> {
    let request = format!("GET {TARGET}&minSeq=1000 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = exchange(address, &request);
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    answer[head + 4..].to_vec()
}

fn exchange(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

/// A server that knows one answer.
fn serve_bare(body: Bytes) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("a socket option");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a socket option");
                let body = body.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
                        let body = body.clone();
                        async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
                    });
                    // A client that goes away ends its connection.
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
    });
    address
}

/// Requests a second over all connections, each asking again as soon as it has its answer.
fn rate(address: SocketAddr) -> f64 {
    let done = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream.set_nodelay(true).expect("a socket option");
                let request = format!("GET {TARGET} HTTP/1.1\r\nHost: {address}\r\n\r\n");
                let mut buffer = vec![0; 64 * 1024];
                while start.elapsed() < TURN {
                    stream.write_all(request.as_bytes()).expect("sent");
                    let mut held = 0;
                    while !is_whole(&buffer[..held]) {
                        let read = stream.read(&mut buffer[held..]).expect("an answer");
                        assert!(read > 0, "the server closed the connection");
                        held += read;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

/// Whether a head and as much body as it names are there.
fn is_whole(answer: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length: ";
    let Some(head) = memchr::memmem::find(answer, b"\r\n\r\n") else { return false };
    let at = memchr::memmem::find(&answer[..head], NAME).expect("a length") + NAME.len();
    let digits = answer[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    answer.len() == head + 4 + length
}
