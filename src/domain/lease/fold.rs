//! Where a lease stands: the fold over its entries. Clock-free; `snapshot` adds the clock.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use bitcoin::OutPoint;

use super::super::ids::PaymentId;
use super::super::payment::Counted;
use super::super::price::{Price, Run};
use super::super::resource::{Terms, TermsHistory};
use super::super::time::Timestamp;
use super::{Buys, Credit, EndReason, Entry, Facts, Lease, What};

/// The part of a life that a lease is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Never started.
    Unfunded,
    /// Paid, not ready yet.
    Provisioning,
    /// Its clock runs; active, in grace or suspended.
    Live,
    /// Over.
    Ended,
}

/// Seconds that one credit bought, in the order in which they are used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// The payment.
    pub payment: PaymentId,
    /// Its value.
    pub amount_sat: u64,
    /// The price it was counted at.
    pub price: Price,
    /// Its seconds.
    pub seconds: u64,
    /// All seconds it bought; more than `seconds` when a restoration gave back only what the
    /// reversal had taken.
    pub bought_s: u64,
    /// The run of payments at one price that it belongs to.
    pub run: u32,
}

/// Why a closed life's money may go back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// What it was paid with.
    pub lots: Vec<Lot>,
    /// Seconds that were used, or that the operator keeps.
    pub used_s: u64,
    /// True when its clock never started: the whole amounts go back.
    pub whole: bool,
    /// Satoshis not worth a second that go back with it.
    pub balance_sat: u64,
    /// Satoshis that came over from an earlier life.
    pub carried_sat: u64,
    /// True when the rest can be refunded.
    pub refundable: bool,
}

/// One credit as the holder sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditLine {
    /// The payment.
    pub payment: PaymentId,
    /// Its output.
    pub outpoint: OutPoint,
    /// Its value.
    pub amount_sat: u64,
    /// Price it was counted at.
    pub price: Price,
    /// The seconds it bought.
    pub seconds: u64,
    /// Time or refund.
    pub buys: Buys,
    /// Whether it counts now.
    pub counted: Counted,
    /// When it was credited first.
    pub credited_at: Timestamp,
    /// The height that gave it its confirmations.
    pub height: u32,
    /// True when it was credited before its block.
    pub unmined: bool,
    /// What its reversal took.
    pub taken_s: u64,
    /// Where it was when it was reversed.
    pub home: Home,
    /// The run of payments at one price that it was counted in; 0 for none.
    pub run: u32,
}

/// Where a credit's money is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// In the life at hand.
    Life,
    /// In a closed one, by its place in `closed`.
    Closed(usize),
    /// Refundable as it came.
    Dead,
}

/// Where a lease stands after its entries, without the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The part of its life.
    pub phase: Phase,
    /// Why it ended, while `phase` is ended.
    pub end_reason: Option<EndReason>,
    /// 0 before the first.
    pub generation: u32,
    /// The unit it has.
    pub unit: Option<String>,
    /// The terms of this generation.
    pub terms_version: u32,
    /// Horizon of this generation.
    pub max_duration_s: u64,
    /// Grace of this generation.
    pub grace_s: u64,
    /// Whether a holder is paid for unused time.
    pub refund_unused: bool,
    /// When this generation's clock started.
    pub starts_at: Option<Timestamp>,
    /// Until when it is paid, while its clock runs.
    pub paid_until: Option<Timestamp>,
    /// Since when the operator stopped it.
    pub suspended_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Seconds that wait: for more money, a unit, or the provisioner.
    pub pending_s: u64,
    /// What this life was paid with.
    pub lots: Vec<Lot>,
    /// Satoshis that came over from an earlier life.
    pub carried_sat: u64,
    /// The money at the current price.
    pub run: Option<Run>,
    /// How many runs there were.
    pub runs: u32,
    /// Lives that are over.
    pub closed: Vec<Closed>,
    /// Every credit, in order.
    pub credits: Vec<CreditLine>,
    /// True when the last of its time went by a reversal.
    pub lost_by_reversal: bool,
    /// Number of entries folded.
    pub entries: u32,
    /// Moment of the last entry.
    pub last_at: Timestamp,
}

impl Standing {
    /// A lease that nothing happened to yet.
    pub fn new(created_at: Timestamp, terms_version: u32, terms: &Terms) -> Self {
        let mut standing = Self {
            phase: Phase::Unfunded,
            end_reason: None,
            generation: 0,
            unit: None,
            terms_version,
            max_duration_s: 0,
            grace_s: 0,
            refund_unused: true,
            starts_at: None,
            paid_until: None,
            suspended_at: None,
            ended_at: None,
            pending_s: 0,
            lots: Vec::new(),
            carried_sat: 0,
            run: None,
            runs: 0,
            closed: Vec::new(),
            credits: Vec::new(),
            lost_by_reversal: false,
            entries: 0,
            last_at: created_at,
        };
        standing.keep_terms(terms_version, terms);
        standing
    }

    /// The same of `lease`; `None` without the terms of its first generation.
    pub fn unfunded(lease: &Lease, terms: &TermsHistory) -> Option<Self> {
        let first = terms.version(lease.terms_version)?;
        Some(Self::new(lease.created_at, lease.terms_version, &first.terms))
    }

    fn keep_terms(&mut self, version: u32, terms: &Terms) {
        self.terms_version = version;
        self.max_duration_s = terms.max_duration_s;
        self.grace_s = terms.grace_s;
        self.refund_unused = terms.refund_unused;
    }

    /// Whether a payment counts.
    pub fn counted(&self, payment: &PaymentId) -> Counted {
        self.line(payment).map_or(Counted::Never, |line| line.counted)
    }

    /// The credit of a payment.
    pub fn line(&self, payment: &PaymentId) -> Option<&CreditLine> {
        self.credits.iter().find(|line| line.payment == *payment)
    }

    /// Seconds bought and not used at `at`.
    pub fn left_s(&self, at: Timestamp) -> u64 {
        match (self.phase, self.paid_until) {
            (Phase::Live, Some(until)) => self.suspended_at.unwrap_or(at).seconds_until(until),
            _ => self.pending_s,
        }
    }

    /// Whether what somebody does to it still makes a difference, now that all that was due before
    /// is taken in.
    pub fn allows(&self, what: &What) -> bool {
        let over =
            self.phase == Phase::Ended && !self.end_reason.is_some_and(EndReason::may_start_again);
        match what {
            What::Suspended => self.phase == Phase::Live && self.suspended_at.is_none(),
            What::Resumed => self.suspended_at.is_some(),
            What::Returned | What::Revoked => !over,
            _ => true,
        }
    }

    /// The credits by payment: each is found at once.
    pub fn lines(&self) -> HashMap<&PaymentId, &CreditLine> {
        self.credits.iter().map(|line| (&line.payment, line)).collect()
    }

    /// Takes the next entry in.
    pub fn apply(&mut self, entry: &Entry, terms: &TermsHistory) {
        let at = entry.moment_at;
        match &entry.what {
            What::Credit(credit) => self.credit(credit, at),
            What::Reversal { payment, seconds } => self.reverse(payment, *seconds, at),
            What::Restoration { payment, seconds } => self.restore(payment, *seconds, at),
            What::Started { generation, unit, terms_version } => {
                self.phase = Phase::Provisioning;
                self.generation = *generation;
                self.unit.clone_from(unit);
                self.end_reason = None;
                self.ended_at = None;
                self.starts_at = None;
                self.lost_by_reversal = false;
                if let Some(found) = terms.version(*terms_version) {
                    self.keep_terms(*terms_version, &found.terms);
                }
            }
            What::Ready => {
                self.phase = Phase::Live;
                self.starts_at = Some(at);
                self.paid_until = Some(at.plus_s(self.pending_s));
                self.pending_s = 0;
                // Suspended while it was made ready: the time begins to stand still now.
                self.suspended_at = self.suspended_at.map(|_| at);
            }
            What::Suspended => self.suspended_at = self.suspended_at.or(Some(at)),
            What::Resumed => {
                if let Some(since) = self.suspended_at.take() {
                    let stood_still = at.millis() - since.millis();
                    self.paid_until = self.paid_until.map(|until| until.plus_millis(stood_still));
                }
            }
            What::Returned => self.close(EndReason::Returned, at),
            What::Revoked => self.close(EndReason::Revoked, at),
            What::Failed => self.close(EndReason::Failed, at),
            What::Expired => self.expire(at),
        }
        self.entries = entry.n;
        self.last_at = self.last_at.max(at);
    }

    fn credit(&mut self, credit: &Credit, at: Timestamp) {
        let (home, run) = match credit.buys {
            Buys::Time => {
                self.take_money(credit.amount_sat, credit.price);
                self.lots.push(Lot {
                    payment: credit.payment.clone(),
                    amount_sat: credit.amount_sat,
                    price: credit.price,
                    seconds: credit.seconds,
                    bought_s: credit.seconds,
                    run: self.runs,
                });
                self.give_time(credit.seconds, at);
                (Home::Life, self.runs)
            }
            Buys::Refund => (Home::Dead, 0),
        };
        self.credits.push(CreditLine {
            payment: credit.payment.clone(),
            outpoint: credit.outpoint,
            amount_sat: credit.amount_sat,
            price: credit.price,
            seconds: credit.seconds,
            buys: credit.buys,
            counted: Counted::Standing,
            credited_at: at,
            height: credit.height,
            unmined: credit.unmined,
            taken_s: 0,
            home,
            run,
        });
    }

    fn take_money(&mut self, amount_sat: u64, price: Price) {
        if self.run.is_none_or(|run| run.price != price) {
            self.runs += 1;
        }
        self.run.get_or_insert(Run::new(price, 0)).add(amount_sat, price);
    }

    /// alive: after what is paid; in grace: from now on; not started: waits.
    fn give_time(&mut self, seconds: u64, at: Timestamp) {
        if seconds == 0 {
            return;
        }
        self.lost_by_reversal = false;
        match (self.phase, self.paid_until) {
            (Phase::Live, Some(until)) => {
                self.paid_until = Some(until.max(self.suspended_at.unwrap_or(at)).plus_s(seconds));
            }
            _ => self.pending_s = self.pending_s.saturating_add(seconds),
        }
    }

    fn reverse(&mut self, payment: &PaymentId, seconds: u64, at: Timestamp) {
        let home = self.home(payment);
        if home == Home::Life {
            self.lost_by_reversal |= seconds > 0 && seconds >= self.left_s(at);
            self.lots.retain(|lot| lot.payment != *payment);
            match (self.phase, self.paid_until) {
                (Phase::Live, Some(until)) => self.paid_until = Some(until.minus_s(seconds)),
                _ => self.pending_s = self.pending_s.saturating_sub(seconds),
            }
        }
        let Some(line) = self.credits.iter_mut().find(|line| line.payment == *payment) else {
            return;
        };
        line.counted = Counted::Reversed;
        line.taken_s = seconds;
        line.home = home;
        let (amount_sat, bought_s, number) = (line.amount_sat, line.seconds, line.run);
        if let Some(run) = self.run_of(number) {
            run.remove(amount_sat, bought_s);
        }
    }

    /// The run with that number, while more can be added to it.
    fn run_of(&mut self, number: u32) -> Option<&mut Run> {
        self.run.as_mut().filter(|_| number == self.runs)
    }

    /// Finds again what came over from earlier lives, after a credit of one of them came back: the
    /// balance of the run without the money of this life. What one lost, the books leave out.
    fn carry(&mut self, number: u32) {
        let Some(mut before) = self.run else { return };
        if number == self.runs {
            for lot in self.lots.iter().filter(|lot| lot.run == number) {
                before.remove(lot.amount_sat, lot.bought_s);
            }
            self.carried_sat = before.balance_sat();
        }
    }

    /// The part of the books that holds a payment's money now.
    fn home(&self, payment: &PaymentId) -> Home {
        let has = |lots: &[Lot]| lots.iter().any(|lot| lot.payment == *payment);
        if has(&self.lots) {
            return Home::Life;
        }
        match self.closed.iter().position(|closed| has(&closed.lots)) {
            Some(place) => Home::Closed(place),
            None => Home::Dead,
        }
    }

    fn restore(&mut self, payment: &PaymentId, seconds: u64, at: Timestamp) {
        let Some(place) = self.credits.iter().position(|line| line.payment == *payment) else {
            return;
        };
        let may_live =
            self.phase != Phase::Ended || self.end_reason.is_none_or(EndReason::may_start_again);
        let line = &mut self.credits[place];
        line.counted = Counted::Standing;
        let lot = Lot {
            payment: payment.clone(),
            amount_sat: line.amount_sat,
            price: line.price,
            seconds,
            bought_s: line.seconds,
            run: line.run,
        };
        let home = line.home;
        if let Some(run) = self.run_of(lot.run) {
            run.restore(lot.amount_sat, lot.bought_s);
        }
        match home {
            Home::Life if may_live => {
                // Used up in the order in which they were credited, as if it never was away.
                let later = |lot: &Lot| {
                    self.credits[place..].iter().any(|line| line.payment == lot.payment)
                };
                let order = self.lots.iter().position(later).unwrap_or(self.lots.len());
                self.lots.insert(order, lot);
                self.give_time(seconds, at);
            }
            Home::Life => {
                self.credits[place].home = Home::Closed(self.closed.len());
                self.closed.push(Closed::unstarted(vec![lot], 0));
            }
            Home::Closed(_) => self.carry(lot.run),
            Home::Dead => {}
        }
    }

    /// Ends this life and makes refundable what goes back.
    fn close(&mut self, reason: EndReason, at: Timestamp) {
        let left = self.left_s(at);
        let banked = left.saturating_sub(self.max_duration_s);
        let goes_back = match reason {
            EndReason::Returned if !self.refund_unused => banked,
            _ => left,
        };
        let balance_sat = self.run.take().map_or(0, |run| run.balance_sat());
        let carried_sat = std::mem::take(&mut self.carried_sat);
        let lots = std::mem::take(&mut self.lots);
        self.closed.push(match self.phase {
            Phase::Live => Closed {
                used_s: total_s(&lots).saturating_sub(goes_back),
                lots,
                whole: false,
                balance_sat,
                carried_sat,
                refundable: true,
            },
            _ => Closed::unstarted(lots, carried_sat),
        });
        self.end(reason, at);
    }

    /// The same after its holder gave it back at `at`; as it is when it is over for good.
    #[must_use]
    pub fn returned(&self, at: Timestamp) -> Self {
        let mut returned = self.clone();
        if returned.allows(&What::Returned) {
            returned.close(EndReason::Returned, at);
        }
        returned
    }

    /// Ends this life with its time used up; the balance stays for the next one.
    fn expire(&mut self, at: Timestamp) {
        let lots = std::mem::take(&mut self.lots);
        self.closed.push(Closed {
            used_s: total_s(&lots),
            lots,
            whole: false,
            balance_sat: 0,
            carried_sat: 0,
            refundable: false,
        });
        self.carried_sat = self.run.map_or(0, |run| run.balance_sat());
        let reason = if self.lost_by_reversal { EndReason::Reversed } else { EndReason::Expired };
        self.end(reason, at);
    }

    fn end(&mut self, reason: EndReason, at: Timestamp) {
        self.phase = Phase::Ended;
        self.end_reason = Some(reason);
        self.ended_at = Some(at);
        self.suspended_at = None;
        self.paid_until = None;
        self.pending_s = 0;
    }
}

impl Closed {
    /// A life whose clock never started.
    fn unstarted(lots: Vec<Lot>, carried_sat: u64) -> Self {
        Self { lots, used_s: 0, whole: true, balance_sat: 0, carried_sat, refundable: true }
    }
}

/// Seconds of all `lots`.
pub(crate) fn total_s(lots: &[Lot]) -> u64 {
    lots.iter().fold(0, |sum, lot| sum.saturating_add(lot.seconds))
}

/// Folds all entries of a lease.
pub fn fold(facts: &Facts) -> Option<Standing> {
    let mut standing = Standing::unfunded(&facts.lease, &facts.terms)?;
    for entry in &facts.entries {
        standing.apply(entry, &facts.terms);
    }
    Some(standing)
}
