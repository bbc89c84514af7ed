//! Where an invoice stands: the first status that matches, the set of flags, what is due.

use super::*;
use InvoiceFlag::{AtRisk, Duplicate, Held, Late, Over, Partial, Replaced, Reversed};

#[test]
fn the_status_moves_through_the_list_from_the_bottom() {
    let mut case = Case::new();
    assert_eq!(case.status(0), InvoiceStatus::Open);
    case.pass(1801);
    assert_eq!(case.status(0), InvoiceStatus::Expired);
    case.facts.invoices[0].cancelled_at = Some(case.now);
    assert_eq!(case.status(0), InvoiceStatus::Cancelled, "cancelled outweighs the clock");
    case.facts.invoices[0].cancelled_at = None;
    let payment = case.pays(0, 1000);
    assert_eq!(case.status(0), InvoiceStatus::Confirming, "expired is not an end");
    case.mine(&[payment]);
    assert_eq!(case.status(0), InvoiceStatus::Settled);
}

#[test]
fn money_outweighs_the_cancellation() {
    let mut case = Case::new();
    case.facts.invoices[0].cancelled_at = Some(case.now);
    case.pays(0, 100);
    assert_eq!(case.status(0), InvoiceStatus::Open, "something was received");
    case.pays(0, 900);
    assert_eq!(case.status(0), InvoiceStatus::Confirming);
}

#[test]
fn the_tolerance_settles_and_one_satoshi_less_does_not() {
    let mut enough = Case::new();
    enough.paid(0, 995);
    assert_eq!((enough.status(0), enough.flags(0)), (InvoiceStatus::Settled, vec![]));
    assert_eq!(enough.invoice(0).due_sat(), 5);
    let mut short = Case::new();
    short.paid(0, 994);
    assert_eq!((short.status(0), short.flags(0)), (InvoiceStatus::Open, vec![Partial]));
}

#[test]
fn without_tolerance_every_satoshi_is_needed() {
    let policy = Policy { tolerance_ppm: 0, ..Policy::default() };
    let mut case = Case::under(gpu(), policy);
    case.paid(0, 999);
    assert_eq!(case.status(0), InvoiceStatus::Open);
    case.paid(0, 1);
    assert_eq!(case.status(0), InvoiceStatus::Settled);
}

#[test]
fn due_is_what_neither_counts_nor_is_on_its_way() {
    let mut case = Case::new();
    case.paid(0, 300);
    let second = case.pays(0, 300);
    let standing = case.invoice(0);
    assert_eq!((standing.credited_sat, standing.unconfirmed_sat), (300, 300));
    assert_eq!(standing.due_sat(), 400);
    case.cancel(second);
    assert_eq!(case.invoice(0).due_sat(), 700);
    case.paid(0, 5000);
    assert_eq!(case.invoice(0).due_sat(), 0);
}

#[test]
fn a_second_payment_seen_before_the_first_was_credited_is_not_a_duplicate() {
    let mut case = Case::new();
    let first = case.pays(0, 1000);
    let second = case.pays(0, 1000);
    case.pass(60);
    case.mine(&[first, second]);
    assert_eq!(case.flags(0), [Over]);
    case.pass(60);
    case.paid(0, 1);
    assert_eq!(case.flags(0), [Over, Duplicate]);
}

#[test]
fn the_payment_that_replaces_a_reversed_one_is_not_a_duplicate() {
    let mut case = Case::new();
    let first = case.paid(0, 1000);
    case.pass(60);
    case.rewind(1, &[first]);
    let second = case.replace(first, 0, 1000);
    case.double_spend(first);
    case.mine(&[second]);
    assert_eq!((case.status(0), case.flags(0)), (InvoiceStatus::Settled, vec![Replaced, Reversed]));
}

#[test]
fn a_replaced_payment_no_longer_counts_as_received() {
    let mut case = Case::new();
    let old = case.pays(0, 1000);
    case.replace(old, 0, 400);
    assert_eq!(case.invoice(0).unconfirmed_sat, 400);
    assert_eq!(case.flags(0), [Partial, Replaced]);
}

#[test]
fn late_money_that_is_gone_leaves_no_flag() {
    let mut case = Case::new();
    case.pass(1801);
    let payment = case.pays(0, 1000);
    assert_eq!(case.flags(0), [Late]);
    case.evict(payment);
    assert_eq!(case.flags(0), []);
}

#[test]
fn a_credit_without_its_block_is_at_risk_and_still_settles() {
    let mut case = Case::new();
    case.paid(0, 1000);
    case.rewind(1, &[]);
    assert_eq!((case.status(0), case.flags(0)), (InvoiceStatus::Settled, vec![AtRisk]));
}

#[test]
fn a_reversed_credit_opens_the_invoice_again() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.rewind(1, &[payment]);
    case.double_spend(payment);
    assert_eq!((case.status(0), case.invoice(0).due_sat()), (InvoiceStatus::Open, 1000));
    case.pass(1801);
    assert_eq!(case.status(0), InvoiceStatus::Expired);
}

#[test]
fn money_that_waits_is_held_on_the_invoice_that_it_paid() {
    let mut case = Case::new();
    case.unit_free = false;
    case.paid(0, 1000);
    assert_eq!(case.flags(0), [Held]);
    case.unit_free = true;
    case.settle();
    assert_eq!(case.flags(0), []);
}
