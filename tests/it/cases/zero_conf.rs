//! Credit before the block: only within the limits, always at risk, gone at once when conflicted.

use serde_json::json;

use super::{has, in_state, paid_s, payment_in};
use crate::harness::daemon::{CATALOG, Shop, once_with};

const CONFIG: &str = "[money]\nzero_conf_max_exposure_sat = 10000";

/// Restarts the shop with credit at first sight up to 10,000 sat.
fn trusting(shop: &mut Shop) {
    let tiers = "confirmations = [{ up_to_sat = 10000, n = 0 }, ";
    shop.stop();
    shop.write_catalog(&CATALOG.replace("confirmations = [", tiers));
    shop.start();
}

#[test]
fn a_small_payment_counts_at_first_sight_and_is_safe_in_its_block() {
    once_with(CONFIG, |shop| {
        trusting(shop);
        let rented = shop.rent("box", 3600);
        let txid = shop.node.send(&rented.address, 3600);
        let before = in_state(shop, &rented, "active");
        assert_eq!((paid_s(&before), &before["flags"]), (3600, &json!(["at_risk"])));
        let invoice = payment_in(shop, &rented, &txid, "credited");
        assert_eq!((&invoice["status"], has(&invoice, "at_risk")), (&json!("settled"), true));
        shop.node.mine(1);
        let after = shop.lease_until("its block", &rented.lease, |lease| !has(lease, "at_risk"));
        assert_eq!(before["paid_until"], after["paid_until"]);
        assert_eq!(shop.count_events(&rented.lease, "payment.credited"), 1);
    });
}

#[test]
fn what_exceeds_the_exposure_waits_for_its_block() {
    once_with(CONFIG, |shop| {
        trusting(shop);
        let (first, second) = (shop.rent("box", 6000), shop.rent("shared", 6000));
        shop.node.send(&first.address, 6000);
        in_state(shop, &first, "active");
        let txid = shop.node.send(&second.address, 6000);
        let waits = payment_in(shop, &second, &txid, "mempool");
        assert_eq!(waits["status"], "confirming");
        shop.node.mine(1);
        in_state(shop, &second, "active");
    });
}

#[test]
fn a_credit_without_a_block_is_reversed_at_once_when_it_is_double_spent() {
    once_with(CONFIG, |shop| {
        trusting(shop);
        let rented = shop.rent("box", 3600);
        let txid = shop.node.send(&rented.address, 3600);
        in_state(shop, &rented, "active");
        shop.node.double_spend(&txid);
        in_state(shop, &rented, "grace");
        payment_in(shop, &rented, &txid, "reversed");
        assert_eq!(shop.lease(&rented.lease)["paid_sat"], 0);
        // Somebody pays again, in the grace that is left.
        let again = shop.node.send(&rented.address, 1000);
        shop.node.mine(1);
        payment_in(shop, &rented, &again, "credited");
        let lease = in_state(shop, &rented, "active");
        assert_eq!(lease["paid_sat"], 1000);
        assert!(lease["remaining_s"].as_u64().unwrap() <= 1000, "{lease}");
    });
}

#[test]
fn a_credit_that_is_not_mined_within_six_blocks_is_reversed_and_restored_by_its_block() {
    once_with(CONFIG, |shop| {
        trusting(shop);
        let rented = shop.rent("box", 3600);
        let txid = shop.node.send(&rented.address, 3600);
        in_state(shop, &rented, "active");
        shop.node.mine_empty(5);
        shop.wait_for_tip();
        assert_eq!(shop.lease(&rented.lease)["state"], "active");
        shop.node.mine_empty(1);
        in_state(shop, &rented, "grace");
        shop.node.mine(1);
        payment_in(shop, &rented, &txid, "credited");
        let lease = in_state(shop, &rented, "active");
        assert!(lease["remaining_s"].as_u64().unwrap() <= 3600, "{lease}");
        assert_eq!(shop.count_events(&rented.lease, "payment.restored"), 1);
    });
}
