//! Time limits and kills: nothing runs on, nothing is forgotten, nothing comes in the wrong order.

use std::process::Command;

use super::has;
use crate::harness::daemon::{each, once};
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
        if shop.on_postgres() {
            // Another server might be at it: its claim has to run out.
            shop.shift_clock(120);
        }
        shop.lease_in(&rented, "active");
        shop.called_for(&rented, &["provision", "provision"]);
    });
}

#[test]
fn killed_at_any_moment_every_action_happens_and_none_in_the_wrong_order() {
    once(|shop| {
        shop.with_hook("5s");
        let long = std::env::var_os("LEASEHOLD_TEST_LONG").is_some();
        let kills = if long { KILLS.1 } else { KILLS.0 };
        for n in 0..kills {
            let rented = shop.paid_box();
            match n % 3 {
                0 => shop.kill(),
                1 => {
                    shop.lease_in(&rented, "active");
                    shop.operate_lease(&rented, "revoke");
                    shop.kill();
                }
                _ => {
                    shop.lease_in(&rented, "active");
                    shop.node.send(&rented.address, 3600);
                    shop.node.mine(1);
                    shop.kill();
                }
            }
            shop.start();
            if n % 3 != 1 {
                let lease = shop.lease_in(&rented, "active");
                assert!(lease["remaining_s"].as_u64().unwrap() > 3500, "{lease}");
                shop.operate_lease(&rented, "revoke");
            }
            until("the release", || {
                let mut called = shop.called(&rented);
                called.dedup();
                let all = called.first().is_some_and(|first| first == "provision")
                    && called.last().is_some_and(|last| last == "release");
                let once = called.iter().filter(|it| *it == "release").count() == 1;
                if all && once { Ok(()) } else { Err(called) }
            });
        }
    });
}
