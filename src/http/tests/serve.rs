//! The listener, over real connections: slow clients, a full house, the end.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, at_desk, text};
use crate::http::serve::{Bounds, serve};

const SOON: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);
const HALF: &str = "GET /healthz HTTP/1.1\r\nHost: shop.test\r\nX-More: ";

/// Runs `body` with the address of a listener, until both ended.
async fn listening(desk: &Desk, bounds: Bounds, body: impl AsyncFnOnce(Client)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client =
        Client { at: listener.local_addr().unwrap(), shutdown: desk.state.shutdown.clone() };
    let serving = serve(listener, desk.router(), bounds, desk.state.shutdown.clone());
    let both = async { tokio::join!(serving, body(client)) };
    tokio::time::timeout(SOON, both).await.expect("it ends");
}

struct Client {
    at: std::net::SocketAddr,
    shutdown: CancellationToken,
}

impl Client {
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn get(&self, path: &str) -> TcpStream {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await
    }
}

/// Reads on until `end` was read; what was read by then.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.windows(end.len()).any(|window| window == end.as_bytes()) {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.unwrap();
        let so_far = String::from_utf8_lossy(&read);
        assert_ne!(count, 0, "closed before {end:?} came: {so_far}");
        read.extend_from_slice(&part[..count]);
    }
    String::from_utf8(read).unwrap()
}

/// Reads until the other side closes.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut read).await;
    String::from_utf8(read).unwrap()
}

async fn cancel(desk: &Desk, lease: &Value) {
    let path = format!("/v1/invoices/{}/cancel", text(lease, "/invoice/id"));
    desk.call("POST", &path).bearer(text(lease, "/claim_token")).send().await.must(200);
}

#[test]
fn who_sends_half_a_header_is_closed_and_an_open_stream_is_not() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let events = format!("/v1/invoices/{}/events", text(&lease, "/invoice/id"));
        let bounds = Bounds { header_time: SHORT, ..Bounds::default() };
        let live = desk.state.live.clone();
        let follow = live.run(desk.state.readiness.clone(), desk.state.shutdown.clone());
        let serving = listening(&desk, bounds, async |client| {
            let mut stream = client.get(&events).await;
            read_to(&mut stream, "\n\n").await;
            let mut slow = client.send(HALF).await;
            read_all(&mut slow).await;
            let mut idle = client.get("/healthz").await;
            assert!(read_to(&mut idle, "ok").await.starts_with("HTTP/1.1 200"));
            read_all(&mut idle).await;
            cancel(&desk, &lease).await;
            read_to(&mut stream, "\"cancelled\"").await;
            client.shutdown.cancel();
            read_all(&mut stream).await;
        });
        tokio::join!(follow, serving).0.unwrap();
    });
}

#[test]
fn the_end_waits_for_no_half_request_and_ends_open_streams() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let events = format!("/v1/leases/{}/events", text(&lease, "/lease/id"));
        // Longer than the test may take.
        let bounds = Bounds { header_time: SOON * 10, ..Bounds::default() };
        listening(&desk, bounds, async |client| {
            let mut all = vec![
                client.send(HALF).await,
                client.send("").await,
                client.get("/healthz").await,
                client.get(&events).await,
            ];
            read_to(&mut all[2], "ok").await;
            read_to(&mut all[3], "\n\n").await;
            client.shutdown.cancel();
            for stream in &mut all {
                read_all(stream).await;
            }
        })
        .await;
    });
}

#[test]
fn a_full_house_takes_the_next_when_one_leaves() {
    at_desk(async |desk| {
        let bounds = Bounds { connections: 1, ..Bounds::default() };
        listening(&desk, bounds, async |client| {
            let mut first = client.get("/healthz").await;
            read_to(&mut first, "ok").await;
            let mut second = client.get("/healthz").await;
            let waits = tokio::time::timeout(SHORT, read_to(&mut second, "ok")).await;
            assert!(waits.is_err(), "one connection only");
            drop(first);
            read_to(&mut second, "ok").await;
            client.shutdown.cancel();
        })
        .await;
    });
}
