//! The node's watch-only wallet on a real bitcoind: made, filled, lost, refused; and kept by the
//! server. Keys are derived from fixed seeds, so that what it fills can be signed here.

use bitcoin::absolute::LockTime;
use bitcoin::bip32::{DerivationPath, Fingerprint, Xpriv, Xpub};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Network, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use leasehold::chain::bitcoind::Bitcoind as Node;
use leasehold::chain::rpc::Login;
use leasehold::chain::wallet::{Coin, Standing, WalletError, Wanted, WatchOnly};
use leasehold::domain::keychain::{Branch, Keychain};
use serde_json::{Value, json};

use crate::harness::bitcoind::Bitcoind;
use crate::harness::daemon::{Shop, once};
use crate::harness::wait::until;

const NAME: &str = "leasehold-test";
const END: u32 = 400;
/// Long after the genesis block of regtest; nothing that is ours is older.
const BIRTH: u64 = 1_600_000_000;
const DAY_S: u64 = 86_400;

/// Somebody who can sign.
struct Signer {
    account: Xpriv,
    origin: Fingerprint,
    path: &'static str,
}

impl Signer {
    fn new(seed: u8, path: &'static str) -> Self {
        let secp = Secp256k1::new();
        let master = Xpriv::new_master(Network::Regtest, &[seed; 32]).unwrap();
        let steps: DerivationPath = path.parse().unwrap();
        let account = master.derive_priv(&secp, &steps).unwrap();
        Self { account, origin: master.fingerprint(&secp), path }
    }

    fn public(&self) -> String {
        let key = Xpub::from_priv(&Secp256k1::new(), &self.account);
        format!("[{}/{}]{key}/<0;1>/*", self.origin, self.path)
    }

    /// The master key, which is what derivations in a PSBT start from.
    fn master(seed: u8) -> Xpriv {
        Xpriv::new_master(Network::Regtest, &[seed; 32]).unwrap()
    }
}

fn wpkh() -> Keychain {
    keychain(&format!("wpkh({})", Signer::new(1, "84h/1h/0h").public()))
}

/// One keychain of each kind, and how many of the signers 1 to 3 it has.
fn kinds() -> Vec<(Keychain, usize)> {
    let multi = [1, 2, 3].map(|seed| Signer::new(seed, "48h/1h/0h/2h").public()).join(",");
    let nested = [1, 2, 3].map(|seed| Signer::new(seed, "48h/1h/0h/1h").public()).join(",");
    let tr = format!("tr({})", Signer::new(1, "86h/1h/0h").public());
    vec![
        (wpkh(), 1),
        (keychain(&tr), 1),
        (keychain(&format!("wsh(sortedmulti(2,{multi}))")), 3),
        (keychain(&format!("sh(wsh(sortedmulti(2,{nested})))")), 3),
    ]
}

fn keychain(text: &str) -> Keychain {
    Keychain::parse(text, Network::Regtest).unwrap()
}

fn client(node: &Bitcoind) -> Node {
    Node::new(&node.url(), Login::Cookie(node.cookie_file()), None).unwrap()
}

fn wallet(node: &Bitcoind) -> WatchOnly {
    WatchOnly::new(&client(node), NAME.to_owned())
}

fn wanted(keychain: &Keychain, end: u32, unpaid_from: u32) -> Vec<Wanted> {
    let branch = |branch| Wanted {
        descriptor: keychain.single(branch),
        internal: branch == Branch::Internal,
        end,
        unpaid_from,
    };
    vec![branch(Branch::External), branch(Branch::Internal)]
}

fn pay(node: &Bitcoind, keychain: &Keychain, branch: Branch, index: u32, sat: u64) {
    node.send(&keychain.address(branch, index).to_string(), sat);
    node.mine(1);
}

/// Pays, and lets so much time pass that the node does not look back that far by itself.
fn pay_long_ago(node: &Bitcoind, keychain: &Keychain, index: u32, sat: u64) {
    pay(node, keychain, Branch::External, index, sat);
    let tip = node.call("getblockheader", json!([node.tip()]));
    node.call("setmocktime", json!([tip["time"].as_u64().unwrap() + DAY_S]));
    node.mine(12);
}

fn amounts(coins: &[Coin]) -> Vec<u64> {
    let mut amounts: Vec<u64> = coins.iter().map(|coin| coin.amount_sat).collect();
    amounts.sort_unstable();
    amounts
}

fn lose(node: &mut Bitcoind, name: &str) {
    node.call("unloadwallet", json!([name]));
    std::fs::remove_dir_all(node.datadir().join("regtest/wallets").join(name)).unwrap();
}

/// Spends coins to an address of its own change, less a fee.
fn sweep(coins: &[Coin], to: ScriptBuf) -> Psbt {
    let input = |coin: &Coin| TxIn {
        previous_output: coin.outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    };
    let value = Amount::from_sat(coins.iter().map(|coin| coin.amount_sat).sum::<u64>() - 5_000);
    Psbt::from_unsigned_tx(Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: coins.iter().map(input).collect(),
        output: vec![TxOut { value, script_pubkey: to }],
    })
    .unwrap()
}

fn fingerprints(psbt: &Psbt) -> Vec<usize> {
    let known = [1, 2, 3].map(|seed| Signer::new(seed, "").origin);
    psbt.inputs
        .iter()
        .map(|input| {
            let taproot = input.tap_key_origins.values().map(|(_, origin)| origin.0);
            let all: Vec<_> =
                input.bip32_derivation.values().map(|origin| origin.0).chain(taproot).collect();
            assert!(all.iter().all(|origin| known.contains(origin)), "{all:?}");
            all.len()
        })
        .collect()
}

#[tokio::test]
async fn coins_of_every_kind_of_descriptor_are_found_filled_signed_and_finalised() {
    let node = Bitcoind::start();
    let (client, wallet, kinds) = (client(&node), wallet(&node), kinds());
    assert_eq!(wallet.standing().await, Ok(Standing::Missing));
    let all: Vec<Wanted> =
        kinds.iter().flat_map(|(keychain, _)| wanted(keychain, END, 0)).collect();
    wallet.ensure(&all, BIRTH).await.unwrap();
    assert_eq!(
        (wallet.standing().await, wallet.scanning().await),
        (Ok(Standing::Loaded), Ok(None))
    );
    let info = node.call_wallet(NAME, "getwalletinfo", json!([]));
    assert_eq!(
        (&info["private_keys_enabled"], &info["descriptors"]),
        (&false.into(), &true.into())
    );
    for (keychain, signers) in &kinds {
        let (external, internal) = (END - 1, 0);
        node.send(&keychain.address(Branch::External, external).to_string(), 50_000);
        assert_eq!(wallet.coins(1).await, Ok(vec![]), "it is not in the chain");
        pay(&node, keychain, Branch::Internal, internal, 70_000);
        let coins = wallet.coins(1).await.unwrap();
        assert_eq!(amounts(&coins), [50_000, 70_000]);
        assert!(coins.iter().all(|coin| coin.confirmations == 1));
        assert!(
            coins.iter().any(|it| it.script_pubkey == keychain.script(Branch::External, external))
        );
        assert_eq!(wallet.coins(2).await, Ok(vec![]));
        let change = keychain.address(Branch::Internal, 1);
        assert_eq!(wallet.is_ours(&change).await, Ok(true));

        let empty = sweep(&coins, change.script_pubkey());
        let mut psbt = wallet.fill(&empty).await.unwrap();
        assert_eq!(psbt.unsigned_tx, empty.unsigned_tx);
        for (input, coin) in psbt.inputs.iter().zip(&coins) {
            let spent = input.witness_utxo.as_ref().unwrap();
            let expected = (Amount::from_sat(coin.amount_sat), &coin.script_pubkey);
            assert_eq!((spent.value, &spent.script_pubkey), expected);
        }
        assert_eq!(fingerprints(&psbt), [*signers; 2], "{psbt:?}");
        let own = &psbt.outputs[0];
        assert_eq!(own.bip32_derivation.len() + own.tap_key_origins.len(), *signers);

        assert_eq!(client.finalize_psbt(&psbt).await, Ok(None));
        for seed in [1, 2].iter().take(*signers) {
            psbt.sign(&Signer::master(*seed), &Secp256k1::new()).unwrap();
        }
        let raw = client.finalize_psbt(&psbt).await.unwrap().unwrap();
        assert_eq!(client.test_accept(&raw).await, Ok(Ok(())));
        node.submit(&data_encoding::HEXLOWER.encode(&raw));
        assert_eq!(client.test_accept(&raw).await, Ok(Ok(())), "it has it already");
        node.mine(1);
        assert_eq!(client.test_accept(&raw).await, Ok(Ok(())), "it is in the chain");
        assert_eq!(amounts(&wallet.coins(1).await.unwrap()), [115_000]);
        // Only the next kind's coins are looked at after this.
        let coins = wallet.coins(1).await.unwrap();
        let elsewhere: bitcoin::Address<_> = node.new_address().parse().unwrap();
        let away = sweep(&coins, elsewhere.assume_checked().script_pubkey());
        let mut away = wallet.fill(&away).await.unwrap();
        for seed in [1, 2].iter().take(*signers) {
            away.sign(&Signer::master(*seed), &Secp256k1::new()).unwrap();
        }
        let raw = client.finalize_psbt(&away).await.unwrap().unwrap();
        node.submit(&data_encoding::HEXLOWER.encode(&raw));
        node.mine(1);
    }
    let stranger: bitcoin::Address<_> = node.new_address().parse().unwrap();
    assert_eq!(wallet.is_ours(&stranger.assume_checked()).await, Ok(false));
}

#[tokio::test]
async fn a_transaction_that_the_node_does_not_take_has_a_reason() {
    let node = Bitcoind::start();
    let (client, wallet, keychain) = (client(&node), wallet(&node), wpkh());
    wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap();
    pay(&node, &keychain, Branch::External, 0, 50_000);
    let coins = wallet.coins(1).await.unwrap();
    let unsigned = sweep(&coins, keychain.script(Branch::Internal, 0)).unsigned_tx;
    let raw = bitcoin::consensus::serialize(&unsigned);
    let reason = client.test_accept(&raw).await.unwrap().unwrap_err();
    assert!(!reason.is_empty());
    assert!(client.test_accept(b"nonsense").await.is_err());
}

#[tokio::test]
async fn a_feerate_is_what_the_market_pays_and_never_less_than_the_node_takes() {
    let mut node = Bitcoind::start();
    assert_eq!(client(&node).feerate(2).await, Ok(None), "it has seen no market");
    for _ in 0..10 {
        for _ in 0..4 {
            node.send(&node.new_address(), 50_000);
        }
        node.mine(1);
    }
    // The wallet pays 10 sat/vB.
    let feerate = client(&node).feerate(2).await.unwrap().unwrap();
    assert!((9_000..12_000).contains(&feerate), "{feerate}");
    assert!(
        client(&node).feerate(0).await.is_ok() && client(&node).feerate(u16::MAX).await.is_ok()
    );
    node.restart_with("-minrelaytxfee=0.00050");
    assert_eq!(client(&node).feerate(2).await, Ok(Some(50_000)));
}

#[tokio::test]
async fn a_wallet_that_was_deleted_is_made_again_with_the_coins_of_before() {
    let mut node = Bitcoind::start();
    let (wallet, keychain) = (wallet(&node), wpkh());
    wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap();
    pay_long_ago(&node, &keychain, 3, 50_000);
    assert_eq!(amounts(&wallet.coins(1).await.unwrap()), [50_000]);
    lose(&mut node, NAME);
    wallet.ensure(&wanted(&keychain, END, 4), BIRTH).await.unwrap();
    assert_eq!(amounts(&wallet.coins(1).await.unwrap()), [50_000]);
    lose(&mut node, NAME);
    wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap();
    let none = wallet.coins(1).await;
    assert_eq!(none, Ok(vec![]), "what cannot have been paid is not searched for");
}

#[tokio::test]
async fn a_search_that_was_broken_off_is_made_up_for() {
    let node = Bitcoind::start();
    let (wallet, keychain) = (wallet(&node), wpkh());
    pay_long_ago(&node, &keychain, 3, 50_000);
    // As a node has it that was restarted in the middle: all of it is imported.
    wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap();
    for branch in [Branch::External, Branch::Internal] {
        let first = keychain.address(branch, 0).to_string();
        node.call_wallet(NAME, "setlabel", json!([first, ""]));
    }
    assert_eq!(wallet.coins(1).await, Ok(vec![]));
    wallet.ensure(&wanted(&keychain, END, 4), BIRTH).await.unwrap();
    assert_eq!(amounts(&wallet.coins(1).await.unwrap()), [50_000]);
}

#[tokio::test]
async fn a_range_is_widened_and_what_was_paid_there_meanwhile_is_found() {
    let node = Bitcoind::start();
    let (wallet, keychain) = (wallet(&node), wpkh());
    wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap();
    pay_long_ago(&node, &keychain, END + 50, 50_000);
    let beyond = keychain.address(Branch::External, END + 50);
    assert_eq!(wallet.is_ours(&beyond).await, Ok(false));
    assert_eq!(wallet.coins(1).await, Ok(vec![]));
    wallet.ensure(&wanted(&keychain, END + 200, END + 51), BIRTH).await.unwrap();
    assert_eq!(amounts(&wallet.coins(1).await.unwrap()), [50_000]);
    assert_eq!(wallet.is_ours(&beyond).await, Ok(true));
    // Fewer are no reason to do anything: the node cannot narrow a range.
    wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap();
    assert_eq!(wallet.is_ours(&beyond).await, Ok(true));
}

#[tokio::test]
async fn a_restarted_node_has_it_and_an_unloaded_one_is_loaded_with_what_it_missed() {
    let mut node = Bitcoind::start();
    let keychain = wpkh();
    wallet(&node).ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap();
    node.restart();
    let after = wallet(&node);
    assert_eq!(after.scanning().await, Ok(None));
    node.call("unloadwallet", json!([NAME, false]));
    assert_eq!(after.standing().await, Ok(Standing::Unloaded));
    pay(&node, &keychain, Branch::External, 0, 50_000);
    node.restart();
    let after = wallet(&node);
    let missing = after.scanning().await.unwrap_err();
    assert!(matches!(missing, WalletError::NotLoaded { .. }) && missing.is_temporary());
    after.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap();
    assert_eq!(amounts(&after.coins(1).await.unwrap()), [50_000]);
}

#[tokio::test]
async fn a_wallet_that_can_spend_or_knows_others_coins_is_refused_and_left_alone() {
    let node = Bitcoind::start();
    let (wallet, keychain) = (wallet(&node), wpkh());
    node.call("createwallet", json!([NAME]));
    let before = node.call_wallet(NAME, "listdescriptors", json!([]));
    let error = wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap_err();
    assert!(matches!(error, WalletError::PrivateKeys { .. }) && !error.is_temporary(), "{error}");
    assert_eq!(node.call_wallet(NAME, "listdescriptors", json!([])), before);

    let (other, name) = (kinds().swap_remove(1).0, "leasehold-other".to_owned());
    let wallet = WatchOnly::new(&client(&node), name.clone());
    wallet.ensure(&wanted(&other, END, 0), BIRTH).await.unwrap();
    let error = wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await.unwrap_err();
    let WalletError::Foreign { descriptor, .. } = &error else { panic!("{error}") };
    assert!(descriptor.starts_with("tr(") && !error.to_string().contains("tpubD"), "{error}");
    assert!(!error.is_temporary());
    let held = node.call_wallet(&name, "listdescriptors", json!([]))["descriptors"].clone();
    assert_eq!(held.as_array().unwrap().len(), 2, "{held}");
}

#[tokio::test]
async fn a_node_without_wallets_or_without_life_says_so() {
    let mut node = Bitcoind::start_with(&["-disablewallet"]);
    let (wallet, keychain) = (wallet(&node), wpkh());
    let end = wallet.ensure(&wanted(&keychain, END, 0), BIRTH).await;
    assert_eq!(end, Err(WalletError::NoWallets));
    assert_eq!(wallet.scanning().await, Err(WalletError::NoWallets));
    node.kill();
    assert!(wallet.scanning().await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn a_search_of_blocks_that_the_node_has_pruned_fails_each_time() {
    let node = Bitcoind::start_with(&["-prune=1", "-fastprune"]);
    let (wallet, keychain) = (wallet(&node), wpkh());
    node.mine(600);
    let pruned = node.call("pruneblockchain", json!([node.height() - 300]));
    assert!(pruned.as_u64().unwrap() > 100, "{pruned}");
    for _ in 0..2 {
        let error = wallet.ensure(&wanted(&keychain, END, 4), BIRTH).await.unwrap_err();
        let WalletError::Import { detail, .. } = &error else { panic!("{error}") };
        assert!(detail.contains("pruning") && !error.is_temporary(), "{error}");
        assert!(!error.to_string().contains("tpubD"), "{error}");
    }
}

fn watch_only(shop: &Shop) -> Value {
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).unwrap();
    let path = "/v1/admin/wallet";
    let (status, answer) = shop.ask(reqwest::Method::GET, path, Some(key.trim()), None);
    assert_eq!(status, 200, "{answer}");
    answer["watch_only"].clone()
}

fn until_it_is(shop: &Shop, state: &str) -> Value {
    until(&format!("the wallet to be {state}"), || {
        Some(watch_only(shop)).filter(|it| it["state"] == state).ok_or_else(|| watch_only(shop))
    })
}

fn checked(shop: &Shop) -> String {
    let output = shop.command(&["check"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find(|line| line.contains(" payouts ")).unwrap_or_default().to_owned()
}

#[test]
fn a_server_keeps_its_wallet_and_makes_it_anew_when_it_is_gone() {
    once(|shop| {
        let shown = until_it_is(shop, "ready");
        let name = shown["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("leasehold-") && shown["detail"].is_null(), "{shown}");
        let line = checked(shop);
        assert!(line.starts_with("ok ") && line.contains(&name), "{line}");
        let rented = shop.rent("shared", 3600);
        shop.node.send(&rented.address, rented.amount_sat);
        shop.node.mine(1);
        let coins = |shop: &Shop| {
            let list = shop.node.call_wallet(&name, "listunspent", json!([1]));
            list.as_array().unwrap().iter().map(|coin| coin["address"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(coins(shop), [json!(rented.address)]);
        shop.wait_for_tip();
        shop.stop();
        lose(&mut shop.node, &name);
        assert!(checked(shop).contains("will be made at the start"), "{}", checked(shop));
        shop.start();
        until_it_is(shop, "ready");
        assert_eq!(coins(shop), [json!(rented.address)]);
    });
}

#[test]
fn a_server_sells_on_when_its_wallet_is_somebody_elses() {
    once(|shop| {
        let name = until_it_is(shop, "ready")["name"].as_str().unwrap().to_owned();
        shop.stop();
        lose(&mut shop.node, &name);
        shop.node.call("createwallet", json!([name]));
        let line = checked(shop);
        assert!(line.starts_with("WRONG") && line.contains("private keys"), "{line}");
        shop.start();
        let shown = until_it_is(shop, "failing");
        assert!(shown["detail"].as_str().unwrap().contains("private keys"), "{shown}");
        let rented = shop.rent("shared", 3600);
        shop.node.send(&rented.address, rented.amount_sat);
        shop.node.mine(1);
        shop.lease_until("the lease to start", &rented.lease, |lease| lease["state"] == "active");
        assert_eq!(shop.log().matches("no payouts").count(), 1, "it is said once");
    });
}
