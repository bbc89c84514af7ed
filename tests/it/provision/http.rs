//! Boxes that a program of the operator's makes ready when it is called. It checks every call with
//! the reference library.

use reqwest::Method;
use serde_json::json;

use super::has;
use crate::harness::daemon::{Rented, Shop, each, once};
use crate::harness::wait::until;
use crate::harness::webhook_sink::{Got, Reply, Sink};

/// 24 bytes in base64.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

/// Sells what is made ready by calls to `sink`, from now on.
fn with_url(shop: &mut Shop, sink: &Sink) {
    with_boxes_at(shop, sink, 2);
}

/// As [`with_url`], with so many boxes.
pub(super) fn with_boxes_at(shop: &mut Shop, sink: &Sink, capacity: u32) {
    std::fs::write(shop.folder().join("box.secret"), format!("{SECRET}\n")).unwrap();
    let url = sink.url("/lease");
    // A thousand boxes are not told of in a second.
    let timeout = if capacity > 2 { "1m" } else { "1s" };
    shop.write_catalog(&format!(
        r#"
[[resource]]
id = "box"
access = "exclusive"
capacity = {capacity}
price = {{ sat = 3600, per = "1h" }}
min_duration = "10m"
max_duration = "30d"
confirmations = [{{ n = 1 }}]
max_unpaid_holds = {capacity}
provisioner = {{ kind = "http", url = "{url}", secret_file = "box.secret", timeout = "{timeout}" }}
"#
    ));
    shop.stop();
    shop.start();
}

/// An answer with access details.
pub(super) fn ready() -> Reply {
    let body = br#"{"host": "box.test"}"#.to_vec();
    Reply::With(200, ("content-type", "application/json".into()), body)
}

/// The calls for a lease, each signed.
fn calls(sink: &Sink, rented: &Rented) -> Vec<Got> {
    let own = |got: &Got| got.event()["lease"] == rented.lease.as_str();
    let all: Vec<Got> = sink.got().into_iter().filter(own).collect();
    for got in &all {
        assert!(got.is_signed_with(SECRET), "{got:?}");
        assert_eq!(got.path, "/lease");
    }
    all
}

fn actions(sink: &Sink, rented: &Rented) -> Vec<String> {
    let action = |got: &Got| got.event()["action"].as_str().unwrap().to_owned();
    calls(sink, rented).iter().map(action).collect()
}

#[test]
fn a_program_is_called_and_signed_for_at_every_step() {
    each(|shop| {
        let sink = Sink::start(|_, _| ready());
        with_url(shop, &sink);
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        assert_eq!(shop.held(&rented)["access"], json!({"host": "box.test"}));
        let public = shop.lease(&rented.lease);
        assert!(!public.to_string().contains("box.test"), "{public}");
        let told = calls(&sink, &rented)[0].event();
        assert_eq!((&told["resource"], &told["generation"]), (&json!("box"), &json!(1)));
        assert_eq!(told["unit"], "1", "{told}");
        assert!(told["paid_until"].is_string() && told["params"] == json!({}), "{told}");
        for what in ["suspend", "resume", "revoke"] {
            assert_eq!(shop.operate_lease(&rented, what).0, 200);
            until("the call", || {
                let last = actions(&sink, &rented).pop().unwrap();
                let wanted = if what == "revoke" { "release" } else { what };
                if last == wanted { Ok(()) } else { Err(last) }
            });
        }
        // Time stood still meanwhile, so its end is later when it goes on.
        let all = ["provision", "suspend", "extend", "resume", "release"];
        assert_eq!(actions(&sink, &rented), all);
        assert!(shop.held(&rented)["access"].is_null(), "what was taken back is not shown");
    });
}

#[test]
fn a_program_that_is_slow_busy_or_broken_is_called_again_and_may_have_done_it_before() {
    once(|shop| {
        let busy = |status| Reply::With(status, ("retry-after", "1".into()), b"busy".to_vec());
        let sink = Sink::start(move |n, _| match n {
            0 => Reply::Hang,
            1 => busy(429),
            2 => busy(503),
            _ => Reply::Status(409),
        });
        with_url(shop, &sink);
        let rented = shop.paid_box();
        let lease = shop.lease_in(&rented, "active");
        assert!(!has(&lease, "provisioner_error"), "{lease}");
        let all = calls(&sink, &rented);
        // An end that was told late is told anew.
        let all = &all[..4];
        assert_eq!(actions(&sink, &rented)[..4], ["provision"; 4]);
        for got in all {
            assert_eq!(got.event()["key"], all[0].event()["key"]);
            assert_eq!(got.header("webhook-id"), all[0].header("webhook-id"));
        }
    });
}

#[test]
fn what_may_still_be_made_ready_is_not_taken_back_at_once() {
    once(|shop| {
        let sink = Sink::start(|n, _| if n == 0 { Reply::Hang } else { ready() });
        with_url(shop, &sink);
        let rented = shop.paid_box();
        until("the call", || {
            let called = actions(&sink, &rented);
            if called == ["provision"] { Ok(()) } else { Err(called) }
        });
        let path = format!("/v1/leases/{}/return", rented.lease);
        shop.post(&path, Some(&rented.claim), &json!({}));
        let release = until("the first call to be given up", || {
            let path = format!("actions?lease={}", rented.lease);
            let found = shop.operate(Method::GET, &path, None).1;
            let outcome = found["items"][1]["outcome"].clone();
            if outcome == "superseded" { Ok(found["items"][0].clone()) } else { Err(found) }
        });
        assert_eq!((&release["action"], &release["attempt"]), (&json!("release"), &json!(0)));
        assert_eq!(actions(&sink, &rented), ["provision"]);
        shop.shift_clock(90);
        until("the release", || {
            let called = actions(&sink, &rented);
            if called == ["provision", "release"] { Ok(()) } else { Err(called) }
        });
    });
}

#[test]
fn a_program_that_is_not_there_is_called_later() {
    once(|shop| {
        let sink = Sink::start(|_, _| ready());
        with_url(shop, &sink);
        drop(sink);
        let rented = shop.paid_box();
        let action = until("the failure to be listed", || {
            let found = shop.operate(Method::GET, "actions?state=failing", None).1;
            if found["items"][0]["failure"].is_null() { Err(found) } else { Ok(found) }
        })["items"][0]
            .clone();
        assert!(action["failure"].as_str().unwrap().contains("no answer"), "{action}");
        assert!(action["failed_at"].is_null() && action["due_at"].is_string(), "{action}");
        assert_eq!(shop.lease(&rented.lease)["state"], "provisioning");
    });
}

#[test]
fn an_answer_that_refuses_waits_for_the_operator_and_tells_the_holder_nothing() {
    once(|shop| {
        let sink = Sink::start(|n, _| match n {
            0 => Reply::With(422, ("x-a", "b".into()), b"no disk in rack 7".to_vec()),
            // No answer that is followed: a redirect.
            1 => Reply::With(302, ("location", "http://127.0.0.1:1/".into()), Vec::new()),
            // No JSON, and more than is read of it.
            2 => Reply::With(200, ("x-a", "b".into()), vec![b'x'; 1_000_000]),
            _ => ready(),
        });
        with_url(shop, &sink);
        let rented = shop.paid_box();
        for (calls, why) in [(1, "rack 7"), (2, "HTTP 302"), (3, "at most 16384")] {
            let failing = until("the failure to be listed", || {
                let found = shop.operate(Method::GET, "actions?state=failed", None).1;
                let text = found["items"].to_string();
                if text.contains(why) { Ok(text) } else { Err(text) }
            });
            assert!(failing.contains(&rented.lease), "{failing}");
            let held = shop.held(&rented);
            assert!(has(&held, "provisioner_error") && held["state"] == "provisioning", "{held}");
            assert!(!held.to_string().contains(why), "{held}");
            assert_eq!(actions(&sink, &rented).len(), calls);
            assert_eq!(shop.operate_lease(&rented, "retry").0, 200);
        }
        shop.lease_in(&rented, "active");
        assert_eq!(shop.held(&rented)["access"], json!({"host": "box.test"}));
    });
}
