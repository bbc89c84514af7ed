//! The chain code against a real bitcoind: every call, every kind of reorg, every way to be down.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Block, BlockHash, Network, OutPoint, Transaction};
use bitcoincore_rpc::RpcApi;
use leasehold::chain::bitcoind::Bitcoind as Node;
use leasehold::chain::follower::{Follower, Move};
use leasehold::chain::mempool::{Mempool, read};
use leasehold::chain::rpc::{Login, Rpc};
use leasehold::chain::typed::typed_client;
use leasehold::chain::{BlockId, BlockSource, Broadcast, ChainError, Doubt, ErrorClass, Standing};
use leasehold::domain::keychain::{Branch, Keychain};
use leasehold::domain::scan::{Place, WatchSet, scan_block, scan_tx, transaction_count};
use leasehold::domain::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::bitcoind::Bitcoind;

const XPUB: &str = "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp";

fn rpc_only(node: &Bitcoind) -> Arc<Node> {
    Arc::new(Node::new(&node.url(), Login::Cookie(node.cookie_file()), None).unwrap())
}

fn with_rest(node: &Bitcoind) -> Arc<Node> {
    let url = node.url();
    Arc::new(Node::new(&url, Login::Cookie(node.cookie_file()), Some(&url)).unwrap())
}

fn tip(node: &Bitcoind) -> BlockId {
    BlockId { height: node.height(), hash: node.tip() }
}

/// Steps until there is nothing to do; answers with the last move and what was undone and done.
async fn run(follower: &mut Follower<Node>, chain: &mut Vec<BlockId>) -> (Move, usize, usize) {
    let (mut rewound, mut connected) = (0, 0);
    loop {
        match follower.next(chain.last().copied()).await.unwrap() {
            Move::Connect(block) => {
                assert_eq!(block.prev, chain.last().unwrap().hash);
                chain.push(block.id);
                connected += 1;
            }
            Move::Rewind => {
                chain.pop();
                rewound += 1;
            }
            end @ (Move::AtTip | Move::Behind) => return (end, rewound, connected),
        }
    }
}

#[tokio::test]
async fn a_node_tells_how_it_is_doing() {
    let node = Bitcoind::start();
    let state = rpc_only(&node).node_state().await.unwrap();
    assert_eq!(state.tip, tip(&node));
    assert_eq!((state.chain.as_str(), state.headers, state.peers), ("regtest", node.height(), 0));
    assert!(state.version >= 280_000 && state.subversion.starts_with('/'), "{state:?}");
    assert_eq!(state.check_network(Network::Regtest), Ok(()));
    let wrong = state.check_network(Network::Signet).unwrap_err();
    assert_eq!(wrong.class(), ErrorClass::Fatal);
    let now = state.tip_at.plus_s(3600);
    assert_eq!(state.doubt(Some(node.height()), now, 60), None);
    let ahead = node.height() + 1;
    let behind = Doubt::Behind { blocks: node.height(), stored: ahead };
    assert_eq!(state.doubt(Some(ahead), now, 60), Some(behind));
}

#[tokio::test]
async fn headers_and_hashes_are_found_or_unknown() {
    let node = Bitcoind::start();
    let source = rpc_only(&node);
    let tip = tip(&node);
    let header = source.header(&tip.hash).await.unwrap().unwrap();
    assert_eq!((header.id, header.active, header.next), (tip, true, None));
    let told = node.call("getblockheader", json!([tip.hash]));
    assert_eq!(header.time_at, Timestamp::from_secs(told["time"].as_i64().unwrap()));
    assert_eq!(header.mtp_at, Timestamp::from_secs(told["mediantime"].as_i64().unwrap()));
    let before = source.header(&header.prev.unwrap()).await.unwrap().unwrap();
    assert_eq!(before.next, Some(tip.hash));
    assert!(before.work < header.work);
    assert_eq!(source.hash_at(tip.height).await, Ok(Some(tip.hash)));
    assert_eq!(source.hash_at(tip.height + 1).await, Ok(None));
    let nobody: BlockHash = "00".repeat(32).parse().unwrap();
    assert_eq!(source.header(&nobody).await, Ok(None));
    assert_eq!(source.block(&nobody).await.unwrap_err().code(), Some(-5));
}

#[tokio::test]
async fn a_block_is_the_same_over_rest_and_over_rpc() {
    let node = Bitcoind::start();
    node.send(&node.new_address(), 50_000);
    let hash = node.mine(1)[0];
    let hex = node.call("getblock", json!([hash, 0]));
    let block: Block = deserialize_hex(hex.as_str().unwrap()).unwrap();
    let expected = bitcoin::consensus::serialize(&block);
    assert_eq!(rpc_only(&node).block(&hash).await.unwrap(), expected);
    let rest = with_rest(&node);
    assert_eq!(rest.probe_rest().await, Some(Ok(())));
    assert_eq!(rest.block(&hash).await.unwrap(), expected);
    assert_eq!(transaction_count(&expected), Ok(2));
}

#[tokio::test]
async fn a_node_without_rest_gives_its_blocks_over_rpc() {
    let node = Bitcoind::start_with(&["-rest=0"]);
    let source = with_rest(&node);
    assert!(matches!(source.probe_rest().await, Some(Err(ChainError::Unusable { .. }))));
    assert!(!source.block(&node.tip()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_follower_goes_along_with_every_reorg() {
    let node = Bitcoind::start();
    let mut follower = Follower::new(with_rest(&node));
    let mut chain = vec![tip(&node)];
    node.mine(7);
    assert_eq!(run(&mut follower, &mut chain).await, (Move::AtTip, 0, 7));
    for _ in 0..3 {
        // Blocks taken back, none in their place: a shorter chain, but not a node that is behind.
        let lowest = node.invalidate(3);
        assert_eq!(run(&mut follower, &mut chain).await, (Move::AtTip, 3, 0));
        node.reconsider(&lowest);
        assert_eq!(run(&mut follower, &mut chain).await, (Move::AtTip, 0, 3));
    }
    node.reorg(5);
    assert_eq!(run(&mut follower, &mut chain).await, (Move::AtTip, 5, 6));
    assert_eq!(chain.last(), Some(&tip(&node)));
}

#[tokio::test]
async fn a_deep_reorg_is_walked_back_block_by_block() {
    let node = Bitcoind::start();
    let mut follower = Follower::new(rpc_only(&node));
    let mut chain = vec![tip(&node)];
    node.mine(25);
    run(&mut follower, &mut chain).await;
    let lowest = node.invalidate(25);
    assert_eq!(run(&mut follower, &mut chain).await, (Move::AtTip, 25, 0));
    node.reconsider(&lowest);
    assert_eq!(run(&mut follower, &mut chain).await, (Move::AtTip, 0, 25));
}

#[tokio::test]
async fn a_node_that_lacks_our_blocks_is_waited_for_until_it_disagrees() {
    let mut behind = Bitcoind::start();
    let ahead = behind.twin();
    let mut chain = vec![tip(&behind)];
    for _ in 0..3 {
        ahead.mine(1);
        chain.push(tip(&ahead));
    }
    let source = rpc_only(&behind);
    let mut follower = Follower::new(source.clone());
    let ours = tip(&ahead);
    assert_eq!(source.standing(&ours).await, Ok(Standing::Ahead));
    assert_eq!(run(&mut follower, &mut chain).await, (Move::Behind, 0, 0));
    for block in &chain[1..] {
        let header = ahead.call("getblockheader", json!([block.hash, false]));
        behind.call("submitheader", json!([header]));
    }
    assert!(source.header(&ours.hash).await.unwrap().is_some_and(|header| !header.active));
    assert_eq!(run(&mut follower, &mut chain).await, (Move::Behind, 0, 0));
    behind.mine(4);
    assert_eq!(run(&mut follower, &mut chain).await, (Move::AtTip, 3, 4));
    assert_eq!(source.standing(&ours).await, Ok(Standing::Left));
}

#[tokio::test]
async fn the_mempool_is_compared_read_and_asked() {
    let node = Bitcoind::start();
    let source = rpc_only(&node);
    let mut seen = Mempool::new();
    let address = node.new_address();
    let parent = node.send(&address, 100_000);
    let difference = seen.compare(&*source).await.unwrap();
    assert_eq!((difference.added.as_slice(), difference.removed.len()), (&[parent][..], 0));
    let found = read(&*source, &difference.added).await.unwrap();
    let tx: Transaction = bitcoin::consensus::deserialize(&found[0].1).unwrap();
    assert_eq!(tx.compute_txid(), parent);
    seen.record_seen([parent]);

    let vout = paid(&tx, &address);
    let child =
        node.send_from(&[OutPoint { txid: parent, vout }], &[(&node.new_address(), 40_000)]);
    let entry = source.mempool_entry(&parent).await.unwrap().unwrap();
    assert_eq!(entry.ancestor_count, 1);
    assert!((9_900..10_200).contains(&entry.feerate_msat_vb), "{entry:?}");
    assert_eq!(source.mempool_entry(&child).await.unwrap().unwrap().ancestor_count, 2);
    let spent = [
        tx.input[0].previous_output,
        OutPoint { txid: parent, vout },
        OutPoint { txid: child, vout: 0 },
    ];
    assert_eq!(source.mempool_spenders(&spent).await, Ok(vec![Some(parent), Some(child), None]));

    let raw = node.evict(&child);
    assert_eq!(source.mempool_entry(&child).await, Ok(None));
    assert_eq!(source.mempool_transactions(&[child, parent]).await.unwrap()[0], None);
    let bytes = data_encoding::HEXLOWER.decode(raw.as_bytes()).unwrap();
    assert_eq!(source.broadcast(&bytes).await, Ok(Broadcast::InMempool));
    assert_eq!(source.broadcast(&bytes).await, Ok(Broadcast::InMempool), "twice does no harm");
    node.mine(1);
    assert_eq!(source.broadcast(&bytes).await, Ok(Broadcast::InChain));
    let difference = seen.compare(&*source).await.unwrap();
    assert_eq!((difference.added.len(), difference.removed.as_slice()), (0, &[parent][..]));
}

fn paid(tx: &Transaction, address: &str) -> u32 {
    let address: bitcoin::Address<_> = address.parse().unwrap();
    let script = address.assume_checked().script_pubkey();
    (0..).zip(&tx.output).find(|(_, output)| output.script_pubkey == script).unwrap().0
}

#[tokio::test]
async fn a_double_spend_is_rejected_with_the_nodes_reason() {
    let node = Bitcoind::start();
    let source = rpc_only(&node);
    let txid = node.send(&node.new_address(), 30_000);
    let raw = node.raw(&txid);
    let conflict = node.conflicting(&txid);
    node.mine_only(&[conflict]);
    assert_eq!(node.mempool(), []);
    let bytes = data_encoding::HEXLOWER.decode(raw.as_bytes()).unwrap();
    let answer = source.broadcast(&bytes).await.unwrap();
    assert!(
        matches!(&answer, Broadcast::Rejected { reason } if reason.contains("missingorspent")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn waiting_for_a_block_ends_when_one_comes() {
    let node = Bitcoind::start();
    let source = rpc_only(&node);
    let old = node.tip();
    let long = Duration::from_secs(600);
    let wait = source.wait_for_block(&old, long);
    let mine = async {
        // The miner may come before the wait: there is no gap into which a block could fall.
        node.mine(1);
    };
    let (waited, ()) = tokio::join!(wait, mine);
    assert_eq!(waited, Ok(()));
    assert_eq!(source.wait_for_block(&old, long).await, Ok(()), "that block is old already");
    let short = Duration::from_millis(50);
    assert_eq!(source.wait_for_block(&node.tip(), short).await, Ok(()), "time is up");
}

// With a worker of its own the client notices that its idle connections were closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_restarted_node_is_recognised_by_its_new_cookie() {
    let mut node = Bitcoind::start();
    let source = rpc_only(&node);
    let before = std::fs::read(node.cookie_file()).unwrap();
    assert!(source.node_state().await.is_ok());
    node.stop();
    let down = source.node_state().await.unwrap_err();
    assert_eq!(down.class(), ErrorClass::Transient, "{down}");
    node.start_again();
    assert_ne!(std::fs::read(node.cookie_file()).unwrap(), before);
    assert_eq!(source.node_state().await.map(drop), Ok(()));
    node.kill();
    node.start_again();
    assert_eq!(source.node_state().await.map(drop), Ok(()));
}

#[tokio::test]
async fn a_wrong_login_says_what_to_check() {
    let node = Bitcoind::start();
    let password = Login::Password { user: "me".to_owned(), password: "no".to_owned().into() };
    let source = Node::new(&node.url(), password, None).unwrap();
    let error = source.node_state().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unauthorized);
    assert!(error.to_string().contains("rpc_password"), "{error}");
}

#[tokio::test]
async fn a_pruned_block_is_named() {
    let node = Bitcoind::start_with(&["-prune=1", "-fastprune"]);
    let source = with_rest(&node);
    node.mine(600);
    let before = node.block_at(20);
    node.call("pruneblockchain", json!([node.height() - 290]));
    assert_eq!(source.block(&before).await, Err(ChainError::Pruned { height: 20 }));
    let state = source.node_state().await.unwrap();
    assert!(state.pruned && state.prune_height > Some(20), "{state:?}");
}

#[tokio::test]
async fn outputs_and_transactions_are_found_again_for_an_audit() {
    let node = Bitcoind::start();
    let source = rpc_only(&node);
    let address = node.new_address();
    let txid = node.send(&address, 77_000);
    let tx: Transaction = deserialize_hex(&node.raw(&txid)).unwrap();
    let outpoint = OutPoint { txid, vout: paid(&tx, &address) };
    assert_eq!(source.unspent_output(&outpoint, false).await, Ok(None));
    let pending = source.unspent_output(&outpoint, true).await.unwrap().unwrap();
    assert_eq!((pending.amount_sat, pending.confirmations, pending.coinbase), (77_000, 0, false));
    let block = node.mine(1)[0];
    let mined = source.unspent_output(&outpoint, false).await.unwrap().unwrap();
    assert_eq!(mined.confirmations, 1);
    assert_eq!(mined.script_pubkey, tx.output[outpoint.vout as usize].script_pubkey);
    let found = source.transaction_in_block(&txid, &block).await.unwrap().unwrap();
    assert_eq!(found, bitcoin::consensus::serialize(&tx));
    let earlier = node.block_at(node.height() - 1);
    assert_eq!(source.transaction_in_block(&txid, &earlier).await, Ok(None));
}

#[tokio::test]
async fn a_batch_longer_than_one_request_keeps_its_order() {
    let node = Bitcoind::start();
    let rpc = Rpc::new(&node.url(), Login::Cookie(node.cookie_file())).unwrap();
    let heights: Vec<_> = (0..node.height() + 40).map(|height| json!([height])).collect();
    let answers = rpc.batch::<BlockHash>("getblockhash", &heights).await.unwrap();
    assert_eq!(answers.len(), heights.len());
    for (height, answer) in (0..).zip(answers) {
        if height <= node.height() {
            assert_eq!(answer, Ok(node.block_at(height)));
        } else {
            assert_eq!(answer.unwrap_err().code, -8);
        }
    }
}

#[test]
fn the_typed_client_works_outside_the_runtime() {
    let node = Bitcoind::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let rpc = Rpc::new(&node.url(), Login::Cookie(node.cookie_file())).unwrap();
    let client = typed_client(rpc, runtime.handle().clone());
    assert_eq!(client.get_block_count().unwrap(), u64::from(node.height()));
    assert_eq!(client.get_best_block_hash().unwrap(), node.tip());
    let error = client.get_block_hash(1 << 30).unwrap_err();
    assert!(error.to_string().contains("out of range"), "{error}");
}

#[tokio::test]
async fn addresses_are_those_that_bitcoind_derives() {
    let node = Bitcoind::start();
    let second = format!("{XPUB}/3/<0;1>/*");
    for text in [
        format!("wpkh({XPUB}/<0;1>/*)"),
        format!("tr({XPUB}/<0;1>/*)"),
        format!("wsh(sortedmulti(2,{XPUB}/<0;1>/*,{second}))"),
        format!("sh(wsh(multi(1,{XPUB}/<0;1>/*,{second})))"),
    ] {
        let keychain = Keychain::parse(&text, Network::Regtest).unwrap();
        let derived = node.call("deriveaddresses", json!([keychain.canonical(), [0, 20]]));
        for (branch, addresses) in
            [Branch::External, Branch::Internal].into_iter().zip(derived.as_array().unwrap())
        {
            for (index, address) in (0..).zip(addresses.as_array().unwrap()) {
                assert_eq!(Value::from(keychain.address(branch, index).to_string()), *address);
            }
        }
    }
}

#[tokio::test]
async fn a_payment_is_seen_in_the_mempool_and_in_its_block() {
    let node = Bitcoind::start();
    let source = with_rest(&node);
    let keychain = Keychain::parse(&format!("wpkh({XPUB}/<0;1>/*)"), Network::Regtest).unwrap();
    let mut watch = WatchSet::new();
    for index in 0..100 {
        let place = Place { keychain: 1, branch: Branch::External, index };
        watch.insert(&keychain.script(Branch::External, index), place);
    }
    let address = keychain.address(Branch::External, 42).to_string();
    let txid =
        node.send_many(&[(&address, 30_000), (&node.new_address(), 5_000), (&address, 40_000)]);
    let raw = source.mempool_transactions(&[txid]).await.unwrap().remove(0).unwrap();
    let seen = scan_tx(&raw, &watch).unwrap().unwrap();
    let amounts: u64 = seen.outputs.iter().map(|output| output.amount_sat).sum();
    assert_eq!((seen.txid, seen.outputs.len(), amounts), (txid, 2, 70_000));
    assert!(seen.outputs.iter().all(|output| output.place.index == 42));

    let coin = seen.inputs[0];
    watch.watch_outpoint(coin);
    let hash = node.mine_to(&address, 1)[0];
    let hits = scan_block(&source.block(&hash).await.unwrap(), &watch).unwrap();
    assert_eq!(hits.len(), 2);
    assert!(hits[0].coinbase && !hits[1].coinbase);
    assert_eq!((hits[1].txid, hits[1].position, &hits[1].spends), (txid, 1, &vec![coin]));
    assert_eq!(hits[1].raw, raw);
}
