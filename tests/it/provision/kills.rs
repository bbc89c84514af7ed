//! Time limits and kills: nothing runs on, nothing is forgotten, nothing comes in the wrong order.

use std::process::Command;

use super::has;
use crate::harness::daemon::{Rented, Shop, each, once};
use crate::harness::wait::until;

/// Kills of the everyday tier and of the long one.
const KILLS: (usize, usize) = (6, 50);

/// Whether a process with this word in its command line runs.
fn runs(word: &str) -> bool {
    let found = Command::new("pgrep").args(["-f", word]).output().expect("there is a pgrep");
    found.status.success()
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_all_its_children() {
    once(|shop| {
        shop.with_hook("1s");
        let word = format!("4{}", std::process::id());
        shop.hook_does("provision", &format!("sleep {word} & sleep {word}"));
        let rented = shop.paid_box();
        shop.lease_until("the failure", &rented.lease, |it| has(it, "provisioner_error"));
        until("all of it to be gone", || {
            (!runs(&format!("sleep {word}"))).then_some(()).ok_or(word.clone())
        });
        shop.hook_does("provision", "");
        shop.operate_lease(&rented, "retry");
        shop.lease_in(&rented, "active");
    });
}

#[test]
fn a_hook_of_a_server_that_was_killed_is_ended_and_called_again() {
    each(|shop| {
        shop.with_hook("5s");
        let word = format!("5{}", std::process::id());
        shop.hook_does("provision", &format!("sleep {word}"));
        let rented = shop.paid_box();
        shop.called_for(&rented, &["provision"]);
        shop.kill();
        until("the hook to be gone", || {
            (!runs(&format!("sleep {word}"))).then_some(()).ok_or(word.clone())
        });
        shop.hook_does("provision", "");
        shop.start();
        // Whoever was at it has to be gone for certain.
        shop.shift_clock(120);
        shop.lease_in(&rented, "active");
        // It got ready later than it was told at first.
        shop.called_for(&rented, &["provision", "provision", "extend"]);
    });
}

#[test]
fn a_restart_does_not_call_for_what_the_last_server_s_command_still_ends() {
    once(|shop| {
        shop.with_hook("20s");
        let held = "[ -e held ] && echo overlap >> overlaps; touch held; \
                    trap 'sleep 2; rm -f held; exit 0' TERM; \
                    while [ ! -e go ]; do sleep 0.05; done; rm -f held";
        shop.hook_does("provision", held);
        let rented = shop.paid_box();
        shop.called_for(&rented, &["provision"]);
        shop.kill();
        shop.start();
        let there = |name: &str| shop.folder().join(name).exists();
        until("the first one to have ended", || if there("held") { Err("held") } else { Ok(()) });
        assert_eq!(shop.called(&rented), ["provision"], "it was waited for");
        std::fs::write(shop.folder().join("go"), "").unwrap();
        shop.shift_clock(20);
        shop.lease_in(&rented, "active");
        assert!(!there("overlaps"));
    });
}

/// What a lease goes through, and where the server is killed on the way.
struct Life {
    rented: Rented,
    actions: &'static [&'static str],
}

impl Life {
    /// What happened, each step once. When it got ready late, its true end is told, too.
    fn steps(&self, mut actions: Vec<String>) -> Vec<String> {
        actions.retain(|it| it != "extend" || self.actions.contains(&"extend"));
        actions.dedup();
        actions
    }
}

/// Pays for a lease, and kills the server somewhere: at any moment between the payment and the first
/// call, in the middle of a call, or right after what causes one.
fn killed_once(shop: &mut Shop, n: usize) -> Life {
    let _ = std::fs::remove_file(shop.folder().join("go"));
    let whole: &[&str] = &["provision", "extend", "release"];
    let short: &[&str] = &["provision", "release"];
    let extend = |shop: &Shop, rented: &Rented| {
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
    };
    let slow = |shop: &Shop, action: &str| {
        shop.hook_does(action, "while [ ! -e go ]; do sleep 0.02; done");
    };
    match n % 6 {
        0 => {
            let rented = shop.paid_box();
            // Some more of its way each time.
            (0..n / 6).for_each(|_| drop(shop.get("/healthz")));
            shop.kill();
            Life { rented, actions: short }
        }
        1 => {
            slow(shop, "provision");
            let rented = shop.paid_box();
            shop.called_for(&rented, &["provision"]);
            shop.kill();
            Life { rented, actions: short }
        }
        2 => {
            let rented = shop.paid_box();
            shop.lease_in(&rented, "active");
            extend(shop, &rented);
            shop.kill();
            Life { rented, actions: whole }
        }
        3 => {
            slow(shop, "extend");
            let rented = shop.paid_box();
            shop.lease_in(&rented, "active");
            extend(shop, &rented);
            shop.called_for(&rented, &["provision", "extend"]);
            shop.kill();
            Life { rented, actions: whole }
        }
        4 => {
            slow(shop, "release");
            let rented = shop.paid_box();
            shop.lease_in(&rented, "active");
            shop.operate_lease(&rented, "revoke");
            shop.called_for(&rented, &["provision", "release"]);
            shop.kill();
            Life { rented, actions: short }
        }
        _ => {
            let rented = shop.paid_box();
            shop.lease_in(&rented, "active");
            shop.operate_lease(&rented, "revoke");
            shop.kill();
            Life { rented, actions: short }
        }
    }
}

#[test]
fn killed_at_any_moment_every_action_happens_and_none_in_the_wrong_order() {
    let body = |shop: &mut Shop| {
        shop.with_hook("5s");
        let long = std::env::var_os("LEASEHOLD_TEST_LONG").is_some();
        let mut lives = Vec::new();
        for n in 0..if long { KILLS.1 } else { KILLS.0 } {
            let life = killed_once(shop, n);
            let rented = &life.rented;
            std::fs::write(shop.folder().join("go"), "").unwrap();
            for action in ["provision", "extend", "release"] {
                shop.hook_does(action, "");
            }
            shop.start();
            // Whoever was at it is taken for gone.
            shop.shift_clock(120 * i64::try_from(n + 1).unwrap());
            if n % 6 < 4 {
                let lease = shop.lease_in(rented, "active");
                let paid = lease["paid_sat"].as_u64().unwrap();
                let left = lease["remaining_s"].as_u64().unwrap();
                assert!(left <= paid && left + 200 > paid, "no paid second is lost: {lease}");
                if life.actions.contains(&"extend") {
                    let extended = |it: &[String]| it.last().is_some_and(|it| it == "extend");
                    until("the extension", || {
                        let done = shop.done(rented);
                        if extended(&done) { Ok(()) } else { Err(done) }
                    });
                }
                shop.operate_lease(rented, "revoke");
            }
            until("the release", || {
                let done = life.steps(shop.done(rented));
                if done == life.actions { Ok(()) } else { Err(done) }
            });
            lives.push(life);
        }
        until("the last answer to be written down", || {
            let (_, list) = shop.operate(reqwest::Method::GET, "actions?state=open", None);
            if list["items"] == serde_json::json!([]) { Ok(()) } else { Err(list) }
        });
        // Nothing came afterwards either.
        for life in &lives {
            assert_eq!(life.steps(shop.called(&life.rented)), life.actions);
        }
    };
    each(body);
}
