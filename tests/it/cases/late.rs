//! Money that comes when nobody waits for it any more: after the quote, after it was settled,
//! after the end, after the price changed.

use serde_json::json;

use super::{has, in_state, paid_s, payment, payment_in, running, seconds, time, top_up_in_flight};
use crate::harness::daemon::{CATALOG, Rented, Shop, each, once};

const DAY: i64 = 86_400;

/// Restarts the shop with everything at twice the price.
fn double_prices(shop: &mut Shop) {
    shop.stop();
    shop.write_catalog(&CATALOG.replace("sat = 3600", "sat = 7200"));
    shop.start();
}

/// Moves the clock to `seconds` from now, past the quote, and lets the server notice.
fn past_the_quote(shop: &Shop, rented: &Rented, seconds: i64) {
    shop.shift_clock(seconds);
    shop.look_after(time(&shop.invoice(&rented.invoice)["expires_at"]).plus_millis(1));
}

fn give_back(shop: &Shop, rented: &Rented) -> serde_json::Value {
    shop.post(&format!("/v1/leases/{}/return", rented.lease), Some(&rented.claim), &json!({}))
}

#[test]
fn on_time_money_has_the_old_price_and_late_money_the_new() {
    each(|shop| {
        let quick = shop.rent("box", 3600);
        let slow = shop.rent("shared", 3600);
        double_prices(shop);
        shop.node.send(&quick.address, 3600);
        shop.node.mine(1);
        assert_eq!(paid_s(&in_state(shop, &quick, "active")), 3600);
        assert!(!has(&shop.invoice(&quick.invoice), "late"));

        past_the_quote(shop, &slow, 1801);
        assert_eq!(shop.invoice(&slow.invoice)["status"], "expired");
        shop.node.send(&slow.address, 3600);
        shop.node.mine(1);
        assert_eq!(paid_s(&in_state(shop, &slow, "active")), 1800);
        let invoice = shop.invoice(&slow.invoice);
        assert_eq!((&invoice["status"], &invoice["flags"]), (&json!("settled"), &json!(["late"])));
        assert_eq!(invoice["payments"][0]["flags"], json!(["late"]));
    });
}

#[test]
fn a_payment_thirty_days_late_still_gets_a_unit() {
    once(|shop| {
        let rented = shop.rent("box", 3600);
        double_prices(shop);
        past_the_quote(shop, &rented, 30 * DAY + 1801);
        shop.lease_until("its unit to be free again", &rented.lease, |lease| {
            lease["unit"] == json!(null)
        });
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!((paid_s(&lease), &lease["unit"]), (1800, &json!("box-1")));
        assert!(has(&shop.invoice(&rented.invoice), "late"));
    });
}

#[test]
fn a_block_proves_that_a_payment_was_on_time_while_nobody_was_looking() {
    once(|shop| {
        let rented = shop.rent("shared", 3600);
        shop.kill();
        shop.write_catalog(&CATALOG.replace("sat = 3600", "sat = 7200"));
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        shop.shift_clock(2 * 1801);
        shop.start();
        let invoice = shop.invoice_until("it to be settled", &rented.invoice, |invoice| {
            invoice["status"] == "settled"
        });
        assert_eq!(invoice["flags"], json!([]));
        assert_eq!(invoice["payments"][0]["seconds"], 3600);
    });
}

#[test]
fn the_same_address_paid_again_is_a_top_up() {
    each(|shop| {
        let (rented, _) = running(shop, "box", 950_000);
        shop.shift_clock(10 * DAY);
        let again = shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        let lease = shop.lease_until("the top-up", &rented.lease, |lease| paid_s(lease) == 953_600);
        assert_eq!((&lease["generation"], seconds(&lease)), (&json!(1), 953_600));
        let invoice = payment_in(shop, &rented, &again, "credited");
        assert_eq!(invoice["flags"], json!(["over", "late", "duplicate"]));
    });
}

#[test]
fn the_same_address_paid_after_the_end_is_a_new_generation() {
    each(|shop| {
        let (rented, _) = running(shop, "box", 600);
        shop.shift_clock(2 * DAY);
        let ended = in_state(shop, &rented, "ended");
        assert_eq!((&ended["end_reason"], &ended["unit"]), (&json!("expired"), &json!(null)));
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!((&lease["generation"], paid_s(&lease)), (&json!(2), 3600));
        assert_eq!(shop.count_events(&rented.lease, "lease.activated"), 2);
        let booked = shop.booked(&rented.lease);
        assert_eq!((booked.received_sat, booked.earned_sat), (4200, 600));
    });
}

#[test]
fn the_same_address_paid_after_the_return_is_refundable() {
    once(|shop| {
        let (rented, _) = running(shop, "box", 3600);
        let returned = give_back(shop, &rented);
        let back = returned["refundable_sat"].as_u64().unwrap();
        let again = shop.node.send(&rented.address, 5000);
        shop.node.mine(1);
        let invoice = payment_in(shop, &rented, &again, "credited");
        assert_eq!(payment(&invoice, &again)["seconds"], 0);
        assert!(has(&payment(&invoice, &again), "refundable"));
        let lease = shop.lease(&rented.lease);
        assert_eq!((&lease["state"], &lease["end_reason"]), (&json!("ended"), &json!("returned")));
        assert_eq!(lease["refundable_sat"], back + 5000);
    });
}

#[test]
fn a_top_up_in_flight_when_the_lease_is_returned_is_refundable() {
    each(|shop| {
        let (rented, _) = running(shop, "box", 3600);
        let (topup, more) = top_up_in_flight(shop, &rented);
        let returned = give_back(shop, &rented);
        let back = returned["refundable_sat"].as_u64().unwrap();
        assert!((3500..=3600).contains(&back), "{returned}");
        shop.node.mine(1);
        payment_in(shop, &topup, &more, "credited");
        let lease = shop.lease(&rented.lease);
        assert_eq!((&lease["state"], &lease["generation"]), (&json!("ended"), &json!(1)));
        assert_eq!(lease["refundable_sat"], back + 7200);
        assert_eq!(shop.booked(&rented.lease).refundable_sat, back + 7200);
    });
}
