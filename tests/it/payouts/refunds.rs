//! What holder and public see of a refund at every step adds up; and what becomes of a batch whose
//! money is lost before it is sent.

use serde_json::{Value, json};

use super::owed::output_to;
use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::{Rented, Shop};
use crate::harness::signer::Kind;
use crate::harness::wait::until;

/// Checks that the claim's sums are those of its payouts and leases.
fn adds_up(shop: &Shop, rented: &Rented) -> Value {
    let claim = shop.claim(rented);
    let sat = |name: &str| number(&claim[name]);
    let places = ["held_sat", "credited_sat", "refundable_sat", "refunded_sat"];
    assert_eq!(sat("received_sat"), places.map(sat).iter().sum::<u64>(), "{claim}");
    let payouts = claim["payouts"].as_array().unwrap();
    let part = |out: bool| -> u64 {
        let those = payouts.iter().filter(|payout| (payout["state"] == "confirmed") == out);
        those.map(|payout| number(&payout["amount_sat"])).sum()
    };
    assert_eq!((part(true), part(false)), (sat("refunded_sat"), sat("refundable_sat")), "{claim}");
    let leases = claim["leases"].as_array().unwrap();
    let left: u64 = leases.iter().map(|lease| number(&lease["refundable_sat"])).sum();
    assert_eq!(left, sat("refundable_sat"), "{claim}");
    assert_eq!(shop.lease(&rented.lease)["refundable_sat"], left);
    claim
}

#[test]
fn what_the_holder_and_the_public_see_adds_up_at_every_step() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let rented = shop.returned(50_000, None);
        let back = number(&shop.lease(&rented.lease)["refundable_sat"]);
        let see = |state: &str, refundable: u64, refunded: u64| {
            let payout = shop.payout_in(&rented, state);
            let claim = adds_up(shop, &rented);
            let sums = (number(&claim["refundable_sat"]), number(&claim["refunded_sat"]));
            assert_eq!(sums, (refundable, refunded), "{state}");
            let accounts = shop.accounts();
            let sat = |name: &str| number(&accounts[name]);
            assert_eq!((sat("refundable_sat"), sat("refunded_sat")), sums, "{accounts}");
            assert_eq!((sat("received_sat"), sat("earned_sat")), (50_000, 50_000 - back));
            payout
        };
        let waits = see("waiting", back, 0);
        assert_eq!((&waits["waits_for"], &waits["kind"]), (&json!("address"), &json!("refund")));
        assert_eq!(
            (text(&waits["subject"]), &waits["resource"]),
            (rented.lease.clone(), &json!("shared"))
        );
        shop.refund_to(&rented, &to);
        until("the address to count", || {
            let waits = see("waiting", back, 0);
            if waits["waits_for"] == "confirmations" { Ok(()) } else { Err(waits) }
        });
        shop.node.mine(1);
        let due = see("due", back, 0);
        assert_eq!((&due["waits_for"], &due["ready_sat"]), (&json!(null), &due["amount_sat"]));
        let batch = shop.prepare(&json!({}));
        let prepared = see("prepared", back, 0);
        assert_eq!((&prepared["batch"], &prepared["ready_sat"]), (&batch["id"], &json!(0)));
        assert_eq!(prepared["txid"], batch["txid"]);
        shop.sign_and_submit(signer, &batch);
        see("broadcast", back, 0);
        shop.node.mine(1);
        let done = see("confirmed", 0, back);
        assert_eq!((&done["id"], &done["txid"]), (&due["id"], &batch["txid"]));
        let stranger = shop.claim(&shop.rent("shared", 3600));
        assert_eq!(stranger["payouts"], json!([]), "what is another's is not shown");
    });
}

#[test]
fn a_batch_whose_money_was_lost_is_refused_and_prepared_again_without_it() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        // The largest coin belongs to neither, so the batch itself stays possible.
        let rich = shop.rent("shared", 200_000);
        shop.node.send(&rich.address, 200_000);
        shop.node.mine(1);
        let [sound, lost] = [shop.node.new_address(), shop.node.new_address()];
        let first = shop.given_up(&sound);
        let second = shop.given_up(&lost);
        shop.node.send(&first.address, 30_000);
        shop.node.mine(1);
        let paid = shop.node.send(&second.address, 40_000);
        let instead = shop.node.conflicting(&paid);
        shop.node.mine(2);
        shop.payout_in(&first, "due");
        shop.payout_in(&second, "due");
        let batch = shop.prepare(&json!({}));
        assert_eq!(batch["pays"]["total_sat"], 70_000);
        let signed = signer.sign(&text(&batch["psbt"]));
        shop.node.invalidate(2);
        shop.node.mine_only(&[instead]);
        shop.node.mine_empty(2);
        shop.wait_for_tip();
        shop.invoice_until("the reversal", &second.invoice, |invoice| {
            invoice["payments"][0]["state"] == "reversed"
        });
        let (status, answer) = shop.try_submit(&signed);
        let detail = text(&answer["detail"]);
        assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
        assert!(detail.starts_with(&second.lease) && detail.contains("abandon"), "{detail}");
        assert_eq!(shop.give_up(&batch)["state"], "abandoned");
        let again = shop.prepare(&json!({}));
        assert_eq!(again["pays"]["total_sat"], 30_000, "{again}");
        shop.through(signer, &again);
        let arrived = number(&output_to(&again["pays"], &sound)["amount_sat"]);
        assert_eq!((shop.arrived_sat(&sound), shop.arrived_sat(&lost)), (arrived, 0));
        assert_eq!(shop.batch_in(&batch["id"], "conflicted")["replaced_by"], again["id"]);
        assert_eq!(shop.claim(&second)["payouts"], json!([]), "nothing is owed any more");
    });
}

#[test]
fn a_batch_goes_on_over_restarts_and_each_step_is_told_once() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000)]).remove(0);
        let batch = shop.prepare(&json!({}));
        shop.stop();
        shop.start();
        assert_eq!(shop.batch(&batch["id"]), batch);
        shop.sign_and_submit(signer, &batch);
        shop.stop();
        shop.node.mine(1);
        shop.start();
        shop.payout_in(&rented, "confirmed");
        let told = shop.events_of(&text(&shop.payouts(&rented)[0]["id"]));
        let once = ["payout.due", "payout.prepared", "payout.broadcast", "payout.confirmed"];
        assert_eq!(told, once);
    });
}
