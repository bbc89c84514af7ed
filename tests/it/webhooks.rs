//! Events reach the endpoints of operators: signed, again and again until they are taken, whatever
//! becomes of the server in between. The receiver checks with the reference library.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::daemon::{Shop, each_with, once, once_with};
use crate::harness::pair::pair_with;
use crate::harness::payouts::{number, text};
use crate::harness::wait::until;
use crate::harness::webhook_sink::{Got, Reply, Sink};

const ALLOW: &str = "[webhooks]\nallow_private = true\n";
/// How long a claim holds, and a little.
const CLAIM_S: i64 = 31;
/// Longer than each pause of the schedule, seconds.
const PAUSES_S: [i64; 9] = [7, 361, 2161, 8641, 21_601, 43_201, 60_481, 86_401, 103_681];

/// A new endpoint: its id and its secret.
fn endpoint(shop: &Shop, url: &str, types: &[&str]) -> (String, String) {
    let body = json!({ "url": url, "types": types });
    let (status, made) = shop.operate(Method::POST, "webhooks", Some(&body));
    assert_eq!(status, 201, "{made}");
    (text(&made["webhook"]["id"]), text(&made["secret"]))
}

fn act(shop: &Shop, path: &str, body: Option<&Value>) -> Value {
    let (status, answer) = shop.operate(Method::POST, path, body);
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

fn list(shop: &Shop, path: &str) -> Vec<Value> {
    let (status, answer) = shop.operate(Method::GET, path, None);
    assert_eq!(status, 200, "{answer}");
    answer["items"].as_array().expect("a list").clone()
}

fn got(sink: &Sink, count: usize) -> Vec<Got> {
    until("messages to come", || Some(sink.got()).filter(|got| got.len() >= count).ok_or(count))
}

/// Waits until the only delivery has made so many attempts and their result is known.
fn attempted(shop: &Shop, attempts: u64) -> Value {
    until("the attempt to be recorded", || {
        let one = list(shop, "deliveries").first().cloned().unwrap_or_default();
        let log = format!("deliveries/{}", one["id"].as_str().unwrap_or("none"));
        let log = shop.operate(Method::GET, &log, None).1;
        let last = log["log"].as_array().and_then(|all| all.last());
        let there = last.is_some_and(|last| last["n"] == attempts);
        there.then(|| log.clone()).ok_or(log)
    })
}

/// Every event was delivered to the receiver, always under the same id.
fn all_came(shop: &Shop, sink: &Sink) {
    let last = until("every event to come", || {
        let last = shop.events().last().map_or(0, |event| event.seq);
        let seqs: BTreeSet<i64> = sink.got().iter().map(Got::seq).collect();
        let missing: Vec<i64> = (1..=last).filter(|seq| !seqs.contains(seq)).collect();
        if missing.is_empty() { Ok(last) } else { Err(missing) }
    });
    let mut ids: BTreeMap<i64, String> = BTreeMap::new();
    for got in sink.got() {
        let id = got.header("webhook-id").to_owned();
        assert_eq!(ids.entry(got.seq()).or_insert_with(|| id.clone()), &id);
    }
    let different: BTreeSet<&String> = ids.values().collect();
    assert_eq!(different.len(), usize::try_from(last).unwrap());
}

#[test]
fn an_event_refused_five_times_is_taken_at_last_with_a_restart_in_between() {
    each_with(ALLOW, |shop| {
        let sink = Sink::start(|n, _| Reply::Status(if n < 5 { 500 } else { 200 }));
        let (id, secret) = endpoint(shop, &sink.url("/in"), &["lease.created"]);
        let rented = shop.rent("shared", 3600);
        let mut shift = 0;
        for (n, pause) in (1..=5).zip(PAUSES_S) {
            let one = attempted(shop, n);
            assert_eq!((&one["status"], &one["response_status"]), (&json!("pending"), &json!(500)));
            if n == 3 {
                shop.kill();
            }
            shift += pause;
            shop.shift_clock(shift);
            if n == 3 {
                shop.start();
            }
        }
        let one = attempted(shop, 6);
        assert_eq!((&one["status"], &one["attempts"]), (&json!("delivered"), &json!(6)));
        assert_eq!(one["webhook"], json!(id));
        let answers: Vec<&Value> =
            one["log"].as_array().unwrap().iter().map(|it| &it["response_status"]).collect();
        assert_eq!(json!(answers), json!([500, 500, 500, 500, 500, 200]));
        let all = sink.got();
        assert_eq!(all.len(), 6);
        assert!(all[0].is_signed_with(&secret));
        assert!(all.iter().all(|got| got.is_signed_then_with(&secret)));
        assert!(all.iter().all(|got| got.header("webhook-id") == text(&one["id"])));
        assert!(all.iter().all(|got| got.body == all[0].body));
        let (_, log) = shop.operate(Method::GET, "events", None);
        let event =
            log["items"].as_array().unwrap().iter().find(|it| it["type"] == "lease.created");
        assert_eq!(event, Some(&all[0].event()));
        assert_eq!(all[0].event()["subject"], json!(rented.lease));
    });
}

#[test]
fn after_the_last_try_the_endpoint_is_disabled_until_it_is_resumed() {
    once_with(ALLOW, |shop| {
        let (dead, alive) = (Sink::start(|_, _| Reply::Status(503)), Sink::taking());
        let (id, _) = endpoint(shop, &dead.url("/"), &["lease.created"]);
        endpoint(shop, &alive.url("/"), &["webhook.*"]);
        shop.rent("shared", 3600);
        let mut shift = 0;
        for (n, pause) in (1..=9).zip(PAUSES_S) {
            attempted(shop, n);
            shift += pause;
            shop.shift_clock(shift);
        }
        let told = got(&alive, 1)[0].event();
        assert_eq!((&told["type"], &told["subject"]), (&json!("webhook.disabled"), &json!(id)));
        let shown = shop.operate(Method::GET, &format!("webhooks/{id}"), None).1;
        assert_eq!((&shown["state"], &shown["why"]), (&json!("disabled"), &told["data"]["why"]));
        let later = shop.rent("shared", 3600);
        dead.answer(|_, _| Reply::Status(200));
        act(shop, &format!("webhooks/{id}/resume"), None);
        let came = got(&dead, 11);
        assert_eq!(came[10].event()["subject"], json!(later.lease));
        let failed = list(shop, "deliveries?status=failed");
        assert_eq!(failed.len(), 1);
        act(shop, &format!("deliveries/{}/redeliver", text(&failed[0]["id"])), None);
        let came = got(&dead, 12);
        assert_eq!(came[11].header("webhook-id"), text(&failed[0]["id"]));
        assert_eq!(came[11].body, came[0].body);
    });
}

#[test]
fn a_private_address_is_refused_unless_it_is_allowed() {
    once(|shop| {
        let sink = Sink::taking();
        let body = json!({ "url": sink.url("/") });
        let (status, refused) = shop.operate(Method::POST, "webhooks", Some(&body));
        assert_eq!((status, &refused["errors"][0]["pointer"]), (422, &json!("/url")), "{refused}");
        assert!(text(&refused["detail"]).contains("allow_private"));
        shop.stop();
        shop.write_config(ALLOW);
        shop.start();
        endpoint(shop, &sink.url("/"), &[]);
        shop.rent("shared", 3600);
        let before = got(&sink, 2).len();
        until("all to be recorded", || {
            let waits = list(shop, "deliveries?status=pending");
            if waits.is_empty() { Ok(()) } else { Err(waits) }
        });
        // What was allowed once is looked at again for each message.
        shop.stop();
        shop.write_config("");
        shop.start();
        shop.rent("shared", 3600);
        until("the refusal to be recorded", || {
            let waits = list(shop, "deliveries?status=pending");
            let why = waits.first().map(|one| one["failure"].clone()).unwrap_or_default();
            why.as_str().filter(|why| why.contains("not a public address")).map(|_| ()).ok_or(why)
        });
        assert_eq!(sink.got().len(), before);
    });
}

#[test]
fn an_endpoint_that_misbehaves_delays_no_other() {
    once_with(ALLOW, |shop| {
        let trap = Sink::taking();
        let there = trap.url("/");
        let bad = [
            Sink::start(|_, _| Reply::Hang),
            Sink::start(|_, _| Reply::SlowBody),
            Sink::start(move |_, _| Reply::With(307, ("location", there.clone()), Vec::new())),
        ];
        let huge = Sink::start(|_, _| Reply::With(200, ("x-a", "b".into()), vec![0; 30_000_000]));
        for sink in bad.iter().chain([&huge]) {
            endpoint(shop, &sink.url("/"), &[]);
        }
        let gone = Sink::start(|_, _| Reply::Status(410));
        let (gone_id, _) = endpoint(shop, &gone.url("/"), &[]);
        let alive = Sink::taking();
        let began = crate::harness::wait::now();
        endpoint(shop, &alive.url("/"), &["lease.created"]);
        for _ in 0..20 {
            shop.rent("shared", 3600);
        }
        assert_eq!(got(&alive, 20).len(), 20);
        assert!(began.elapsed().as_secs() < 9, "it waited for others: {:?}", began.elapsed());
        got(&huge, 20);
        assert!(trap.got().is_empty(), "a redirect was followed");
        until("the one that is gone to be disabled", || {
            let shown = shop.operate(Method::GET, &format!("webhooks/{gone_id}"), None).1;
            (shown["state"] == "disabled").then_some(()).ok_or(shown)
        });
        let metrics = shop.ask_text("/metrics");
        let delivered = "leasehold_webhook_deliveries_total{result=\"delivered\"}";
        assert!(metrics.contains(delivered), "{metrics}");
        assert!(metrics.contains("leasehold_webhook_pending"), "{metrics}");
    });
}

#[test]
fn during_a_rotation_either_secret_verifies_and_after_it_only_the_new_one() {
    once_with(ALLOW, |shop| {
        let sink = Sink::taking();
        let (id, old) = endpoint(shop, &sink.url("/"), &["lease.created"]);
        let path = format!("webhooks/{id}/rotate");
        let new = text(&act(shop, &path, Some(&json!({ "overlap_s": 3600 })))["secret"]);
        assert_ne!(old, new);
        shop.rent("shared", 3600);
        let first = &got(&sink, 1)[0];
        assert!(first.is_signed_with(&old) && first.is_signed_with(&new));
        shop.shift_clock(3601);
        shop.rent("shared", 3600);
        let second = &got(&sink, 2)[1];
        assert!(second.is_signed_then_with(&new) && !second.is_signed_then_with(&old));
    });
}

#[test]
fn everything_since_a_time_is_delivered_again_and_what_was_paused_comes_later() {
    each_with(ALLOW, |shop| {
        let sink = Sink::taking();
        let (id, _) = endpoint(shop, &sink.url("/"), &["lease.created"]);
        let early = shop.rent("shared", 3600);
        got(&sink, 1);
        act(shop, &format!("webhooks/{id}/pause"), None);
        shop.shift_clock(3600);
        let late = shop.rent("shared", 3600);
        let paused = list(shop, &format!("deliveries?webhook={id}"));
        assert_eq!(paused.len(), 1, "nothing is made for it while it is paused");
        act(shop, &format!("webhooks/{id}/resume"), None);
        assert_eq!(got(&sink, 2)[1].event()["subject"], json!(late.lease));
        let since = &shop.lease(&late.lease)["created_at"];
        let path = format!("webhooks/{id}/redeliver");
        act(shop, &path, Some(&json!({ "since": since })));
        let again = got(&sink, 3);
        assert_eq!(again[2].body, again[1].body);
        assert_eq!(again[2].header("webhook-id"), again[1].header("webhook-id"));
        act(shop, &path, Some(&json!({ "since": shop.lease(&early.lease)["created_at"] })));
        let subjects: BTreeSet<String> =
            got(&sink, 5)[3..].iter().map(|got| text(&got.event()["subject"])).collect();
        assert_eq!(subjects, BTreeSet::from([early.lease, late.lease]));
    });
}

#[test]
fn killed_at_any_moment_every_event_is_delivered() {
    each_with(ALLOW, |shop| {
        let sink = Sink::taking();
        endpoint(shop, &sink.url("/"), &[]);
        for n in 1..=6 {
            for _ in 0..n {
                shop.rent("shared", 3600);
            }
            shop.kill();
            // What was under way is taken up when its claim runs out.
            shop.shift_clock(n * CLAIM_S);
            shop.start();
        }
        all_came(shop, &sink);
    });
}

#[test]
fn two_servers_deliver_each_event_once() {
    pair_with(ALLOW, |pair| {
        let sink = Sink::taking();
        endpoint(&pair.a, &sink.url("/"), &[]);
        std::thread::scope(|scope| {
            for shop in pair.each() {
                scope.spawn(|| (0..15).for_each(|_| drop(shop.rent("shared", 3600))));
            }
        });
        all_came(&pair.a, &sink);
        let seqs: Vec<i64> = sink.got().iter().map(Got::seq).collect();
        let once: BTreeSet<&i64> = seqs.iter().collect();
        assert_eq!(seqs.len(), once.len(), "one was delivered twice");
        assert!(seqs.len() >= 60);
    });
}

/// Killed when the test ends.
struct Listening(Child);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_developer_hears_of_events_and_gets_them_forwarded() {
    once_with(ALLOW, |shop| {
        let sink = Sink::start(|n, _| Reply::Status(if n == 0 { 500 } else { 200 }));
        shop.rent("shared", 3600);
        let server = shop.url().to_owned();
        let mut command = shop.command(&["listen", "--server", &server, "--types", "lease.*"]);
        command.args(["--forward-to", &sink.url("/dev")]);
        let child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut child = Listening(child);
        let mut lines = BufReader::new(child.0.stdout.take().expect("it is piped")).lines();
        let mut next = || lines.next().expect("it goes on").expect("a line");
        let secret = next();
        let secret = secret.strip_prefix("secret ").expect("the secret comes first").to_owned();
        assert!(next().starts_with("listening after event "));
        let rented = shop.rent("shared", 3600);
        let line = next();
        assert!(line.contains("lease.created") && line.contains(&rented.lease), "{line}");
        assert!(next().contains("500"));
        shop.rent("shared", 3600);
        assert!(next().contains("lease.created"));
        let came = got(&sink, 2);
        assert_eq!(came[0].path, "/dev");
        assert!(came[0].is_signed_with(&secret));
        assert_eq!(came[0].event()["subject"], json!(rented.lease), "nothing old");
        assert_eq!(came[0].header("webhook-id"), text(&came[0].event()["id"]));
    });
}

/// What a command printed as JSON, and how it ended.
fn run(shop: &Shop, words: &[&str]) -> (Option<i32>, Value) {
    let server = shop.url().to_owned();
    let output = shop.command(&["--json"]).args(words).args(["--server", &server]).output();
    let output = output.expect("the program starts");
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[test]
fn endpoints_are_kept_from_the_command_line() {
    once_with(ALLOW, |shop| {
        let sink = Sink::taking();
        let url = sink.url("/");
        let (code, made) = run(shop, &["webhook", "create", &url, "--types", "lease.ended"]);
        assert_eq!(code, Some(0), "{made}");
        let id = text(&made["webhook"]["id"]);
        let (code, tried) = run(shop, &["webhook", "test", &id]);
        assert_eq!((code, &tried["status"]), (Some(0), &json!("delivered")), "{tried}");
        assert!(sink.got()[0].is_signed_with(&text(&made["secret"])));
        let (_, all) = run(shop, &["delivery", "list", "--webhook", &id, "--status", "delivered"]);
        assert_eq!(all["items"][0]["id"], tried["id"]);
        let (code, _) = run(shop, &["delivery", "redeliver", &text(&tried["id"])]);
        assert_eq!(code, Some(0));
        got(&sink, 2);
        let (_, one) = run(shop, &["delivery", "show", &text(&tried["id"])]);
        assert!(number(&one["attempts"]) >= 1);
        let (_, turned) = run(shop, &["webhook", "rotate", &id, "--overlap", "1h"]);
        assert_ne!(turned["secret"], made["secret"]);
        let at = text(&made["webhook"]["created_at"]);
        for (words, code) in [
            (&["webhook", "list"][..], 0),
            (&["webhook", "show", &id], 0),
            (&["webhook", "pause", &id], 0),
            (&["webhook", "test", &id], 1),
            (&["webhook", "resume", &id], 0),
            (&["webhook", "redeliver", &id, "--since", &at], 0),
            (&["webhook", "redeliver", &id, "--since", "yesterday"], 2),
            (&["webhook", "delete", &id], 0),
            (&["webhook", "show", &id], 1),
            (&["webhook", "create", "ftp://a.example"], 1),
            (&["listen", "--types", "lease.nothing"], 2),
            (&["listen", "--secret", "whsec_short"], 2),
            (&["listen", "--forward-to", "nowhere"], 2),
        ] {
            assert_eq!(run(shop, words).0, Some(code), "{words:?}");
        }
    });
}
