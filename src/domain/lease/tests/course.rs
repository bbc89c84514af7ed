//! How a lease went: what it earned by moments that are past, and when it had its unit.

use super::*;
use crate::domain::lease::course::{Course, Tenure, course};

/// Its course by the end of every 12 hours, so often, and by now.
fn by_half_days(case: &Case, count: u64) -> Course {
    let half = |n: u64| START.plus_s(n * 12 * HOUR);
    let marks: Vec<Timestamp> = (0..=count).map(half).chain([case.now]).collect();
    course(&case.facts.lease, &case.facts.terms, &case.facts.entries, &marks).unwrap()
}

#[test]
fn time_is_earned_as_it_elapses_and_not_in_grace() {
    let mut case = Case::new();
    case.paid(0, 15_000);
    let running = by_half_days(&case, 0);
    assert_eq!(running.tenures[0].until, None);
    for _ in 0..8 {
        case.pass(8 * HOUR);
    }
    let went = by_half_days(&case, 4);
    assert_eq!(went.earned_sat, [0, 6000, 12_000, 15_000, 15_000, 15_000]);
    let until = Some(START.plus_s(30 * HOUR + 600));
    assert_eq!(went.tenures, [Tenure { unit: Some("gpu-1".into()), from: START, until }]);
    let tenure = &went.tenures[0];
    assert_eq!(tenure.within_ms(START.plus_s(24 * HOUR), START.plus_s(36 * HOUR)), 22_200_000);
    assert_eq!(tenure.within_ms(START.plus_s(36 * HOUR), START.plus_s(48 * HOUR)), 0);
}

#[test]
fn while_it_stands_still_nothing_is_earned_and_the_unit_is_kept() {
    let mut case = Case::new();
    case.paid(0, 12_000);
    case.pass(10 * HOUR);
    case.act(What::Suspended);
    case.pass(24 * HOUR);
    case.act(What::Resumed);
    case.pass(15 * HOUR);
    let went = by_half_days(&case, 4);
    assert_eq!(went.earned_sat, [0, 5000, 5000, 6000, 12_000, 12_000]);
    assert_eq!(went.tenures.len(), 1);
    assert_eq!(went.tenures[0].until, Some(START.plus_s(48 * HOUR + 600)));
}

#[test]
fn a_reversal_takes_back_when_it_happens_and_leaves_the_days_before() {
    let mut case = Case::new();
    let first = case.paid(0, 12_000);
    case.pass(18 * HOUR);
    case.rewind(1, &[first]);
    case.double_spend(first);
    let went = by_half_days(&case, 1);
    assert_eq!(went.earned_sat, [0, 6000, 0]);
}

#[test]
fn what_is_kept_is_earned_when_it_is_given_back_and_a_second_life_has_its_own_unit_time() {
    let mut terms = gpu();
    terms.refund_unused = false;
    let mut case = Case::with(terms);
    case.paid(0, 6000);
    case.pass(13 * HOUR);
    case.ask(24 * HOUR);
    case.paid(1, 12_000);
    case.pass(18 * HOUR);
    case.act(What::Returned);
    case.pass(18 * HOUR);
    let went = by_half_days(&case, 3);
    assert_eq!(went.earned_sat, [0, 6000, 11_500, 18_000, 18_000]);
    let ends: Vec<Option<Timestamp>> = went.tenures.iter().map(|tenure| tenure.until).collect();
    let hours = |hours: u64, s: u64| Some(START.plus_s(hours * HOUR + s));
    assert_eq!(ends, [hours(12, 600), hours(31, 0)]);
    assert_eq!(Some(went.tenures[1].from), hours(13, 0));
}

#[test]
fn a_server_that_was_down_finds_the_same_course() {
    let course_of = |stopped: bool| {
        let mut case = Case::new();
        case.paid(0, 15_000);
        case.stopped = stopped;
        for _ in 0..10 {
            case.pass(5 * HOUR);
        }
        case.stopped = false;
        case.pass(1);
        by_half_days(&case, 4)
    };
    assert_eq!(course_of(true), course_of(false));
}
