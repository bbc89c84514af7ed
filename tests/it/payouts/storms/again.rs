//! Blocks with a batch that go away and come back: nothing is paid again.

use serde_json::json;

use super::*;

/// Two holders whose batch is in the last block.
fn paid(shop: &Shop, signer: &Signer) -> (Vec<Holder>, Value) {
    let holders = holders(shop, 2);
    let batch = shop.prepare(&json!({}));
    shop.sign_and_submit(signer, &batch);
    shop.node.mine(1);
    all_in(shop, &holders, "confirmed");
    (holders, shop.batch_in(&batch["id"], "confirmed"))
}

fn comes_and_goes(shop: &mut Shop, signer: &Signer) {
    let (holders, batch) = paid(shop, signer);
    // The same block again.
    let with = shop.node.invalidate(1);
    let without = shop.node.mine_only::<Txid>(&[]);
    shop.batch_in(&batch["id"], "broadcast");
    all_in(shop, &holders, "broadcast");
    nothing_due(shop);
    shop.node.turn(&without, &with);
    shop.batch_in(&batch["id"], "confirmed");
    paid_once(shop, &holders);
    // Another block, with it.
    shop.node.reorg(1);
    until("its new block", || {
        let now = shop.batch(&batch["id"]);
        if now["confirmations"] == 2 { Ok(()) } else { Err(now) }
    });
    paid_once(shop, &holders);
    // Blocks without it: it waits in the mempool, and is nobody's to pay again.
    shop.node.reorg_empty(2);
    seen_pending(shop, &batch["id"], 1);
    all_in(shop, &holders, "broadcast");
    nothing_due(shop);
    for holder in &holders {
        assert_eq!(shop.claim(&holder.rented)["refunded_sat"], 0);
        assert_eq!(shop.booked(&holder.rented.lease).refundable_sat, holder.owed_sat);
    }
    shop.node.mine(1);
    paid_once(shop, &holders);
    // The server is away while its block goes, and while it comes again.
    shop.stop();
    shop.node.reorg_empty(1);
    shop.start();
    shop.batch_in(&batch["id"], "broadcast");
    shop.stop();
    shop.node.mine(1);
    shop.start();
    shop.batch_in(&batch["id"], "confirmed");
    paid_once(shop, &holders);
    for holder in &holders {
        let kinds = shop.events_of(&holder.payout);
        let told = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
        assert_eq!((told("payout.due"), told("payout.prepared")), (1, 1), "{kinds:?}");
    }
}

#[test]
fn a_batch_whose_block_goes_and_comes_is_paid_once() {
    each_kind(Kind::Wpkh, comes_and_goes);
}

#[test]
fn a_batch_whose_block_goes_and_comes_is_paid_once_with_taproot() {
    each_kind(Kind::Tr, comes_and_goes);
}

#[test]
fn a_batch_whose_block_goes_and_comes_is_paid_once_with_multisig() {
    each_kind(Kind::Wsh2of3, comes_and_goes);
}

/// The block is gone and the node has forgotten the transaction.
fn forgotten(shop: &mut Shop, signer: &Signer) {
    let (holders, batch) = paid(shop, signer);
    shop.stop();
    shop.node.reorg_empty(1);
    shop.node.clear_mempool();
    assert!(!is_pending(shop, &batch["txid"]));
    shop.write_config(STORM);
    shop.start();
    until_pending(shop, &batch["txid"]);
    shop.batch_in(&batch["id"], "broadcast");
    all_in(shop, &holders, "broadcast");
    shop.node.mine(1);
    shop.batch_in(&batch["id"], "confirmed");
    paid_once(shop, &holders);
}

#[test]
fn a_batch_that_the_node_has_forgotten_after_a_reorg_is_sent_again_by_the_server() {
    each_kind(Kind::Wpkh, forgotten);
}

#[test]
fn a_batch_that_the_node_has_forgotten_after_a_reorg_is_sent_again_with_taproot() {
    each_kind(Kind::Tr, forgotten);
}

#[test]
fn a_batch_that_the_node_has_forgotten_after_a_reorg_is_sent_again_with_multisig() {
    each_kind(Kind::Wsh2of3, forgotten);
}

/// Somebody else has sent it, so the server has its bytes from the block only: enough to send it.
#[test]
fn a_batch_that_was_never_submitted_counts_when_it_is_mined_and_is_sent_when_its_block_goes() {
    each_signed(Kind::Wpkh, STORM, |shop, signer| {
        let holders = holders(shop, 1);
        let batch = shop.prepare(&json!({}));
        shop.node.mine_only(&[signed(shop, signer, &batch)]);
        shop.batch_in(&batch["id"], "confirmed");
        paid_once(shop, &holders);
        shop.stop();
        shop.node.reorg_empty(1);
        shop.node.clear_mempool();
        shop.write_config(STORM);
        shop.start();
        shop.batch_in(&batch["id"], "broadcast");
        all_in(shop, &holders, "broadcast");
        nothing_due(shop);
        let txid = text(&batch["txid"]);
        until("the batch to be sent", || {
            let there = shop.node.mempool();
            there.iter().any(|it| it.to_string() == txid).then_some(()).ok_or(there)
        });
        shop.node.mine(1);
        paid_once(shop, &holders);
    });
}
