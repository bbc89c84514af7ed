//! A fee: how much, and who bears which part of it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::config;
use crate::domain::payout::fee::{FeePolicy, fee_sat, split};

#[test]
fn a_fee_is_rounded_up_to_a_whole_satoshi() {
    for (weight, feerate_msat, expected) in [
        (0, 1000, 0),
        (400, 1000, 100),
        (401, 1000, 101),
        (404, 1000, 101),
        (1, 1, 1),
        (400, 0, 0),
        (400, 1001, 101),
        (561, 2500, 351),
        (u64::MAX, u64::MAX, u64::MAX),
    ] {
        assert_eq!(fee_sat(weight, feerate_msat), expected, "{weight} WU at {feerate_msat}");
    }
}

#[test]
fn what_rounding_leaves_goes_to_the_first_ones() {
    for (whole, parts, expected) in [
        (10, vec![1, 1, 1], vec![4, 3, 3]),
        (11, vec![1, 1, 1], vec![4, 4, 3]),
        (12, vec![1, 1, 1], vec![4, 4, 4]),
        (2, vec![1, 1, 1], vec![1, 1, 0]),
        (0, vec![1, 1], vec![0, 0]),
        (100, vec![1, 3], vec![25, 75]),
        (101, vec![1, 3], vec![26, 75]),
        (7, vec![0, 0], vec![0, 0]),
        (7, vec![], vec![]),
        (u64::MAX, vec![u64::MAX, u64::MAX], vec![u64::MAX / 2 + 1, u64::MAX / 2]),
    ] {
        assert_eq!(split(whole, &parts), expected, "{whole} by {parts:?}");
    }
}

#[test]
fn a_policy_is_read_as_it_was_written() {
    for policy in [FeePolicy::Recipient, FeePolicy::Sender] {
        assert_eq!(FeePolicy::parse(policy.as_str()), Some(policy));
    }
    assert_eq!(FeePolicy::parse("nobody"), None);
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn shares_add_up_are_within_one_of_exact_and_never_more_than_the_part(
        parts in vec(1u64..1_000_000_000, 1..20), part in 0u64..=1000,
    ) {
        let sum: u64 = parts.iter().sum();
        let whole = u64::try_from(u128::from(sum) * u128::from(part) / 1000).unwrap();
        let shares = split(whole, &parts);
        prop_assert_eq!(shares.iter().sum::<u64>(), whole);
        let mut rounded_up = true;
        for (share, part) in shares.iter().zip(&parts) {
            let exact = u128::from(whole) * u128::from(*part) / u128::from(sum);
            let more = u128::from(*share) - exact;
            prop_assert!(more <= 1 && share <= part, "{} of {}", share, part);
            prop_assert!(more == 0 || rounded_up, "the first ones bear the rest");
            rounded_up = more == 1;
        }
    }

    #[test]
    fn a_fee_pays_the_feerate_and_less_than_a_satoshi_more(
        weight in 0u64..4_000_000, feerate_msat in 0u64..10_000_000,
    ) {
        let exact = u128::from(weight) * u128::from(feerate_msat);
        let paid = u128::from(fee_sat(weight, feerate_msat)) * 4000;
        prop_assert!(paid >= exact && paid < exact + 4000);
    }
}
