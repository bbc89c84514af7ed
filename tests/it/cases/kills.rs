//! The server dies or is away while money comes. Afterwards all is as if it had not been.

use serde_json::json;

use super::{has, in_state, paid_s, running, seconds};
use crate::harness::daemon::{Rented, Shop, each, once};

/// Kills of the everyday tier and of the long one.
const KILLS: (u32, u32) = (10, 50);
/// Questions asked before a kill at most: the longest wait, some tenths of a second.
const QUESTIONS: u8 = 100;

fn kills() -> u32 {
    if std::env::var_os("LEASEHOLD_TEST_LONG").is_some() { KILLS.1 } else { KILLS.0 }
}

/// A number below `limit`.
fn random(limit: u8) -> u8 {
    let mut byte = [0_u8];
    getrandom::fill(&mut byte).expect("the system has random bytes");
    byte[0] % limit
}

/// Asks the server a random number of times, then kills it in whatever it does.
fn kill_soon(shop: &mut Shop) {
    let questions = random(QUESTIONS);
    eprintln!("killed after {questions} questions");
    for _ in 0..questions {
        shop.get("/healthz");
    }
    shop.kill();
}

/// One of the things that can happen to a payment when the server is killed.
fn pay_and_kill(shop: &mut Shop, rented: &Rented) {
    shop.node.send(&rented.address, rented.amount_sat);
    match random(4) {
        0 => {
            // In the mempool; mined while it is down.
            kill_soon(shop);
            shop.node.mine(1);
        }
        1 => {
            shop.node.mine(1);
            shop.node.reorg(2);
            kill_soon(shop);
        }
        _ => {
            shop.node.mine(1);
            kill_soon(shop);
        }
    }
}

#[test]
fn killed_at_any_moment_every_lease_is_right() {
    each(|shop| {
        let mut leases = Vec::new();
        for n in 0..kills() {
            let rented = shop.rent("shared", u64::from(3600 + n));
            pay_and_kill(shop, &rented);
            shop.start();
            leases.push(rented);
        }
        for (n, rented) in (0..).zip(&leases) {
            let lease = in_state(shop, rented, "active");
            assert_eq!((seconds(&lease), paid_s(&lease)), (3600 + n, 3600 + n));
            assert_eq!(lease["credits"].as_array().unwrap().len(), 1);
            let kinds = shop.events_of(&rented.lease);
            for kind in ["lease.created", "payment.seen", "payment.credited", "lease.activated"] {
                let count = kinds.iter().filter(|found| *found == kind).count();
                assert_eq!(count, 1, "{kind}: {kinds:?}");
            }
            assert_eq!(shop.invoice(&rented.invoice)["status"], "settled");
        }
    });
}

#[test]
fn a_request_that_was_answered_survives_a_kill() {
    once(|shop| {
        let rented = shop.rent("box", 3600);
        shop.kill();
        shop.start();
        let invoice = shop.invoice(&rented.invoice);
        assert_eq!(
            (&invoice["address"], &invoice["status"]),
            (&json!(rented.address), &json!("open"))
        );
        let next = shop.rent("box", 3600);
        assert_ne!(next.address, rented.address);
        assert_ne!(shop.lease(&next.lease)["unit"], shop.lease(&rented.lease)["unit"]);
    });
}

#[test]
fn money_paid_and_swept_while_the_server_was_down_is_credited() {
    each(|shop| {
        let rented = shop.rent("box", 36_000);
        shop.kill();
        shop.node.send(&rented.address, 36_000);
        shop.node.mine(1);
        let away = shop.node.new_address();
        shop.node.call_wallet("shop", "sendall", json!([[away]]));
        shop.node.mine(2);
        let left = shop.node.call_wallet("shop", "listunspent", json!([0]));
        assert_eq!(left, json!([]), "it was swept");
        shop.start();
        let lease = in_state(shop, &rented, "active");
        assert_eq!(paid_s(&lease), 36_000);
    });
}

#[test]
fn money_swept_in_the_block_that_brought_it_is_credited() {
    once(|shop| {
        let rented = shop.rent("box", 36_000);
        shop.node.send(&rented.address, 36_000);
        let away = shop.node.new_address();
        let coin = shop.node.call_wallet("shop", "listunspent", json!([0]))[0].clone();
        let input = json!([{ "txid": coin["txid"], "vout": coin["vout"] }]);
        shop.node.call_wallet(
            "shop",
            "sendall",
            json!([[away], null, null, null, { "inputs": input }]),
        );
        assert_eq!(shop.node.mempool().len(), 2);
        shop.node.mine(1);
        assert_eq!(paid_s(&in_state(shop, &rented, "active")), 36_000);
    });
}

#[test]
fn the_end_that_came_while_the_server_was_down_is_found() {
    once(|shop| {
        let (rented, _) = running(shop, "box", 600);
        shop.kill();
        shop.shift_clock(86_400);
        shop.start();
        let lease = in_state(shop, &rented, "ended");
        assert_eq!((&lease["end_reason"], &lease["unit"]), (&json!("expired"), &json!(null)));
        assert!(!has(&lease, "at_risk"));
        assert_eq!(shop.booked(&rented.lease).earned_sat, 600);
    });
}
