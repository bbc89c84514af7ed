//! Drafts, case by case: who pays what, what is left out, and why there is none.

use bitcoin::Sequence;

use super::{coin, order, payout, pkh, wanted, wpkh};
use crate::domain::payout::draft::{Coin, Draft, DraftError, LeftOut, MOST_INPUTS, Order, draft};
use crate::domain::payout::fee::FeePolicy;

/// A wpkh input, a wpkh output, and what a transaction has besides, in weight units.
const INPUT: u64 = 4 * 41 + 1 + 107;
const OUTPUT: u64 = 4 * 31;
const REST: u64 = 4 * 10 + 2;

fn fee_of(inputs: u64, outputs: u64) -> u64 {
    (inputs * INPUT + outputs * OUTPUT + REST).div_ceil(4)
}

/// Values of the outputs, in their order.
fn values(draft: &Draft) -> Vec<u64> {
    draft.outputs.iter().map(|output| output.amount_sat).collect()
}

fn sender(order: Order) -> Order {
    Order { fee_policy: FeePolicy::Sender, ..order }
}

#[test]
fn the_recipients_share_the_fee_and_the_change_bears_none() {
    let payouts = vec![wanted(1, wpkh(1), 10_000), wanted(2, wpkh(2), 50_000)];
    let made = draft(&order(vec![coin(1, 100_000)], payouts)).unwrap();
    let fee_sat = fee_of(1, 3);
    assert_eq!((made.fee_sat, fee_sat), (172, 172));
    assert_eq!(values(&made), [10_000 - 86, 50_000 - 86, 40_000]);
    assert_eq!(made.change().unwrap().amount_sat, 40_000);
    assert_eq!(made.total_sat(), 60_000);
    assert!(made.left_out.is_empty());
}

#[test]
fn the_sender_pays_the_fee_out_of_its_change() {
    let payouts = vec![wanted(1, wpkh(1), 10_000), wanted(2, wpkh(2), 50_000)];
    let made = draft(&sender(order(vec![coin(1, 100_000)], payouts))).unwrap();
    assert_eq!(values(&made), [10_000, 50_000, 40_000 - fee_of(1, 3)]);
    assert!(made.outputs.iter().flat_map(|output| &output.shares).all(|it| it.fee_sat == 0));
}

#[test]
fn change_that_nodes_would_not_relay_goes_to_the_fee_first() {
    let pay = |spare_sat: u64| {
        let made =
            draft(&order(vec![coin(1, 10_000 + spare_sat)], vec![wanted(1, wpkh(1), 10_000)]));
        let made = made.unwrap();
        (values(&made), made.fee_sat)
    };
    let fee_sat = fee_of(1, 1);
    assert_eq!(pay(0), (vec![10_000 - fee_sat], fee_sat));
    assert_eq!(pay(100), (vec![10_000 - fee_sat + 100], fee_sat), "the recipient pays the rest");
    assert_eq!(pay(293), (vec![10_000], 293), "more than the fee: the miner gets it");
    let with_sat = fee_of(1, 2);
    assert_eq!(pay(294), (vec![10_000 - with_sat, 294], with_sat));
}

#[test]
fn the_sender_has_no_change_when_too_little_is_left_of_it() {
    let pay = |spare_sat: u64| {
        let coins = vec![coin(1, 10_000 + spare_sat)];
        draft(&sender(order(coins, vec![wanted(1, wpkh(1), 10_000)])))
    };
    let (alone, with) = (fee_of(1, 1), fee_of(1, 2));
    let needed_sat = 10_000 + alone;
    let available_sat = needed_sat - 1;
    assert_eq!(pay(alone - 1), Err(DraftError::Funds { needed_sat, available_sat }));
    for spare_sat in [alone, with + 293] {
        let made = pay(spare_sat).unwrap();
        assert_eq!((values(&made), made.fee_sat), (vec![10_000], spare_sat));
    }
    assert_eq!(values(&pay(with + 294).unwrap()), [10_000, 294]);
}

#[test]
fn payouts_to_one_address_are_one_output_and_share_its_part_of_the_fee_by_their_amounts() {
    let payouts =
        vec![wanted(1, wpkh(1), 1000), wanted(2, wpkh(2), 9000), wanted(3, wpkh(1), 3000)];
    let made = draft(&order(vec![coin(1, 13_000)], payouts)).unwrap();
    assert_eq!(made.fee_sat, fee_of(1, 2));
    assert_eq!((made.fee_sat, values(&made)), (141, vec![4000 - 71, 9000 - 70]));
    let shares: Vec<_> = made.outputs[0]
        .shares
        .iter()
        .map(|it| (it.id.clone(), it.amount_sat, it.fee_sat))
        .collect();
    assert_eq!(shares, [(payout(1), 1000, 18), (payout(3), 3000, 53)]);
}

#[test]
fn what_would_be_dust_or_pay_too_much_of_the_fee_is_left_out_and_why() {
    let order = Order {
        feerate_msat: 4000,
        ..order(
            vec![coin(1, 200_000)],
            vec![
                wanted(1, wpkh(1), 400),     // dust once it has paid its share
                wanted(2, pkh(2), 700),      // more than 546 alone, less with the share
                wanted(3, wpkh(3), 900),     // could be paid, but for the limit
                wanted(4, wpkh(4), 100_000), // fine
                wanted(5, wpkh(5), 0),       // nothing to pay
            ],
        )
    };
    let made = draft(&order).unwrap();
    let why = |n| made.left_out.iter().find(|(id, _)| *id == payout(n)).map(|(_, why)| *why);
    assert!(matches!(why(1), Some(LeftOut::Dust { left_sat }) if left_sat < 294), "{made:?}");
    assert!(matches!(why(2), Some(LeftOut::Dust { left_sat }) if left_sat < 546), "{made:?}");
    assert!(
        matches!(why(3), Some(LeftOut::Fee { fee_sat, limit_pct: 25 }) if fee_sat > 225),
        "{made:?}"
    );
    assert_eq!((why(4), why(5)), (None, None));
    assert_eq!(made.total_sat(), 100_000);
}

#[test]
fn a_share_at_the_limit_is_paid_and_one_above_it_is_not() {
    let pay = |sat: u64| draft(&order(vec![coin(1, sat)], vec![wanted(1, wpkh(1), sat)]));
    let limit_sat = 4 * fee_of(1, 1); // a quarter
    assert_eq!(values(&pay(limit_sat).unwrap()), [limit_sat / 4 * 3]);
    let why = LeftOut::Fee { fee_sat: limit_sat / 4, limit_pct: 25 };
    assert_eq!(pay(limit_sat - 1), Err(DraftError::Nothing { left_out: vec![(payout(1), why)] }));
}

#[test]
fn the_sender_is_refused_a_fee_above_the_limit_and_leaves_dust_out() {
    let pay =
        |sat: u64| draft(&sender(order(vec![coin(1, 100_000)], vec![wanted(1, wpkh(1), sat)])));
    let fee_sat = fee_of(1, 2);
    let error = DraftError::Fee { fee_sat, total_sat: 4 * fee_sat - 1, limit_pct: 25 };
    assert_eq!(pay(4 * fee_sat - 1), Err(error));
    assert!(pay(4 * fee_sat).is_ok());
    let why = LeftOut::Dust { left_sat: 293 };
    assert_eq!(pay(293), Err(DraftError::Nothing { left_out: vec![(payout(1), why)] }));
}

#[test]
fn the_largest_coins_are_taken_first_and_no_more_than_are_needed() {
    let coins = [coin(1, 1000), coin(2, 30_000), coin(3, 20_000), coin(4, 20_000)];
    let pay = |must: Vec<u8>, sat| {
        let is_must = |it: &Coin| must.iter().any(|n| it.outpoint.vout == u32::from(*n));
        let (must, coins) = coins.iter().cloned().partition(is_must);
        let made = draft(&Order { must, ..order(coins, vec![wanted(1, wpkh(1), sat)]) }).unwrap();
        made.inputs.iter().map(|coin| coin.outpoint.vout).collect::<Vec<_>>()
    };
    assert_eq!(pay(vec![], 30_000), [2]);
    assert_eq!(pay(vec![], 30_001), [2, 3]);
    assert_eq!(pay(vec![], 50_001), [2, 3, 4]);
    assert_eq!(pay(vec![1], 1000), [1], "what must be spent is enough");
    assert_eq!(pay(vec![1], 1001), [1, 2]);
    assert_eq!(pay(vec![1, 4], 3000), [1, 4], "spent though not needed");
}

#[test]
fn a_coin_that_is_offered_twice_is_spent_once() {
    let twice = Order {
        must: vec![coin(1, 5000)],
        ..order(vec![coin(1, 5000), coin(2, 4000)], vec![wanted(1, wpkh(1), 8000)])
    };
    let inputs: Vec<u32> =
        draft(&twice).unwrap().inputs.iter().map(|coin| coin.outpoint.vout).collect();
    assert_eq!(inputs, [1, 2]);
}

#[test]
fn more_coins_than_a_transaction_takes_are_refused() {
    let many = |count: usize| -> Vec<_> {
        let coin = |n: usize| {
            let mut coin = coin(1, 1000);
            coin.outpoint.vout = n.try_into().unwrap();
            coin
        };
        (0..count).map(coin).collect()
    };
    let most = u64::try_from(MOST_INPUTS).unwrap() * 1000;
    let pay = |must, coins, sat| {
        let order = Order { max_fee_pct: 100, ..order(coins, vec![wanted(1, wpkh(1), sat)]) };
        draft(&Order { must, ..order })
    };
    let full = pay(vec![], many(MOST_INPUTS + 1), most).unwrap();
    assert_eq!(full.inputs.len(), MOST_INPUTS);
    assert_eq!(pay(vec![], many(MOST_INPUTS + 1), most + 1), Err(DraftError::Inputs));
    assert_eq!(pay(many(MOST_INPUTS + 1), vec![], most), Err(DraftError::Inputs));
}

#[test]
fn without_coins_or_payouts_there_is_nothing() {
    let error = DraftError::Funds { needed_sat: 9000, available_sat: 0 };
    assert_eq!(draft(&order(vec![], vec![wanted(1, wpkh(1), 9000)])), Err(error));
    let none = DraftError::Nothing { left_out: vec![] };
    assert_eq!(draft(&order(vec![coin(1, 9000)], vec![])), Err(none.clone()));
    assert_eq!(draft(&order(vec![coin(1, 9000)], vec![wanted(1, wpkh(1), 0)])), Err(none));
}

#[test]
fn the_transaction_can_be_replaced_and_has_no_lock_time() {
    let made = draft(&order(vec![coin(1, 9000)], vec![wanted(1, wpkh(1), 8000)])).unwrap();
    let tx = made.transaction();
    assert_eq!((tx.version.0, tx.lock_time.to_consensus_u32()), (2, 0));
    assert!(tx.is_explicitly_rbf());
    assert!(tx.input.iter().all(|input| input.sequence == Sequence::ENABLE_RBF_NO_LOCKTIME));
    let paid: Vec<u64> = tx.output.iter().map(|output| output.value.to_sat()).collect();
    assert_eq!(paid, values(&made));
}
