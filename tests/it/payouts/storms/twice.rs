//! A batch whose coins the operator spends elsewhere while its block is away: its payouts are due
//! again, and are paid again only when the batch can never come back.

use serde_json::json;

use super::*;

/// Takes the last two blocks, with the batch in them, away and mines the operator's own transaction
/// and one block more in their place. Returns the lowest old block and the new one.
fn replace_blocks(shop: &Shop, other: &str) -> (bitcoin::BlockHash, bitcoin::BlockHash) {
    let with = shop.node.invalidate(2);
    let without = shop.node.mine_only(&[other]);
    shop.node.mine_empty(1);
    (with, without)
}

fn spent_elsewhere(shop: &mut Shop, signer: &Signer) {
    let holders = holders(shop, 2);
    let batch = shop.prepare(&json!({}));
    let all: Vec<usize> = (0..coins(&batch).len()).collect();
    let other = elsewhere(shop, signer, &batch, &all);
    shop.sign_and_submit(signer, &batch);
    deposit(shop, 5_000_000);
    shop.batch_in(&batch["id"], "confirmed");
    replace_blocks(shop, &other);
    shop.batch_in(&batch["id"], "conflicted");
    all_in(shop, &holders, "due");
    // Its block may come back until the other one is six deep.
    shop.node.mine(2);
    let last = shop.node.height() + 2;
    for _ in 0..2 {
        shop.wait_for_tip();
        let why = refused(shop);
        assert!(why.contains(&format!("it waits until block {last}")), "{why}");
        shop.node.mine(1);
    }
    shop.wait_for_tip();
    let again = shop.prepare(&json!({}));
    shop.sign_and_submit(signer, &again);
    shop.node.mine(1);
    shop.batch_in(&again["id"], "confirmed");
    shop.batch_in(&batch["id"], "conflicted");
    paid_once(shop, &holders);
}

#[test]
fn payouts_whose_batch_was_double_spent_are_paid_again_when_that_is_final() {
    each_kind(Kind::Wpkh, spent_elsewhere);
}

#[test]
fn payouts_whose_batch_was_double_spent_are_paid_again_with_taproot() {
    each_kind(Kind::Tr, spent_elsewhere);
}

#[test]
fn payouts_whose_batch_was_double_spent_are_paid_again_with_multisig() {
    each_kind(Kind::Wsh2of3, spent_elsewhere);
}

/// One of two coins is spent elsewhere. The next batch spends the other at once; then the chain
/// turns back to the first batch.
fn turned_back(shop: &mut Shop, signer: &Signer) {
    let holders = holders(shop, 2);
    let batch = shop.prepare(&json!({}));
    assert!(coins(&batch).len() > 1, "{batch}");
    let other = elsewhere(shop, signer, &batch, &[0]);
    shop.sign_and_submit(signer, &batch);
    deposit(shop, 5_000_000);
    shop.batch_in(&batch["id"], "confirmed");
    let (with, without) = replace_blocks(shop, &other);
    shop.batch_in(&batch["id"], "conflicted");
    all_in(shop, &holders, "due");
    let asked = json!({ "preview": true, "feerate_msat_vb": 1000 });
    let (status, preview) = shop.try_prepare(&asked);
    assert_eq!((status, preview["left_out"].as_array().map(Vec::len)), (200, Some(1)), "{preview}");
    assert_eq!(shop.node.mempool().len(), 1, "the operator's coins wait");
    let more = super::holders(shop, 1);
    let again = shop.prepare(&json!({}));
    assert!(coins(&again).contains(&coins(&batch)[1]), "{again}");
    shop.sign_and_submit(signer, &again);
    all_in(shop, &holders, "broadcast");
    // The blocks with the first batch win after all.
    shop.node.call("invalidateblock", json!([without]));
    shop.node.call("reconsiderblock", json!([with]));
    shop.node.mine(6);
    shop.batch_in(&batch["id"], "confirmed");
    shop.batch_in(&again["id"], "conflicted");
    all_in(shop, &holders, "confirmed");
    all_in(shop, &more, "due");
    assert!(!is_pending(shop, &again["txid"]));
    // What the second batch paid besides is due, and is paid by a third.
    shop.node.mine(6);
    shop.wait_for_tip();
    let third = shop.prepare(&json!({}));
    shop.sign_and_submit(signer, &third);
    shop.node.mine(1);
    let all = [holders, more].concat();
    paid_once(shop, &all);
}

#[test]
fn a_first_batch_that_comes_back_after_all_makes_the_second_impossible() {
    each_kind(Kind::Wpkh, turned_back);
}

#[test]
fn a_first_batch_that_comes_back_after_all_with_taproot() {
    each_kind(Kind::Tr, turned_back);
}

#[test]
fn a_first_batch_that_comes_back_after_all_with_multisig() {
    each_kind(Kind::Wsh2of3, turned_back);
}
