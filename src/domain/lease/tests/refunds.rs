//! What goes back: given back by the holder, ended by the operator, never ready.

use super::*;
use crate::domain::price::Price;

fn dear() -> Terms {
    let mut terms = gpu();
    terms.price = Price { sat: 10, per_s: 1 };
    terms
}

fn keeping() -> Terms {
    let mut terms = gpu();
    terms.refund_unused = false;
    terms
}

#[test]
fn whoever_returns_at_once_gets_everything_but_less_than_a_second() {
    for (sat, back) in [(1000, 1000), (1003, 1002), (1001, 1000)] {
        let mut case = Case::new();
        case.paid(0, sat);
        case.act(What::Returned);
        assert_eq!(case.books().refundable_sat, back, "{sat} sat");
        assert!(sat - back <= 1, "a second costs less than a satoshi");
    }
    let mut case = Case::with(dear());
    case.paid(0, 10_003);
    case.act(What::Returned);
    assert_eq!(case.books().refundable_sat, 10_003, "time and balance");
}

#[test]
fn within_the_first_second_a_second_is_used() {
    let mut case = Case::with(dear());
    case.paid(0, 10_003);
    case.now = case.now.plus_millis(1);
    case.act(What::Returned);
    assert_eq!(case.books().refundable_sat, 9993);
}

#[test]
fn unused_time_goes_back_at_the_price_paid_oldest_used_first() {
    let mut case = Case::new();
    case.paid(0, 1000);
    case.change(|terms| terms.price.sat = 250);
    let topup = case.ask(2 * HOUR);
    case.paid(topup, 500);
    case.pass(HOUR);
    case.act(What::Returned);
    assert_eq!((case.books().earned_sat, case.books().refundable_sat), (500, 1000));
}

#[test]
fn unused_fractions_of_lots_are_added_before_they_are_rounded() {
    let mut case = Case::new();
    case.paid(0, 1001); // 7207 s, worth 1000.97 sat
    case.paid(0, 1001); // 7207 s
    assert_eq!(case.seconds(), [7207, 7207]);
    case.act(What::Returned);
    assert_eq!(case.books().refundable_sat, 2001, "1000 + 1000 + floor(2 × 0.97)");
}

#[test]
fn without_refunds_what_the_holder_gives_back_is_kept_but_banked_and_held_money_is_not() {
    let mut short = Case::with(keeping());
    short.paid(0, 1000);
    short.act(What::Returned);
    assert_eq!((short.books().refundable_sat, short.books().earned_sat), (0, 1000));

    let mut banked = Case::with(keeping());
    banked.paid(0, 480_000); // forty days, the horizon is thirty
    banked.act(What::Returned);
    assert_eq!((banked.books().refundable_sat, banked.books().earned_sat), (120_000, 360_000));

    let mut held = Case::with(keeping());
    held.paid(0, 80);
    held.act(What::Returned);
    assert_eq!(held.books().refundable_sat, 80);

    let mut terms = keeping();
    terms.price = Price { sat: 10, per_s: 1 };
    let mut balance = Case::with(terms);
    balance.paid(0, 6007);
    balance.act(What::Returned);
    assert_eq!((balance.books().refundable_sat, balance.books().earned_sat), (7, 6000));
}

#[test]
fn revoked_money_goes_back_whatever_the_terms_say() {
    for terms in [gpu(), keeping()] {
        let mut case = Case::with(terms);
        case.paid(0, 1000);
        case.pass(HOUR);
        case.act(What::Revoked);
        assert_eq!((case.books().refundable_sat, case.books().earned_sat), (500, 500));
        assert_eq!(case.look().end_reason, Some(EndReason::Revoked));
    }
}

#[test]
fn what_never_became_ready_goes_back_whole() {
    for what in [What::Failed, What::Revoked, What::Returned] {
        for terms in [gpu(), keeping()] {
            let mut case = Case::with(terms);
            case.ready = false;
            case.paid(0, 1003);
            case.pass(DAY);
            case.act(what.clone());
            assert_eq!(case.books().refundable_sat, 1003, "{what:?}");
            assert_eq!(case.lease_state(), LeaseState::Ended);
        }
    }
}

#[test]
fn a_failed_second_generation_gives_back_its_money_and_the_balance_that_came_over() {
    let mut case = Case::with(dear());
    case.paid(0, 6007);
    case.pass(DAY);
    case.ready = false;
    case.paid(0, 6001);
    case.act(What::Failed);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (6008, 6000));
}

#[test]
fn a_balance_that_came_over_goes_back_with_the_time_it_bought() {
    let mut case = Case::with(dear());
    case.paid(0, 6007);
    case.pass(DAY);
    case.paid(0, 6003); // 601 seconds with the seven satoshis of the first life
    assert_eq!(case.left_s(), 601);
    case.act(What::Returned);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (6010, 6000));
}

#[test]
fn returned_while_suspended_gives_back_what_stood_still() {
    let mut case = Case::new();
    case.paid(0, 1000);
    case.pass(HOUR);
    case.act(What::Suspended);
    case.pass(DAY);
    case.act(What::Returned);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (500, 500));
}

#[test]
fn returned_in_grace_gives_back_nothing_but_the_balance() {
    let mut case = Case::with(dear());
    case.paid(0, 6007);
    case.pass(700);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    case.act(What::Returned);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (7, 6000));
}

#[test]
fn held_after_the_end_goes_back_when_claimed_and_ends_the_waiting() {
    let mut case = Case::with(dear());
    case.paid(0, 6007);
    case.pass(DAY);
    case.paid(0, 500);
    assert_eq!(case.books().held_sat, 507);
    case.act(What::Returned);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (507, 6000));
    case.paid(0, 60_000);
    assert_eq!((case.lease_state(), case.books().refundable_sat), (LeaseState::Ended, 60_507));
}

#[test]
fn after_a_return_a_reversal_leaves_the_balance_of_what_still_stands() {
    let mut case = Case::with(dear());
    let other = case.paid(0, 6000);
    case.paid(0, 6003);
    case.act(What::Returned);
    assert_eq!(case.books().refundable_sat, 12_003);
    case.rewind(2, &[other]);
    case.double_spend(other);
    assert_eq!(case.books().refundable_sat, 6003);
}

#[test]
fn after_a_return_a_reversal_takes_the_balance_it_brought() {
    let mut case = Case::with(dear());
    let other = case.paid(0, 6003);
    case.paid(0, 6000);
    case.pass(600);
    case.act(What::Returned);
    assert_eq!(case.books().refundable_sat, 6003);
    case.rewind(2, &[other]);
    case.double_spend(other);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (0, 6000));
}

#[test]
fn prepaid_goes_down_and_earned_up_with_every_second_and_nothing_is_lost() {
    let mut case = Case::with(dear());
    case.paid(0, 6007);
    for second in 0..=600 {
        let books = case.books();
        assert_eq!((books.prepaid_sat, books.earned_sat), (6000 - 10 * second, 10 * second));
        assert_eq!(books.held_sat, 7);
        case.now = case.now.plus_s(1);
    }
}

#[test]
fn a_balance_that_came_over_is_not_refunded_when_the_payment_it_came_from_is_reversed() {
    let mut case = Case::with(dear());
    let first = case.paid(0, 6007);
    case.pass(DAY);
    case.ready = false;
    case.paid(0, 6001);
    case.act(What::Failed);
    case.rewind(2, &[first]);
    case.double_spend(first);
    assert_eq!((case.books().refundable_sat, case.books().received_sat), (6001, 6001));
    case.rewind(1, &[]);
    case.mine(&[first]);
    assert_eq!((case.books().refundable_sat, case.books().earned_sat), (6008, 6000));
}
