//! What every draft keeps to, whatever coins, payouts and feerates there are.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, ScriptBuf};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{coin, config, payout, pkh, wanted, wpkh};
use crate::domain::payout::draft::{
    Draft, DraftError, LeftOut, MOST_INPUTS, Order, draft, dust_sat,
};
use crate::domain::payout::fee::{FeePolicy, fee_sat};

/// From dust to what a lease costs, mostly in the region where limits matter.
fn sats() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..700, 200u64..5000, 1000u64..200_000]
}

/// Scripts of both kinds, few enough that payouts meet at one.
fn scripts() -> impl Strategy<Value = ScriptBuf> {
    (0u8..5, any::<bool>()).prop_map(|(n, old)| if old { pkh(n) } else { wpkh(n) })
}

fn orders() -> impl Strategy<Value = Order> {
    let policy = prop_oneof![3 => Just(FeePolicy::Recipient), 1 => Just(FeePolicy::Sender)];
    let feerate = prop_oneof![Just(1000u64), 100u64..20_000];
    let limit = prop_oneof![Just(25u64), 0u64..=100];
    let coins = vec((sats(), any::<bool>()), 0..20);
    let payouts = vec((scripts(), sats()), 0..12);
    (policy, feerate, limit, coins, payouts).prop_map(
        |(fee_policy, feerate_msat, max_fee_pct, coins, payouts)| {
            let all = (0..).zip(coins).map(|(n, (sat, must))| (coin(n, sat * 4), must));
            let (must, coins): (Vec<_>, Vec<_>) =
                all.partition(|(coin, must)| *must && coin.outpoint.vout < 3);
            let payouts = (0..).zip(payouts).map(|(n, (script, sat))| wanted(n, script, sat));
            Order {
                feerate_msat,
                fee_policy,
                max_fee_pct,
                change: wpkh(255),
                must: must.into_iter().map(|(coin, _)| coin).collect(),
                coins: coins.into_iter().map(|(coin, _)| coin).collect(),
                payouts: payouts.collect(),
            }
        },
    )
}

fn outpoints(draft: &Draft) -> BTreeSet<OutPoint> {
    draft.inputs.iter().map(|coin| coin.outpoint).collect()
}

fn above(fee_sat: u64, of_sat: u64, pct: u64) -> bool {
    u128::from(fee_sat) * 100 > u128::from(of_sat) * u128::from(pct)
}

/// Value in is value out, and the miner gets what was promised.
fn assert_value(order: &Order, made: &Draft) {
    let into: u64 = made.inputs.iter().map(|coin| coin.amount_sat).sum();
    let out: u64 = made.outputs.iter().map(|output| output.amount_sat).sum();
    assert_eq!(into, out + made.fee_sat);
    assert!(made.fee_sat >= fee_sat(made.weight, order.feerate_msat), "{made:?}");
    let tx = made.transaction();
    let paid: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
    assert_eq!((paid, tx.output.len()), (out, made.outputs.len()));
    assert!(made.weight > tx.weight().to_wu());
}

fn assert_inputs(order: &Order, made: &Draft) {
    let spent = outpoints(made);
    assert_eq!(spent.len(), made.inputs.len(), "no coin twice");
    assert!(spent.len() <= MOST_INPUTS);
    assert!(order.must.iter().all(|coin| spent.contains(&coin.outpoint)));
    assert!(made.inputs.iter().all(|it| order.coins.contains(it) || order.must.contains(it)));
}

/// Each payout is paid once or left out once; one output an address, none of them dust.
fn assert_outputs(order: &Order, made: &Draft) {
    let scripts: BTreeSet<_> = made.outputs.iter().map(|it| &it.script_pubkey).collect();
    assert_eq!(scripts.len(), made.outputs.len(), "one output an address");
    let mut seen = BTreeMap::new();
    for output in &made.outputs {
        assert!(output.amount_sat >= dust_sat(&output.script_pubkey), "{output:?}");
        let taken: u64 = output.shares.iter().map(|share| share.amount_sat).sum();
        let fee_sat: u64 = output.shares.iter().map(|share| share.fee_sat).sum();
        if output.shares.is_empty() {
            assert_eq!(output.script_pubkey, order.change);
            continue;
        }
        assert_eq!(output.amount_sat, taken - fee_sat);
        assert!(!above(fee_sat, taken, order.max_fee_pct), "{output:?}");
        for share in &output.shares {
            let found = order.payouts.iter().find(|it| it.id == share.id).unwrap();
            assert_eq!(
                (&found.script_pubkey, found.amount_sat),
                (&output.script_pubkey, share.amount_sat)
            );
            assert!(share.fee_sat <= share.amount_sat);
            assert_eq!(seen.insert(share.id.clone(), true), None);
        }
    }
    for (id, _) in &made.left_out {
        assert_eq!(seen.insert(id.clone(), false), None);
    }
    let real = order.payouts.iter().filter(|wanted| wanted.amount_sat > 0).count();
    assert_eq!(seen.len(), real, "none is forgotten");
}

/// Who paid the fee.
fn assert_policy(order: &Order, made: &Draft) {
    let shares = || made.outputs.iter().flat_map(|output| &output.shares);
    let borne: u64 = shares().map(|share| share.fee_sat).sum();
    let found: u64 = made.inputs.iter().map(|coin| coin.amount_sat).sum();
    let change = made.change().map_or(0, |change| change.amount_sat);
    let spare = found - made.total_sat() - change;
    assert_eq!(borne, made.fee_sat - spare, "recipients pay what leftover change does not");
    match order.fee_policy {
        FeePolicy::Sender => {
            assert_eq!(borne, 0);
            assert!(!above(made.fee_sat, made.total_sat(), order.max_fee_pct));
        }
        FeePolicy::Recipient if made.change().is_some() => assert_eq!(spare, 0),
        FeePolicy::Recipient => assert!(spare < dust_sat(&order.change)),
    }
    let each: Vec<u64> = made
        .outputs
        .iter()
        .filter(|output| !output.shares.is_empty())
        .map(|output| output.shares.iter().map(|share| share.fee_sat).sum())
        .collect();
    let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
    assert!(most - least <= 1, "equal shares for every output: {each:?}");
}

/// What is refused would be refused alone: too small whatever else there is, or its share at
/// what one more output costs is too much.
fn assert_left_out(order: &Order, left_out: &[(crate::domain::ids::PayoutId, LeftOut)]) {
    let sum = |script: &ScriptBuf| -> u64 {
        let own = order.payouts.iter().filter(|it| it.script_pubkey == *script);
        own.map(|it| it.amount_sat).sum()
    };
    for (id, why) in left_out {
        let wanted = order.payouts.iter().find(|it| it.id == *id).unwrap();
        let sat = sum(&wanted.script_pubkey);
        match why {
            LeftOut::Dust { left_sat } => assert!(*left_sat < dust_sat(&wanted.script_pubkey)),
            LeftOut::Fee { fee_sat, limit_pct } => {
                assert_eq!(*limit_pct, order.max_fee_pct);
                assert!(above(*fee_sat, sat, *limit_pct));
            }
            // All that is offered is not enough for everything, with the fee if the sender pays it.
            LeftOut::Funds => assert!(short(order)),
        }
    }
}

/// Whether the coins might not be enough for all payouts and a fee.
fn short(order: &Order) -> bool {
    let offered: u64 = order.coins.iter().chain(&order.must).map(|coin| coin.amount_sat).sum();
    let asked: u64 = order.payouts.iter().map(|wanted| wanted.amount_sat).sum();
    offered < asked || order.fee_policy == FeePolicy::Sender
}

fn assert_error(order: &Order, error: &DraftError) {
    let offered: u64 = order.coins.iter().chain(&order.must).map(|coin| coin.amount_sat).sum();
    match error {
        DraftError::Funds { needed_sat, available_sat } => {
            assert_eq!(*available_sat, offered);
            let none = order.coins.is_empty() && order.must.is_empty();
            assert!(needed_sat > available_sat || none);
        }
        DraftError::Nothing { left_out } => {
            assert_left_out(order, left_out);
            let real = order.payouts.iter().filter(|wanted| wanted.amount_sat > 0).count();
            assert_eq!(left_out.len(), real);
        }
        DraftError::Fee { fee_sat, total_sat, limit_pct } => {
            assert_eq!(order.fee_policy, FeePolicy::Sender);
            assert!(above(*fee_sat, *total_sat, *limit_pct));
        }
        DraftError::Inputs => panic!("so many were not offered"),
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn every_draft_keeps_value_pays_its_feerate_and_says_what_it_left_out(order in orders()) {
        match draft(&order) {
            Ok(made) => {
                assert_value(&order, &made);
                assert_inputs(&order, &made);
                assert_outputs(&order, &made);
                assert_policy(&order, &made);
                assert_left_out(&order, &made.left_out);
            }
            Err(error) => assert_error(&order, &error),
        }
    }

    #[test]
    fn the_same_facts_in_any_order_give_the_same_draft(
        (order, turned) in orders().prop_flat_map(|order| {
            let coins = Just(order.coins.clone()).prop_shuffle();
            let must = Just(order.must.clone()).prop_shuffle();
            let payouts = Just(order.payouts.clone()).prop_shuffle();
            let turned = (coins, must, payouts);
            (Just(order), turned)
        }),
    ) {
        let (coins, must, payouts) = turned;
        let other = Order { coins, must, payouts, ..order.clone() };
        prop_assert_eq!(draft(&order), draft(&other));
    }

    #[test]
    fn what_a_draft_left_out_makes_no_difference(order in orders()) {
        let Ok(made) = draft(&order) else { return Ok(()) };
        let paid = |id| !made.left_out.iter().any(|(left, _)| left == id);
        let payouts = order.payouts.iter().filter(|it| paid(&it.id)).cloned().collect();
        let again = draft(&Order { payouts, ..order.clone() });
        prop_assert_eq!(again, Ok(Draft { left_out: Vec::new(), ..made }));
    }
}

#[test]
fn what_is_left_out_is_named_in_the_order_of_addresses() {
    let order = Order {
        payouts: vec![wanted(2, wpkh(9), 100), wanted(1, wpkh(9), 10), wanted(3, wpkh(1), 5)],
        ..super::order(vec![coin(1, 10_000)], Vec::new())
    };
    let Err(DraftError::Nothing { left_out }) = draft(&order) else { panic!("all are dust") };
    let ids: Vec<_> = left_out.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [payout(3), payout(1), payout(2)]);
}
