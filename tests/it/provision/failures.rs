//! Hooks that fail, and what holders and operators can do then.

use reqwest::Method;
use serde_json::json;

use super::has;
use crate::harness::daemon::{each, once};
use crate::harness::wait::until;

#[test]
fn a_box_that_cannot_be_made_ready_waits_for_the_operator_who_retries() {
    each(|shop| {
        shop.with_hook("20s");
        shop.hook_does("provision", "echo broken disk >&2; exit 3");
        let rented = shop.paid_box();
        shop.lease_until("the failure", &rented.lease, |it| has(it, "provisioner_error"));
        let (_, list) = shop.operate(Method::GET, "actions?state=failed", None);
        let action = &list["items"][0];
        assert_eq!((&action["action"], &action["attempt"]), (&json!("provision"), &json!(1)));
        assert!(action["failure"].as_str().unwrap().contains("broken disk"), "{action}");
        // An answer is kept for a moment.
        let counts = |n: u8| {
            until("the metrics to say so", || {
                let text = shop.ask_text("/metrics");
                let says = text.contains(&format!("leasehold_actions_failing {n}\n"));
                if says { Ok(()) } else { Err(text) }
            });
        };
        counts(1);
        shop.hook_does("provision", "");
        assert_eq!(shop.operate_lease(&rented, "retry").0, 200);
        let lease = shop.lease_in(&rented, "active");
        assert!(!has(&lease, "provisioner_error"));
        assert_eq!(shop.called(&rented)[..2], ["provision", "provision"]);
        assert_eq!(shop.count_events(&rented.lease, "lease.provisioner_error"), 1);
        assert_eq!(shop.operate_lease(&rented, "retry").0, 409, "nothing waits");
        counts(0);
    });
}

#[test]
fn what_cannot_be_made_ready_ends_as_failed_with_all_money_to_go_back() {
    each(|shop| {
        shop.with_hook("20s");
        shop.hook_does("provision", "exit 3");
        let ended = shop.paid_box();
        let waited = shop.paid_box();
        for rented in [&ended, &waited] {
            shop.lease_until("the failure", &rented.lease, |it| has(it, "provisioner_error"));
        }
        // Its holder has enough.
        let path = format!("/v1/leases/{}/return", ended.lease);
        shop.post(&path, Some(&ended.claim), &json!({}));
        // The other one is given up after three days.
        shop.shift_clock(72 * 3600 + 60);
        for rented in [&ended, &waited] {
            let lease = shop.lease_in(rented, "ended");
            let found = (&lease["end_reason"], &lease["refundable_sat"]);
            assert_eq!(found, (&json!("failed"), &json!(3600)), "{lease}");
            shop.called_for(rented, &["provision", "release"]);
            // The release may still be on its way to the books.
            until("a retry to be refused", || match shop.operate_lease(rented, "retry") {
                (409, problem) => Ok(problem),
                other => Err(other.0),
            });
        }
    });
}

#[test]
fn a_unit_that_cannot_be_taken_back_is_stuck_until_it_is_forced() {
    once(|shop| {
        shop.with_hook("20s");
        shop.hook_does("release", "exit 3");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        assert_eq!(shop.operate_lease(&rented, "revoke").0, 200);
        until("the unit to be stuck", || {
            let kinds = shop.events_of(&rented.lease);
            kinds.contains(&"lease.stuck".to_owned()).then_some(()).ok_or(kinds)
        });
        let free = || shop.get("/v1/resources/box").1["availability"]["free"].clone();
        assert_eq!(free(), 1);
        assert_eq!(shop.operate_lease(&rented, "retry").0, 200);
        shop.called_for(&rented, &["provision", "release", "release"]);
        assert_eq!(free(), 1);
        until("it to be forced", || {
            let (status, answer) = shop.operate_lease(&rented, "force-release");
            (status == 200).then_some(()).ok_or(answer)
        });
        assert_eq!(free(), 2);
        assert!(!has(&shop.lease(&rented.lease), "provisioner_error"));
    });
}

#[test]
fn a_failing_extension_changes_nothing_but_the_flag_and_holds_up_nothing() {
    once(|shop| {
        shop.with_hook("20s");
        shop.hook_does("extend", "exit 3");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        let lease = shop.lease_until("the flag", &rented.lease, |it| has(it, "provisioner_error"));
        assert_eq!(lease["state"], "active");
        assert!(lease["remaining_s"].as_u64().unwrap() > 7000, "{lease}");
        shop.operate_lease(&rented, "revoke");
        shop.called_for(&rented, &["provision", "extend", "release"]);
    });
}
