//! Blocks that go away and come back: a lease that is paid does not notice.

use bitcoin::Txid;
use serde_json::{Value, json};

use super::{has, in_state, paid_s, payment, payment_in, running};
use crate::harness::daemon::{Rented, Shop, each, once};

/// Waits until the lease's money has no block, or has one again.
fn risk(shop: &Shop, rented: &Rented, at_risk: bool) -> Value {
    shop.lease_until(&format!("at_risk to be {at_risk}"), &rented.lease, |lease| {
        has(lease, "at_risk") == at_risk
    })
}

/// Nothing was told of a payment but that it came, counted and was at risk so many times.
fn nothing_else_happened(shop: &Shop, rented: &Rented, confirmed: usize, at_risk: usize) {
    let kinds = shop.events_of(&rented.lease);
    let told = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert_eq!(told("payment.confirmed"), confirmed, "{kinds:?}");
    assert_eq!(told("payment.at_risk"), at_risk, "{kinds:?}");
    for (kind, count) in [
        ("payment.seen", 1),
        ("payment.credited", 1),
        ("lease.activated", 1),
        ("lease.extended", 0),
        ("payment.reversed", 0),
        ("payment.restored", 0),
        ("lease.grace", 0),
    ] {
        assert_eq!(told(kind), count, "{kind}: {kinds:?}");
    }
}

#[test]
fn a_payment_below_its_confirmations_that_loses_its_block_waits_again() {
    each(|shop| {
        let rented = shop.rent("box", 1_100_000);
        let txid = shop.node.send(&rented.address, rented.amount_sat);
        shop.node.mine(2);
        let confirming = payment_in(shop, &rented, &txid, "confirming");
        assert_eq!(confirming["confirmations_required"], 3);
        shop.node.reorg_empty(2);
        payment_in(shop, &rented, &txid, "mempool");
        assert_eq!(shop.lease(&rented.lease)["state"], "unfunded");
        shop.node.mine(2);
        let again = shop.invoice_until("two confirmations", &rented.invoice, |invoice| {
            payment(invoice, &txid)["confirmations"] == 2
        });
        assert_eq!(again["status"], "confirming");
        shop.node.mine(1);
        assert_eq!(paid_s(&in_state(shop, &rented, "active")), 1_100_000);
        nothing_else_happened(shop, &rented, 2, 0);
    });
}

#[test]
fn a_credit_whose_block_is_replaced_by_one_that_has_it_too_stays() {
    once(|shop| {
        let (rented, txid) = running(shop, "box", 7200);
        let before = shop.lease(&rented.lease);
        shop.node.reorg(2);
        shop.wait_for_tip();
        shop.invoice_until("two confirmations", &rented.invoice, |invoice| {
            payment(invoice, &txid)["confirmations"] == 3
        });
        let after = risk(shop, &rented, false);
        assert_eq!(before["paid_until"], after["paid_until"]);
        assert_eq!(after["state"], "active");
    });
}

#[test]
fn twenty_reorgs_move_nothing_and_tell_nothing_twice() {
    once(|shop| {
        let (rented, _) = running(shop, "box", 7200);
        let before = shop.lease(&rented.lease);
        let with = shop.node.invalidate(1);
        let without = shop.node.mine_only::<Txid>(&[]);
        for _ in 0..20 {
            let at_risk = risk(shop, &rented, true);
            assert_eq!(at_risk["state"], "active");
            shop.node.turn(&without, &with);
            let safe = risk(shop, &rented, false);
            assert_eq!(before["paid_until"], safe["paid_until"]);
            assert_eq!(before["starts_at"], safe["starts_at"]);
            shop.node.turn(&with, &without);
        }
        nothing_else_happened(shop, &rented, 1, 1);
    });
}

#[test]
fn twenty_times_invalidated_and_reconsidered_is_as_if_it_had_not_been() {
    once(|shop| {
        let (rented, _) = running(shop, "box", 7200);
        let before = shop.lease(&rented.lease);
        for _ in 0..20 {
            let lowest = shop.node.invalidate(1);
            shop.node.reconsider(&lowest);
        }
        shop.node.mine(1);
        shop.wait_for_tip();
        let after = risk(shop, &rented, false);
        assert_eq!(before["paid_until"], after["paid_until"]);
        let at_risk = shop.count_events(&rented.lease, "payment.at_risk");
        assert!(at_risk <= 1, "told {at_risk} times");
        nothing_else_happened(shop, &rented, 1, at_risk);
    });
}

#[test]
fn a_reorg_while_the_server_is_stopped_changes_nothing() {
    each(|shop| {
        let (rented, txid) = running(shop, "box", 7200);
        let before = shop.lease(&rented.lease);
        shop.stop();
        shop.node.reorg(3);
        shop.start();
        let invoice = shop.invoice_until("its new block", &rented.invoice, |invoice| {
            payment(invoice, &txid)["confirmations"] == 4
        });
        assert_eq!(payment(&invoice, &txid)["state"], "credited");
        let after = risk(shop, &rented, false);
        assert_eq!(before["paid_until"], after["paid_until"]);
        shop.stop();
        shop.node.reorg_empty(4);
        shop.start();
        risk(shop, &rented, true);
        shop.node.mine(1);
        let after = risk(shop, &rented, false);
        assert_eq!(
            (&after["state"], &after["paid_until"]),
            (&json!("active"), &before["paid_until"])
        );
    });
}

#[test]
fn a_credit_that_lost_its_block_is_sent_again() {
    once(|shop| {
        let (rented, txid) = running(shop, "box", 7200);
        shop.stop();
        shop.node.reorg_empty(1);
        shop.node.evict(&txid);
        shop.start();
        crate::harness::wait::until("it to be sent again", || {
            let mempool = shop.node.mempool();
            if mempool.contains(&txid) { Ok(()) } else { Err(mempool) }
        });
        shop.node.mine(1);
        let lease = risk(shop, &rented, false);
        assert_eq!(lease["state"], "active");
        nothing_else_happened(shop, &rented, 2, 1);
    });
}
