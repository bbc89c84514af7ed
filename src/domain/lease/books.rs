//! Where a lease's money is at a moment: each satoshi in exactly one place (SPEC section 8).

use serde::{Deserialize, Serialize};

use super::super::payment::Counted;
use super::super::payout::Account;
use super::super::price::value_sat;
use super::super::time::Timestamp;
use super::fold::{Closed, CreditLine, Home, Lot, Phase, Standing, total_s};

/// A subject's money by place: `received_sat` and `lost_sat` are the sum of all the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Standing credits.
    pub received_sat: u64,
    /// Waits for more, for a unit, or is not worth a second.
    pub held_sat: u64,
    /// Time not yet elapsed, at the price paid.
    pub prepaid_sat: u64,
    /// Time elapsed, or kept.
    pub earned_sat: u64,
    /// Can go back to whoever holds the claim.
    pub refundable_sat: u64,
    /// Went back.
    #[serde(default)]
    pub refunded_sat: u64,
    /// Can go back, but is less than the network relays.
    #[serde(default)]
    pub dust_sat: u64,
    /// Went back and was reversed afterwards.
    #[serde(default)]
    pub lost_sat: u64,
    /// Pays an address that was never issued.
    #[serde(default)]
    pub unallocated_sat: u64,
}

impl Books {
    /// The same with what was paid out of the refundable money.
    #[must_use]
    pub fn with_accounts(self, accounts: &[Account]) -> Self {
        let sum = |of: &dyn Fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
        if accounts.is_empty() {
            return self;
        }
        Self {
            refundable_sat: sum(&Account::refundable_sat),
            refunded_sat: sum(&|account| account.out_sat),
            dust_sat: sum(&|account| account.dust_sat),
            lost_sat: sum(&Account::lost_sat),
            ..self
        }
    }
}

/// What the last `left_s` seconds of `lots` cost, rounded down once over the sum.
fn value_of_last(lots: &[Lot], left_s: u64) -> u64 {
    let mut rest = left_s;
    value_sat(lots.iter().rev().map_while(|lot| {
        let seconds = lot.seconds.min(rest);
        rest -= seconds;
        (seconds > 0 || rest > 0).then_some((seconds, lot.price))
    }))
}

/// What lots of which no second was used are worth: their amounts, less what was used of one
/// before it was reversed and restored.
pub(super) fn value_unstarted(lots: &[Lot]) -> u64 {
    lots.iter()
        .map(|lot| match lot.seconds < lot.bought_s {
            true => {
                let balance_sat = lot.amount_sat.saturating_sub(lot.price.cost_sat(lot.bought_s));
                value_sat([(lot.seconds, lot.price)]) + balance_sat
            }
            false => lot.amount_sat,
        })
        .sum()
}

/// What the last `unused_s` seconds of `lots` are worth, and the balance of their run: together
/// never more than was paid for them. They would be more when money whose fraction made a second
/// whole was reversed.
fn unused(lots: &[Lot], unused_s: u64, carried_sat: u64, balance_sat: u64) -> (u64, u64) {
    let paid_sat = lots.iter().map(|lot| lot.amount_sat).sum::<u64>() + carried_sat;
    let bought_sat = value_sat(lots.iter().map(|lot| (lot.bought_s, lot.price)));
    let value = value_of_last(lots, unused_s).min(paid_sat);
    let spare_sat = paid_sat.saturating_sub(bought_sat).min(paid_sat - value);
    (value, balance_sat.min(spare_sat))
}

impl Closed {
    fn standing_lots<'a>(&'a self, standing: &'a Standing) -> impl Iterator<Item = &'a Lot> {
        self.lots.iter().filter(|lot| standing.counted(&lot.payment) == Counted::Standing)
    }

    /// What can go back, over the lots that still stand; `carried_sat` came from earlier lives.
    pub(super) fn refundable_sat(&self, standing: &Standing, carried_sat: u64) -> u64 {
        let lots: Vec<Lot> = self.standing_lots(standing).cloned().collect();
        if self.whole {
            return value_unstarted(&lots) + carried_sat;
        }
        let unused_s = total_s(&lots).saturating_sub(self.used_s);
        let (value, balance) = unused(&lots, unused_s, carried_sat, self.balance_sat);
        value + balance
    }
}

/// What each place lays claim to, before the caps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims {
    pub(crate) held_sat: u64,
    pub(crate) prepaid_sat: u64,
    pub(crate) refundable_sat: u64,
}

impl Standing {
    /// Where the money is at `at`.
    pub fn books(&self, at: Timestamp) -> Books {
        let received_sat: u64 = self.standing_lines().map(|line| line.amount_sat).sum();
        let claims = self.claims(at);
        // The caps keep the sum exact whatever a reversal took out of the middle.
        let refundable_sat = claims.refundable_sat.min(received_sat);
        let held_sat = claims.held_sat.min(received_sat - refundable_sat);
        let prepaid_sat = claims.prepaid_sat.min(received_sat - refundable_sat - held_sat);
        Books {
            received_sat,
            held_sat,
            prepaid_sat,
            earned_sat: received_sat - refundable_sat - held_sat - prepaid_sat,
            refundable_sat,
            ..Books::default()
        }
    }

    pub(super) fn standing_lines(&self) -> impl Iterator<Item = &CreditLine> {
        self.credits.iter().filter(|line| line.counted == Counted::Standing)
    }

    /// What is left of `carried_sat`, which came from the first `lives`, after reversals there.
    pub(super) fn carried(&self, lives: usize, carried_sat: u64) -> u64 {
        if carried_sat == 0 {
            return 0;
        }
        let expired = self.closed[..lives].iter().filter(|closed| !closed.refundable);
        let lots: Vec<&Lot> = expired.flat_map(|closed| closed.standing_lots(self)).collect();
        let paid_sat: u64 = lots.iter().map(|lot| lot.amount_sat).sum();
        let used_sat = value_sat(lots.iter().map(|lot| (lot.bought_s, lot.price)));
        carried_sat.min(paid_sat.saturating_sub(used_sat))
    }

    pub(crate) fn claims(&self, at: Timestamp) -> Claims {
        let dead: u64 = self
            .standing_lines()
            .filter(|line| line.home == Home::Dead)
            .map(|line| line.amount_sat)
            .sum();
        let closed: u64 = self
            .closed
            .iter()
            .enumerate()
            .filter(|(_, closed)| closed.refundable)
            .map(|(place, closed)| {
                closed.refundable_sat(self, self.carried(place, closed.carried_sat))
            })
            .sum();
        let balance = self.run.map_or(0, |run| run.balance_sat());
        let carried_sat = self.carried(self.closed.len(), self.carried_sat);
        let unstarted = value_unstarted(&self.lots) + carried_sat;
        let (held_sat, prepaid_sat) = match self.phase {
            Phase::Unfunded | Phase::Ended => (unstarted, 0),
            Phase::Provisioning => (balance.min(unstarted), unstarted.saturating_sub(balance)),
            Phase::Live => {
                let (value, balance) = unused(&self.lots, self.left_s(at), carried_sat, balance);
                (balance, value)
            }
        };
        Claims { held_sat, prepaid_sat, refundable_sat: dead + closed }
    }
}
