//! The node loses its wallet, the node or the server is started anew, or the server is away: at
//! every stage of a batch.

use super::*;

/// Deletes the node's watch-only wallet while the server is stopped.
fn lose_wallet(shop: &mut Shop) {
    let name = text(&shop.operate(Method::GET, "wallet", None).1["watch_only"]["name"]);
    shop.stop();
    shop.node.call("unloadwallet", json!([name]));
    let folder = shop.node.datadir().join("regtest/wallets").join(&name);
    std::fs::remove_dir_all(folder).expect("the node has it");
    shop.start();
    shop.wait_for_wallet();
}

/// Signs and submits as soon as the node answers again.
fn submit(shop: &Shop, signer: &Signer, batch: &Value) {
    let psbt = signer.sign(&text(&batch["psbt"]));
    until("the batch to be taken", || {
        let (status, answer) = shop.try_submit(&psbt);
        if status == 200 { Ok(()) } else { Err(answer) }
    });
}

fn wallet_lost(shop: &mut Shop, signer: &Signer) {
    let mut holders = holders(shop, 2);
    let batch = shop.prepare(&json!({}));
    lose_wallet(shop);
    nothing_due(shop);
    submit(shop, signer, &batch);
    let bumped = shop.bump(&batch, 3000);
    lose_wallet(shop);
    submit(shop, signer, &psbt_of(shop, &bumped, 2));
    shop.node.mine(1);
    paid_once(shop, &holders);
    // The next batch is made with a wallet that has seen nothing of this.
    deposit(shop, 500_000);
    holders.extend(super::holders(shop, 2));
    lose_wallet(shop);
    let batch = shop.prepare(&json!({}));
    lose_wallet(shop);
    submit(shop, signer, &batch);
    shop.node.mine(2);
    paid_once(shop, &holders);
    // So is one that spends the change of this.
    holders.extend(super::holders(shop, 1));
    lose_wallet(shop);
    let batch = shop.prepare(&json!({}));
    submit(shop, signer, &batch);
    shop.node.mine(1);
    paid_once(shop, &holders);
}

#[test]
fn a_node_that_loses_its_wallet_at_any_stage_loses_no_payout() {
    each_kind(Kind::Wpkh, wallet_lost);
}

#[test]
fn a_node_that_loses_its_wallet_at_any_stage_with_taproot() {
    each_kind(Kind::Tr, wallet_lost);
}

#[test]
fn a_node_that_loses_its_wallet_at_any_stage_with_multisig() {
    each_kind(Kind::Wsh2of3, wallet_lost);
}

fn anew(shop: &mut Shop) {
    shop.stop();
    shop.start();
}

fn started_anew(shop: &mut Shop, signer: &Signer) {
    let holders = holders(shop, 2);
    anew(shop);
    let batch = shop.prepare(&json!({}));
    anew(shop);
    all_in(shop, &holders, "prepared");
    shop.node.restart();
    submit(shop, signer, &batch);
    anew(shop);
    all_in(shop, &holders, "broadcast");
    nothing_due(shop);
    shop.node.restart();
    until_pending(shop, &batch["txid"]);
    // Mined, and its block replaced, while the server is away.
    shop.stop();
    shop.node.mine(1);
    shop.start();
    all_in(shop, &holders, "confirmed");
    paid_once(shop, &holders);
    shop.stop();
    shop.node.reorg(1);
    shop.start();
    paid_once(shop, &holders);
    shop.stop();
    shop.node.reorg_empty(2);
    shop.start();
    all_in(shop, &holders, "broadcast");
    nothing_due(shop);
    shop.stop();
    shop.node.mine(2);
    shop.node.reorg(2);
    shop.start();
    paid_once(shop, &holders);
}

#[test]
fn node_and_server_started_anew_at_every_stage_pay_once() {
    each_kind(Kind::Wpkh, started_anew);
}

#[test]
fn node_and_server_started_anew_at_every_stage_with_taproot() {
    each_kind(Kind::Tr, started_anew);
}

#[test]
fn node_and_server_started_anew_at_every_stage_with_multisig() {
    each_kind(Kind::Wsh2of3, started_anew);
}
