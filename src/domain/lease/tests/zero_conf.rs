//! Zero-confirmation credits: who gets one, and how it is lost.

use super::*;
use crate::domain::payment::MempoolEntry;
use crate::domain::resource::Tier;

const GOOD: MempoolEntry = MempoolEntry { inputs_confirmed: true, feerate_msat: 2000 };

fn case() -> Case {
    let mut terms = gpu();
    terms.confirmations =
        vec![Tier { up_to_sat: Some(2000), n: 0 }, Tier { up_to_sat: None, n: 1 }];
    let policy = Policy { zero_conf_max_exposure_sat: 3000, ..Policy::default() };
    Case::under(terms, policy)
}

/// A payment that the mempool describes as `entry`; its number.
fn pays(case: &mut Case, sat: u64, entry: MempoolEntry) -> usize {
    let payment = case.transaction(&[(0, sat)]);
    case.facts.payments[payment].entered_mempool(Some(entry));
    case.settle();
    payment
}

#[test]
fn a_good_payment_counts_at_first_sight_and_carries_at_risk() {
    let mut case = case();
    case.pass(60);
    let payment = pays(&mut case, 1000, GOOD);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    assert_eq!((case.lease_state(), case.left_s()), (LeaseState::Active, 2 * HOUR));
    assert_eq!(
        (case.status(0), case.flags(0)),
        (InvoiceStatus::Settled, vec![InvoiceFlag::AtRisk])
    );
    assert_eq!(case.standing.credits[0].credited_at, case.now);
    case.mine(&[payment]);
    assert_eq!((case.at_risk(payment), case.flags(0)), (false, vec![]));
    assert_eq!(case.facts.entries.len(), 3, "its block writes nothing");
}

#[test]
fn by_default_nothing_counts_without_a_block() {
    let mut case = case();
    case.policy.zero_conf_max_exposure_sat = 0;
    let payment = pays(&mut case, 1000, GOOD);
    assert_eq!(case.payment_state(payment), PaymentState::Mempool);
    case.mine(&[payment]);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
}

#[test]
fn unconfirmed_inputs_a_low_feerate_or_no_word_from_the_mempool_wait_for_a_block() {
    let entries = [
        Some(MempoolEntry { inputs_confirmed: false, ..GOOD }),
        Some(MempoolEntry { feerate_msat: 1999, ..GOOD }),
        None,
    ];
    for entry in entries {
        let mut case = case();
        let payment = case.transaction(&[(0, 1000)]);
        case.facts.payments[payment].entered_mempool(entry);
        case.settle();
        assert_eq!(case.payment_state(payment), PaymentState::Mempool, "{entry:?}");
        case.mine(&[payment]);
        assert_eq!(case.payment_state(payment), PaymentState::Credited);
    }
}

#[test]
fn more_than_the_tier_allows_waits_for_a_block() {
    let mut case = case();
    let payment = pays(&mut case, 2001, GOOD);
    assert_eq!(case.payment_state(payment), PaymentState::Mempool);
}

#[test]
fn the_exposure_is_capped_over_this_and_all_other_leases() {
    let mut own = case();
    own.facts.terms = TermsHistory::new(vec![TermsVersion {
        version: 1,
        created_at: START,
        terms: Terms { confirmations: vec![Tier { up_to_sat: None, n: 0 }], ..gpu() },
    }]);
    pays(&mut own, 2000, GOOD);
    let second = pays(&mut own, 1001, GOOD);
    let third = pays(&mut own, 1000, GOOD);
    assert_eq!(own.payment_state(second), PaymentState::Mempool);
    assert_eq!(own.payment_state(third), PaymentState::Credited);

    let mut others = case();
    others.unmined_credit_sat = 2001;
    let payment = pays(&mut others, 1000, GOOD);
    assert_eq!(others.payment_state(payment), PaymentState::Mempool);
}

#[test]
fn mined_credits_no_longer_count_for_the_exposure() {
    let mut case = case();
    let first = pays(&mut case, 2000, GOOD);
    case.mine(&[first]);
    case.blocks(99);
    let second = pays(&mut case, 2000, GOOD);
    assert_eq!(case.payment_state(second), PaymentState::Credited);
}

#[test]
fn a_conflict_reverses_it_at_once_and_from_then_on() {
    let mut case = case();
    let payment = pays(&mut case, 1000, GOOD);
    case.pass(HOUR);
    case.cancel(payment);
    assert_eq!(case.payment_state(payment), PaymentState::Reversed);
    assert_eq!(case.lease_state(), LeaseState::Grace);
    let line = &case.standing.credits[0];
    assert_eq!(line.taken_s, HOUR, "the hour before the conflict was used");
    assert_eq!(case.standing.last_at, case.now);
}

#[test]
fn a_replacement_that_pays_too_takes_its_place() {
    let mut case = case();
    let old = pays(&mut case, 1000, GOOD);
    let new = case.replace(old, 0, 1000);
    assert_eq!(case.payment_state(old), PaymentState::Reversed);
    case.mine(&[new]);
    assert_eq!((case.left_s(), case.books().received_sat), (2 * HOUR, 1000));
}

#[test]
fn not_mined_within_six_blocks_it_is_reversed() {
    let mut case = case();
    let payment = pays(&mut case, 1000, GOOD);
    case.blocks(5);
    assert_eq!(case.payment_state(payment), PaymentState::Credited);
    let next = case.with_world(|world| advance::next_height(&case.facts, &case.standing, world));
    assert_eq!(next, Some(case.tip + 1));
    case.blocks(1);
    assert_eq!(case.payment_state(payment), PaymentState::Reversed);
    case.pass(60);
    case.mine(&[payment]);
    assert_eq!(case.payment_state(payment), PaymentState::Credited, "restored by its block");
    assert_eq!(case.left_s(), 2 * HOUR);
}

#[test]
fn once_it_was_mined_a_reorg_treats_it_like_any_other() {
    let mut case = case();
    let payment = pays(&mut case, 1000, GOOD);
    case.mine(&[payment]);
    case.rewind(1, &[]);
    case.blocks(20);
    assert_eq!(case.payment_state(payment), PaymentState::Credited, "it is in the mempool");
    case.cancel(payment);
    assert_eq!(case.payment_state(payment), PaymentState::Credited, "conflicted, not yet lost");
    case.blocks(6);
    assert_eq!(case.payment_state(payment), PaymentState::Reversed);
}

#[test]
fn it_is_not_credited_while_conflicted_or_gone() {
    let mut gone = case();
    let payment = gone.transaction(&[(0, 1000)]);
    gone.facts.payments[payment].entered_mempool(Some(GOOD));
    gone.facts.payments[payment].left_mempool(gone.tip);
    gone.settle();
    assert_eq!(gone.payment_state(payment), PaymentState::Gone);
}

#[test]
fn the_moments_that_decide_are_asked_for_at_their_own_heights() {
    let mut case = case();
    pays(&mut case, 1000, GOOD);
    let (credited, at) = (case.tip, (case.tip + 50, &case.policy));
    let prospects = Prospects::new(&case.facts, at.0, at.1);
    let heights = advance::heights_of_moments(&case.facts, &case.standing, &prospects, at);
    assert_eq!(heights.into_iter().collect::<Vec<_>>(), [credited + 6, credited + 50]);
}
