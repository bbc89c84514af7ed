//! What is to be paid still, case by case: returned, in a batch, mined, given up, sent by somebody
//! else, reversed.

use super::{payout, txid};
use crate::domain::ids::{BatchId, InvoiceId};
use crate::domain::payout::batch::BatchState;
use crate::domain::payout::{Account, Open, Owed, Paying, Payout, PayoutState, plan};

fn batch(n: u8) -> BatchId {
    BatchId::new([n; 16])
}

fn topup(n: u8) -> Option<InvoiceId> {
    Some(InvoiceId::new([n; 16]))
}

fn owed(sat: u64) -> Owed {
    Owed { recipient: None, sat, settled_sat: sat }
}

/// An open payout, never in a batch.
fn open(n: u8, amount_sat: u64) -> Payout {
    let (id, recipient) = (payout(n), None);
    Payout { id, recipient, batch: None, dust: false, amount_sat, payings: Vec::new() }
}

/// Version `n` of a batch in a state, in no block and no mempool.
fn paying(of: u8, batch_state: BatchState, n: u32, amount_sat: u64) -> Paying {
    let txid = txid(of * 16 + u8::try_from(n).unwrap());
    let (submitted, height, in_mempool) = (false, None, false);
    Paying { batch: batch(of), batch_state, n, txid, amount_sat, submitted, height, in_mempool }
}

fn mined(paying: Paying) -> Paying {
    Paying { height: Some(100), ..paying }
}

fn signed(paying: Paying) -> Paying {
    Paying { submitted: true, ..paying }
}

fn seen(paying: Paying) -> Paying {
    Paying { in_mempool: true, ..paying }
}

/// The same payout, put into batch `of` last.
fn bound(payout: Payout, of: u8, payings: Vec<Paying>) -> Payout {
    Payout { batch: Some(batch(of)), payings, ..payout }
}

/// The only account, and what is open: payout, all, ready.
fn planned(owed: &[Owed], payouts: &[Payout]) -> (Account, Vec<(Option<u8>, u64, u64)>) {
    let plan = plan(owed, payouts);
    assert_eq!(plan.accounts.len(), 1, "{plan:?}");
    let number = |open: &Open| {
        let of = |id| (0..=u8::MAX).find(|n| payout(*n) == id).unwrap();
        open.id.clone().map(of)
    };
    let open = plan.open.iter().map(|it| (number(it), it.amount_sat, it.ready_sat)).collect();
    (plan.accounts[0].clone(), open)
}

/// Owed, fixed, out, lost, refundable.
fn sums(account: &Account) -> [u64; 5] {
    let Account { owed_sat, fixed_sat, out_sat, .. } = *account;
    [owed_sat, fixed_sat, out_sat, account.lost_sat(), account.refundable_sat()]
}

#[test]
fn what_is_owed_becomes_one_open_payout_that_follows_it() {
    let (account, open_now) = planned(&[owed(1000)], &[]);
    assert_eq!(sums(&account), [1000, 0, 0, 0, 1000]);
    assert_eq!(open_now, [(None, 1000, 1000)]);
    let part = Owed { settled_sat: 300, ..owed(1500) };
    assert_eq!(planned(&[part], &[open(1, 1000)]).1, [(Some(1), 1500, 300)]);
    assert!(plan(&[], &[]).accounts.is_empty());
}

#[test]
fn nothing_stays_open_when_nothing_is_owed_any_more() {
    let (account, open_now) = planned(&[], &[open(1, 1000)]);
    assert_eq!(sums(&account), [0; 5]);
    assert_eq!(open_now, [(Some(1), 0, 0)]);
    let other = Payout { recipient: topup(1), ..open(2, 500) };
    let plan = plan(&[owed(1000)], &[open(1, 1000), other]);
    let left: Vec<_> = plan.open.iter().map(|it| (it.id.clone(), it.amount_sat)).collect();
    assert_eq!(left, [(Some(payout(1)), 1000), (Some(payout(2)), 0)]);
}

#[test]
fn what_a_living_batch_pays_is_fixed_and_the_rest_is_open() {
    for (state, expected) in [
        (BatchState::Prepared, PayoutState::Prepared),
        (BatchState::Broadcast, PayoutState::Broadcast),
    ] {
        let row = bound(open(1, 1000), 1, vec![paying(1, state, 1, 1000)]);
        assert_eq!(row.fixed().unwrap().0, expected);
        let rows = [row];
        assert_eq!(planned(&[owed(1000)], &rows).1, []);
        let (account, open_now) = planned(&[owed(1400)], &rows);
        assert_eq!(sums(&account), [1400, 1000, 0, 0, 1400]);
        assert_eq!((account.open_sat(), open_now), (400, vec![(None, 400, 400)]));
    }
}

#[test]
fn what_is_mined_is_out_whatever_its_batch_was_called() {
    for state in BatchState::ALL {
        let row = bound(open(1, 1000), 1, vec![mined(paying(1, state, 1, 1000))]);
        assert_eq!(row.fixed().unwrap().0, PayoutState::Confirmed, "{state:?}");
        let (account, open_now) = planned(&[owed(1000)], &[row]);
        assert_eq!((sums(&account), open_now), ([1000, 1000, 1000, 0, 0], vec![]));
    }
}

#[test]
fn a_batch_given_up_leaves_its_payouts_open_again() {
    for state in [BatchState::Abandoned, BatchState::Replaced, BatchState::Conflicted] {
        let row = bound(open(1, 1000), 1, vec![paying(1, state, 1, 1000)]);
        assert_eq!(row.fixed(), None);
        let (account, open_now) = planned(&[owed(1000)], &[row]);
        assert_eq!(sums(&account), [1000, 0, 0, 0, 1000]);
        assert_eq!(open_now, [(Some(1), 1000, 1000)]);
    }
}

#[test]
fn a_version_that_left_a_payout_out_does_not_pay_it() {
    // Version 2, mined, has no item for it; version 1 can not come any more.
    let row = bound(open(1, 1000), 1, vec![paying(1, BatchState::Confirmed, 1, 1000)]);
    assert_eq!(planned(&[owed(1000)], &[row]).1, [(Some(1), 1000, 1000)]);
}

#[test]
fn the_version_in_the_mempool_fixes_the_amount_else_one_that_is_signed_else_the_newest() {
    let of = |n, sat| paying(1, BatchState::Broadcast, n, sat);
    for (payings, expected) in [
        (vec![of(1, 1000), of(2, 900)], 900),
        (vec![signed(of(1, 1000)), of(2, 900)], 1000),
        (vec![signed(of(1, 1000)), signed(of(2, 900))], 900),
        (vec![seen(of(1, 1000)), signed(of(2, 900))], 1000),
        (vec![seen(of(1, 1000)), of(2, 900)], 1000),
        (vec![mined(of(1, 1000)), seen(of(2, 900))], 1000),
    ] {
        let row = bound(open(1, 1000), 1, payings);
        assert_eq!(row.fixed().unwrap().1.amount_sat, expected);
    }
}

#[test]
fn an_abandoned_transaction_that_was_mined_all_the_same_has_paid() {
    let dead = paying(1, BatchState::Abandoned, 1, 1000);
    let next = paying(2, BatchState::Prepared, 1, 1000);
    // Bound to the next batch: that is what counts.
    let row = bound(open(1, 1000), 2, vec![dead.clone(), next.clone()]);
    assert_eq!(row.fixed().unwrap(), (PayoutState::Prepared, &next));
    // Somebody sends the old one, and a miner takes it.
    let old = mined(Paying { batch_state: BatchState::Confirmed, ..dead });
    let row = bound(open(1, 1000), 2, vec![old.clone(), next]);
    assert_eq!(row.fixed().unwrap(), (PayoutState::Confirmed, &old));
    let (account, open_now) = planned(&[owed(1000)], &[row]);
    assert_eq!((sums(&account), open_now), ([1000, 1000, 1000, 0, 0], vec![]));
}

#[test]
fn an_abandoned_transaction_in_a_mempool_fixes_what_no_other_batch_has() {
    let sent = seen(paying(1, BatchState::Broadcast, 1, 1000));
    let gone = paying(2, BatchState::Conflicted, 1, 900);
    let row = bound(open(1, 1000), 2, vec![sent.clone(), gone]);
    assert_eq!(row.fixed().unwrap(), (PayoutState::Broadcast, &sent));
}

#[test]
fn two_open_payouts_of_one_recipient_become_one() {
    // The second was made while the first was in a batch, which was given up.
    let old = bound(open(1, 1000), 1, vec![paying(1, BatchState::Abandoned, 1, 1000)]);
    let (account, open_now) = planned(&[owed(1400)], &[old, open(2, 400)]);
    assert_eq!(sums(&account), [1400, 0, 0, 0, 1400]);
    assert_eq!(open_now, [(Some(1), 1400, 1400), (Some(2), 0, 0)]);
}

#[test]
fn what_is_reversed_after_it_was_paid_is_lost_and_eats_what_is_owed_next() {
    let paid = bound(open(1, 1000), 1, vec![mined(paying(1, BatchState::Confirmed, 1, 1000))]);
    let rows = [paid];
    assert_eq!(sums(&planned(&[], &rows).0), [0, 1000, 1000, 1000, 0]);
    assert_eq!(sums(&planned(&[owed(600)], &rows).0), [600, 1000, 1000, 400, 0]);
    let (account, open_now) = planned(&[owed(1600)], &rows);
    assert_eq!((sums(&account), open_now), ([1600, 1000, 1000, 0, 600], vec![(None, 600, 600)]));
}

#[test]
fn a_batch_that_pays_more_than_is_deep_enough_is_overdrawn() {
    let row = bound(open(1, 1000), 1, vec![paying(1, BatchState::Prepared, 1, 1000)]);
    for (sat, settled_sat, overdrawn, ready) in
        [(1000, 1000, 0, 0), (1000, 0, 1000, 0), (1500, 1200, 0, 200), (300, 300, 700, 0)]
    {
        let owed = Owed { recipient: None, sat, settled_sat };
        let (account, _) = planned(&[owed], std::slice::from_ref(&row));
        assert_eq!((account.overdrawn_sat(), account.ready_sat()), (overdrawn, ready));
        assert_eq!(account.lost_sat(), 0, "nothing is lost before it is mined");
    }
}

#[test]
fn dust_stays_dust_until_the_amount_changes() {
    let dust = Payout { dust: true, ..open(1, 200) };
    let rows = [dust];
    let (account, _) = planned(&[owed(200)], &rows);
    assert_eq!((account.dust_sat, account.refundable_sat()), (200, 0));
    assert!(plan(&[owed(200)], &rows).open[0].dust);
    for sat in [0, 199, 201] {
        let (account, _) = planned(&[owed(sat)], &rows);
        assert_eq!((account.dust_sat, account.refundable_sat()), (0, sat));
        assert!(!plan(&[owed(sat)], &rows).open[0].dust);
    }
}

#[test]
fn every_recipient_has_an_account_of_its_own() {
    let to = |recipient, sat| Owed { recipient, sat, settled_sat: sat };
    let paid = bound(
        Payout { recipient: topup(1), ..open(1, 700) },
        1,
        vec![mined(paying(1, BatchState::Confirmed, 1, 700))],
    );
    let plan = plan(&[owed(1000), to(topup(1), 500), to(topup(2), 300)], &[paid]);
    let all: Vec<_> = plan.accounts.iter().map(|it| (it.recipient.clone(), sums(it))).collect();
    assert_eq!(
        all,
        [
            (None, [1000, 0, 0, 0, 1000]),
            (topup(1), [500, 700, 700, 200, 0]),
            (topup(2), [300, 0, 0, 0, 300]),
        ]
    );
    let open: Vec<_> = plan.open.iter().map(|it| (it.recipient.clone(), it.amount_sat)).collect();
    assert_eq!(open, [(None, 1000), (topup(2), 300)]);
}
