//! One message to receivers that misbehave, and to names whose meaning changes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[path = "../../tests/it/harness/webhook_sink.rs"]
#[allow(dead_code, reason = "each suite uses a part of it")]
pub(crate) mod sink;

use sink::{Reply, Sink};

const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

fn message() -> Message {
    Message { id: "dlv_1".into(), body: b"{\"a\":1}".to_vec() }
}

fn secret() -> Secret {
    Secret::new([1; 32])
}

async fn send(reply: Reply) -> (Exchange, Sink) {
    let sink = Sink::start(move |_, _| reply.clone());
    let client = Client::with(Reach::new(true), reach::system(), Duration::from_secs(1)).unwrap();
    let done = client.send(&sink.url("/in?a=b"), message(), &[secret()], AT).await;
    (done, sink)
}

#[tokio::test]
async fn a_message_arrives_signed_and_a_2xx_takes_it() {
    let (done, sink) = send(Reply::Status(202)).await;
    assert_eq!((done.status, done.failure, done.response.as_str()), (Some(202), None, "ok"));
    let got = sink.got();
    assert_eq!((got.len(), got[0].path.as_str()), (1, "/in"));
    assert_eq!(got[0].header("content-type"), "application/json");
    assert_eq!(got[0].header("webhook-id"), "dlv_1");
    assert_eq!(got[0].header("webhook-timestamp"), AT.unix_s().to_string());
    assert!(got[0].is_signed_then_with(&secret().reveal()));
    assert!(got[0].header("user-agent").starts_with("leasehold/"));
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Sink::taking();
    let there = Reply::With(302, ("location", elsewhere.url("/")), Vec::new());
    let (done, _sink) = send(there).await;
    assert_eq!(done.status, Some(302));
    assert!(done.failure.unwrap().contains("redirects are not followed"));
    assert!(elsewhere.got().is_empty());
}

#[tokio::test]
async fn a_slow_answer_fails_at_the_limit_even_when_its_status_came() {
    let (done, _sink) = send(Reply::SlowBody).await;
    assert_eq!((done.status, done.response.as_str()), (Some(200), "wait"));
    assert!(done.failure.unwrap().contains("longer than 1 s"));
    assert!((1000..3000).contains(&done.latency_ms), "{}", done.latency_ms);
    let (done, _sink) = send(Reply::Hang).await;
    assert_eq!(done.status, None);
    assert!(done.failure.is_some());
}

#[tokio::test]
async fn of_a_huge_answer_only_the_beginning_is_read_and_kept() {
    let huge = vec![b'a'; 50 * 1024 * 1024];
    let (done, _sink) = send(Reply::With(200, ("x-test", "1".into()), huge)).await;
    assert_eq!((done.failure, done.response), (None, "a".repeat(MOST_KEPT)));
    let strange = b"a\0b\x1b[31mc\xff\n".to_vec();
    let (done, _sink) = send(Reply::With(500, ("retry-after", "7".into()), strange)).await;
    assert_eq!(done.response, "ab[31mc\u{fffd}\n");
    assert_eq!((done.retry_after_s, done.status), (Some(7), Some(500)));
}

#[tokio::test]
async fn nobody_there_is_a_failure_with_its_cause_and_without_the_url() {
    let address = Sink::taking().address;
    let client = Client::new(Reach::new(true)).unwrap();
    let url = format!("http://{address}/hunter2");
    let failure = client.send(&url, message(), &[secret()], AT).await.failure.unwrap();
    assert!(failure.contains("cannot connect") && !failure.contains("hunter2"), "{failure}");
}

/// A name that means the first address once and the second from then on.
fn changing(addresses: [&str; 2]) -> (reach::Lookup, Arc<AtomicUsize>) {
    let addresses: [IpAddr; 2] = addresses.map(|address| address.parse().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let lookup: reach::Lookup = Arc::new(move |name| {
        assert_eq!(name, "hooks.example");
        let nth = counted.fetch_add(1, Ordering::SeqCst).min(1);
        Box::pin(async move { Ok(vec![addresses[nth]]) })
    });
    (lookup, asked)
}

#[tokio::test]
async fn a_name_that_means_another_address_after_the_check_is_not_followed_there() {
    // 127.0.0.2 stands for a public address; the name leads to 127.0.0.3 from its second answer on.
    let public = Sink::start_at("127.0.0.2:0", |_, _| Reply::Status(204));
    let port = public.address.port();
    let inside = Sink::start_at(&format!("127.0.0.3:{port}"), |_, _| Reply::Status(204));
    let reach = Reach { public: Some(public.address.ip()), ..Reach::new(false) };
    let (lookup, asked) = changing(["127.0.0.2", "127.0.0.3"]);
    let client = Client::with(reach, lookup, LIMIT).unwrap();
    let url = format!("http://hooks.example:{port}/");
    let first = client.send(&url, message(), &[secret()], AT).await;
    assert_eq!(first.failure, None);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it is looked up once for a message");
    let second = client.send(&url, message(), &[secret()], AT).await;
    let failure = second.failure.unwrap();
    assert!(failure.contains("127.0.0.3 is not a public address"), "{failure}");
    assert_eq!((public.got().len(), inside.got().len()), (1, 0));
    assert_eq!(public.got()[0].header("host"), format!("hooks.example:{port}"));
}

#[tokio::test]
async fn one_private_address_among_several_spoils_the_name() {
    let inside = Sink::taking();
    let port = inside.address.port();
    let lookup: reach::Lookup = Arc::new(|_| {
        let both = ["1.1.1.1", "127.0.0.1"].map(|address| address.parse().unwrap());
        Box::pin(async move { Ok(both.to_vec()) })
    });
    let client = Client::with(Reach::new(false), lookup, LIMIT).unwrap();
    let done = client.send(&format!("http://hooks.example:{port}/"), message(), &[], AT).await;
    assert!(done.failure.unwrap().contains("127.0.0.1 is not a public address"));
    let done = client.send(&inside.url("/"), message(), &[secret()], AT).await;
    assert!(done.failure.unwrap().contains("not a public address"), "written out, too");
    assert!(inside.got().is_empty());
}
