use proptest::prelude::*;

use super::*;

const HOUR: Price = Price { sat: 500, per_s: 3600 };

#[test]
fn two_hours_cost_a_thousand_and_a_thousand_buy_two_hours() {
    assert_eq!(HOUR.cost_sat(7200), 1000);
    assert_eq!(HOUR.seconds(1000), 7200);
    assert_eq!(HOUR.cost_sat(1), 1);
    assert_eq!(HOUR.seconds(1), 7);
}

#[test]
fn the_whole_supply_at_a_satoshi_a_year_does_not_overflow() {
    let price = Price { sat: 1, per_s: 31_536_000 };
    assert_eq!(price.seconds(u64::MAX), u64::MAX);
    assert_eq!(price.seconds(2_100_000_000_000_000), u64::MAX);
}

#[test]
fn a_dear_second_leaves_a_balance_that_moves_to_the_next_price() {
    let dear = Price { sat: 10, per_s: 1 };
    let mut run = Run::new(dear, 0);
    assert_eq!(run.add(1003, dear), 100);
    assert_eq!(run.balance_sat(), 3);
    let cheap = Price { sat: 3, per_s: 1 };
    assert_eq!(run.add(0, cheap), 1);
    assert_eq!(run.balance_sat(), 0);
}

#[test]
fn fractions_of_different_periods_add_up_before_the_floor() {
    let third = Price { sat: 1, per_s: 3 };
    let sixth = Price { sat: 1, per_s: 6 };
    assert_eq!(value_sat([(1, third), (1, third), (2, sixth)]), 1);
    assert_eq!(value_sat([(7200, HOUR), (3599, HOUR)]), 1499);
}

proptest! {
    #[test]
    fn splitting_a_payment_gains_and_loses_nothing(
        parts in prop::collection::vec(1u64..1_000_000, 1..40),
        sat in 1u64..10_000, per_s in 1u64..100_000,
    ) {
        let price = Price { sat, per_s };
        let mut run = Run::new(price, 0);
        let seconds: u64 = parts.iter().map(|part| run.add(*part, price)).sum();
        prop_assert_eq!(seconds, price.seconds(parts.iter().sum()));
    }

    #[test]
    fn the_quoted_price_buys_at_least_the_quoted_time(
        duration_s in 1u64..100_000_000, sat in 1u64..1_000_000, per_s in 1u64..1_000_000,
    ) {
        let price = Price { sat, per_s };
        prop_assert!(price.seconds(price.cost_sat(duration_s)) >= duration_s);
    }

    #[test]
    fn unused_time_is_never_worth_more_than_was_paid(
        amount in 1u64..10_000_000, sat in 1u64..10_000, per_s in 1u64..100_000,
    ) {
        let price = Price { sat, per_s };
        prop_assert!(value_sat([(price.seconds(amount), price)]) <= amount);
    }
}

#[test]
fn a_cost_is_said_as_people_say_it() {
    let said = [(20, 3600), (30_000, 30 * 86_400), (5, 7200), (1, 86_400), (9, 7 * 86_400)]
        .map(|(sat, per_s)| Price { sat, per_s }.words());
    let wanted = [
        "20 sat an hour",
        "30,000 sat a month",
        "5 sat every 2 hours",
        "1 sat a day",
        "9 sat a week",
    ];
    assert_eq!(said, wanted);
}
