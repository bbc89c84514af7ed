//! What must hold of a standing whatever happened to it. Called after every entry of every test.

use std::collections::BTreeSet;

use super::super::books::Books;
use super::super::fold::{Home, Lot, Phase, Standing, fold};
use super::super::refunds::Behind;
use super::super::{EndReason, Entry, Facts, What};
use crate::domain::ids::{InvoiceId, PaymentId};
use crate::domain::payment::Counted;
use crate::domain::price::{Price, value_sat};
use crate::domain::resource::TermsHistory;
use crate::domain::time::Timestamp;

/// Replaying the entries gives what following them gave.
pub(crate) fn folds(facts: &Facts, standing: &Standing) {
    assert_eq!(fold(facts).as_ref(), Some(standing), "the fold is not what was followed");
}

/// The accounting equation and the facts that the caps in `books` could hide.
pub(crate) fn books(standing: &Standing, at: Timestamp) {
    let books = standing.books(at);
    let sum = books.held_sat + books.prepaid_sat + books.earned_sat + books.refundable_sat;
    assert_eq!(books.received_sat, sum, "{books:?}");
    assert_eq!(books.received_sat, received_sat(standing));
    let claims = standing.claims(at);
    assert!(claims.refundable_sat <= books.received_sat, "more refundable than paid: {claims:?}");
    if standing.credits.iter().all(|line| line.taken_s == 0 && line.counted == Counted::Standing) {
        assert!(
            claims.refundable_sat + claims.held_sat + claims.prepaid_sat <= books.received_sat,
            "without a reversal nothing is capped: {claims:?} of {}",
            books.received_sat
        );
        if standing.phase == Phase::Live {
            assert_eq!(books.prepaid_sat, unused_value_sat(standing, at));
        }
    }
    homes(standing);
    owes(standing, &books);
    gives_back(standing, at, &books);
}

fn received_sat(standing: &Standing) -> u64 {
    let stands = |line: &&super::super::fold::CreditLine| line.counted == Counted::Standing;
    standing.credits.iter().filter(stands).map(|line| line.amount_sat).sum()
}

/// What the unused seconds cost, found from the front: the first seconds of the first lots are
/// used up, the rest is not.
fn unused_value_sat(standing: &Standing, at: Timestamp) -> u64 {
    let total: u64 = standing.lots.iter().map(|lot| lot.seconds).sum();
    let mut used = total - standing.left_s(at);
    let unused = |lot: &Lot| {
        let of_this = used.min(lot.seconds);
        used -= of_this;
        (lot.seconds - of_this, lot.price)
    };
    value_sat(standing.lots.iter().map(unused).collect::<Vec<(u64, Price)>>())
}

/// What is owed to whom is what the books call refundable, whoever the payers are: the claim
/// alone, or some or all of them with an address of their own. None gets more than it paid.
fn owes(standing: &Standing, books: &Books) {
    for (kinds, deep) in [(1, 1), (2, 1), (3, 0)] {
        let kind = |id: &PaymentId| id.as_str().bytes().map(usize::from).sum::<usize>() % kinds;
        let recipient = |id: &PaymentId| match kind(id) {
            0 if kinds > 1 => None,
            n => Some(InvoiceId::new([u8::try_from(n).unwrap(); 16])),
        };
        let settled = |id: &PaymentId| kind(id) < deep;
        let owed = standing.owed(&Behind { recipient: &recipient, settled: &settled });
        let sum: u64 = owed.iter().map(|it| it.sat).sum();
        assert_eq!(sum, books.refundable_sat, "{owed:?} of {standing:#?}");
        assert!(standing.owes() || owed.is_empty(), "{owed:?}");
        for it in &owed {
            assert!(it.sat > 0 && it.settled_sat <= it.sat, "{it:?}");
            assert!(deep < kinds || it.settled_sat == it.sat, "all are deep: {it:?}");
            assert!(deep > 0 || it.settled_sat == 0, "none is deep: {it:?}");
            let own = standing.credits.iter().filter(|line| {
                line.counted == Counted::Standing && recipient(&line.payment) == it.recipient
            });
            let paid: u64 = own.map(|line| line.amount_sat).sum();
            let named = it.recipient.is_some();
            assert!(!named || it.sat <= paid, "{it:?} of {paid} sat paid: {standing:#?}");
        }
        let names: BTreeSet<_> = owed.iter().map(|it| &it.recipient).collect();
        assert_eq!(names.len(), owed.len(), "each recipient once: {owed:?}");
    }
}

/// Whoever gives back now gets what is prepaid and held, and nothing else changes. Ended by the
/// operator the same, whatever the terms say.
fn gives_back(standing: &Standing, at: Timestamp, books: &Books) {
    let over = standing.phase == Phase::Ended
        && !standing.end_reason.is_some_and(EndReason::may_start_again);
    if over {
        assert_eq!((books.held_sat, books.prepaid_sat), (0, 0), "nothing waits for what is over");
        return;
    }
    let end = |what| {
        let mut ended = standing.clone();
        let n = standing.entries + 1;
        ended.apply(&Entry { n, moment_at: at, what }, &TermsHistory::default());
        let books = ended.books(at);
        owes(&ended, &books);
        books
    };
    let back = books.refundable_sat + books.prepaid_sat + books.held_sat;
    let all = Books { refundable_sat: back, prepaid_sat: 0, held_sat: 0, ..*books };
    assert_eq!(end(What::Revoked), all, "revoked: {standing:#?}");
    let returned = end(What::Returned);
    if standing.refund_unused || standing.phase != Phase::Live {
        assert_eq!(returned, all, "returned: {standing:#?}");
    } else {
        assert!(returned.refundable_sat >= books.refundable_sat + books.held_sat);
        assert!(returned.refundable_sat <= back);
    }
}

/// The money of a credit is in exactly one place.
fn homes(standing: &Standing) {
    for line in standing.credits.iter().filter(|line| line.counted == Counted::Standing) {
        let in_life = standing.lots.iter().filter(|lot| lot.payment == line.payment).count();
        let closed = standing
            .closed
            .iter()
            .flat_map(|closed| &closed.lots)
            .filter(|lot| lot.payment == line.payment)
            .count();
        let dead = usize::from(line.home == Home::Dead);
        assert_eq!(in_life + closed + dead, 1, "{line:?}");
    }
}
