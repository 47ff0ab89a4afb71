//! Connections: how many, which give way, and how they end.

use super::*;

fn limits(max_connections: usize) -> HttpLimits {
    HttpLimits { max_connections, ..HttpLimits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_idle_connection_gives_way_to_a_new_one() {
    let server = Server::with(limits(2), CaptureLimits::default()).await;
    let (mut older, mut newer) = (server.client().await, server.client().await);
    assert_eq!(newer.ask(&get("/test/hello/a")).await.status, 200);
    assert_eq!(older.ask(&get("/test/hello/a")).await.status, 200);
    // `newer` was answered first, so it is idle the longest.
    let mut third = server.client().await;
    assert_eq!(third.ask(&get("/test/hello/a")).await.status, 200);
    newer.closed().await;
    assert_eq!(older.ask(&get("/test/hello/b")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_is_refused_while_all_are_busy() {
    let server = Server::with(limits(1), CaptureLimits::default()).await;
    let mut busy = server.client().await;
    busy.send(&get("/test/slow")).await;
    soon("the slow request", server.app.slow_began.notified()).await;
    let mut refused = server.client().await;
    let answer = refused.answer().await;
    assert_eq!((answer.status, answer.slug().as_str()), (503, "queue-full"));
    assert!(answer.header("retry-after").is_some());
    refused.closed().await;
    server.app.slow_may_end.notify_one();
    assert_eq!(busy.answer().await.status, 200);
    server.still_serves("a full house", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_in_pieces_and_pipelined_requests_are_answered_in_order() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for byte in get("/test/hello/slowly") {
        client.send(&[byte]).await;
    }
    assert_eq!(client.answer().await.json()["hello"], "slowly");
    let many: Vec<u8> = (0..200).flat_map(|number| get(&format!("/test/hello/{number}"))).collect();
    client.send(&many).await;
    for number in 0..200 {
        assert_eq!(client.answer().await.json()["hello"], number.to_string());
    }
    let events: Vec<u8> = (0..50).flat_map(|number| post("/api/passport/log", "", event(number))).collect();
    for piece in events.chunks(777) {
        client.send(piece).await;
    }
    for number in 0..50 {
        assert_eq!(client.answer().await.json()["seq"], number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_still_gets_its_answers() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(&[get("/test/hello/a"), get("/test/slow")].concat()).await;
    client.stream.shutdown().await.expect("half closed");
    soon("the slow request", server.app.slow_began.notified()).await;
    server.app.slow_may_end.notify_one();
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.answer().await.json()["slow"], true);
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_served_with_and_without_a_host() {
    let server = Server::start().await;
    for head in ["GET /test/hello/a HTTP/1.0\r\n\r\n", "GET /test/hello/a HTTP/1.0\r\nHost: localhost\r\n\r\n"] {
        let mut client = server.client().await;
        assert_eq!(client.ask(head.as_bytes()).await.status, 200);
        client.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_has_begun_and_closes_the_rest() {
    let mut server = Server::start().await;
    let (mut idle, mut fresh, mut slow, mut partial, mut uploading) = (
        server.client().await,
        server.client().await,
        server.client().await,
        server.client().await,
        server.client().await,
    );
    assert_eq!(idle.ask(&get("/test/hello/a")).await.status, 200);
    slow.send(&get("/test/slow")).await;
    soon("the slow request", server.app.slow_began.notified()).await;
    // One request half in its head, one half in its body: the answer before shows that the first half was read.
    let (head, body) = (get("/test/hello/b"), post("/api/passport/log", "", event(0)));
    let first = [get("/test/hello/first"), head[..20].to_vec()].concat();
    assert_eq!(partial.ask(&first).await.status, 200);
    let first = [get("/test/hello/first"), body[..body.len() - 10].to_vec()].concat();
    assert_eq!(uploading.ask(&first).await.status, 200);
    server.stop();
    idle.closed().await;
    fresh.closed().await;
    partial.send(&head[20..]).await;
    assert_eq!(partial.answer().await.json()["hello"], "b");
    partial.closed().await;
    uploading.send(&body[body.len() - 10..]).await;
    assert_eq!(uploading.answer().await.status, 201);
    uploading.closed().await;
    server.app.slow_may_end.notify_one();
    let answer = slow.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    slow.closed().await;
    let address = server.address;
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
}
