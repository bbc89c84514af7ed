//! What is told to the world: the difference of two looks.

use super::*;
use crate::domain::event::EventKind as E;
use crate::domain::lease::difference::difference;

/// What is told when `change` happens.
fn told(case: &mut Case, change: impl FnOnce(&mut Case)) -> Vec<E> {
    let before = case.look();
    change(case);
    let after = case.look();
    assert_eq!(difference(&after, &after), [], "the same look twice tells nothing");
    difference(&before, &after)
}

#[test]
fn a_life_is_told_in_order_and_each_thing_once() {
    let mut case = Case::new();
    assert_eq!(told(&mut case, |case| _ = case.pays(0, 1000)), []);
    assert_eq!(told(&mut case, |case| case.mine(&[0])), [E::LeaseProvisioning, E::LeaseActivated]);
    assert_eq!(told(&mut case, |case| _ = case.paid(0, 500)), [E::LeaseExtended]);
    assert_eq!(told(&mut case, |case| case.pass(HOUR)), []);
    assert_eq!(told(&mut case, |case| case.pass(HOUR)), [E::LeaseExpiringSoon]);
    assert_eq!(told(&mut case, |case| case.pass(600)), []);
    assert_eq!(told(&mut case, |case| case.pass(HOUR - 600)), [E::LeaseGrace]);
    assert_eq!(told(&mut case, |case| case.pass(600)), [E::LeaseEnded]);
    assert_eq!(told(&mut case, |case| case.pass(DAY)), []);
}

#[test]
fn leaving_grace_is_an_extension() {
    let mut case = Case::new();
    case.paid(0, 500);
    case.pass(HOUR + 60);
    let events = told(&mut case, |case| _ = case.paid(0, 500));
    assert_eq!(events, [E::LeaseExtended, E::LeaseExpiringSoon], "half of the term is over");
}

#[test]
fn provisioning_and_ready_are_told_apart() {
    let mut case = Case::new();
    case.ready = false;
    assert_eq!(told(&mut case, |case| _ = case.paid(0, 1000)), [E::LeaseProvisioning]);
    assert_eq!(told(&mut case, |case| case.act(What::Ready)), [E::LeaseActivated]);
}

#[test]
fn suspension_is_told_and_the_time_that_stands_still_is_not() {
    let mut case = Case::new();
    case.paid(0, 120_000); // ten days
    assert_eq!(told(&mut case, |case| case.act(What::Suspended)), [E::LeaseSuspended]);
    assert_eq!(told(&mut case, |case| case.pass(DAY)), []);
    assert_eq!(told(&mut case, |case| _ = case.paid(0, 500)), [E::LeaseExtended]);
    assert_eq!(told(&mut case, |case| case.pass(DAY)), []);
    assert_eq!(told(&mut case, |case| case.act(What::Resumed)), [E::LeaseResumed]);
}

#[test]
fn ended_while_suspended_is_told_as_the_end() {
    let mut case = Case::new();
    case.paid(0, 1000);
    case.act(What::Suspended);
    assert_eq!(told(&mut case, |case| case.act(What::Revoked)), [E::LeaseEnded]);
}

#[test]
fn a_new_generation_found_at_once_tells_the_end_of_the_old_one_first() {
    let mut case = Case::new();
    case.paid(0, 500);
    let events = told(&mut case, |case| {
        case.stopped = true;
        case.pass(DAY);
        case.paid(0, 500);
        case.stopped = false;
        case.settle();
    });
    assert_eq!(events, [E::LeaseEnded, E::LeaseProvisioning, E::LeaseActivated]);
}

#[test]
fn a_reversal_that_takes_the_rest_is_told_as_grace_then_as_the_end() {
    let mut case = Case::new();
    let payment = case.paid(0, 1000);
    case.rewind(1, &[payment]);
    assert_eq!(told(&mut case, |case| case.double_spend(payment)), [E::LeaseGrace]);
    assert_eq!(told(&mut case, |case| case.pass(600)), [E::LeaseEnded]);
}

#[test]
fn twenty_reorgs_tell_nothing() {
    let mut case = Case::new();
    let payment = case.paid(0, 10_000);
    for _ in 0..20 {
        let events = told(&mut case, |case| {
            case.rewind(1, &[]);
            case.pass(1);
            case.mine(&[payment]);
        });
        assert_eq!(events, []);
    }
}
