//! To whom the refundable money of a lease goes back: to the claim, or to the address that a top-up
//! named for its own payments. Each satoshi that `books` calls refundable is owed to one of them.

use std::collections::BTreeMap;

use super::super::ids::{InvoiceId, PaymentId};
use super::super::payment::Counted;
use super::super::payout::Owed;
use super::super::price::{Price, value_sat};
use super::books::value_unstarted;
use super::fold::{Closed, Home, Lot, Standing};

/// What is known of the payments behind the money.
pub struct Behind<'a> {
    /// The invoice whose own refund address a payment's money goes back to.
    pub recipient: &'a dyn Fn(&PaymentId) -> Option<InvoiceId>,
    /// Whether it has the confirmations to leave again.
    pub settled: &'a dyn Fn(&PaymentId) -> bool,
}

/// Collects what is owed; never more than was received.
struct Debts {
    left_sat: u64,
    by_recipient: BTreeMap<Option<InvoiceId>, Owed>,
}

impl Debts {
    fn add(&mut self, recipient: Option<InvoiceId>, sat: u64, settled: bool) {
        let sat = sat.min(self.left_sat);
        self.left_sat -= sat;
        if sat == 0 {
            return;
        }
        let new = Owed { recipient: recipient.clone(), sat: 0, settled_sat: 0 };
        let owed = self.by_recipient.entry(recipient).or_insert(new);
        owed.sat += sat;
        owed.settled_sat += if settled { sat } else { 0 };
    }
}

impl Standing {
    /// Whether anything may be refundable: most leases never are.
    pub fn owes(&self) -> bool {
        self.closed.iter().any(|closed| closed.refundable)
            || self.standing_lines().any(|line| line.home == Home::Dead)
    }

    /// What is owed to whom: in sum what [`books`](Standing::books) calls refundable. Money of one
    /// life leaves when all payments to that life are deep enough: they share what is unused.
    pub fn owed(&self, behind: &Behind<'_>) -> Vec<Owed> {
        let received_sat = self.standing_lines().map(|line| line.amount_sat).sum();
        let mut debts = Debts { left_sat: received_sat, by_recipient: BTreeMap::new() };
        for line in self.standing_lines().filter(|line| line.home == Home::Dead) {
            let settled = (behind.settled)(&line.payment);
            debts.add((behind.recipient)(&line.payment), line.amount_sat, settled);
        }
        for (place, closed) in self.closed.iter().enumerate().filter(|(_, it)| it.refundable) {
            self.owed_of(place, closed, behind, &mut debts);
        }
        debts.by_recipient.into_values().collect()
    }

    fn owed_of(&self, place: usize, closed: &Closed, behind: &Behind<'_>, debts: &mut Debts) {
        let carried_sat = self.carried(place, closed.carried_sat);
        let earlier = if carried_sat > 0 { &self.closed[..place] } else { &[] };
        let stands = |lot: &&Lot| self.counted(&lot.payment) == Counted::Standing;
        let mut behind_all = closed.lots.iter().chain(earlier.iter().flat_map(|it| &it.lots));
        let settled = behind_all.all(|lot| !stands(&lot) || (behind.settled)(&lot.payment));
        let lots: Vec<Lot> = closed.lots.iter().filter(stands).cloned().collect();
        let mut rest_sat = closed.refundable_sat(self, carried_sat);
        for (recipient, sat) in shares(closed, &lots, behind) {
            let sat = sat.min(rest_sat);
            rest_sat -= sat;
            debts.add(Some(recipient), sat, settled);
        }
        debts.add(None, rest_sat, settled);
    }
}

/// What of a closed life's unused time is the money of top-ups with an address of their own, each
/// rounded down; the rest of the whole is the claim's.
fn shares(closed: &Closed, lots: &[Lot], behind: &Behind<'_>) -> BTreeMap<InvoiceId, u64> {
    let mut unused: BTreeMap<InvoiceId, Vec<(u64, Price)>> = BTreeMap::new();
    let mut whole: BTreeMap<InvoiceId, u64> = BTreeMap::new();
    let total_s = lots.iter().fold(0, |sum: u64, lot| sum.saturating_add(lot.seconds));
    let mut left_s = total_s.saturating_sub(closed.used_s);
    for lot in lots.iter().rev() {
        let seconds = lot.seconds.min(left_s);
        left_s -= seconds;
        let Some(recipient) = (behind.recipient)(&lot.payment) else { continue };
        if closed.whole {
            *whole.entry(recipient).or_default() += value_unstarted(std::slice::from_ref(lot));
        } else {
            unused.entry(recipient).or_default().push((seconds, lot.price));
        }
    }
    whole.extend(unused.into_iter().map(|(recipient, parts)| (recipient, value_sat(parts))));
    whole
}
