//! The visitor against the `bitcoin` crate's full decode, on random and on damaged bytes, and
//! the watch set against a plain map.

use std::collections::HashMap;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Witness, transaction,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::domain::keychain::Branch;

/// A script of one of the usual forms; equal seeds give equal scripts.
fn script(form: u8, seed: u64) -> ScriptBuf {
    let mut program = [0x5a; 32];
    program[24..].copy_from_slice(&seed.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    let bytes = match form {
        0 => [&[0x00, 0x14][..], &program[12..]].concat(),
        1 => [&[0x00, 0x20][..], &program].concat(),
        2 => [&[0x51, 0x20][..], &program].concat(),
        3 => [&[0xa9, 0x14][..], &program[12..], &[0x87]].concat(),
        _ => program[29..].to_vec(),
    };
    ScriptBuf::from_bytes(bytes)
}

fn place(index: u32) -> Place {
    let branch = if index.is_multiple_of(3) { Branch::Internal } else { Branch::External };
    Place { keychain: 9, branch, index }
}

/// Watches a third of the scripts and a fifth of the outpoints that the strategies below make.
fn watch() -> WatchSet {
    let mut watch = WatchSet::new();
    for form in 0..5 {
        for seed in (0..12).step_by(3) {
            watch.insert(&script(form, seed), place(u32::from(form) * 100));
        }
    }
    for seed in (0..10).step_by(5) {
        watch.watch_outpoint(outpoint(seed));
    }
    watch
}

fn outpoint(seed: u8) -> OutPoint {
    OutPoint { txid: Txid::from_byte_array([seed; 32]), vout: seed.into() }
}

prop_compose! {
    fn input()(seed in 0..10u8, sig in vec(any::<u8>(), 0..4), items in vec(vec(any::<u8>(), 0..3), 0..3), null in any::<bool>()) -> TxIn {
        TxIn {
            previous_output: if null { OutPoint::null() } else { outpoint(seed) },
            script_sig: ScriptBuf::from_bytes(sig),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&items),
        }
    }
}

prop_compose! {
    fn output()(form in 0..5u8, seed in 0..12u64, sat in any::<u64>()) -> TxOut {
        TxOut { value: Amount::from_sat(sat), script_pubkey: script(form, seed) }
    }
}

prop_compose! {
    fn tx()(mut input in vec(input(), 1..4), output in vec(output(), 0..4), legacy in any::<bool>(), lock in any::<u32>()) -> Transaction {
        if legacy {
            input.iter_mut().for_each(|input| input.witness = Witness::new());
        }
        Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::from_consensus(lock),
            input,
            output,
        }
    }
}

fn block(txdata: Vec<Transaction>) -> Block {
    let header = Header {
        version: Version::TWO,
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 1,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    };
    Block { header, txdata }
}

/// The same answer the slow way, from the decoded transaction.
fn expected(tx: &Transaction, position: u32, watch: &WatchSet) -> Option<TxHit> {
    let outputs: Vec<_> = (0..)
        .zip(&tx.output)
        .filter_map(|(vout, output)| {
            let place = watch.find(output.script_pubkey.as_bytes())?;
            let script_pubkey = output.script_pubkey.clone();
            Some(OutputHit { vout, script_pubkey, amount_sat: output.value.to_sat(), place })
        })
        .collect();
    let inputs: Vec<_> = tx.input.iter().map(|input| input.previous_output).collect();
    let spends: Vec<_> =
        inputs.iter().copied().filter(|spent| watch.watches_outpoint(spent)).collect();
    (!outputs.is_empty() || !spends.is_empty()).then(|| TxHit {
        txid: tx.compute_txid(),
        position,
        coinbase: tx.is_coinbase(),
        outputs,
        inputs,
        spends,
        raw: serialize(tx),
    })
}

fn expected_in(block: &Block, watch: &WatchSet) -> Vec<TxHit> {
    (0..).zip(&block.txdata).filter_map(|(position, tx)| expected(tx, position, watch)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_transaction_is_seen_as_the_full_decode_sees_it(tx in tx()) {
        let watch = watch();
        prop_assert_eq!(scan_tx(&serialize(&tx), &watch), Ok(expected(&tx, 0, &watch)));
    }

    #[test]
    fn a_block_is_seen_as_the_full_decode_sees_it(txdata in vec(tx(), 0..6)) {
        let (watch, block) = (watch(), block(txdata));
        let bytes = serialize(&block);
        prop_assert_eq!(scan_block(&bytes, &watch), Ok(expected_in(&block, &watch)));
        prop_assert_eq!(transaction_count(&bytes), Ok(block.txdata.len() as u64));
    }

    #[test]
    fn a_cut_block_is_refused_and_never_panics(txdata in vec(tx(), 1..4), cut in any::<prop::sample::Index>()) {
        let bytes = serialize(&block(txdata));
        let cut = cut.index(bytes.len());
        prop_assert_eq!(scan_block(&bytes[..cut], &watch()), Err(ScanError::Truncated));
    }

    #[test]
    fn damaged_bytes_are_taken_only_where_the_full_decode_takes_them(
        txdata in vec(tx(), 1..4),
        changes in vec((any::<prop::sample::Index>(), prop_oneof![Just(0), Just(1), Just(0xfd), Just(0xff), any::<u8>()]), 1..4),
    ) {
        let watch = watch();
        let mut bytes = serialize(&block(txdata));
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let slow = deserialize::<Block>(&bytes);
        let fast = scan_block(&bytes, &watch);
        prop_assert_eq!(fast.is_ok(), slow.is_ok(), "{:?} but {:?}", fast, slow);
        if let (Ok(fast), Ok(slow)) = (fast, slow) {
            prop_assert_eq!(fast, expected_in(&slow, &watch));
        }
    }

    #[test]
    fn any_bytes_at_all_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let watch = watch();
        let _ = scan_block(&bytes, &watch);
        prop_assert_eq!(scan_tx(&bytes, &watch).is_ok(), deserialize::<Transaction>(&bytes).is_ok());
    }

    #[test]
    fn the_watch_set_answers_as_a_map_does(inserts in vec((0..5u8, 0..400u64), 0..900)) {
        let mut watch = WatchSet::new();
        let mut map = HashMap::new();
        for (index, (form, seed)) in (0..).zip(inserts) {
            let new = watch.insert(&script(form, seed), place(index));
            prop_assert_eq!(new, !map.contains_key(&script(form, seed)));
            map.entry(script(form, seed)).or_insert_with(|| place(index));
        }
        prop_assert_eq!(watch.len(), map.len());
        for form in 0..5 {
            for seed in 0..500 {
                let script = script(form, seed);
                prop_assert_eq!(watch.find(script.as_bytes()), map.get(&script).copied());
            }
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let empty = block(Vec::new());
    let mut bytes = serialize(&empty);
    assert_eq!(scan_block(&bytes, &watch()), Ok(Vec::new()));
    bytes.push(0);
    assert_eq!(scan_block(&bytes, &watch()), Err(ScanError::TrailingBytes { count: 1 }));
}

#[test]
fn scripts_with_one_fingerprint_are_told_apart() {
    let mut watch = WatchSet::new();
    let twins: Vec<_> = (0..50).map(|n| [&[n; 26][..], &[7; 8]].concat()).collect();
    for (index, twin) in (0..40).zip(&twins) {
        assert!(watch.insert(ScriptBuf::from_bytes(twin.clone()).as_script(), place(index)));
    }
    for (index, twin) in (0..).zip(&twins) {
        assert_eq!(watch.find(twin), (index < 40).then(|| place(index)));
    }
}

#[test]
fn a_place_keeps_its_largest_values() {
    let mut watch = WatchSet::new();
    let last = Place { keychain: u32::MAX, branch: Branch::Internal, index: (1 << 31) - 1 };
    watch.insert(&script(0, 1), last);
    assert_eq!(watch.find(script(0, 1).as_bytes()), Some(last));
}

#[test]
fn an_unwatched_outpoint_is_no_longer_reported() {
    let mut watch = WatchSet::new();
    watch.watch_outpoint(outpoint(1));
    assert!(watch.watches_outpoint(&outpoint(1)));
    watch.unwatch_outpoint(&outpoint(1));
    assert!(!watch.watches_outpoints());
}

#[test]
fn a_watched_script_costs_at_most_sixty_bytes_at_any_size() {
    for (form, most) in [(0, 48), (2, 60)] {
        let mut watch = WatchSet::new();
        let mut worst = 0;
        for index in 0..200_000 {
            watch.insert(&script(form, index.into()), place(index));
            // Below this the first chunk of rows dominates, and the sum does not matter.
            if index > 50_000 {
                worst = worst.max(watch.allocated_bytes() * 100 / watch.len());
            }
        }
        assert!(worst <= most * 100, "{worst} hundredths of a byte");
    }
    let mut exact = WatchSet::with_capacity(200_000);
    for index in 0..200_000 {
        exact.insert(&script(2, index.into()), place(index));
    }
    assert!(exact.allocated_bytes() / exact.len() <= 55);
}
