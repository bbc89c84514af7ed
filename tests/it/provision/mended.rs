//! What goes wrong while a lease runs, begins or ends, and how it is put right.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::has;
use crate::harness::daemon::{Rented, Shop, each, once};
use crate::harness::wait::{now, until};

/// A hook that is under way until a file is there.
const UNTIL_GO: &str = "while [ ! -e go ]; do sleep 0.05; done; ";

impl Shop {
    fn listed(&self, state: &str) -> Vec<Value> {
        let (status, list) = self.operate(Method::GET, &format!("actions?state={state}"), None);
        assert_eq!(status, 200, "{list}");
        list["items"].as_array().unwrap().iter().map(|it| it["action"].clone()).collect()
    }

    fn let_go(&self) {
        std::fs::write(self.folder().join("go"), "").unwrap();
    }

    fn pay_more(&self, rented: &Rented) {
        self.node.send(&rented.address, 3600);
        self.node.mine(1);
    }

    /// `leasehold lease …` about a lease: its exit code and what it said.
    fn run_lease(&self, word: &str, rented: &Rented) -> (Option<i32>, String) {
        let mut command = self.command(&["lease", word, &rented.lease, "--server", self.url()]);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }
}

#[test]
fn what_failed_while_a_lease_runs_is_listed_and_done_again_when_an_operator_says_so() {
    each(|shop| {
        shop.with_hook("20s");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        shop.shift_clock(3660);
        shop.lease_in(&rented, "grace");
        shop.done_for(&rented, &["provision", "suspend"]);
        shop.hook_does("resume", "exit 1");
        shop.pay_more(&rented);
        shop.called_for(&rented, &["provision", "suspend", "extend", "resume"]);
        shop.lease_until("the failure", &rented.lease, |it| has(it, "provisioner_error"));
        assert_eq!(shop.listed("failed"), ["resume"]);
        // What goes well does not hide it.
        shop.pay_more(&rented);
        shop.done_for(&rented, &["provision", "suspend", "extend", "extend"]);
        assert!(has(&shop.lease(&rented.lease), "provisioner_error"));
        assert_eq!(shop.listed("failing"), ["resume"]);
        shop.hook_does("resume", "");
        let (code, said) = shop.run_lease("retry", &rented);
        assert_eq!(code, Some(0), "{said}");
        shop.done_for(&rented, &["provision", "suspend", "extend", "extend", "resume"]);
        shop.lease_until("the flag to go", &rented.lease, |it| !has(it, "provisioner_error"));
        assert_eq!(shop.listed("failed"), [] as [&str; 0]);
        let (code, said) = shop.run_lease("retry", &rented);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("nothing of this lease waits"), "{said}");
    });
}

#[test]
fn a_retry_does_not_undo_what_comes_after_what_failed() {
    once(|shop| {
        shop.with_hook("20s");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        shop.hook_does("suspend", "exit 1");
        shop.hook_does("extend", "exit 75");
        shop.shift_clock(3660);
        shop.lease_in(&rented, "grace");
        shop.lease_until("the failure", &rented.lease, |it| has(it, "provisioner_error"));
        shop.pay_more(&rented);
        shop.lease_in(&rented, "active");
        shop.called_for(&rented, &["provision", "suspend", "extend"]);
        for action in ["suspend", "extend"] {
            shop.hook_does(action, "");
        }
        assert_eq!(shop.operate_lease(&rented, "retry").0, 200);
        shop.done_for(&rented, &["provision", "extend", "resume"]);
        shop.lease_until("the flag to go", &rented.lease, |it| !has(it, "provisioner_error"));
        assert_eq!(shop.listed("open"), [] as [&str; 0]);
        assert_eq!(shop.done(&rented), ["provision", "extend", "resume"]);
    });
}

#[test]
fn a_hook_that_talks_has_still_done_its_work() {
    once(|shop| {
        shop.with_hook("20s");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        shop.hook_does("all", "echo Domain box started");
        shop.pay_more(&rented);
        shop.done_for(&rented, &["provision", "extend"]);
        assert_eq!(shop.held(&rented)["access"]["host"], "box.test");
        shop.operate_lease(&rented, "revoke");
        shop.done_for(&rented, &["provision", "extend", "release"]);
        // Where its words are for the holder, they have to be what they should be.
        let new = shop.paid_box();
        shop.lease_until("the failure", &new.lease, |it| has(it, "provisioner_error"));
        let flood = "head -c 1000000 /dev/zero | tr '\\0' 'x'";
        shop.hook_does("all", flood);
        shop.operate_lease(&new, "retry");
        until("the limit to be named", || {
            let text = shop.operate(Method::GET, "actions?state=failed", None).1.to_string();
            if text.contains("at most 16384 are taken") { Ok(()) } else { Err(text) }
        });
    });
}

#[test]
fn a_lease_that_ends_while_it_is_made_ready_is_taken_back_though_that_failed() {
    each(|shop| {
        shop.with_hook("20s");
        for how in ["exit 3", "exit 75"] {
            let _ = std::fs::remove_file(shop.folder().join("go"));
            shop.hook_does("provision", &format!("{UNTIL_GO} {how}"));
            let rented = shop.paid_box();
            shop.called_for(&rented, &["provision"]);
            let path = format!("/v1/leases/{}/return", rented.lease);
            shop.post(&path, Some(&rented.claim), &json!({}));
            shop.let_go();
            shop.done_for(&rented, &["release"]);
            until("the unit to be free", || {
                let free = shop.get("/v1/resources/box").1["availability"]["free"].clone();
                if free == 2 { Ok(()) } else { Err(free) }
            });
            let lease = shop.lease(&rented.lease);
            let found = (&lease["end_reason"], &lease["refundable_sat"]);
            assert_eq!(found, (&json!("returned"), &json!(3600)), "{lease}");
            assert_eq!(shop.called(&rented), ["provision", "release"]);
        }
        assert_eq!(shop.listed("open"), [] as [&str; 0]);
    });
}

#[test]
fn only_a_release_that_failed_and_is_not_being_tried_can_be_forced() {
    once(|shop| {
        shop.with_hook("20s");
        shop.hook_does("release", "exit 3");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        let (code, said) = shop.run_lease("force-release", &rented);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("no release waits"), "{said}");
        shop.operate_lease(&rented, "revoke");
        until("it to be stuck", || {
            let found = shop.listed("stuck");
            if found == ["release"] { Ok(()) } else { Err(found) }
        });
        assert_eq!(shop.count_events(&rented.lease, "lease.stuck"), 1);
        shop.hook_does("release", &format!("{UNTIL_GO} exit 3"));
        shop.operate_lease(&rented, "retry");
        shop.called_for(&rented, &["provision", "release", "release"]);
        let (status, problem) = shop.operate_lease(&rented, "force-release");
        assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("right now"), "{problem}");
        shop.let_go();
        until("it to be forced", || match shop.run_lease("force-release", &rented) {
            (Some(0), said) => Ok(said),
            other => Err(other),
        });
        // Three days later nothing is said again.
        shop.shift_clock(80 * 3600);
        let other = shop.paid_box();
        shop.lease_in(&other, "active");
        assert_eq!(shop.listed("stuck"), [] as [&str; 0]);
        assert_eq!(shop.count_events(&rented.lease, "lease.stuck"), 2, "once for each try");
    });
}

#[test]
fn money_that_comes_while_a_lease_is_made_ready_is_told_afterwards() {
    once(|shop| {
        shop.with_hook("20s");
        shop.hook_does("provision", UNTIL_GO);
        let rented = shop.paid_box();
        shop.called_for(&rented, &["provision"]);
        shop.pay_more(&rented);
        shop.lease_until("the credit", &rented.lease, |it| it["paid_sat"] == 7200);
        shop.let_go();
        shop.done_for(&rented, &["provision", "extend"]);
        let inputs = std::fs::read_to_string(shop.folder().join("inputs")).unwrap();
        let last: Value = serde_json::from_str(inputs.lines().last().unwrap()).unwrap();
        let lease = shop.lease_in(&rented, "active");
        assert_eq!(last["paid_until"], lease["paid_until"]);
    });
}

#[test]
fn nothing_begins_anew_before_the_last_unit_was_taken_back() {
    each(|shop| {
        shop.with_hook("20s");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        shop.hook_does("release", "exit 3");
        shop.shift_clock(3600 + 660);
        until("it to be stuck", || {
            let found = shop.listed("stuck");
            if found == ["release"] { Ok(()) } else { Err(found) }
        });
        shop.pay_more(&rented);
        shop.lease_until("the credit", &rented.lease, |it| it["paid_sat"] == 7200);
        assert_eq!(shop.lease(&rented.lease)["state"], "ended");
        // It holds up nobody who waits for the other unit.
        let other = shop.paid_box();
        shop.lease_in(&other, "active");
        shop.operate_lease(&rented, "force-release");
        let lease = shop.lease_in(&rented, "active");
        assert_eq!(lease["generation"], 2, "{lease}");
        let all = ["provision", "suspend", "release", "provision"];
        until("it to be made ready anew", || {
            let called = shop.called(&rented);
            if called == all || called == ["provision", "release", "provision"] {
                return Ok(());
            }
            Err(called)
        });
    });
}

#[test]
fn new_access_details_reach_whoever_waits_for_them() {
    once(|shop| {
        shop.with_hook("20s");
        shop.hook_does("update", &format!("{UNTIL_GO} echo '{{\"host\": \"new.test\"}}'"));
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        let path = format!("/v1/leases/{}", rented.lease);
        let body = json!({ "params": { "name": "maria" } });
        let (_, changed) = shop.ask(Method::PATCH, &path, Some(&rented.claim), Some(&body));
        shop.called_for(&rented, &["provision", "update"]);
        let seq = &changed["seq"];
        let wait = format!("{path}?wait_s=60&after_seq={seq}");
        let began = now();
        let found = std::thread::scope(|scope| {
            let shop = &*shop;
            let ask = || shop.ask(Method::GET, &wait, Some(&rented.claim), None).1;
            let asked = scope.spawn(ask);
            shop.let_go();
            asked.join().expect("it asks")
        });
        assert_eq!(found["access"], json!({ "host": "new.test" }), "{found}");
        assert!(found["seq"].as_u64() > seq.as_u64(), "{found}");
        assert!(now() - began < Duration::from_secs(50), "nobody woke it");
    });
}

#[test]
fn a_hook_that_is_killed_is_called_again() {
    once(|shop| {
        shop.with_hook("20s");
        shop.hook_does("provision", "mkdir killed 2>/dev/null && kill -9 $$");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        assert_eq!(shop.called(&rented)[..2], ["provision", "provision"]);
        assert_eq!(shop.done(&rented)[..1], ["provision"]);
    });
}
