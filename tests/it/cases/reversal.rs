//! Credits that are lost to a double spend, and some that come back.

use serde_json::{Value, json};

use super::{has, in_state, paid_s, payment_in, running, time};
use crate::harness::daemon::{Rented, Shop, each, once};

/// A lease that runs, its payment's id, and a transaction that spends the same coins elsewhere.
fn running_on_sand(shop: &Shop, seconds: u64) -> (Rented, bitcoin::Txid, String) {
    let rented = shop.rent("box", seconds);
    let txid = shop.node.send(&rented.address, rented.amount_sat);
    let other = shop.node.conflicting(&txid);
    shop.node.mine(1);
    in_state(shop, &rented, "active");
    (rented, txid, other)
}

#[test]
fn a_credit_that_is_double_spent_in_the_chain_is_reversed() {
    each(|shop| {
        let (rented, txid, other) = running_on_sand(shop, 7200);
        shop.node.invalidate(1);
        shop.node.mine_only(&[other]);
        shop.node.mine_empty(1);
        let invoice = payment_in(shop, &rented, &txid, "reversed");
        assert_eq!((&invoice["status"], has(&invoice, "reversed")), (&json!("open"), true));
        assert_eq!(invoice["received"]["credited_sat"], 0);
        let lease = in_state(shop, &rented, "grace");
        assert_eq!((&lease["unit"], has(&lease, "reversed")), (&json!("box-1"), true));
        assert_eq!(shop.booked(&rented.lease).received_sat, 0);
        shop.shift_clock(601);
        let lease = in_state(shop, &rented, "ended");
        assert_eq!((&lease["end_reason"], &lease["unit"]), (&json!("reversed"), &json!(null)));
    });
}

#[test]
fn a_reversed_top_up_leaves_what_else_was_paid() {
    once(|shop| {
        let (rented, _) = running(shop, "box", 3600);
        let more = shop.node.send(&rented.address, 7200);
        let other = shop.node.conflicting(&more);
        shop.node.mine(1);
        shop.lease_until("the top-up", &rented.lease, |lease| paid_s(lease) == 10_800);
        shop.node.invalidate(1);
        shop.node.mine_only(&[other]);
        shop.node.mine_empty(1);
        payment_in(shop, &rented, &more, "reversed");
        let lease = shop.lease(&rented.lease);
        assert_eq!((paid_s(&lease), &lease["state"]), (3600, &json!("active")));
        assert_eq!(lease["paid_sat"], 3600);
    });
}

#[test]
fn a_double_spend_while_the_server_is_stopped_is_reversed() {
    each(|shop| {
        let (rented, txid, other) = running_on_sand(shop, 7200);
        shop.stop();
        shop.node.invalidate(1);
        shop.node.mine_only(&[other]);
        shop.node.mine_empty(2);
        shop.start();
        payment_in(shop, &rented, &txid, "reversed");
        in_state(shop, &rented, "grace");
    });
}

#[test]
fn a_credit_reversed_half_used_and_restored_gives_no_second_more_than_was_paid() {
    each(|shop| {
        let (rented, txid, other) = running_on_sand(shop, 3600);
        // Two blocks of one height, so that the server sees one tip become the other.
        shop.stop();
        let with = shop.node.invalidate(1);
        let without = shop.node.mine_only(&[other]);
        shop.node.turn(&without, &with);
        shop.start();
        shop.shift_clock(1800);
        let moved = |lease: &Value| lease["remaining_s"].as_u64() <= Some(1800);
        shop.lease_until("the clock to have moved", &rented.lease, moved);
        shop.node.turn(&with, &without);
        payment_in(shop, &rented, &txid, "reversed");
        let lost = in_state(shop, &rented, "grace");
        let used = paid_s(&lost);
        assert!((1800..1860).contains(&used), "{lost}");
        // The unit is kept, and the block comes back.
        shop.shift_clock(2100);
        shop.node.turn(&without, &with);
        let back = in_state(shop, &rented, "active");
        payment_in(shop, &rented, &txid, "credited");
        let left = back["remaining_s"].as_u64().unwrap();
        assert!(used + left <= 3600 && left > 1700, "used {used}: {back}");
        assert!(!has(&back, "reversed"));
        let kinds = shop.events_of(&rented.lease);
        let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
        assert_eq!((count("payment.reversed"), count("payment.restored")), (1, 1), "{kinds:?}");
        assert_eq!(count("payment.credited"), 1);
        // It ends when what was paid is used up, however long it stood without money.
        let until = time(&back["paid_until"]);
        let gap = time(&lost["paid_until"]).seconds_until(until) - (3600 - used);
        assert!((300..360).contains(&gap), "{gap}");
    });
}

#[test]
fn a_credit_that_stays_conflicted_is_reversed_after_six_blocks_and_can_come_back() {
    once(|shop| {
        let (rented, txid) = running(shop, "box", 7200);
        shop.node.reorg_empty(1);
        shop.lease_until("the risk", &rented.lease, |lease| has(lease, "at_risk"));
        let raw = shop.node.raw(&txid);
        shop.node.double_spend(&txid);
        shop.invoice_until("the conflict", &rented.invoice, |invoice| has(invoice, "replaced"));
        shop.node.mine_empty(5);
        shop.wait_for_tip();
        assert_eq!(shop.lease(&rented.lease)["state"], "active");
        shop.node.mine_empty(1);
        payment_in(shop, &rented, &txid, "reversed");
        in_state(shop, &rented, "grace");
        shop.node.mine_only(&[raw]);
        payment_in(shop, &rented, &txid, "credited");
        let lease = in_state(shop, &rented, "active");
        assert!(lease["remaining_s"].as_u64().unwrap() <= 7200, "{lease}");
        assert_eq!(shop.count_events(&rented.lease, "payment.restored"), 1);
    });
}
