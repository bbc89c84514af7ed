//! Several versions of a batch, and several batches for one payout: whichever is mined, nobody is
//! paid twice.

use serde_json::{Value, json};

use super::*;

/// Three versions are signed and sent; a miner takes the first.
fn first_of_three(shop: &mut Shop, signer: &Signer) {
    let holders = holders(shop, 2);
    let first = shop.prepare(&json!({}));
    let raw = signed(shop, signer, &first);
    shop.sign_and_submit(signer, &first);
    all_in(shop, &holders, "broadcast");
    let mut last = first.clone();
    for (n, feerate) in [(2, 4000), (3, 9000)] {
        let bumped = shop.bump(&first, feerate);
        assert_eq!(bumped["newest"], n);
        last = shop.sign_and_submit(signer, &psbt_of(shop, &first, n));
        assert_eq!(last["id"], first["id"]);
    }
    let last = seen_pending(shop, &last["id"], 3);
    assert_eq!(last["version"], 3);
    assert_eq!(shop.node.mempool(), [txid(&last["txid"])]);
    shop.node.mine_only(&[raw]);
    shop.wait_for_tip();
    let batch = shop.batch_in(&first["id"], "confirmed");
    assert_eq!((&batch["version"], &batch["txid"]), (&json!(1), &first["txid"]));
    for n in 1..=3 {
        let height = if n == 1 { json!(shop.node.height()) } else { Value::Null };
        let version = version(&batch, n);
        assert_eq!((&version["height"], &version["in_mempool"]), (&height, &json!(false)));
    }
    for holder in &holders {
        let payout = shop.payout_in(&holder.rented, "confirmed");
        assert_eq!((&payout["txid"], &payout["batch"]), (&first["txid"], &first["id"]));
    }
    let path = format!("payouts/batches/{}/bump", text(&first["id"]));
    let body = json!({ "feerate_msat_vb": 20_000 });
    assert_eq!(shop.operate(Method::POST, &path, Some(&body)).0, 409);
    paid_once(shop, &holders);
    shop.node.mine(6);
    paid_once(shop, &holders);
}

#[test]
fn bumped_twice_and_the_first_version_is_mined_nobody_is_paid_twice() {
    each_kind(Kind::Wpkh, first_of_three);
}

#[test]
fn bumped_twice_and_the_first_version_is_mined_with_taproot() {
    each_kind(Kind::Tr, first_of_three);
}

#[test]
fn bumped_twice_and_the_first_version_is_mined_with_multisig() {
    each_kind(Kind::Wsh2of3, first_of_three);
}

/// Given up, prepared again with one more; then the first, which was signed, is sent by somebody
/// and mined.
fn abandoned_and_mined(shop: &mut Shop, signer: &Signer) {
    let mut holders = holders(shop, 2);
    let first = shop.prepare(&json!({}));
    let raw = signed(shop, signer, &first);
    abandon(shop, &first);
    all_in(shop, &holders, "due");
    holders.extend(super::holders(shop, 1));
    let second = shop.prepare(&json!({}));
    assert_eq!(second["pays"]["outputs"].as_array().unwrap().len(), 3, "{second}");
    let common = coins(&first).iter().filter(|coin| coins(&second).contains(coin)).count();
    assert!(common > 0, "one of them could be mined beside the other");
    assert_eq!(shop.batch(&first["id"])["replaced_by"], second["id"]);
    // Seen in the mempool: still nothing is due that either of them pays.
    shop.node.submit(&raw);
    shop.batch_in(&first["id"], "broadcast");
    all_in(shop, &holders, "prepared");
    nothing_due(shop);
    let (status, answer) = shop.try_submit(&signer.sign(&text(&second["psbt"])));
    assert!(status == 422 && text(&answer["detail"]).contains("bump it"), "{status} {answer}");
    shop.node.mine(1);
    shop.batch_in(&first["id"], "confirmed");
    shop.batch_in(&second["id"], "conflicted");
    all_in(shop, &holders[..2], "confirmed");
    all_in(shop, &holders[2..], "due");
    // The coin of the third is free, and spending it makes the second batch impossible.
    let third = shop.prepare(&json!({}));
    assert_eq!(third["pays"]["outputs"].as_array().unwrap().len(), 1, "{third}");
    let common = coins(&second).iter().filter(|coin| coins(&third).contains(coin)).count();
    assert!(common > 0, "a reorg could bring the second batch back");
    shop.sign_and_submit(signer, &third);
    shop.node.mine(1);
    paid_once(shop, &holders);
}

#[test]
fn a_batch_given_up_that_somebody_sends_pays_its_payouts_and_the_next_batch_the_others() {
    each_kind(Kind::Wpkh, abandoned_and_mined);
}

#[test]
fn a_batch_given_up_that_somebody_sends_with_taproot() {
    each_kind(Kind::Tr, abandoned_and_mined);
}

#[test]
fn a_batch_given_up_that_somebody_sends_with_multisig() {
    each_kind(Kind::Wsh2of3, abandoned_and_mined);
}

/// As above, but all batches spend one coin: what is left waits until the second is impossible.
#[test]
fn what_only_a_lost_batch_paid_waits_until_that_can_never_be_mined() {
    each_signed(Kind::Wpkh, STORM, |shop, signer| {
        deposit(shop, 5_000_000);
        let mut holders = holders(shop, 1);
        let first = shop.prepare(&json!({}));
        assert_eq!(coins(&first).len(), 1, "the large coin");
        let raw = signed(shop, signer, &first);
        abandon(shop, &first);
        holders.extend(super::holders(shop, 1));
        let second = shop.prepare(&json!({}));
        assert_eq!(coins(&second), coins(&first));
        shop.node.mine_only(&[raw]);
        shop.batch_in(&second["id"], "conflicted");
        all_in(shop, &holders[1..], "due");
        let last = shop.node.height() + 5;
        for _ in 0..5 {
            let why = refused(shop);
            assert!(why.contains(&format!("it waits until block {last}")), "{why}");
            shop.node.mine(1);
            shop.wait_for_tip();
        }
        let third = shop.prepare(&json!({}));
        shop.sign_and_submit(signer, &third);
        shop.node.mine(1);
        paid_once(shop, &holders);
    });
}

/// The second batch is sent; the first, with a fee as high, never gets in again.
#[test]
fn a_batch_given_up_is_impossible_once_the_next_one_is_mined() {
    each_signed(Kind::Wpkh, STORM, |shop, signer| {
        let holders = holders(shop, 2);
        let first = shop.prepare(&json!({}));
        let raw = signed(shop, signer, &first);
        shop.sign_and_submit(signer, &first);
        seen_pending(shop, &first["id"], 1);
        // Given up while it is in the mempool: it still counts as sent.
        assert_eq!(abandon(shop, &first)["state"], "broadcast");
        all_in(shop, &holders, "broadcast");
        nothing_due(shop);
        shop.stop();
        shop.node.clear_mempool();
        shop.write_config(STORM);
        // So long another server's node may have it.
        shop.shift_clock(180);
        shop.start();
        // It is not the server that sends it again.
        shop.batch_in(&first["id"], "abandoned");
        assert_eq!(shop.node.mempool(), []);
        all_in(shop, &holders, "due");
        let again = refused(shop);
        assert!(again.contains(&format!("is version 1 of {}", text(&first["id"]))), "{again}");
        let second = shop.prepare(&json!({ "feerate_msat_vb": 1100 }));
        shop.sign_and_submit(signer, &second);
        shop.batch_in(&second["id"], "broadcast");
        shop.node.mine(1);
        shop.batch_in(&second["id"], "confirmed");
        shop.batch_in(&first["id"], "conflicted");
        assert!(shop.node.try_call("sendrawtransaction", json!([raw])).is_err());
        paid_once(shop, &holders);
    });
}
