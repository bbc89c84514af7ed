//! Grace, the hold while money confirms, suspension, provisioning, generations.

use super::*;
use crate::domain::price::Price;

/// A lease of one hour that began at `START`.
fn one_hour() -> Case {
    let mut case = Case::new();
    case.paid(0, 500);
    case
}

#[test]
fn time_runs_out_into_grace_and_grace_into_the_end() {
    let mut case = one_hour();
    case.pass(HOUR - 1);
    assert_eq!(case.lease_state(), LeaseState::Active);
    case.pass(1);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    assert_eq!(case.look().grace_until, Some(START.plus_s(HOUR + 600)));
    case.pass(599);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    case.pass(1);
    assert_eq!(case.lease_state(), LeaseState::Ended);
    assert_eq!(case.look().end_reason, Some(EndReason::Expired));
    assert_eq!(case.look().expires_at, Some(START.plus_s(HOUR + 600)));
    assert_eq!(case.books().earned_sat, 500);
}

#[test]
fn an_end_found_late_has_the_moment_at_which_it_was_due() {
    let mut case = one_hour();
    case.pass(DAY);
    assert_eq!(case.standing.ended_at, Some(START.plus_s(HOUR + 600)));
}

#[test]
fn money_that_counts_in_grace_gives_time_from_then_on() {
    let mut case = one_hour();
    case.pass(HOUR + 300);
    case.paid(0, 500);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, HOUR));
    assert_eq!(case.standing.generation, 1);
    assert_eq!(case.books().prepaid_sat, 500);
}

#[test]
fn money_that_counts_while_alive_is_added_at_the_end() {
    let mut case = one_hour();
    case.pass(HOUR / 2);
    case.paid(0, 500);
    assert_eq!(case.left_s(), HOUR + HOUR / 2);
}

#[test]
fn grace_waits_for_money_on_its_way_at_most_six_hours() {
    let mut case = one_hour();
    case.pass(HOUR + 300);
    let payment = case.pays(0, 500);
    case.pass(6 * HOUR + 299);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    case.mine(&[payment]);
    assert_eq!((case.lease_state(), case.standing.generation), (LeaseState::Active, 1));
}

#[test]
fn grace_ends_when_money_on_its_way_takes_more_than_six_hours() {
    let mut case = one_hour();
    case.pass(HOUR + 300);
    let payment = case.pays(0, 500);
    case.pass(6 * HOUR + 300);
    assert_eq!(case.lease_state(), LeaseState::Ended);
    case.mine(&[payment]);
    assert_eq!((case.standing.generation, case.left_s()), (2, HOUR));
}

#[test]
fn grace_does_not_wait_for_what_is_conflicted_too_small_or_seen_after_it() {
    let mut conflicted = one_hour();
    conflicted.pass(HOUR + 300);
    let payment = conflicted.pays(0, 500);
    conflicted.cancel(payment);
    conflicted.pass(300);
    assert_eq!(conflicted.lease_state(), LeaseState::Ended);

    let mut small = one_hour();
    small.pass(HOUR + 300);
    small.pays(0, 82);
    small.pass(300);
    assert_eq!(small.lease_state(), LeaseState::Ended);

    let mut late = one_hour();
    late.stopped = true;
    late.pass(HOUR + 601);
    late.pays(0, 500);
    late.stopped = false;
    late.settle();
    assert_eq!(late.lease_state(), LeaseState::Ended);
}

#[test]
fn money_that_counts_at_the_very_end_of_grace_finds_the_lease_over() {
    let mut case = one_hour();
    case.stopped = true;
    case.pass(HOUR + 600);
    case.paid(0, 500);
    case.stopped = false;
    case.settle();
    assert_eq!((case.standing.generation, case.left_s()), (2, HOUR));
}

#[test]
fn an_end_that_was_put_off_in_vain_comes_after_what_happened_meanwhile() {
    let mut case = one_hour();
    case.pass(HOUR + 300);
    let payment = case.pays(0, 500);
    case.pass(HOUR);
    case.accepting = false;
    case.paid(0, 100);
    assert_eq!((case.lease_state(), case.books().refundable_sat), (LeaseState::Grace, 100));
    let meanwhile = case.now;
    case.pass(60);
    case.evict(payment);
    assert_eq!((case.lease_state(), case.standing.ended_at), (LeaseState::Ended, Some(meanwhile)));
}

#[test]
fn two_small_payments_on_their_way_hold_together() {
    let mut case = one_hour();
    case.pass(HOUR + 300);
    case.pays(0, 50);
    case.pays(0, 50);
    case.pass(600);
    assert_eq!(case.lease_state(), LeaseState::Grace);
}

#[test]
fn without_grace_the_end_is_at_once() {
    let mut terms = gpu();
    terms.grace_s = 0;
    let mut case = Case::with(terms);
    case.paid(0, 500);
    case.pass(HOUR - 1);
    assert_eq!(case.lease_state(), LeaseState::Active);
    case.pass(1);
    assert_eq!(case.lease_state(), LeaseState::Ended);
}

#[test]
fn nothing_is_credited_and_nothing_ends_while_the_node_is_not_believed() {
    let mut case = one_hour();
    let payment = case.pays(0, 500);
    case.trusted = false;
    case.mine(&[payment]);
    case.pass(DAY);
    assert_eq!(case.seconds().len(), 1);
    assert_ne!(case.lease_state(), LeaseState::Ended);
    case.trusted = true;
    case.settle();
    assert_eq!(case.seconds().len(), 2);
    // The second payment was mined in time, so the hour it bought came before the end.
    assert_eq!(case.standing.ended_at, Some(START.plus_s(2 * HOUR + 600)));
}

#[test]
fn what_was_overdue_while_the_node_was_not_believed_is_looked_at_again() {
    let mut case = one_hour();
    case.trusted = false;
    case.pass(DAY);
    let next = case.with_world(|world| advance::next_change_at(&case.facts, &case.standing, world));
    assert_eq!(next, Some(START.plus_s(HOUR + 600)), "the end is overdue");
    case.mine(&[]);
    let payment = case.pays(0, 500);
    case.mine(&[payment]);
    let next = case.with_world(|world| advance::next_height(&case.facts, &case.standing, world));
    assert_eq!(next, Some(case.tip), "the credit is overdue");
}

#[test]
fn suspended_time_does_not_run() {
    let mut case = one_hour();
    case.pass(600);
    case.act(What::Suspended);
    assert_eq!(case.lease_state(), LeaseState::Suspended);
    let look = case.look();
    case.pass(DAY);
    assert_eq!(case.lease_state(), LeaseState::Suspended);
    assert_eq!((case.look().remaining_s, look.remaining_s), (HOUR - 600, HOUR - 600));
    assert_eq!(case.look().paid_until, Some(case.now.plus_s(HOUR - 600)));
    case.act(What::Resumed);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, HOUR - 600));
    case.pass(HOUR - 600);
    assert_eq!(case.lease_state(), LeaseState::Grace);
}

#[test]
fn suspended_in_grace_keeps_the_rest_of_grace() {
    let mut case = one_hour();
    case.pass(HOUR + 300);
    case.act(What::Suspended);
    case.pass(DAY);
    assert_eq!(case.lease_state(), LeaseState::Suspended);
    case.act(What::Resumed);
    case.pass(299);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    case.pass(1);
    assert_eq!(case.lease_state(), LeaseState::Ended);
}

#[test]
fn a_topup_while_suspended_is_added_whole() {
    let mut alive = one_hour();
    alive.pass(600);
    alive.act(What::Suspended);
    alive.pass(DAY);
    alive.paid(0, 500);
    alive.pass(DAY);
    alive.act(What::Resumed);
    assert_eq!(alive.left_s(), 2 * HOUR - 600);

    let mut in_grace = one_hour();
    in_grace.pass(HOUR + 300);
    in_grace.act(What::Suspended);
    in_grace.pass(DAY);
    in_grace.paid(0, 500);
    in_grace.pass(DAY);
    in_grace.act(What::Resumed);
    assert_eq!(in_grace.left_s(), HOUR);
}

#[test]
fn suspended_twice_is_suspended_once() {
    let mut case = one_hour();
    case.act(What::Suspended);
    case.pass(HOUR);
    case.act(What::Suspended);
    case.pass(HOUR);
    case.act(What::Resumed);
    case.act(What::Resumed);
    assert_eq!(case.left_s(), HOUR);
}

#[test]
fn suspended_while_provisioning_gives_no_time_away() {
    let mut case = Case::new();
    case.ready = false;
    case.paid(0, 500);
    case.act(What::Suspended);
    case.pass(DAY);
    case.act(What::Ready);
    assert_eq!(case.lease_state(), LeaseState::Suspended);
    case.pass(HOUR);
    case.act(What::Resumed);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, HOUR));
}

#[test]
fn the_clock_starts_when_the_resource_is_ready() {
    let mut case = Case::new();
    case.ready = false;
    case.paid(0, 500);
    assert_eq!(case.lease_state(), LeaseState::Provisioning);
    assert_eq!((case.look().starts_at, case.look().banked_s), (None, HOUR));
    case.pass(3 * HOUR);
    assert_eq!(case.books().prepaid_sat, 500);
    case.paid(0, 500);
    case.act(What::Ready);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, 2 * HOUR));
    assert_eq!(case.look().starts_at, Some(case.now));
}

#[test]
fn money_that_finds_no_unit_is_held_until_one_is_free() {
    let mut case = Case::new();
    case.unit_free = false;
    case.paid(0, 1000);
    assert_eq!((case.lease_state(), case.books().held_sat), (LeaseState::Unfunded, 1000));
    case.pass(DAY);
    case.unit_free = true;
    case.settle();
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, 2 * HOUR));
    assert_eq!(case.look().starts_at, Some(case.now));
}

#[test]
fn a_new_generation_keeps_the_terms_of_its_start_and_begins_afresh() {
    let mut case = one_hour();
    case.pass(DAY);
    case.change(|terms| {
        terms.grace_s = 60;
        terms.max_duration_s = DAY;
    });
    case.ready = false;
    case.paid(0, 20_000);
    assert_eq!((case.standing.generation, case.standing.terms_version), (2, 2));
    assert_eq!((case.look().starts_at, case.look().end_reason), (None, None));
    case.act(What::Ready);
    assert_eq!((case.look().remaining_s, case.look().banked_s), (DAY, 16 * HOUR));
    case.pass(2 * DAY);
    assert_eq!(case.standing.ended_at, case.standing.starts_at.map(|at| at.plus_s(40 * HOUR + 60)));
}

#[test]
fn a_running_lease_keeps_its_terms_when_the_catalogue_changes() {
    let mut case = one_hour();
    case.change(|terms| terms.grace_s = 0);
    case.pass(HOUR + 599);
    assert_eq!(case.lease_state(), LeaseState::Grace);
}

#[test]
fn after_the_end_less_than_the_least_time_is_held_until_more_comes() {
    let mut case = one_hour();
    case.pass(DAY);
    case.paid(0, 50);
    assert_eq!((case.lease_state(), case.books().held_sat), (LeaseState::Ended, 50));
    case.paid(0, 50);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, 720));
    assert_eq!(case.standing.generation, 2);
}

#[test]
fn a_balance_stays_for_the_next_generation() {
    let mut terms = gpu();
    terms.price = crate::domain::price::Price { sat: 10, per_s: 1 };
    let mut case = Case::with(terms);
    case.paid(0, 6007);
    case.pass(DAY);
    assert_eq!((case.lease_state(), case.books().held_sat), (LeaseState::Ended, 7));
    case.paid(0, 6003);
    assert_eq!((case.left_s(), case.books().held_sat), (601, 0));
    assert_eq!(case.books().prepaid_sat, 6010);
}

#[test]
fn expiring_soon_is_the_last_half_of_a_short_lease_and_the_last_day_of_a_long_one() {
    let mut short = one_hour();
    short.pass(HOUR / 2 - 1);
    assert!(!short.look().expiring_soon);
    short.pass(1);
    assert!(short.look().expiring_soon);
    short.paid(0, 500);
    assert!(!short.look().expiring_soon);

    let mut long = Case::new();
    long.paid(0, 120_000); // ten days
    long.pass(9 * DAY - 1);
    assert!(!long.look().expiring_soon);
    long.pass(1);
    assert!(long.look().expiring_soon);
}

#[test]
fn a_unit_is_held_until_the_quote_ends_and_longer_for_money_on_its_way() {
    let mut case = Case::new();
    let until = |case: &Case| {
        case.with_world(|world| advance::hold_until(&case.facts, &case.standing, world))
    };
    let quote_end = START.plus_s(1800);
    assert_eq!(until(&case), Some(quote_end));
    let payment = case.pays(0, 82);
    assert_eq!(until(&case), Some(quote_end), "not worth the least time");
    let more = case.pays(0, 10);
    assert_eq!(until(&case), Some(quote_end.plus_s(6 * HOUR)));
    case.cancel(more);
    assert_eq!(until(&case), Some(quote_end));
    case.facts.invoices[0].created_at = START;
    let topup = case.ask(HOUR);
    case.facts.invoices.swap(0, topup);
    assert_eq!(until(&case), Some(quote_end), "the first invoice counts, wherever it is listed");
    assert_eq!(case.payment_state(payment), PaymentState::Mempool);
}

#[test]
fn a_fortune_buys_time_beyond_the_year_9999_and_is_not_lost() {
    let mut terms = gpu();
    terms.price = crate::domain::price::Price { sat: 1, per_s: HOUR };
    let mut case = Case::with(terms);
    case.paid(0, 100_000_000);
    case.blocks(2);
    assert_eq!(case.left_s(), 100_000_000 * HOUR);
    let stored = serde_json::to_string(&case.look()).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&stored).unwrap(), case.look());
    case.act(What::Returned);
    assert_eq!(case.books().refundable_sat, 100_000_000);
}

#[test]
fn money_not_worth_a_second_does_not_prolong_grace() {
    let mut terms = gpu();
    terms.price = Price { sat: 10, per_s: 1 };
    let mut case = Case::with(terms);
    case.paid(0, 36_000);
    case.pass(HOUR + 300);
    let until = case.look().grace_until;
    case.paid(0, 5);
    assert_eq!((case.lease_state(), case.look().grace_until), (LeaseState::Grace, until));
    case.paid(0, 5);
    assert_eq!(case.lease_state(), LeaseState::Active, "together they are");
}
