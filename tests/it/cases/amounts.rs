//! Exact, in parts, short, held, too much: whatever comes is time for what it is worth.

use serde_json::json;

use super::{has, in_state, paid_s, seconds};
use crate::harness::daemon::{each, once};

#[test]
fn an_exact_payment_on_time_settles_and_activates() {
    each(|shop| {
        let rented = shop.rent("box", 3600);
        shop.node.send(&rented.address, 3600);
        let seen = shop.invoice_until("it to be seen", &rented.invoice, |invoice| {
            invoice["status"] == "confirming"
        });
        assert_eq!(seen["received"]["unconfirmed_sat"], 3600);
        assert_eq!(seen["received"]["due_sat"], 0);
        assert_eq!(shop.lease(&rented.lease)["state"], "unfunded");
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!((paid_s(&lease), &lease["flags"]), (3600, &json!([])));
        let invoice = shop.invoice(&rented.invoice);
        assert_eq!((&invoice["status"], &invoice["flags"]), (&json!("settled"), &json!([])));
        let order = [
            "lease.created",
            "payment.seen",
            "payment.confirmed",
            "payment.credited",
            "lease.provisioning",
            "lease.activated",
        ];
        assert_eq!(shop.events_of(&rented.lease), order);
        let order = ["invoice.created", "invoice.paid", "invoice.settled"];
        assert_eq!(shop.events_of(&rented.invoice), order);
    });
}

#[test]
fn two_halves_are_one_lease_with_two_credits() {
    each(|shop| {
        let rented = shop.rent("box", 7200);
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        let half = in_state(shop, &rented, "active");
        assert_eq!(paid_s(&half), 3600);
        assert!(has(&shop.invoice(&rented.invoice), "partial"));
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        let whole =
            shop.lease_until("the second half", &rented.lease, |lease| paid_s(lease) == 7200);
        assert_eq!(whole["credits"].as_array().unwrap().len(), 2);
        let invoice = shop.invoice(&rented.invoice);
        assert_eq!((&invoice["status"], &invoice["flags"]), (&json!("settled"), &json!([])));
    });
}

#[test]
fn three_thirds_and_a_hundred_hundredths_are_worth_the_same() {
    once(|shop| {
        let thirds = shop.rent("shared", 36_000);
        for part in [11_999, 12_000, 12_001] {
            shop.node.send(&thirds.address, part);
        }
        let hundredths = shop.rent("box", 36_000);
        let parts = vec![(hundredths.address.as_str(), 360); 100];
        for some in parts.chunks(30) {
            shop.node.send_many(some);
            shop.node.mine(1);
        }
        for (rented, count) in [(&thirds, 3), (&hundredths, 100)] {
            let lease = shop.lease_until("all parts to be credited", &rented.lease, |lease| {
                lease["credits"].as_array().is_some_and(|list| list.len() == count)
            });
            assert_eq!((seconds(&lease), paid_s(&lease)), (36_000, 36_000));
            assert_eq!(lease["generation"], 1);
            assert_eq!(shop.invoice(&rented.invoice)["status"], "settled");
        }
    });
}

#[test]
fn a_short_payment_is_a_shorter_lease_and_the_rest_can_still_be_paid() {
    each(|shop| {
        let rented = shop.rent("box", 3600);
        shop.node.send(&rented.address, 1000);
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!(paid_s(&lease), 1000);
        let invoice = shop.invoice(&rented.invoice);
        assert_eq!((&invoice["status"], &invoice["flags"]), (&json!("open"), &json!(["partial"])));
        assert_eq!(invoice["received"]["due_sat"], 2600);
        assert!(invoice["uri"].as_str().unwrap().contains("amount=0.000026"), "{invoice}");
        shop.node.send(&rented.address, 2600);
        shop.node.mine(1);
        shop.lease_until("the rest", &rented.lease, |lease| paid_s(lease) == 3600);
        assert_eq!(shop.invoice(&rented.invoice)["status"], "settled");
    });
}

#[test]
fn less_than_the_least_is_held_until_more_comes() {
    each(|shop| {
        let rented = shop.rent("box", 600);
        shop.node.send(&rented.address, 300);
        shop.node.mine(1);
        let held =
            shop.invoice_until("it to be held", &rented.invoice, |invoice| has(invoice, "held"));
        assert_eq!(held["flags"], json!(["partial", "held"]));
        let lease = shop.lease(&rented.lease);
        assert_eq!((&lease["state"], &lease["banked_s"]), (&json!("unfunded"), &json!(300)));
        assert_eq!(shop.booked(&rented.lease).held_sat, 300);
        shop.node.send(&rented.address, 300);
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!(paid_s(&lease), 600);
        assert_eq!(shop.invoice(&rented.invoice)["flags"], json!([]));
    });
}

#[test]
fn what_is_held_can_go_back() {
    once(|shop| {
        let rented = shop.rent("box", 600);
        shop.node.send(&rented.address, 300);
        shop.node.mine(1);
        shop.invoice_until("it to be held", &rented.invoice, |invoice| has(invoice, "held"));
        let path = format!("/v1/leases/{}/return", rented.lease);
        let lease = shop.post(&path, Some(&rented.claim), &json!({}));
        assert_eq!((&lease["state"], &lease["refundable_sat"]), (&json!("ended"), &json!(300)));
    });
}

#[test]
fn too_much_is_more_time() {
    once(|shop| {
        for paid in [3601, 3960, 36_000] {
            let rented = shop.rent("shared", 3600);
            shop.node.send(&rented.address, paid);
            shop.node.mine(1);
            let lease = in_state(shop, &rented, "active");
            assert_eq!(paid_s(&lease), paid);
            assert_eq!(shop.invoice(&rented.invoice)["flags"], json!(["over"]));
        }
    });
}

#[test]
fn time_beyond_the_horizon_is_banked_and_flows_in() {
    each(|shop| {
        let most = 30 * 86_400;
        let rented = shop.rent("box", most);
        assert_eq!(rented.amount_sat, most);
        shop.node.send(&rented.address, most + 50_000);
        // More than a million needs three confirmations.
        shop.node.mine(2);
        shop.invoice_until("two confirmations", &rented.invoice, |invoice| {
            invoice["payments"][0]["confirmations"] == 2
        });
        assert_eq!(shop.lease(&rented.lease)["state"], "unfunded");
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!(paid_s(&lease), most + 50_000);
        let banked = lease["banked_s"].as_u64().unwrap();
        assert!((49_900..=50_000).contains(&banked), "{lease}");
        let seq = lease["seq"].clone();
        shop.shift_clock(60_000);
        let later = shop.lease(&rented.lease);
        assert_eq!((&later["banked_s"], &later["seq"]), (&json!(0), &seq));
        assert_eq!(later["paid_until"], later["expires_at"]);
    });
}
