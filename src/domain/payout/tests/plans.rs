//! What every plan keeps to, whatever is owed and whatever was paid.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{config, payout, txid};
use crate::domain::ids::{BatchId, InvoiceId};
use crate::domain::lease::books::Books;
use crate::domain::payout::batch::BatchState;
use crate::domain::payout::{Owed, Paying, Payout, PayoutState, Plan, plan};

fn recipients() -> impl Strategy<Value = Option<InvoiceId>> {
    prop::option::weighted(0.6, (0u8..2).prop_map(|n| InvoiceId::new([n; 16])))
}

fn owed() -> impl Strategy<Value = Vec<Owed>> {
    let one = (recipients(), 0u64..3000, 0u64..=100);
    vec(one, 0..4).prop_map(|list| {
        let owed = |(recipient, sat, pct)| Owed { recipient, sat, settled_sat: sat * pct / 100 };
        list.into_iter().map(owed).collect()
    })
}

/// One version: its batch, amount, and whether it is mined or in the mempool.
fn paying() -> impl Strategy<Value = Paying> {
    let state = prop::sample::select(BatchState::ALL.to_vec());
    let height = prop::option::weighted(0.2, 90u32..100);
    let place = (prop::bool::weighted(0.3), height, prop::bool::weighted(0.2));
    (0u8..3, state, 1u32..4, 1u64..2000, place).prop_map(
        |(of, batch_state, n, amount_sat, (submitted, height, in_mempool))| Paying {
            batch: BatchId::new([of; 16]),
            batch_state,
            n,
            txid: txid(of * 16 + u8::try_from(n).unwrap()),
            amount_sat,
            submitted,
            height,
            in_mempool: in_mempool && height.is_none(),
        },
    )
}

fn payouts() -> impl Strategy<Value = Vec<Payout>> {
    let bound = prop::option::weighted(0.7, 0u8..3);
    let one = (recipients(), bound, any::<bool>(), 0u64..3000, vec(paying(), 0..4));
    vec(one, 0..6).prop_map(|list| {
        let row =
            |(n, (recipient, batch, dust, amount_sat, payings)): (u8, (_, Option<u8>, _, _, _))| {
                Payout {
                    id: payout(n),
                    recipient,
                    batch: batch.map(|of| BatchId::new([of; 16])),
                    dust,
                    amount_sat,
                    payings,
                }
            };
        (0..).zip(list).map(row).collect()
    })
}

/// What is owed to each recipient: all, and what is deep enough.
fn by_recipient(owed: &[Owed]) -> BTreeMap<Option<InvoiceId>, (u64, u64)> {
    let mut sums: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for it in owed {
        let sum = sums.entry(it.recipient.clone()).or_default();
        *sum = (sum.0 + it.sat, sum.1 + it.settled_sat);
    }
    sums
}

fn assert_accounts(owed: &[Owed], payouts: &[Payout], plan: &Plan) {
    let sums = by_recipient(owed);
    for account in &plan.accounts {
        let expected = sums.get(&account.recipient).copied().unwrap_or_default();
        assert_eq!((account.owed_sat, account.settled_sat), expected);
        // Each satoshi that is owed, or was paid and is not owed, is in one place.
        assert_eq!(
            account.owed_sat + account.lost_sat(),
            account.refundable_sat() + account.out_sat + account.dust_sat,
            "{account:?}"
        );
        assert!(account.lost_sat() == 0 || account.refundable_sat() + account.dust_sat == 0);
        assert!(account.out_sat <= account.fixed_sat);
        let own = payouts.iter().filter(|it| it.recipient == account.recipient);
        let out = own.flat_map(|it| &it.payings).filter(|paying| paying.height.is_some());
        assert_eq!(account.out_sat, out.map(|paying| paying.amount_sat).sum::<u64>());
    }
    let known: BTreeSet<_> = plan.accounts.iter().map(|account| &account.recipient).collect();
    assert_eq!(known.len(), plan.accounts.len(), "one account a recipient");
    let named = owed.iter().map(|it| &it.recipient);
    assert!(named.chain(payouts.iter().map(|it| &it.recipient)).all(|it| known.contains(it)));
}

fn assert_open(payouts: &[Payout], plan: &Plan) {
    for account in &plan.accounts {
        let open: Vec<_> =
            plan.open.iter().filter(|it| it.recipient == account.recipient).collect();
        let sum: u64 = open.iter().map(|it| it.amount_sat).sum();
        let ready: u64 = open.iter().map(|it| it.ready_sat).sum();
        assert_eq!(sum, account.open_sat());
        assert_eq!(ready, account.ready_sat());
        assert!(open.iter().all(|it| it.ready_sat <= it.amount_sat));
        // With all that is in transactions it is what is owed, and more only if too much is there.
        assert_eq!(sum + account.fixed_sat, account.owed_sat.max(account.fixed_sat));
        assert!(ready + account.fixed_sat <= account.settled_sat.max(account.fixed_sat));
        assert!(open.iter().filter(|it| it.amount_sat > 0).count() <= 1);
        let dust: u64 = open.iter().filter(|it| it.dust).map(|it| it.amount_sat).sum();
        assert_eq!(account.dust_sat, dust.min(account.owed_sat.saturating_sub(account.out_sat)));
    }
    // A payout is open or fixed, never both, never neither.
    for row in payouts {
        let listed = plan.open.iter().filter(|it| it.id.as_ref() == Some(&row.id)).count();
        assert_eq!(listed, usize::from(row.fixed().is_none()), "{row:?}");
    }
}

fn assert_fixed(row: &Payout) {
    match row.fixed() {
        None => assert!(row.payings.iter().all(|it| it.height.is_none() && !it.in_mempool)),
        Some((state, paying)) => {
            assert!(row.payings.contains(paying));
            assert_eq!(state == PayoutState::Confirmed, paying.height.is_some());
            let bound = row.batch.as_ref() == Some(&paying.batch);
            let alive = bound && paying.batch_state.is_alive();
            assert!(paying.height.is_some() || paying.in_mempool || alive);
        }
    }
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn every_satoshi_that_is_owed_is_open_fixed_out_or_dust(owed in owed(), rows in payouts()) {
        let plan = plan(&owed, &rows);
        assert_accounts(&owed, &rows, &plan);
        assert_open(&rows, &plan);
        rows.iter().for_each(assert_fixed);
    }

    #[test]
    fn the_books_with_the_accounts_keep_the_equation(
        owed in owed(), rows in payouts(), rest in 0u64..10_000,
    ) {
        let refundable_sat: u64 = owed.iter().map(|it| it.sat).sum();
        let received_sat = refundable_sat + rest;
        let before = Books { received_sat, refundable_sat, earned_sat: rest, ..Books::default() };
        let books = before.with_accounts(&plan(&owed, &rows).accounts);
        let credit = books.earned_sat + books.refundable_sat + books.refunded_sat + books.dust_sat;
        prop_assert_eq!(books.received_sat + books.lost_sat, credit);
    }

    #[test]
    fn what_was_planned_is_planned_again(owed in owed(), rows in payouts()) {
        // As the app writes it: the open rows take the amounts, new ones are added.
        let first = plan(&owed, &rows);
        let mut written = rows.clone();
        for (n, open) in (100..).zip(&first.open) {
            match written.iter_mut().find(|row| open.id.as_ref() == Some(&row.id)) {
                Some(row) => (row.amount_sat, row.dust) = (open.amount_sat, open.dust),
                None => written.push(Payout {
                    id: payout(n),
                    recipient: open.recipient.clone(),
                    batch: None,
                    dust: false,
                    amount_sat: open.amount_sat,
                    payings: Vec::new(),
                }),
            }
        }
        let second = plan(&owed, &written);
        prop_assert_eq!(&first.accounts, &second.accounts);
        let sums = |plan: &Plan| -> Vec<_> {
            plan.open.iter().map(|it| (it.recipient.clone(), it.amount_sat, it.dust)).collect()
        };
        prop_assert_eq!(sums(&first), sums(&second));
    }
}
