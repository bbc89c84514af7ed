//! The whole way of a refund, for every kind of descriptor.

use serde_json::json;

use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::Shop;
use crate::harness::signer::{Kind, Signer};

/// Rent, give back, prepare, sign, submit, mine: the money is there, less its fee.
fn refund(shop: &mut Shop, signer: &Signer) {
    let to = shop.node.new_address();
    let rented = shop.returned(50_000, Some(&to));
    shop.node.mine(1);
    let due = shop.payout_in(&rented, "due");
    let owed = number(&due["amount_sat"]);
    assert!(owed > 49_000, "{due}");
    let batch = shop.prepare(&json!({}));
    assert_eq!(shop.payout_in(&rented, "prepared")["batch"], batch["id"]);
    let sent = shop.sign_and_submit(signer, &batch);
    let payout = shop.payout_in(&rented, "broadcast");
    assert_eq!(payout["txid"], sent["txid"]);
    assert!(shop.node.mempool().iter().any(|txid| txid.to_string() == text(&sent["txid"])));
    shop.node.mine(1);
    shop.payout_in(&rented, "confirmed");
    let batch = shop.batch_in(&batch["id"], "confirmed");
    let output = batch["pays"]["outputs"].as_array().unwrap();
    let output = output.iter().find(|output| output["address"] == to).unwrap();
    let fee = number(&output["payouts"][0]["fee_sat"]);
    assert_eq!(number(&output["amount_sat"]), owed - fee, "{batch}");
    assert_eq!(shop.arrived_sat(&to), owed - fee);
    let claim = shop.claim(&rented);
    assert_eq!((number(&claim["refunded_sat"]), number(&claim["refundable_sat"])), (owed, 0));
    let kinds = shop.events_of(&text(&due["id"]));
    let told = ["payout.due", "payout.prepared", "payout.broadcast", "payout.confirmed"];
    assert_eq!(kinds, told);
}

#[test]
fn a_refund_leaves_a_wpkh_wallet() {
    each_signed(Kind::Wpkh, CONFIG, refund);
}

#[test]
fn a_refund_leaves_a_taproot_wallet() {
    once_signed(Kind::Tr, CONFIG, refund);
}

#[test]
fn a_refund_leaves_a_multisig_wallet() {
    once_signed(Kind::Wsh2of3, CONFIG, refund);
}
