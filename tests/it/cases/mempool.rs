//! What transactions can do before they are mined: pay twice at once, be bumped, be replaced,
//! be forgotten.

use serde_json::json;

use super::{has, in_state, paid_s, payment, payment_in, time};
use crate::harness::daemon::{each, once};

#[test]
fn one_transaction_that_pays_two_invoices_is_two_credits() {
    each(|shop| {
        let (first, second) = (shop.rent("box", 3600), shop.rent("shared", 7200));
        let txid = shop.node.send_many(&[(&first.address, 3600), (&second.address, 7200)]);
        shop.node.mine(1);
        for (rented, seconds) in [(&first, 3600), (&second, 7200)] {
            assert_eq!(paid_s(&in_state(shop, rented, "active")), seconds);
            let invoice = shop.invoice(&rented.invoice);
            assert_eq!(invoice["payments"].as_array().unwrap().len(), 1);
            assert_eq!(payment(&invoice, &txid)["amount_sat"], seconds);
        }
    });
}

#[test]
fn two_outputs_to_one_address_are_two_payments() {
    each(|shop| {
        let rented = shop.rent("box", 7200);
        shop.node.send_many(&[(&rented.address, 3000), (&rented.address, 4200)]);
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!(paid_s(&lease), 7200);
        let credits = lease["credits"].as_array().unwrap();
        assert_eq!(credits.len(), 2);
        assert_eq!(credits[0]["txid"], credits[1]["txid"]);
        assert_ne!(credits[0]["vout"], credits[1]["vout"]);
        assert_eq!(shop.invoice(&rented.invoice)["status"], "settled");
    });
}

#[test]
fn a_fee_bump_is_one_credit_and_still_on_time() {
    each(|shop| {
        let rented = shop.rent("box", 3600);
        let first = shop.node.send(&rented.address, 3600);
        payment_in(shop, &rented, &first, "mempool");
        shop.shift_clock(1801);
        shop.look_after(time(&shop.invoice(&rented.invoice)["expires_at"]).plus_millis(1));
        let second = shop.node.bump(&first);
        let bumped = payment_in(shop, &rented, &first, "conflicted");
        assert_eq!((&bumped["status"], has(&bumped, "late")), (&json!("confirming"), false));
        assert_eq!(bumped["received"]["unconfirmed_sat"], 3600);
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!((paid_s(&lease), lease["credits"].as_array().unwrap().len()), (3600, 1));
        let invoice = payment_in(shop, &rented, &first, "replaced");
        assert_eq!(payment(&invoice, &second)["state"], "credited");
        assert_eq!(invoice["flags"], json!(["replaced"]));
        assert_eq!(shop.count_events(&rented.lease, "payment.replaced"), 1);
    });
}

#[test]
fn a_replacement_that_pays_another_amount_counts_for_that() {
    once(|shop| {
        let rented = shop.rent("box", 3600);
        let first = shop.node.send(&rented.address, 3600);
        payment_in(shop, &rented, &first, "mempool");
        let second = shop.node.replace(&first, &[(&rented.address, 2000)]);
        let replaced = payment_in(shop, &rented, &second, "mempool");
        assert_eq!(replaced["received"]["unconfirmed_sat"], 2000);
        assert_eq!(replaced["status"], "open");
        shop.node.mine(1);
        assert_eq!(paid_s(&in_state(shop, &rented, "active")), 2000);
        assert_eq!(shop.invoice(&rented.invoice)["flags"], json!(["partial", "replaced"]));
    });
}

#[test]
fn a_replacement_that_pays_nothing_is_no_credit() {
    each(|shop| {
        let rented = shop.rent("box", 3600);
        let first = shop.node.send(&rented.address, 3600);
        payment_in(shop, &rented, &first, "mempool");
        shop.node.double_spend(&first);
        let invoice = payment_in(shop, &rented, &first, "conflicted");
        assert_eq!((&invoice["status"], &invoice["flags"]), (&json!("open"), &json!(["replaced"])));
        assert_eq!(invoice["received"]["due_sat"], 3600);
        shop.node.mine(1);
        payment_in(shop, &rented, &first, "replaced");
        let lease = shop.lease(&rented.lease);
        assert_eq!((&lease["state"], &lease["credits"]), (&json!("unfunded"), &json!([])));
        // Somebody pays after all.
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        in_state(shop, &rented, "active");
    });
}

#[test]
fn a_payment_that_is_double_spent_directly_in_a_block_is_replaced() {
    once(|shop| {
        let rented = shop.rent("box", 3600);
        let first = shop.node.send(&rented.address, 3600);
        payment_in(shop, &rented, &first, "mempool");
        let other = shop.node.conflicting(&first);
        shop.node.mine_only(&[other]);
        payment_in(shop, &rented, &first, "replaced");
        assert_eq!(shop.invoice(&rented.invoice)["status"], "open");
        assert_eq!(shop.count_events(&rented.lease, "payment.credited"), 0);
    });
}

#[test]
fn a_payment_that_the_mempool_forgot_counts_when_it_is_mined() {
    each(|shop| {
        let rented = shop.rent("box", 3600);
        let txid = shop.node.send(&rented.address, 3600);
        payment_in(shop, &rented, &txid, "mempool");
        let raw = shop.node.evict(&txid);
        let gone = payment_in(shop, &rented, &txid, "gone");
        assert_eq!((&gone["status"], &gone["flags"]), (&json!("open"), &json!([])));
        shop.shift_clock(3600);
        shop.look_after(time(&gone["expires_at"]).plus_millis(1));
        shop.node.mine_only(&[raw]);
        let lease = in_state(shop, &rented, "active");
        assert_eq!(paid_s(&lease), 3600);
        let invoice = shop.invoice(&rented.invoice);
        assert_eq!((&invoice["status"], &invoice["flags"]), (&json!("settled"), &json!([])));
    });
}

#[test]
fn a_payment_that_comes_back_to_the_mempool_is_on_its_way_again() {
    once(|shop| {
        let rented = shop.rent("box", 3600);
        let txid = shop.node.send(&rented.address, 3600);
        payment_in(shop, &rented, &txid, "mempool");
        let raw = shop.node.evict(&txid);
        payment_in(shop, &rented, &txid, "gone");
        shop.node.submit(&raw);
        payment_in(shop, &rented, &txid, "mempool");
        shop.node.mine(1);
        in_state(shop, &rented, "active");
        assert_eq!(shop.count_events(&rented.lease, "payment.seen"), 1);
    });
}
