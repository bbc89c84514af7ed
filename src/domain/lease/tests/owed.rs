//! To whom money goes back: to the claim, or to the address that a top-up named for itself.

use super::*;
use crate::domain::lease::refunds::Behind;
use crate::domain::price::Price;

/// Ten satoshis a second.
fn dear() -> Terms {
    let mut terms = gpu();
    terms.price = Price { sat: 10, per_s: 1 };
    terms
}

/// What is owed to the claim and to top-up `invoice`, which named an address: all, and what of it
/// comes from payments with six confirmations.
fn owed(case: &Case, invoice: usize) -> [(u64, u64); 2] {
    let own = &case.facts.invoices[invoice].id;
    let payment = |id: &PaymentId| case.facts.payments.iter().find(|it| it.id == *id).unwrap();
    let owed = case.standing.owed(&Behind {
        recipient: &|id| payment(id).invoice.clone().filter(|it| it == own),
        settled: &|id| payment(id).confirmations(case.tip) >= 6,
    });
    let sum: u64 = owed.iter().map(|it| it.sat).sum();
    assert_eq!(sum, case.books().refundable_sat);
    let of = |recipient: Option<&InvoiceId>| {
        let found = owed.iter().find(|it| it.recipient.as_ref() == recipient);
        found.map_or((0, 0), |it| (it.sat, it.settled_sat))
    };
    [of(None), of(Some(own))]
}

/// A lease paid with 6000 sat, then a top-up.
fn topped_up(sat: u64) -> (Case, usize) {
    let mut case = Case::with(dear());
    case.paid(0, 6000);
    let topup = case.ask(600);
    case.paid(topup, sat);
    (case, topup)
}

#[test]
fn a_top_up_with_an_address_gets_back_what_is_unused_of_it_the_claim_the_rest() {
    for (used_s, claim, own) in
        [(0, 6000, 6000), (200, 4000, 6000), (600, 0, 6000), (900, 0, 3000), (1199, 0, 10)]
    {
        let (mut case, topup) = topped_up(6000);
        case.pass(used_s);
        case.act(What::Returned);
        assert_eq!(owed(&case, topup), [(claim, 0), (own, 0)], "after {used_s} s");
    }
}

#[test]
fn a_top_up_used_up_before_the_claims_last_payment_gets_nothing() {
    let (mut case, topup) = topped_up(6000);
    case.paid(0, 6000);
    case.pass(1300);
    case.act(What::Returned);
    assert_eq!(owed(&case, topup), [(5000, 0), (0, 0)]);
}

#[test]
fn satoshis_that_others_left_over_are_not_the_top_ups() {
    // The claim's seven satoshis and its 6003 are worth 601 seconds, that is 6010.
    let mut case = Case::with(dear());
    case.paid(0, 6007);
    let topup = case.ask(600);
    case.paid(topup, 6003);
    assert_eq!(case.seconds(), [600, 601]);
    case.act(What::Returned);
    assert_eq!(owed(&case, topup), [(6007, 0), (6003, 0)]);
}

#[test]
fn what_of_a_top_up_is_not_worth_a_second_is_the_claims() {
    let (mut case, topup) = topped_up(6007);
    case.act(What::Returned);
    assert_eq!(owed(&case, topup), [(6007, 0), (6000, 0)]);
}

#[test]
fn what_never_started_goes_back_whole_to_whoever_paid_it() {
    let mut case = Case::with(dear());
    case.ready = false;
    case.paid(0, 6007);
    let topup = case.ask(600);
    case.paid(topup, 6003);
    case.act(What::Failed);
    assert_eq!(owed(&case, topup), [(6007, 0), (6003, 0)]);
}

#[test]
fn what_comes_after_the_end_goes_back_as_it_came() {
    let (mut case, topup) = topped_up(6000);
    case.pass(1200);
    case.act(What::Returned);
    assert_eq!(owed(&case, topup), [(0, 0), (0, 0)]);
    case.paid(topup, 777);
    case.paid(0, 33);
    assert_eq!(owed(&case, topup), [(33, 0), (777, 0)]);
}

#[test]
fn a_reversed_top_up_is_owed_nothing_and_a_restored_one_what_it_was() {
    let (mut case, topup) = topped_up(6000);
    case.act(What::Returned);
    case.rewind(1, &[1]);
    case.double_spend(1);
    assert_eq!(owed(&case, topup), [(6000, 0), (0, 0)]);
    case.rewind(1, &[]);
    case.mine(&[1]);
    assert_eq!(owed(&case, topup), [(6000, 0), (6000, 0)]);
}

#[test]
fn money_of_one_life_leaves_when_every_payment_to_it_is_deep() {
    let (mut case, topup) = topped_up(6000);
    case.act(What::Returned);
    case.blocks(4); // the first payment has six, the top-up five
    assert_eq!(owed(&case, topup), [(6000, 0), (6000, 0)]);
    case.blocks(1);
    assert_eq!(owed(&case, topup), [(6000, 6000), (6000, 6000)]);
    // What comes later waits by itself.
    case.paid(0, 500);
    assert_eq!(owed(&case, topup), [(6500, 6000), (6000, 6000)]);
    case.blocks(5);
    assert_eq!(owed(&case, topup), [(6500, 6500), (6000, 6000)]);
}

#[test]
fn a_balance_that_came_over_waits_for_the_payment_it_came_from() {
    let mut case = Case::with(dear());
    let first = case.paid(0, 6007);
    case.pass(DAY);
    let topup = case.ask(600);
    case.paid(topup, 6000);
    case.act(What::Returned);
    assert_eq!(owed(&case, topup), [(7, 0), (6000, 0)]);
    case.blocks(5);
    assert_eq!(owed(&case, topup), [(7, 7), (6000, 6000)]);
    // The old payment loses its block, and is mined again: it is shallow.
    case.rewind(7, &[]);
    case.mine(&[1]);
    case.blocks(5);
    case.mine(&[first]);
    assert_eq!(owed(&case, topup), [(7, 0), (6000, 0)]);
}
