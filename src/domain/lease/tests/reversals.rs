//! Reorgs: money that leaves the chain, returns to it, or is spent elsewhere, in each phase of a
//! lease.

use super::*;

#[test]
fn a_reorg_below_the_required_confirmations_is_confirming_again() {
    let mut case = Case::new();
    let payment = case.paid(0, 2_000_000);
    case.blocks(1);
    assert_eq!(case.payment_state(payment), PaymentState::Confirming);
    case.rewind(2, &[]);
    assert_eq!(case.payment_state(payment), PaymentState::Mempool);
    case.mine(&[payment]);
    assert_eq!(case.payment_state(payment), PaymentState::Confirming);
    case.blocks(2);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    assert_eq!(case.seconds().len(), 1);
}

#[test]
fn a_reorg_of_a_credited_payment_that_returns_is_at_risk_only() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    let (paid_until, entries) = (case.standing.paid_until, case.standing.entries);
    case.rewind(1, &[]);
    assert!(case.at_risk(payment));
    assert_eq!(case.flags(0), [InvoiceFlag::AtRisk]);
    assert_eq!((case.lease_state(), case.status(0)), (LeaseState::Active, InvoiceStatus::Settled));
    case.blocks(20);
    assert_eq!(case.payment_state(payment), PaymentState::Credited, "it is in the mempool");
    case.mine(&[payment]);
    assert!(!case.at_risk(payment));
    assert_eq!((case.standing.paid_until, case.standing.entries), (paid_until, entries));
}

#[test]
fn a_credited_payment_that_is_double_spent_is_reversed() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.pass(600);
    case.rewind(1, &[payment]);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    case.double_spend(payment);
    assert_eq!(case.payment_state(payment), PaymentState::Reversed);
    assert_eq!(case.flags(0), [InvoiceFlag::Replaced, InvoiceFlag::Reversed]);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    assert_eq!(case.books(), Books::default());
    assert!(case.look().reversed);
    case.pass(599);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    case.pass(1);
    assert_eq!(case.look().end_reason, Some(EndReason::Reversed));
}

#[test]
fn a_credited_payment_that_stays_away_is_reversed_after_six_blocks() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.rewind(1, &[payment]);
    case.blocks(5);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    case.blocks(1);
    assert_eq!(case.payment_state(payment), PaymentState::Reversed);
}

#[test]
fn a_credited_payment_that_stays_conflicted_is_reversed_after_six_blocks() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.rewind(1, &[payment]);
    case.cancel(payment);
    case.blocks(5);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    case.blocks(1);
    assert_eq!(case.payment_state(payment), PaymentState::Reversed);
}

#[test]
fn a_reversal_is_undone_when_the_payment_confirms_again() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.rewind(1, &[payment]);
    case.double_spend(payment);
    case.rewind(1, &[]);
    assert_eq!(case.payment_state(payment), PaymentState::Reversed);
    case.mine(&[payment]);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    assert_eq!(case.left_s(), 2 * HOUR);
    assert_eq!(case.flags(0), []);
    assert_eq!(case.books().prepaid_sat, 1000);
    assert_eq!(case.standing.generation, 1);
}

#[test]
fn a_restoration_waits_for_the_required_confirmations() {
    let mut case = Case::new();
    let payment = case.paid(0, 2_000_000);
    case.blocks(2);
    case.rewind(3, &[payment]);
    case.double_spend(payment);
    case.rewind(1, &[]);
    case.mine(&[payment]);
    assert_eq!(case.payment_state(payment), PaymentState::Confirming);
    assert_eq!(case.counted(payment), Counted::Reversed);
    case.blocks(2);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
}

#[test]
fn twenty_reorgs_of_a_credited_payment_move_nothing_and_write_nothing() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    let standing = case.standing.clone();
    for _ in 0..20 {
        case.pass(7);
        case.rewind(1, &[]);
        case.pass(7);
        case.mine(&[payment]);
    }
    assert_eq!(case.standing, standing);
    assert_eq!(case.facts.entries.len(), 3);
}

/// Two hours paid, `used_s` of them used, then taken back.
fn reversed_after(used_s: u64) -> (Case, usize) {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.pass(used_s);
    case.rewind(1, &[payment]);
    case.double_spend(payment);
    (case, payment)
}

fn restore(case: &mut Case, payment: usize) {
    case.rewind(1, &[]);
    case.mine(&[payment]);
}

#[test]
fn reversed_after_half_was_used_then_restored_is_never_more_than_was_paid() {
    let (mut case, payment) = reversed_after(HOUR);
    assert_eq!((case.left_s(), case.lease_state()), (0, LeaseState::Grace));
    case.pass(300);
    restore(&mut case, payment);
    assert_eq!((case.left_s(), case.lease_state()), (HOUR, LeaseState::Active));
    assert_eq!((case.books().earned_sat, case.books().prepaid_sat), (500, 500));
    case.pass(2 * HOUR);
    assert_eq!(case.look().end_reason, Some(EndReason::Expired));
    assert_eq!(case.books().earned_sat, 1000);
}

#[test]
fn restored_after_the_end_is_a_new_generation_with_what_was_taken() {
    let (mut case, payment) = reversed_after(HOUR);
    case.pass(DAY);
    assert_eq!(case.look().end_reason, Some(EndReason::Reversed));
    restore(&mut case, payment);
    assert_eq!((case.standing.generation, case.left_s()), (2, HOUR));
    assert_eq!((case.books().earned_sat, case.books().prepaid_sat), (500, 500));
}

#[test]
fn restored_after_the_end_with_less_than_the_least_time_is_held() {
    let (mut case, payment) = reversed_after(2 * HOUR - 100);
    case.pass(DAY);
    restore(&mut case, payment);
    assert_eq!((case.lease_state(), case.look().banked_s), (LeaseState::Ended, 100));
    assert_eq!((case.books().held_sat, case.books().earned_sat), (13, 987));
    case.paid(0, 1000);
    assert_eq!((case.standing.generation, case.left_s()), (2, 2 * HOUR + 100));
}

#[test]
fn one_of_two_credits_reversed_takes_its_seconds_from_what_is_left() {
    let mut case = Case::new();
    let first = case.paid(0, 1000);
    case.paid(0, 1000);
    case.pass(HOUR);
    case.rewind(2, &[first]);
    case.double_spend(first);
    assert_eq!((case.left_s(), case.lease_state()), (HOUR, LeaseState::Active));
    assert_eq!((case.books().earned_sat, case.books().prepaid_sat), (500, 500));
    case.rewind(1, &[]);
    case.mine(&[first]);
    assert_eq!(case.left_s(), 3 * HOUR);
    assert_eq!((case.books().earned_sat, case.books().prepaid_sat), (500, 1500));
}

#[test]
fn an_ordinary_end_after_a_partial_reversal_is_expired_not_reversed() {
    let mut case = Case::new();
    let first = case.paid(0, 1000);
    case.paid(0, 1000);
    case.rewind(2, &[first]);
    case.double_spend(first);
    case.pass(DAY);
    assert_eq!(case.look().end_reason, Some(EndReason::Expired));
}

#[test]
fn a_reversal_in_grace_takes_no_time_and_a_restoration_gives_none() {
    let (mut case, payment) = reversed_after(2 * HOUR + 60);
    assert_eq!((case.lease_state(), case.books().received_sat), (LeaseState::Grace, 0));
    restore(&mut case, payment);
    assert_eq!((case.left_s(), case.lease_state()), (0, LeaseState::Grace));
    assert_eq!(case.books().earned_sat, 1000);
    case.pass(DAY);
    assert_eq!(case.look().end_reason, Some(EndReason::Expired));
}

#[test]
fn a_reversal_after_the_end_takes_no_time_and_a_restoration_gives_none() {
    let (mut case, payment) = reversed_after(DAY);
    assert_eq!(case.look().end_reason, Some(EndReason::Expired));
    assert_eq!(case.books().received_sat, 0);
    restore(&mut case, payment);
    assert_eq!((case.standing.generation, case.look().banked_s), (1, 0));
    assert_eq!(case.books().earned_sat, 1000);
}

#[test]
fn a_reversal_after_a_return_takes_the_refund_back_and_a_restoration_gives_it_again() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    let topup = case.paid(0, 500);
    case.pass(HOUR);
    case.act(What::Returned);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (1000, 500));
    case.rewind(2, &[payment]);
    case.double_spend(payment);
    // The hour that was used is now the one that the second payment bought.
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (0, 500));
    assert_eq!(case.payment_state(topup), PaymentState::Credited);
    case.rewind(1, &[]);
    case.mine(&[payment]);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (1000, 500));
    assert_eq!(case.lease_state(), LeaseState::Ended);
}

#[test]
fn reversed_alive_then_returned_then_restored_is_refundable() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.paid(0, 1000);
    case.pass(HOUR);
    case.rewind(2, &[payment]);
    case.double_spend(payment);
    case.act(What::Returned);
    assert_eq!(case.books().refundable_sat, 500);
    case.rewind(1, &[]);
    case.mine(&[payment]);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (1500, 500));
}

#[test]
fn what_is_refundable_as_it_came_follows_its_payment() {
    let mut case = Case::new();
    case.paid(0, 1000);
    case.act(What::Returned);
    let late = case.paid(0, 700);
    assert_eq!(case.books().refundable_sat, 1700);
    case.rewind(1, &[late]);
    case.double_spend(late);
    assert_eq!(case.books().refundable_sat, 1000);
    restore(&mut case, late);
    assert_eq!(case.books().refundable_sat, 1700);
}

#[test]
fn a_reversal_while_money_is_held_takes_it_out() {
    let mut case = Case::new();
    let first = case.paid(0, 50);
    case.rewind(1, &[first]);
    case.double_spend(first);
    assert_eq!((case.books().received_sat, case.look().banked_s), (0, 0));
    case.paid(0, 50);
    assert_eq!(case.lease_state(), LeaseState::Unfunded, "half of it is gone");
    restore_deep(&mut case, first);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, 720));
}

/// Rewinds the block that took `payment`'s place and the one after it.
fn restore_deep(case: &mut Case, payment: usize) {
    let others: Vec<usize> = (0..case.facts.payments.len())
        .filter(|n| *n != payment && case.facts.payments[*n].mined.is_some())
        .collect();
    case.rewind(2, &[]);
    case.mine(&[payment]);
    case.mine(&others);
}

#[test]
fn reversed_while_provisioning_ends_as_reversed() {
    let mut case = Case::new();
    case.ready = false;
    let payment = case.paid(0, 1000);
    assert_eq!(case.lease_state(), LeaseState::Provisioning);
    case.rewind(1, &[payment]);
    case.double_spend(payment);
    assert_eq!(case.books().received_sat, 0);
    case.act(What::Ready);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    case.pass(600);
    assert_eq!(case.look().end_reason, Some(EndReason::Reversed));
}

#[test]
fn a_reversal_while_suspended_takes_the_time_that_stands_still() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.paid(0, 1000);
    case.pass(HOUR);
    case.act(What::Suspended);
    case.pass(DAY);
    case.rewind(2, &[payment]);
    case.double_spend(payment);
    assert_eq!((case.left_s(), case.lease_state()), (HOUR, LeaseState::Suspended));
    case.act(What::Resumed);
    assert_eq!((case.left_s(), case.lease_state()), (HOUR, LeaseState::Active));
}

#[test]
fn a_reversal_found_after_something_else_happened_takes_what_was_left_then() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.trusted = false;
    case.rewind(1, &[payment]);
    case.double_spend(payment);
    case.pass(HOUR);
    case.act(What::Suspended);
    case.act(What::Resumed);
    case.trusted = true;
    case.settle();
    assert_eq!(case.standing.credits[0].taken_s, HOUR, "an hour was used before it was found");
    restore(&mut case, payment);
    assert_eq!(case.left_s(), HOUR);
}

#[test]
fn a_balance_survives_reversal_and_restoration() {
    let mut terms = gpu();
    terms.price = crate::domain::price::Price { sat: 10, per_s: 1 };
    let mut case = Case::with(terms);
    let payment = case.paid(0, 10_003);
    assert_eq!(case.books().held_sat, 3);
    case.rewind(1, &[payment]);
    case.double_spend(payment);
    assert_eq!(case.books(), Books::default());
    restore(&mut case, payment);
    assert_eq!((case.left_s(), case.books().held_sat), (1000, 3));
    case.paid(0, 7);
    assert_eq!((case.left_s(), case.books().held_sat), (1001, 0), "S counts what stands");
}

#[test]
fn a_balance_goes_with_the_payment_it_came_from_after_the_end_too() {
    let mut terms = gpu();
    terms.price = crate::domain::price::Price { sat: 10, per_s: 1 };
    let mut case = Case::with(terms);
    let payment = case.paid(0, 10_009);
    case.paid(0, 5990);
    case.pass(DAY);
    assert_eq!((case.lease_state(), case.books().held_sat), (LeaseState::Ended, 9));
    case.rewind(2, &[payment]);
    case.double_spend(payment);
    assert_eq!((case.books().held_sat, case.books().earned_sat), (0, 5990));
    case.rewind(1, &[]);
    case.mine(&[payment]);
    assert_eq!((case.books().held_sat, case.books().earned_sat), (9, 15_990));
    case.paid(0, 5991);
    assert_eq!((case.left_s(), case.books().held_sat), (600, 0));
}

#[test]
fn restored_money_is_used_up_in_the_order_in_which_it_was_credited() {
    let mut case = Case::new();
    let dear = case.paid(0, 1000);
    case.change(|terms| terms.price.sat = 250);
    let topup = case.ask(2 * HOUR);
    let cheap = case.paid(topup, 500);
    assert_eq!(case.payment_state(cheap), PaymentState::Credited);
    let before = case.books();
    case.rewind(2, &[dear]);
    case.double_spend(dear);
    case.rewind(1, &[]);
    case.mine(&[dear]);
    assert_eq!(case.books(), before);
    case.pass(HOUR);
    assert_eq!((case.books().earned_sat, case.books().prepaid_sat), (500, 1000));
}
