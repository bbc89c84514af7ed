//! The case table of SPEC section 4: amounts, doubles, replacements.

use super::*;
use InvoiceFlag::{Duplicate, Late, Over, Partial};

#[test]
fn exact_and_on_time_is_confirming_at_first_sight_then_settled_and_active() {
    let mut case = Case::new();
    assert_eq!((case.status(0), case.lease_state()), (InvoiceStatus::Open, LeaseState::Unfunded));
    let payment = case.pays(0, 1000);
    assert_eq!(case.status(0), InvoiceStatus::Confirming);
    assert_eq!(case.payment_state(payment), PaymentState::Mempool);
    assert_eq!(case.lease_state(), LeaseState::Unfunded);
    case.pass(600);
    case.mine(&[payment]);
    assert_eq!(case.status(0), InvoiceStatus::Settled);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    assert_eq!(case.lease_state(), LeaseState::Active);
    assert_eq!(case.paid_until_s(), 600 + 2 * HOUR);
    assert_eq!(case.flags(0), []);
    case.blocks(99);
    assert_eq!(case.payment_state(payment), PaymentState::Final);
}

#[test]
fn the_confirmations_that_the_amount_needs_are_waited_for() {
    let mut case = Case::new();
    let payment = case.paid(0, 1_000_001);
    assert_eq!(case.payment_state(payment), PaymentState::Confirming);
    case.blocks(1);
    assert_eq!(case.status(0), InvoiceStatus::Confirming);
    case.blocks(1);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
}

fn in_parts(parts: u64) -> Case {
    let mut case = Case::new();
    let share = 1000 / parts;
    let mut sums: Vec<u64> = vec![share; usize::try_from(parts).unwrap()];
    sums[0] += 1000 - share * parts;
    for sat in sums {
        case.paid(0, sat);
    }
    case
}

#[test]
fn two_halves_three_thirds_and_a_hundred_hundredths_are_one_lease_of_the_same_time() {
    for parts in [2, 3, 100] {
        let case = in_parts(parts);
        assert_eq!(case.standing.generation, 1);
        assert_eq!(case.seconds().len() as u64, parts);
        assert_eq!(case.seconds().iter().sum::<u64>(), 2 * HOUR, "{parts} parts");
        assert_eq!(case.left_s(), 2 * HOUR);
        assert_eq!(case.status(0), InvoiceStatus::Settled);
        assert_eq!(case.flags(0), [], "{parts} parts");
    }
}

#[test]
fn a_hundred_hundredths_in_one_block_are_a_hundred_credits_and_one_lease() {
    let mut case = Case::new();
    let all: Vec<usize> = (0..100).map(|_| case.pays(0, 10)).collect();
    assert_eq!(case.status(0), InvoiceStatus::Confirming);
    case.mine(&all);
    assert_eq!((case.seconds().len(), case.left_s()), (100, 2 * HOUR));
    assert_eq!(case.standing.generation, 1);
}

#[test]
fn short_by_any_amount_that_is_worth_the_least_time_is_a_shorter_lease() {
    for sat in [83, 84, 500, 994] {
        let mut case = Case::new();
        case.paid(0, sat);
        assert_eq!(case.lease_state(), LeaseState::Active, "{sat} sat");
        assert_eq!(case.left_s(), sat * 36 / 5);
        assert_eq!(case.flags(0), [Partial]);
        assert_eq!(case.status(0), InvoiceStatus::Open);
        assert_eq!(case.invoice(0).due_sat(), 1000 - sat);
        case.paid(0, 1000 - sat);
        assert_eq!(case.left_s(), 2 * HOUR);
        assert_eq!((case.status(0), case.flags(0)), (InvoiceStatus::Settled, vec![]));
    }
}

#[test]
fn less_than_the_least_time_is_held_and_counts_once_more_comes() {
    let mut case = Case::new();
    case.paid(0, 80);
    assert_eq!(case.lease_state(), LeaseState::Unfunded);
    assert_eq!(case.look().banked_s, 576);
    assert_eq!(case.flags(0), [Partial, InvoiceFlag::Held]);
    assert_eq!(case.books().held_sat, 80);
    case.pass(30 * DAY);
    assert_eq!(case.books().held_sat, 80, "it stays visible");
    case.paid(0, 3);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, 597));
}

#[test]
fn less_than_the_least_time_is_refundable_when_claimed() {
    let mut case = Case::new();
    case.paid(0, 80);
    case.act(What::Returned);
    assert_eq!((case.books().held_sat, case.books().refundable_sat), (0, 80));
    assert_eq!(case.look().end_reason, Some(EndReason::Returned));
}

#[test]
fn the_least_time_less_the_tolerance_is_enough() {
    // 600 s less 5000 ppm is 597 s; 83 sat buy 597.6 s, 82 sat 590.4 s.
    let mut enough = Case::new();
    enough.paid(0, 83);
    assert_eq!(enough.lease_state(), LeaseState::Active);
    let mut short = Case::new();
    short.paid(0, 82);
    assert_eq!(short.lease_state(), LeaseState::Unfunded);
}

#[test]
fn too_much_is_a_longer_lease() {
    for (sat, flags) in
        [(1000, vec![]), (1001, vec![Over]), (1100, vec![Over]), (10_000, vec![Over])]
    {
        let mut case = Case::new();
        case.paid(0, sat);
        assert_eq!(case.left_s(), sat * 36 / 5);
        assert_eq!((case.status(0), case.flags(0)), (InvoiceStatus::Settled, flags));
        assert_eq!(case.look().banked_s, 0);
    }
}

#[test]
fn time_beyond_the_horizon_is_banked_and_flows_in_by_itself() {
    let mut case = Case::new();
    let month = 30 * DAY;
    case.paid(0, 720_000); // sixty days
    let look = case.look();
    assert_eq!((look.remaining_s, look.banked_s), (month, month));
    assert_eq!(look.expires_at, Some(START.plus_s(month)));
    let entries = case.standing.entries;
    case.pass(10 * DAY);
    let look = case.look();
    assert_eq!((look.remaining_s, look.banked_s), (month, 20 * DAY));
    case.pass(30 * DAY);
    assert_eq!((case.look().remaining_s, case.look().banked_s), (20 * DAY, 0));
    assert_eq!(case.standing.entries, entries, "the clock alone writes nothing");
}

#[test]
fn one_second_after_the_quote_gets_the_price_of_that_moment_and_is_late() {
    let mut case = Case::new();
    case.pass(900);
    case.change(|terms| terms.price.sat = 1000);
    case.pass(900 + 1);
    assert_eq!(case.status(0), InvoiceStatus::Expired);
    case.paid(0, 1000);
    assert_eq!(case.left_s(), HOUR);
    assert_eq!((case.status(0), case.flags(0)), (InvoiceStatus::Settled, vec![Late]));
}

#[test]
fn at_the_last_moment_of_the_quote_is_on_time() {
    let mut case = Case::new();
    case.pass(900);
    case.change(|terms| terms.price.sat = 1000);
    case.pass(900);
    assert_eq!(case.status(0), InvoiceStatus::Open);
    case.paid(0, 1000);
    assert_eq!((case.left_s(), case.flags(0)), (2 * HOUR, vec![]));
}

#[test]
fn thirty_days_after_the_quote_still_counts() {
    let mut case = Case::new();
    case.pass(30 * DAY);
    assert_eq!(case.status(0), InvoiceStatus::Expired);
    case.paid(0, 1000);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, 2 * HOUR));
    assert_eq!((case.status(0), case.flags(0)), (InvoiceStatus::Settled, vec![Late]));
}

#[test]
fn the_same_address_paid_again_a_month_later_is_a_topup() {
    let mut case = Case::new();
    case.paid(0, 500_000);
    case.pass(30 * DAY);
    let before = case.left_s();
    case.paid(0, 1000);
    assert_eq!(case.left_s(), before + 2 * HOUR);
    assert_eq!(case.standing.generation, 1);
    assert_eq!(case.flags(0), [Over, Late, Duplicate]);
}

#[test]
fn the_same_address_paid_after_the_end_starts_a_new_generation() {
    let mut case = Case::new();
    case.paid(0, 1000);
    case.pass(30 * DAY);
    assert_eq!(case.look().end_reason, Some(EndReason::Expired));
    case.paid(0, 500);
    assert_eq!((case.lease_state(), case.standing.generation), (LeaseState::Active, 2));
    assert_eq!((case.left_s(), case.look().starts_at), (HOUR, Some(case.now)));
    assert_eq!(case.flags(0), [Over, Late, Duplicate]);
}

#[test]
fn the_same_address_paid_after_a_return_is_refundable() {
    let mut case = Case::new();
    case.paid(0, 1000);
    case.act(What::Returned);
    assert_eq!(case.books().refundable_sat, 1000);
    case.pass(30 * DAY);
    case.paid(0, 500);
    assert_eq!((case.lease_state(), case.standing.generation), (LeaseState::Ended, 1));
    assert_eq!(case.books().refundable_sat, 1500);
}

#[test]
fn one_transaction_that_pays_two_invoices_is_two_payments() {
    let mut case = Case::new();
    let topup = case.ask(HOUR);
    let first = case.transaction(&[(0, 1000), (topup, 500)]);
    case.mine(&[first, first + 1]);
    assert_eq!(case.seconds(), [2 * HOUR, HOUR]);
    assert_eq!(
        (case.status(0), case.status(topup)),
        (InvoiceStatus::Settled, InvoiceStatus::Settled)
    );
    assert_eq!((case.flags(0), case.flags(topup)), (vec![], vec![]));
}

#[test]
fn two_outputs_to_one_address_are_two_credits() {
    let mut case = Case::new();
    let first = case.transaction(&[(0, 400), (0, 600)]);
    case.mine(&[first, first + 1]);
    assert_eq!(case.seconds(), [2880, 4320]);
    assert_eq!((case.status(0), case.flags(0)), (InvoiceStatus::Settled, vec![]));
}

#[test]
fn a_fee_bump_that_still_pays_is_one_credit_and_still_on_time() {
    let mut case = Case::new();
    let old = case.pays(0, 1000);
    case.pass(7200);
    case.change(|terms| terms.price.sat = 1000);
    let new = case.replace(old, 0, 1000);
    assert_eq!(case.payment_state(old), PaymentState::Conflicted);
    assert_eq!(case.status(0), InvoiceStatus::Confirming);
    assert_eq!(case.flags(0), [InvoiceFlag::Replaced]);
    case.mine(&[new]);
    assert_eq!(case.seconds(), [2 * HOUR], "the old price");
    assert_eq!(case.status(0), InvoiceStatus::Settled);
}

#[test]
fn a_fee_bump_that_pays_another_amount_is_one_credit_of_the_new_amount() {
    for sat in [500, 2000] {
        let mut case = Case::new();
        let old = case.pays(0, 1000);
        let new = case.replace(old, 0, sat);
        case.mine(&[new]);
        assert_eq!(case.seconds(), [sat * 36 / 5]);
        assert_eq!(case.books().received_sat, sat);
    }
}

#[test]
fn a_fee_bump_that_pays_nothing_is_no_credit() {
    let mut case = Case::new();
    let old = case.pays(0, 1000);
    case.cancel(old);
    assert_eq!(case.payment_state(old), PaymentState::Conflicted);
    assert_eq!(case.status(0), InvoiceStatus::Open);
    case.double_spend(old);
    assert_eq!(case.payment_state(old), PaymentState::Replaced);
    case.blocks(10);
    case.pass(DAY);
    assert_eq!(
        (case.status(0), case.lease_state()),
        (InvoiceStatus::Expired, LeaseState::Unfunded)
    );
    assert_eq!(case.seconds().len(), 0);
}

#[test]
fn evicted_and_mined_later_is_gone_then_credited() {
    let mut case = Case::new();
    let payment = case.pays(0, 1000);
    case.evict(payment);
    assert_eq!(case.payment_state(payment), PaymentState::Gone);
    assert_eq!(case.status(0), InvoiceStatus::Open);
    case.pass(DAY);
    case.mine(&[payment]);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    assert_eq!((case.left_s(), case.flags(0)), (2 * HOUR, vec![]), "it was seen in time");
}

#[test]
fn a_topup_in_flight_when_returned_or_revoked_is_refundable_and_the_lease_stays_ended() {
    for what in [What::Returned, What::Revoked] {
        let mut case = Case::new();
        case.paid(0, 1000);
        case.pass(HOUR);
        let topup = case.ask(HOUR);
        let payment = case.pays(topup, 500);
        case.act(what);
        assert_eq!(case.books().refundable_sat, 500);
        case.mine(&[payment]);
        assert_eq!(case.lease_state(), LeaseState::Ended);
        assert_eq!((case.books().refundable_sat, case.books().earned_sat), (1000, 500));
        assert_eq!(case.status(topup), InvoiceStatus::Settled);
    }
}

#[test]
fn a_coinbase_output_counts_at_a_hundred_confirmations() {
    let mut case = Case::new();
    let payment = case.transaction(&[(0, 1000)]);
    case.facts.payments[payment].coinbase = true;
    case.mine(&[payment]);
    case.blocks(98);
    assert_eq!(case.lease_state(), LeaseState::Unfunded);
    case.blocks(1);
    assert_eq!(case.lease_state(), LeaseState::Active);
}

#[test]
fn money_to_a_paused_resource_is_refundable() {
    let mut case = Case::new();
    let payment = case.pays(0, 1000);
    case.accepting = false;
    case.mine(&[payment]);
    assert_eq!((case.books().refundable_sat, case.lease_state()), (1000, LeaseState::Unfunded));
}

#[test]
fn money_to_a_cancelled_invoice_is_refundable() {
    let mut case = Case::new();
    case.facts.invoices[0].cancelled_at = Some(case.now);
    assert_eq!(case.status(0), InvoiceStatus::Cancelled);
    case.pass(60);
    case.paid(0, 1000);
    assert_eq!((case.books().refundable_sat, case.lease_state()), (1000, LeaseState::Unfunded));
    assert_eq!(case.status(0), InvoiceStatus::Settled);
}
