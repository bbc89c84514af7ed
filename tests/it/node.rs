//! The harness itself: a bitcoind that does what a test tells it. When one of these fails, look
//! here before looking at the program.

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Transaction, Txid};
use serde_json::json;

use crate::harness::bitcoind::Bitcoind;

fn inputs(node: &Bitcoind, txid: &Txid) -> Vec<bitcoin::OutPoint> {
    let tx: Transaction = deserialize_hex(&node.raw(txid)).unwrap();
    tx.input.iter().map(|input| input.previous_output).collect()
}

/// What a transaction of the mempool pays an address.
fn pays(node: &Bitcoind, txid: &Txid, address: &str) -> u64 {
    let tx: Transaction = deserialize_hex(&node.raw(txid)).unwrap();
    let address: bitcoin::Address<_> = address.parse().unwrap();
    let script = address.assume_checked().script_pubkey();
    let ours = tx.output.iter().filter(|output| output.script_pubkey == script);
    ours.map(|output| output.value.to_sat()).sum()
}

#[test]
fn a_bump_pays_the_same_a_replacement_something_else() {
    let node = Bitcoind::start();
    let address = node.new_address();
    let first = node.send(&address, 50_000);
    let bumped = node.bump(&first);
    assert_eq!(node.mempool(), [bumped]);
    assert_eq!(pays(&node, &bumped, &address), 50_000);
    let other = node.replace(&bumped, &[(&address, 20_000)]);
    assert_eq!((node.mempool(), pays(&node, &other, &address)), (vec![other], 20_000));
    let stolen = node.double_spend(&other);
    assert_eq!((node.mempool(), pays(&node, &stolen, &address)), (vec![stolen], 0));
}

#[test]
fn chosen_coins_are_spent_and_one_address_may_be_paid_twice() {
    let node = Bitcoind::start();
    let (coins, address) = (node.coins(), node.new_address());
    let txid = node.send_from(&coins[..2], &[(&address, 1_000), (&address, 2_000)]);
    assert_eq!(inputs(&node, &txid), coins[..2]);
    assert_eq!(pays(&node, &txid, &address), 3_000);
    assert!(!node.coins().contains(&coins[0]));
}

#[test]
fn a_reorg_mines_the_old_transactions_again_unless_it_is_empty() {
    let node = Bitcoind::start();
    node.mine(12);
    let (height, address) = (node.height(), node.new_address());
    let txid = node.send(&address, 10_000);
    node.mine(12);
    let old = node.tip();
    node.reorg(12);
    assert_eq!((node.height(), node.mempool()), (height + 13, vec![]));
    assert_ne!(node.block_at(height + 12), old);
    node.reorg_empty(13);
    assert_eq!((node.height(), node.mempool()), (height + 14, vec![txid]));
}

#[test]
fn an_invalidated_chain_comes_back_when_reconsidered() {
    let node = Bitcoind::start();
    node.mine(25);
    let (tip, height) = (node.tip(), node.height());
    for _ in 0..2 {
        let lowest = node.invalidate(23);
        assert_eq!(node.height(), height - 23);
        node.reconsider(&lowest);
        assert_eq!(node.tip(), tip);
    }
}

#[test]
fn an_evicted_transaction_is_gone_alone_and_can_be_sent_again() {
    let mut node = Bitcoind::start();
    let address = node.new_address();
    let kept = node.send(&address, 10_000);
    let gone = node.send(&address, 20_000);
    let raw = node.evict(&gone);
    assert!(node.mempool().contains(&kept) && !node.mempool().contains(&gone));
    node.restart();
    assert!(node.mempool().contains(&kept) && !node.mempool().contains(&gone));
    assert_eq!(node.submit(&raw), gone);
    assert!(node.mempool().contains(&gone));
}

#[test]
fn a_cleared_mempool_stays_empty() {
    let mut node = Bitcoind::start();
    let address = node.new_address();
    node.send(&address, 10_000);
    node.send(&address, 20_000);
    node.clear_mempool();
    assert_eq!(node.mempool(), []);
    node.restart();
    assert_eq!(node.mempool(), []);
    node.send(&address, 30_000);
    assert_eq!(node.mempool().len(), 1, "the wallet can pay again");
}

#[test]
fn only_the_named_transactions_are_mined() {
    let node = Bitcoind::start();
    let address = node.new_address();
    let (first, second) = (node.send(&address, 10_000), node.send(&address, 20_000));
    node.mine_only(&[second]);
    assert_eq!(node.mempool(), [first]);
    let conflict = node.conflicting(&first);
    node.mine_only(&[conflict]);
    assert_eq!(node.mempool(), []);
    node.mine_empty(2);
    assert_eq!(node.call("getblock", json!([node.tip()]))["nTx"], 1);
}

#[test]
fn a_twin_goes_its_own_way() {
    let mut node = Bitcoind::start();
    let twin = node.twin();
    assert_eq!(twin.tip(), node.tip());
    let (ours, theirs) = (node.mine(1), twin.mine(1));
    assert_ne!(ours, theirs);
    assert_eq!(node.height(), twin.height());
}
