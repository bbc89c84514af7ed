//! Where refunds go: addresses given, changed and taken away, links, and our own, to which no money
//! may go.

use reqwest::Method;
use serde_json::{Value, json};

use super::owed::output_to;
use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::{Rented, Shop};
use crate::harness::signer::Kind;
use crate::harness::wait::until;

fn change(shop: &Shop, rented: &Rented, address: &Value) -> (u16, Value) {
    let body = json!({ "refund_address": address });
    shop.ask(Method::PATCH, "/v1/claims", Some(&rented.claim), Some(&body))
}

/// Waits until the claim's only payout goes to `address` and is in a state.
fn goes_to(shop: &Shop, rented: &Rented, address: &Value, state: &str) {
    until("the payout's address", || {
        let payout = shop.payouts(rented)[0].clone();
        let right = payout["address"] == *address && payout["state"] == state;
        if right { Ok(()) } else { Err(payout) }
    });
}

#[test]
fn an_address_can_be_given_changed_and_taken_away_while_the_money_waits() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let rented = shop.returned(50_000, None);
        shop.node.mine(1);
        goes_to(shop, &rented, &json!(null), "waiting");
        let [first, second] = [shop.node.new_address(), shop.node.new_address()];
        for (address, state) in [
            (json!(first), "due"),
            (json!(null), "waiting"),
            (json!(second), "due"),
            (json!(first), "due"),
            (json!(second), "due"),
        ] {
            let (status, claim) = change(shop, &rented, &address);
            assert_eq!((status, &claim["refund_address"]), (200, &address), "{claim}");
            goes_to(shop, &rented, &address, state);
        }
        let batch = shop.prepare(&json!({}));
        shop.through(signer, &batch);
        let amount = number(&output_to(&batch["pays"], &second)["amount_sat"]);
        assert_eq!((shop.arrived_sat(&first), shop.arrived_sat(&second)), (0, amount));
    });
}

#[test]
fn an_address_changed_while_a_batch_waits_for_signatures_counts_for_the_next_one() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let [old, new] = [shop.node.new_address(), shop.node.new_address()];
        let rented = shop.due(&[(&old, 20_000)]).remove(0);
        let batch = shop.prepare(&json!({}));
        change(shop, &rented, &json!(new));
        goes_to(shop, &rented, &json!(old), "prepared");
        assert_eq!(shop.give_up(&batch)["state"], "abandoned");
        goes_to(shop, &rented, &json!(new), "due");
        let again = shop.prepare(&json!({}));
        output_to(&again["pays"], &new);
        assert_eq!(shop.batch(&batch["id"])["replaced_by"], again["id"]);
        change(shop, &rented, &json!(null));
        shop.through(signer, &again);
        goes_to(shop, &rented, &json!(new), "confirmed");
        assert_eq!(shop.arrived_sat(&old), 0);
        // What comes later has no address again.
        shop.node.send(&rented.address, 5000);
        shop.node.mine(1);
        let list = shop.payouts_in(&rented, &["confirmed", "waiting"]);
        assert_eq!(list[1]["waits_for"], "address");
    });
}

#[test]
fn a_payment_link_is_taken_for_its_address_wherever_one_is_given() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let [to, friends] = [shop.node.new_address(), shop.node.new_address()];
        let link = format!("bitcoin:{to}?amount=0.1&label=Lu%C3%AFs");
        let rented = shop.given_up(&link);
        assert_eq!(shop.claim(&rented)["refund_address"], to.as_str());
        let body = json!({ "resource": "shared", "duration_s": 3600 });
        let other = Shop::rented(&shop.post("/v1/leases", None, &body));
        let loud = format!("BITCOIN:{}", friends.to_uppercase());
        let path = format!("/v1/leases/{}/invoices", other.lease);
        let body = json!({ "amount_sat": 9000, "refund_address": loud });
        let topup = text(&shop.post(&path, None, &body)["invoice"]["address"]);
        shop.give_back(&other);
        let (status, claim) = change(shop, &other, &json!(format!(" {link}\n")));
        assert_eq!((status, &claim["refund_address"]), (200, &json!(to)));
        shop.node.send_many(&[(&rented.address, 7000), (&other.address, 8000), (&topup, 9000)]);
        shop.node.mine(2);
        shop.payout_in(&rented, "due");
        shop.payouts_in(&other, &["due"]);
        shop.count_due(3);
        let batch = shop.prepare(&json!({}));
        assert_eq!(output_to(&batch["pays"], &to)["payouts"].as_array().unwrap().len(), 2);
        assert_eq!(output_to(&batch["pays"], &friends)["payouts"][0]["amount_sat"], 9000);
        shop.through(signer, &batch);
        for wrong in ["bitcoin:", "bitcoin:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "me"] {
            let (status, answer) = change(shop, &rented, &json!(wrong));
            assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/refund_address")));
        }
    });
}

#[test]
fn who_joins_a_claim_with_another_address_changes_it_for_all_that_waits() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        let [old, new] = [shop.node.new_address(), shop.node.new_address()];
        let rented = shop.due(&[(&old, 20_000)]).remove(0);
        let body = json!({ "resource": "shared", "duration_s": 3600, "refund_address": new });
        shop.post("/v1/leases", Some(&rented.claim), &body);
        assert_eq!(shop.claim(&rented)["refund_address"], new.as_str());
        goes_to(shop, &rented, &json!(new), "due");
        let batch = shop.prepare(&json!({}));
        output_to(&batch["pays"], &new);
    });
}

#[test]
fn an_address_that_this_shop_gave_out_is_refused_wherever_one_is_given() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        let rented = shop.rent("shared", 3600);
        let ours = json!(rented.address);
        let topup = format!("/v1/leases/{}/invoices", rented.lease);
        let lease = json!({ "resource": "shared", "duration_s": 600, "refund_address": ours });
        let more = json!({ "duration_s": 600, "refund_address": ours });
        for (status, answer) in [
            change(shop, &rented, &ours),
            change(shop, &rented, &json!(format!("bitcoin:{}", rented.address))),
            shop.ask(Method::POST, "/v1/leases", None, Some(&lease)),
            shop.ask(Method::POST, &topup, None, Some(&more)),
        ] {
            assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/refund_address")));
            assert!(text(&answer["detail"]).contains("address of this shop"), "{answer}");
        }
        assert_eq!(shop.claim(&rented)["refund_address"], json!(null));
        // Nor may the operator send money that found no lease to one.
        shop.node.send(&shop.address(40), 30_000);
        shop.node.mine(1);
        let id = until("the money to be found", || {
            let (_, list) = shop.operate(Method::GET, "payments?unallocated=true", None);
            list["items"][0]["id"].as_str().map(str::to_owned).ok_or(list)
        });
        let (path, body) = (format!("payments/{id}/refund"), json!({ "address": ours }));
        let (status, answer) = shop.operate(Method::POST, &path, Some(&body));
        assert_eq!(
            (status, &answer["errors"][0]["pointer"]),
            (422, &json!("/address")),
            "{answer}"
        );
    });
}

/// The change address at an index, as the node derives it.
fn internal(shop: &Shop, index: u32) -> String {
    let branch = shop.descriptor.replace("<0;1>", "1");
    let checked = shop.node.call("getdescriptorinfo", json!([branch]))["descriptor"].clone();
    text(&shop.node.call("deriveaddresses", json!([checked, [index, index]]))[0])
}

#[test]
fn an_address_that_this_shop_will_give_out_is_left_out_when_it_is_to_be_paid() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let unissued = shop.address(150);
        let change_address = internal(shop, 0);
        let first = shop.due(&[(&unissued, 20_000)]).remove(0);
        let second = shop.due(&[(&change_address, 30_000)]).remove(0);
        let why = shop.unprepared(&json!({}));
        assert!(why.starts_with("nothing was prepared: there is nothing to pay; pyt_"), "{why}");
        assert_eq!(why.matches("its address is one of this shop").count(), 2, "{why}");
        let to = shop.node.new_address();
        shop.refund_to(&second, &to);
        goes_to(shop, &second, &json!(to), "due");
        let (status, made) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
        assert_eq!((status, &made["batch"]["pays"]["total_sat"]), (201, &json!(30_000)), "{made}");
        let left = &made["left_out"];
        assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
        assert_eq!(left[0]["id"], shop.payouts(&first)[0]["id"]);
        assert!(text(&left[0]["why"]).contains("its holder must give another"), "{left}");
        shop.through(signer, &made["batch"]);
        assert_eq!(shop.payouts(&first)[0]["state"], "due", "it waits for another address");
    });
}
