//! Which price and which confirmations a payment gets.

use super::*;
use crate::domain::price::Price;
use crate::domain::resource::Tier;

#[test]
fn when_the_price_changes_on_time_money_gets_the_old_one_and_late_money_the_new() {
    let mut case = Case::new();
    case.pass(60);
    case.change(|terms| terms.price.sat = 1000);
    case.paid(0, 1000);
    assert_eq!(case.seconds(), [2 * HOUR]);
    case.pass(1800);
    case.paid(0, 1000);
    assert_eq!(case.seconds(), [2 * HOUR, HOUR]);
}

#[test]
fn late_money_gets_the_price_of_when_it_was_first_seen_not_of_its_block() {
    let mut case = Case::new();
    case.pass(1801);
    let payment = case.pays(0, 1000);
    case.pass(60);
    case.change(|terms| terms.price.sat = 1000);
    case.mine(&[payment]);
    assert_eq!(case.seconds(), [2 * HOUR]);
}

#[test]
fn seen_in_time_but_mined_after_the_price_lock_is_late() {
    let mut in_time = Case::new();
    let payment = in_time.pays(0, 1000);
    in_time.pass(60);
    in_time.change(|terms| terms.price.sat = 1000);
    in_time.now = START.plus_s(1800 + 72 * HOUR);
    in_time.mine(&[payment]);
    assert_eq!((in_time.seconds(), in_time.flags(0)), (vec![2 * HOUR], vec![]));

    let mut late = Case::new();
    late.pass(1700);
    late.change(|terms| terms.price.sat = 1000);
    let payment = late.pays(0, 1000);
    late.now = START.plus_s(1801 + 72 * HOUR);
    late.mine(&[payment]);
    assert_eq!((late.seconds(), late.flags(0)), (vec![HOUR], vec![InvoiceFlag::Late]));
}

/// A payment that is found in a block only, an hour after the quote, with the last look at the
/// mempool at `prior_look_at` and the block's median time past at `mtp_at`.
fn found_in_a_block(prior_look_at: Option<Timestamp>, mtp_at: Timestamp) -> Vec<u64> {
    let mut case = Case::new();
    case.change(|terms| terms.price.sat = 1000);
    case.pass(1800 + HOUR);
    let payment = case.transaction(&[(0, 1000)]);
    case.facts.payments[payment].prior_look_at = prior_look_at;
    case.tip += 1;
    case.moments.insert(case.tip, case.now);
    let mined = Mined { height: case.tip, position: 1, mtp_at, moment_at: case.now };
    case.facts.payments[payment].mined_in(mined);
    case.settle();
    case.seconds()
}

#[test]
fn a_block_proves_that_money_was_in_time_when_nobody_was_looking() {
    let end = START.plus_s(1800);
    let (old, new) = (vec![2 * HOUR], vec![HOUR]);
    assert_eq!(found_in_a_block(Some(end.minus_s(1)), end), old);
    assert_eq!(found_in_a_block(None, end), old);
    assert_eq!(found_in_a_block(Some(end.minus_s(1)), end.plus_s(1)), new, "its MTP is later");
    assert_eq!(found_in_a_block(Some(end), end), new, "somebody looked at the end of the quote");
    assert_eq!(found_in_a_block(Some(end.plus_s(HOUR - 1)), end), new, "somebody looked all along");
}

#[test]
fn the_price_basis_stays_when_a_reorg_makes_it_late() {
    let mut case = Case::new();
    case.pass(60);
    case.change(|terms| terms.price.sat = 1000);
    let payment = case.paid(0, 1000);
    case.rewind(1, &[payment]);
    case.double_spend(payment);
    case.pass(10);
    case.rewind(1, &[]);
    case.now = START.plus_s(1801 + 72 * HOUR);
    case.facts.payments[payment].entered_mempool(None);
    case.mine(&[payment]);
    assert_eq!(case.seconds(), [2 * HOUR]);
    assert_eq!(case.standing.credits[0].price.sat, 500);
}

#[test]
fn satoshis_not_yet_worth_a_second_move_to_the_new_price() {
    let mut terms = gpu();
    terms.price = Price { sat: 10, per_s: 1 };
    let mut case = Case::with(terms);
    case.paid(0, 10_009);
    case.change(|terms| terms.price = Price { sat: 4, per_s: 1 });
    let topup = case.ask(100);
    case.paid(topup, 3);
    assert_eq!(case.seconds(), [1000, 3], "nine and three satoshis at four a second");
    assert_eq!(case.books().prepaid_sat + case.books().held_sat, 10_012);
}

#[test]
fn the_tier_is_that_of_all_payments_not_final_so_splitting_gains_nothing() {
    let mut case = Case::new();
    let topup = case.ask(HOUR);
    let first = case.pays(0, 600_000);
    let second = case.pays(topup, 600_000);
    case.mine(&[first, second]);
    case.blocks(1);
    assert_eq!(case.seconds().len(), 0);
    case.blocks(1);
    assert_eq!(case.seconds().len(), 2);
}

#[test]
fn a_credit_is_not_taken_back_because_the_tier_rose() {
    let mut case = Case::new();
    let first = case.paid(0, 600_000);
    let second = case.paid(0, 600_000);
    assert_eq!(case.payment_state(first), PaymentState::Credited);
    assert_eq!(case.payment_state(second), PaymentState::Confirming);
    case.blocks(2);
    assert_eq!(case.payment_state(second), PaymentState::Credited);
}

#[test]
fn what_is_final_no_longer_raises_the_tier() {
    let mut case = Case::new();
    case.paid(0, 1_000_000);
    case.blocks(98);
    let payment = case.paid(0, 1000);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
}

#[test]
fn what_is_conflicted_or_gone_no_longer_raises_the_tier() {
    for evicted in [true, false] {
        let mut case = Case::new();
        let huge = case.pays(0, 2_000_000);
        match evicted {
            true => case.evict(huge),
            false => case.cancel(huge),
        }
        let payment = case.paid(0, 1000);
        assert_eq!(case.payment_state(payment), PaymentState::Credited);
    }
}

#[test]
fn unmined_money_delays_a_credit_only_until_the_next_block_and_that_height_is_known() {
    let mut case = Case::new();
    case.pays(0, 2_000_000);
    let payment = case.paid(0, 1000);
    assert_eq!(case.payment_state(payment), PaymentState::Confirming);
    let next = case.with_world(|world| advance::next_height(&case.facts, &case.standing, world));
    assert_eq!(next, Some(case.tip + 1));
    case.blocks(1);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
}

#[test]
fn several_tiers_are_found_by_the_sum() {
    let mut terms = gpu();
    terms.confirmations = vec![
        Tier { up_to_sat: Some(10_000), n: 1 },
        Tier { up_to_sat: Some(1_000_000), n: 2 },
        Tier { up_to_sat: None, n: 3 },
    ];
    for (sat, n) in [(10_000, 1), (10_001, 2), (1_000_000, 2), (1_000_001, 3)] {
        let mut case = Case::with(terms.clone());
        let payment = case.paid(0, sat);
        for _ in 1..n {
            assert_eq!(case.payment_state(payment), PaymentState::Confirming, "{sat}");
            case.blocks(1);
        }
        assert_eq!(case.payment_state(payment), PaymentState::Credited, "{sat}");
    }
}

#[test]
fn the_price_per_second_is_exact_whatever_the_split() {
    for price in
        [Price { sat: 7, per_s: 3 }, Price { sat: 3, per_s: 7 }, Price { sat: 1, per_s: 1 }]
    {
        let mut terms = gpu();
        terms.price = price;
        terms.min_duration_s = 1;
        let mut case = Case::with(terms);
        for sat in 1..40 {
            case.paid(0, sat);
        }
        assert_eq!(case.seconds().iter().sum::<u64>(), price.seconds((1..40).sum()));
    }
}
