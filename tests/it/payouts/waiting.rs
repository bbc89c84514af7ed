//! What a payout waits for, in words, and when it is due: told once, whatever happens around it.

use reqwest::Method;
use serde_json::{Value, json};

use super::owed::output_to;
use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::{Rented, Shop};
use crate::harness::signer::Kind;
use crate::harness::wait::until;

/// Waits until the claim's only payout waits for `what`.
fn waits_for(shop: &Shop, rented: &Rented, what: &str) -> Value {
    until(&format!("the payout to wait for {what}"), || {
        let list = shop.payouts(rented);
        let found = list.first().filter(|it| it["state"] == "waiting" && it["waits_for"] == what);
        found.cloned().ok_or(list.clone())
    })
}

#[test]
fn a_payout_says_what_it_waits_for_until_it_is_due_which_is_told_once() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        let to = shop.node.new_address();
        let rented = shop.owe(&[(&to, 20_000)]).remove(0);
        let waits = waits_for(shop, &rented, "confirmations");
        assert_eq!((&waits["amount_sat"], &waits["ready_sat"]), (&json!(20_000), &json!(0)));
        let id = text(&waits["id"]);
        let body = json!({ "refund_address": null });
        shop.ask(Method::PATCH, "/v1/claims", Some(&rented.claim), Some(&body));
        waits_for(shop, &rented, "address");
        shop.refund_to(&rented, &to);
        waits_for(shop, &rented, "confirmations");
        assert_eq!(shop.events_of(&id), [""; 0]);
        shop.node.mine(1);
        shop.payout_in(&rented, "due");
        shop.refund_to(&rented, &to);
        shop.stop();
        shop.start();
        shop.node.mine(3);
        shop.wait_for_tip();
        let due = shop.payout_in(&rented, "due");
        assert_eq!((&due["waits_for"], &due["ready_sat"]), (&json!(null), &json!(20_000)));
        assert_eq!(shop.events_of(&id), ["payout.due"]);
        // The operator sees the same.
        let (_, list) = shop.operate(Method::GET, "payouts?state=due&resource=shared", None);
        assert_eq!(list["items"], json!([due]));
        let (_, one) = shop.operate(Method::GET, &format!("payouts/{id}"), None);
        assert_eq!(one, due);
        let (_, none) = shop.operate(Method::GET, "payouts?state=waiting", None);
        assert_eq!(none["items"], json!([]));
    });
}

#[test]
fn two_small_ones_to_one_address_are_due_together() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let first = shop.owe(&[(&to, 600)]).remove(0);
        shop.node.mine(1);
        let small = waits_for(shop, &first, "minimum");
        assert_eq!(small["ready_sat"], 600, "{small}");
        let why = shop.unprepared(&json!({}));
        assert_eq!(why, "nothing was prepared: there is nothing to pay");
        let second = shop.due(&[(&to, 700)]).remove(0);
        shop.payout_in(&first, "due");
        let batch = shop.prepare(&json!({}));
        let output = output_to(&batch["pays"], &to);
        let fee = number(&batch["pays"]["fee_sat"]);
        assert_eq!(number(&output["amount_sat"]), 1300 - fee, "{output}");
        shop.through(signer, &batch);
        for rented in [&first, &second] {
            let payout = shop.payout_in(rented, "confirmed");
            assert_eq!(shop.count_events(&text(&payout["id"]), "payout.due"), 1);
        }
    });
}

#[test]
fn one_below_the_minimum_is_paid_when_it_is_named() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let [to, other] = [shop.node.new_address(), shop.node.new_address()];
        let small = shop.owe(&[(&to, 900)]).remove(0);
        let large = shop.due(&[(&other, 20_000)]).remove(0);
        let id = waits_for(shop, &small, "minimum")["id"].clone();
        let batch = shop.prepare(&json!({ "only": [id] }));
        assert_eq!(batch["pays"]["total_sat"], 900, "and nothing that was not named");
        shop.through(signer, &batch);
        assert_eq!(shop.payout_in(&small, "confirmed")["id"], id);
        assert_eq!(shop.arrived_sat(&to), 900 - number(&batch["pays"]["fee_sat"]));
        shop.payout_in(&large, "due");
    });
}

#[test]
fn what_cannot_be_paid_is_named_with_the_reason() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        let to = shop.node.new_address();
        let prepared = shop.due(&[(&to, 20_000)]).remove(0);
        shop.prepare(&json!({}));
        let homeless = shop.returned(5000, None);
        waits_for(shop, &homeless, "address");
        let shallow = shop.owe(&[(&to, 20_000)]).remove(0);
        waits_for(shop, &shallow, "confirmations");
        for (rented, why) in [
            (&prepared, "is in a batch already"),
            (&shallow, "not all payments behind it have 2 confirmations"),
            (&homeless, "has no address yet: its holder must give one"),
        ] {
            let id = text(&shop.payouts(rented)[0]["id"]);
            let said = shop.unprepared(&json!({ "only": [id] }));
            assert!(said.starts_with(&id) && said.contains(why), "{said}");
        }
        let unknown = format!("pyt_{}", "a".repeat(26));
        for (only, status, why) in [
            (json!([unknown]), 404, "there is no payout pyt_a"),
            (json!([]), 422, "name 1 to 250 payouts"),
            (json!(["pyt_"]), 422, "this is no payout id"),
            (json!(["lse_x"]), 422, "this is no payout id"),
        ] {
            let body = json!({ "only": only, "feerate_msat_vb": 1000 });
            let (found, answer) = shop.try_prepare(&body);
            assert_eq!(found, status, "{answer}");
            assert!(text(&answer["detail"]).contains(why), "{answer}");
        }
    });
}
