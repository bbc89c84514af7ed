//! What another wallet with the same keys does with a batch's coins.

use reqwest::Method;
use serde_json::{Value, json};

use super::{CONFIG, each_signed, number, text};
use crate::harness::signer::Kind;

/// The outputs of a batch, with `less` taken from its change.
fn outputs(batch: &Value, less: u64) -> Vec<(String, u64)> {
    let list = batch["pays"]["outputs"].as_array().unwrap();
    let output = |it: &Value| {
        let less = if it["change"] == true { less } else { 0 };
        (text(&it["address"]), number(&it["amount_sat"]) - less)
    };
    list.iter().map(output).collect()
}

#[test]
fn a_fee_that_another_wallet_raised_makes_a_version_of_the_batch_and_pays_once() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let rich = shop.rent("shared", 50_000);
        shop.node.send(&rich.address, 50_000);
        let [to, other] = [shop.node.new_address(), shop.node.new_address()];
        let holders = shop.due(&[(&to, 20_000), (&other, 10_000)]);
        let batch = shop.prepare(&json!({}));
        shop.sign_and_submit(signer, &batch);
        let paid: Vec<(String, u64)> = outputs(&batch, 2000);
        let paid: Vec<(&str, u64)> = paid.iter().map(|(to, sat)| (to.as_str(), *sat)).collect();
        let raised = shop.spend_otherwise(signer, &batch, &paid);
        shop.node.mine_only(&[raised]);
        for holder in &holders {
            shop.payout_in(holder, "confirmed");
        }
        let found = shop.batch_in(&batch["id"], "confirmed");
        assert_eq!(found["version"], 2, "{found}");
        assert_ne!(found["txid"], batch["txid"]);
        assert_eq!(number(&found["pays"]["fee_sat"]), number(&batch["pays"]["fee_sat"]) + 2000);
        shop.node.mine(10);
        shop.wait_for_tip();
        let (status, answer) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
        assert_eq!(status, 409, "nothing is due: {answer}");
        let expected = [&to, &other]
            .map(|address| paid.iter().find(|(to, _)| to == address).map_or(0, |(_, sat)| *sat));
        assert_eq!([shop.arrived_sat(&to), shop.arrived_sat(&other)], expected);
    });
}

/// Few blocks until something is final.
const SHALLOW: &str = "[money]\nfinal_confirmations = 6\n[payouts]\npayout_confirmations = 2\n";

#[test]
fn what_another_wallet_leaves_out_is_due_again_once_the_batch_cannot_be_mined_any_more() {
    each_signed(Kind::Wpkh, SHALLOW, |shop, signer| {
        let rich = shop.rent("shared", 50_000);
        shop.node.send(&rich.address, 50_000);
        let [to, other] = [shop.node.new_address(), shop.node.new_address()];
        let holders = shop.due(&[(&to, 20_000), (&other, 10_000)]);
        let batch = shop.prepare(&json!({}));
        let all = outputs(&batch, 0);
        let kept = all.iter().filter(|(address, _)| *address != other);
        let kept: Vec<(&str, u64)> = kept.map(|(to, sat)| (to.as_str(), *sat)).collect();
        shop.node.mine_only(&[shop.spend_otherwise(signer, &batch, &kept)]);
        shop.payout_in(&holders[0], "confirmed");
        shop.payout_in(&holders[1], "due");
        let path = format!("payouts/batches/{}/abandon", text(&batch["id"]));
        let (status, answer) = shop.operate(Method::POST, &path, None);
        assert_eq!(status, 409, "it is in the chain: {answer}");
        let (status, answer) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
        assert_eq!(status, 409, "{answer}");
        assert!(text(&answer["detail"]).contains("may still be mined"), "{answer}");
        shop.node.mine(5);
        shop.wait_for_tip();
        let rest = shop.prepare(&json!({}));
        assert_eq!(rest["pays"]["total_sat"], 10_000);
        shop.sign_and_submit(signer, &rest);
        shop.node.mine(1);
        shop.payout_in(&holders[1], "confirmed");
        assert!(shop.arrived_sat(&other) > 9000);
    });
}
