//! Two servers on one PostgreSQL, each with a node of its own: what one prepares the other sends,
//! and nothing is in two batches.

use std::collections::BTreeSet;

use super::*;
use crate::harness::pair::{Pair, pair_of};

fn both(body: impl Fn(&mut Pair, &Signer) + Sync) {
    let signer = Signer::new(Kind::Wpkh);
    pair_of(Some(&signer.descriptor()), STORM, |pair| body(pair, &signer));
}

/// New holders whose payouts are due, as both nodes know.
fn owed(pair: &Pair, count: u64) -> Vec<Holder> {
    let holders = holders(&pair.a, count);
    pair.connect();
    pair.wait_for_tip();
    pair.b.wait_for_wallet();
    holders
}

#[test]
fn a_batch_prepared_on_one_and_sent_by_the_other_is_seen_by_both() {
    both(|pair, signer| {
        let first = owed(pair, 2);
        let batch = pair.a.prepare(&json!({}));
        for shop in pair.each() {
            all_in(shop, &first, "prepared");
            nothing_due(shop);
        }
        pair.b.sign_and_submit(signer, &batch);
        assert!(is_pending(&pair.b, &batch["txid"]));
        for shop in pair.each() {
            all_in(shop, &first, "broadcast");
            nothing_due(shop);
        }
        // The first server's node has not heard of it, and bumps it.
        seen_pending(&pair.a, &batch["id"], 1);
        let bumped = pair.a.bump(&batch, 4000);
        pair.a.sign_and_submit(signer, &psbt_of(&pair.a, &bumped, 2));
        pair.mine(1);
        pair.wait_for_tip();
        for shop in pair.each() {
            let batch = shop.batch_in(&batch["id"], "confirmed");
            let mined = batch["versions"].as_array().unwrap().iter();
            assert_eq!(mined.filter(|version| version["height"].is_u64()).count(), 1, "{batch}");
            all_in(shop, &first, "confirmed");
        }
        paid_once(&pair.a, &first);
        // One sends and dies; the other sees the block.
        let second = owed(pair, 1);
        let batch = pair.a.prepare(&json!({}));
        pair.a.sign_and_submit(signer, &batch);
        pair.connect();
        pair.a.kill();
        pair.b.node.mine(1);
        pair.b.batch_in(&batch["id"], "confirmed");
        all_in(&pair.b, &second, "confirmed");
        pair.connect();
        pair.a.start();
        paid_once(&pair.a, &[first, second].concat());
    });
}

/// Asks both at once.
fn at_once(pair: &Pair, here: &Value, there: &Value) -> [(u16, Value); 2] {
    let [a, b] = pair.each();
    std::thread::scope(|scope| {
        let there = scope.spawn(|| b.operate(Method::POST, "payouts/prepare", Some(there)));
        let here = a.operate(Method::POST, "payouts/prepare", Some(here));
        [here, there.join().expect("it asks")]
    })
}

/// The coins of all batches that wait or were sent are different ones.
fn no_coin_twice(batches: &[Value]) {
    let all: Vec<_> = batches.iter().flat_map(coins).collect();
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), different.len(), "a coin is in two batches");
}

#[test]
fn two_prepares_at_once_have_no_payout_and_no_coin_in_common() {
    both(|pair, signer| {
        let mut all = Vec::new();
        let body = |only: Option<&Holder>| match only {
            Some(holder) => json!({ "feerate_msat_vb": 1000, "only": [holder.payout] }),
            None => json!({ "feerate_msat_vb": 1000 }),
        };
        for round in 0..6 {
            let holders = owed(pair, 2);
            let (here, there) = match round % 2 {
                0 => (body(None), body(None)),
                _ => (body(Some(&holders[0])), body(Some(&holders[1]))),
            };
            let answers = at_once(pair, &here, &there);
            let mut made = Vec::new();
            for (status, answer) in answers {
                assert!(status == 201 || status == 409, "{status} {answer}");
                made.extend((status == 201).then(|| answer["batch"].clone()));
            }
            assert!(!made.is_empty() && made.len() <= 1 + round % 2, "{made:?}");
            // What was refused is made now.
            let (status, rest) = pair.b.try_prepare(&body(None));
            made.extend((status == 201).then(|| rest["batch"].clone()));
            no_coin_twice(&made);
            let paid = made.iter().map(|it| number(&it["pays"]["total_sat"])).sum::<u64>();
            assert_eq!(paid, holders.iter().map(|holder| holder.owed_sat).sum::<u64>());
            for (n, batch) in made.iter().enumerate() {
                pair.each()[n % 2].sign_and_submit(signer, batch);
            }
            pair.mine(1);
            pair.wait_for_tip();
            all_in(&pair.b, &holders, "confirmed");
            all.extend(holders);
        }
        paid_once(&pair.a, &all);
    });
}
