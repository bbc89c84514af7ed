//! The same facts give the same lease: whoever was down, whatever the order.

use super::*;

/// One hour paid, then more over a day, settled at each step or only at the end. With a reorg
/// that a stopped server never hears of: it finds the later block only.
fn a_day(stopped: bool, reorg: bool) -> Case {
    let mut case = Case::new();
    case.paid(0, 500);
    case.stopped = stopped;
    case.pass(1800);
    let first = case.pays(0, 500);
    case.pass(600);
    case.mine(&[first]);
    case.pass(HOUR);
    let second = case.paid(0, 300);
    if reorg {
        case.pass(600);
        case.rewind(1, &[]);
        case.mine(&[second]);
    }
    case.pass(DAY);
    case.stopped = false;
    case.settle();
    case
}

#[test]
fn downtime_gives_the_same_entries_as_following() {
    let (followed, caught_up) = (a_day(false, false), a_day(true, false));
    assert_eq!(caught_up.facts.entries, followed.facts.entries);
    assert_eq!(caught_up.standing, followed.standing);
}

#[test]
fn a_reorg_while_the_server_is_stopped_gives_the_same_lease_as_following_it() {
    let (followed, caught_up) = (a_day(false, true), a_day(true, true));
    assert_eq!(caught_up.seconds(), followed.seconds());
    assert_eq!(caught_up.standing.ended_at, followed.standing.ended_at);
    assert_eq!(caught_up.books(), followed.books());
    assert_eq!(caught_up.facts.entries.len(), followed.facts.entries.len());
}

#[test]
fn paid_and_swept_while_the_server_was_down_is_credited_from_the_block() {
    let mut case = Case::new();
    case.pass(DAY);
    // Never in our mempool; that its output is spent by now is no fact about it.
    let payment = case.transaction(&[(0, 1000)]);
    case.mine(&[payment]);
    case.blocks(10);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, 2 * HOUR));
}

#[test]
fn a_lease_that_ended_while_the_server_was_down_ended_when_it_was_due() {
    let mut case = Case::new();
    case.paid(0, 500);
    case.stopped = true;
    case.pass(DAY);
    case.paid(0, 500);
    case.pass(DAY);
    case.stopped = false;
    case.settle();
    let ended = case.facts.entries.iter().find(|entry| entry.what == What::Expired).unwrap();
    assert_eq!(ended.moment_at, START.plus_s(HOUR + 600));
    assert_eq!((case.standing.generation, case.left_s()), (2, HOUR), "its clock starts now");
}

#[test]
fn the_order_of_payments_and_invoices_does_not_matter() {
    let mut case = Case::new();
    let topup = case.ask(HOUR);
    case.stopped = true;
    let first = case.pays(0, 401);
    let second = case.pays(topup, 333);
    let third = case.pays(0, 77);
    case.mine(&[first, second, third]);
    case.paid(topup, 5);
    case.stopped = false;
    let mut turned = Case::new();
    turned.ask(HOUR);
    turned.facts.payments = case.facts.payments.iter().rev().cloned().collect();
    turned.facts.invoices.reverse();
    turned.tip = case.tip;
    turned.moments.clone_from(&case.moments);
    case.settle();
    turned.settle();
    assert_eq!(turned.facts.entries, case.facts.entries);
    assert_eq!(turned.standing, case.standing);
}

#[test]
fn payments_of_one_block_count_in_the_order_of_the_block() {
    let mut case = Case::new();
    let first = case.pays(0, 100);
    let second = case.pays(0, 200);
    case.mine(&[second, first]);
    let order: Vec<u64> = case.standing.credits.iter().map(|line| line.amount_sat).collect();
    assert_eq!(order, [200, 100]);
}

#[test]
fn a_settled_lease_has_nothing_due() {
    let case = a_day(false, true);
    assert_eq!(case.next_entry(), None);
}

#[test]
fn a_clock_that_went_back_does_not_turn_the_order_around() {
    let mut case = Case::new();
    case.paid(0, 500);
    case.now = START.minus_s(HOUR);
    case.paid(0, 500);
    case.act(What::Suspended);
    assert_eq!(case.standing.last_at, START);
    assert_eq!(case.left_s(), 2 * HOUR);
}

#[test]
fn a_payment_is_credited_once_whatever_is_settled_again() {
    let mut case = Case::new();
    case.paid(0, 1000);
    let entries = case.facts.entries.len();
    (0..5).for_each(|_| case.settle());
    assert_eq!(case.facts.entries.len(), entries);
}
