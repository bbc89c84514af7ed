//! Which new facts are due: credits, reversals, restorations, the end. Everything that happens
//! to a lease by the chain or the clock is decided here, in the order of its moments, so that
//! following block by block and catching up later write the same entries.

use std::collections::{BTreeSet, HashMap};

use bitcoin::OutPoint;

use super::super::ids::PaymentId;
use super::super::invoice::Purpose;
use super::super::payment::{Counted, Payment, tier_sum};
use super::super::policy::Policy;
use super::super::price::Run;
use super::super::resource::Terms;
use super::super::time::Timestamp;
use super::fold::{CreditLine, Phase, Standing};
use super::prospects::{Prospect, Prospects};
use super::{Buys, Credit, EndReason, Entry, Facts, What};

/// What a decision needs to know about the world outside the lease.
pub struct World<'a> {
    /// The clock.
    pub now: Timestamp,
    /// Height of the tip.
    pub tip: u32,
    /// The operator's rules.
    pub policy: &'a Policy,
    /// What is known of the payments at this tip.
    pub prospects: &'a Prospects,
    /// Whether the node can be believed; if not, nothing is credited and nothing ends.
    pub trusted: bool,
    /// Since when the resource takes no money: it is paused or retired.
    pub closed_at: Option<Timestamp>,
    /// The moment at which the block at a height was applied.
    pub moments: &'a (dyn Fn(u32) -> Option<Timestamp> + Sync),
    /// Zero-confirmation credits not mined yet, of all other leases.
    pub unmined_credit_sat: u64,
}

/// The order in which entries of one moment are taken.
type Order = (Timestamp, u32, u32, OutPoint);

/// What is due for a payment.
enum Change {
    /// A credit, by the block at a height or (`unmined`) before any.
    Credit {
        at: Timestamp,
        height: u32,
        unmined: bool,
    },
    Reversal,
    Restoration {
        seconds: u64,
    },
}

/// The facts with the credits of a standing by payment, so that each is found at once.
struct View<'a> {
    facts: &'a Facts,
    standing: &'a Standing,
    world: &'a World<'a>,
    lines: HashMap<&'a PaymentId, &'a CreditLine>,
}

/// The next entry that is due, or `None` when the lease is settled.
pub fn next_entry(facts: &Facts, standing: &Standing, world: &World<'_>) -> Option<Entry> {
    if !world.trusted {
        return None;
    }
    let view = View::new(facts, standing, world);
    let change = world
        .prospects
        .iter(facts)
        .filter_map(|(payment, prospect)| {
            let (order, change) = view.change_of(payment, prospect)?;
            Some((order, change, payment, prospect))
        })
        .min_by_key(|(order, ..)| *order);
    let end = view.end_at().filter(|end| *end <= world.now);
    let (moment_at, what) = match (change, end) {
        (Some(((at, ..), ..)), Some(end)) if end <= at => (end, What::Expired),
        (None, Some(end)) => (end, What::Expired),
        (Some(((at, ..), change, payment, prospect)), _) => {
            (at, view.what(change, at, payment, prospect)?)
        }
        (None, None) => return None,
    };
    let moment_at = moment_at.max(standing.last_at);
    Some(Entry { n: standing.entries + 1, moment_at, what })
}

/// The heights whose blocks' moments decide about what is due.
pub fn heights_of_moments(
    facts: &Facts,
    standing: &Standing,
    prospects: &Prospects,
    (tip, policy): (u32, &Policy),
) -> BTreeSet<u32> {
    let lines = standing.lines();
    let height = |(payment, prospect): (&Payment, &Prospect)| match lines.get(&payment.id) {
        Some(line) if line.counted == Counted::Standing => lost_height(payment, line, policy),
        _ => prospect.due,
    };
    let mut heights: BTreeSet<u32> = prospects.iter(facts).filter_map(height).collect();
    heights.insert(tip);
    heights
}

impl<'a> View<'a> {
    fn new(facts: &'a Facts, standing: &'a Standing, world: &'a World<'a>) -> Self {
        Self { facts, standing, world, lines: standing.lines() }
    }

    fn counted(&self, payment: &Payment) -> Counted {
        self.lines.get(&payment.id).map_or(Counted::Never, |line| line.counted)
    }

    /// What is due for one payment, and when.
    fn change_of(&self, payment: &Payment, prospect: &Prospect) -> Option<(Order, Change)> {
        let (standing, world) = (self.standing, self.world);
        let mined = payment.mined.as_ref();
        // A block below the first one that was followed has no moment but the payment's own.
        let moment = |height: u32| {
            let own = mined.map(|mined| mined.moment_at);
            (world.moments)(height).or(own).unwrap_or(world.now)
        };
        let order = |at: Timestamp| {
            let (height, position) = mined.map_or((u32::MAX, 0), |it| (it.height, it.position));
            (at.max(standing.last_at), height, position, payment.outpoint)
        };
        match self.lines.get(&payment.id) {
            None => {
                prospect.price?;
                let (at, height, unmined) = match prospect.due {
                    Some(height) => (moment(height), height, false),
                    None if self.zero_conf_allowed(payment, prospect) => {
                        (world.now, world.tip, true)
                    }
                    None => return None,
                };
                Some((order(at), Change::Credit { at, height, unmined }))
            }
            Some(line) if line.counted == Counted::Reversed => {
                let at = moment(prospect.due?);
                Some((order(at), Change::Restoration { seconds: line.taken_s }))
            }
            Some(line) => {
                let (height, at) = lost_at(payment, line, world)?;
                Some((order(at.unwrap_or_else(|| moment(height))), Change::Reversal))
            }
        }
    }

    fn what(
        &self,
        change: Change,
        entry_at: Timestamp,
        payment: &Payment,
        prospect: &Prospect,
    ) -> Option<What> {
        let id = payment.id.clone();
        Some(match change {
            Change::Credit { at, height, unmined } => {
                What::Credit(self.credit(payment, prospect, at, (height, unmined))?)
            }
            Change::Restoration { seconds } => What::Restoration { payment: id, seconds },
            Change::Reversal => {
                let seconds = match self.standing.lots.iter().find(|lot| lot.payment == id) {
                    Some(lot) => lot.seconds.min(self.standing.left_s(entry_at)),
                    None => 0,
                };
                What::Reversal { payment: id, seconds }
            }
        })
    }

    fn credit(
        &self,
        payment: &Payment,
        prospect: &Prospect,
        at: Timestamp,
        (height, unmined): (u32, bool),
    ) -> Option<Credit> {
        let (standing, price) = (self.standing, prospect.price?);
        let over = standing.phase == Phase::Ended
            && !standing.end_reason.is_some_and(EndReason::may_start_again);
        let closed = self.world.closed_at.is_some_and(|closed_at| closed_at <= at);
        let refund = over || closed || prospect.cancelled;
        let buys = if refund { Buys::Refund } else { Buys::Time };
        let seconds = match buys {
            Buys::Refund => 0,
            Buys::Time => standing.run.unwrap_or(Run::new(price, 0)).add(payment.amount_sat, price),
        };
        Some(Credit {
            payment: payment.id.clone(),
            outpoint: payment.outpoint,
            amount_sat: payment.amount_sat,
            price,
            seconds,
            buys,
            height,
            unmined,
        })
    }

    /// Zero-confirmation credits of this lease that are not mined yet.
    fn unmined_credit_sat(&self) -> u64 {
        let unmined = |payment: &&Payment| {
            payment.at_risk(self.counted(payment))
                && self.lines.get(&payment.id).is_some_and(|line| never_mined(payment, line))
        };
        self.facts.payments.iter().filter(unmined).map(|payment| payment.amount_sat).sum()
    }

    fn zero_conf_allowed(&self, payment: &Payment, prospect: &Prospect) -> bool {
        let (world, policy) = (self.world, self.world.policy);
        let likely = policy.zero_conf_max_exposure_sat > 0
            && payment.mined.is_none()
            && payment.in_mempool
            && payment.conflict.is_none()
            && payment.entry.is_some_and(|entry| {
                entry.inputs_confirmed && entry.feerate_msat >= policy.zero_conf_min_feerate_msat
            });
        let terms = prospect.terms_version.and_then(|version| self.facts.terms.version(version));
        let Some(terms) = terms.filter(|_| likely) else { return false };
        let sum = tier_sum(&self.facts.payments, world.tip, world.tip, policy);
        let exposure = world
            .unmined_credit_sat
            .saturating_add(self.unmined_credit_sat())
            .saturating_add(payment.amount_sat);
        terms.terms.confirmations_for(sum) == 0 && exposure <= policy.zero_conf_max_exposure_sat
    }

    /// Seconds that money on its way, first seen before `until`, would be worth, pending ones
    /// included.
    fn coming_s(&self, until: Timestamp) -> u64 {
        let comes = |(payment, prospect): &(&Payment, &Prospect)| {
            payment.on_its_way()
                && payment.first_seen_at < until
                && !prospect.cancelled
                && self.counted(payment) != Counted::Standing
        };
        let coming = self.world.prospects.iter(self.facts).filter(comes);
        coming
            .filter_map(|(payment, prospect)| Some(prospect.price?.seconds(payment.amount_sat)))
            .fold(self.standing.pending_s, u64::saturating_add)
    }

    /// True when money on its way, first seen before `until`, is enough to hold what a lease has.
    fn enough_comes(&self, until: Timestamp, terms_version: u32) -> Option<bool> {
        let least = least_s(&self.facts.terms.version(terms_version)?.terms, self.world.policy);
        let coming = self.coming_s(until);
        Some(coming > 0 && coming >= least)
    }

    /// When a lease in grace ends: later while money first seen in time is on its way.
    fn end_at(&self) -> Option<Timestamp> {
        if self.standing.suspended_at.is_some() {
            return None;
        }
        let grace_until = self.standing.grace_until()?;
        Some(match self.enough_comes(grace_until, self.standing.terms_version)? {
            true => grace_until.plus_s(self.world.policy.confirming_hold_s),
            false => grace_until,
        })
    }

    /// Until when the unit of a lease that has not started stays held, given its quote's end.
    fn hold_until(&self) -> Option<Timestamp> {
        let mut invoices = self.facts.invoices.iter();
        let first = invoices.find(|invoice| invoice.purpose == Purpose::Lease)?;
        let limit = first.expires_at.plus_s(self.world.policy.confirming_hold_s);
        Some(match self.enough_comes(limit, first.terms_version)? {
            true => limit,
            false => first.expires_at,
        })
    }
}

/// The height at which a standing credit without a block is lost, when the chain says so.
fn lost_height(payment: &Payment, line: &CreditLine, policy: &Policy) -> Option<u32> {
    if payment.mined.is_some() {
        return None;
    }
    let conflict = payment.conflict.as_ref().and_then(|conflict| conflict.height);
    let limit = || unmined_since(payment, line)?.checked_add(policy.at_risk_blocks);
    conflict.or_else(limit)
}

/// The height at which a standing credit is lost, if it is at or below the tip, and the moment
/// when that is not the block's.
fn lost_at(
    payment: &Payment,
    line: &CreditLine,
    world: &World<'_>,
) -> Option<(u32, Option<Timestamp>)> {
    let in_mempool = payment.conflict.as_ref().is_some_and(|conflict| conflict.height.is_none());
    if payment.mined.is_none() && in_mempool && never_mined(payment, line) {
        // The mempool knows no moments of its own.
        return Some((world.tip, Some(world.now)));
    }
    let height = lost_height(payment, line, world.policy)?;
    let in_chain = payment.conflict.as_ref().is_some_and(|conflict| conflict.height.is_some());
    (in_chain || height <= world.tip).then_some((height, None))
}

/// True for a zero-confirmation credit whose transaction was in no block yet.
fn never_mined(payment: &Payment, line: &CreditLine) -> bool {
    line.unmined && payment.left_chain.is_none()
}

/// The height from which a credit without a block is given `at_risk_blocks`: a
/// zero-confirmation credit's own, otherwise since it was in neither chain nor mempool.
fn unmined_since(payment: &Payment, line: &CreditLine) -> Option<u32> {
    if never_mined(payment, line) { Some(line.height) } else { payment.absent_since }
}

/// The least time that starts a generation under `terms`, the tolerance taken off.
pub fn least_s(terms: &Terms, policy: &Policy) -> u64 {
    policy.less_tolerance(terms.min_duration_s)
}

/// Until when the unit of a lease that has not started stays held, given its quote's end.
pub fn hold_until(facts: &Facts, standing: &Standing, world: &World<'_>) -> Option<Timestamp> {
    View::new(facts, standing, world).hold_until()
}

/// The generation that could start now: enough money waits, and the lease may begin (again).
pub fn wants_start(facts: &Facts, standing: &Standing, policy: &Policy) -> Option<(u32, u32)> {
    let version = match (standing.phase, standing.end_reason) {
        (Phase::Unfunded, _) => facts.terms.version(facts.lease.terms_version),
        (Phase::Ended, Some(reason)) if reason.may_start_again() => facts.terms.newest(),
        _ => None,
    }?;
    let enough = standing.pending_s > 0 && standing.pending_s >= least_s(&version.terms, policy);
    enough.then_some((standing.generation + 1, version.version))
}

/// The next height at which the chain alone changes something for this lease. It is the tip's
/// when something is overdue because the node could not be believed.
pub fn next_height(facts: &Facts, standing: &Standing, world: &World<'_>) -> Option<u32> {
    let policy = world.policy;
    let lines = standing.lines();
    let next = |(payment, prospect): (&Payment, &Prospect)| {
        let line = lines.get(&payment.id).filter(|line| line.counted == Counted::Standing);
        match (line, &payment.mined) {
            (Some(_), Some(mined)) => {
                let last = mined.height + policy.final_confirmations - 1;
                (last > world.tip).then_some(last)
            }
            (Some(line), None) => match lost_at(payment, line, world) {
                Some(_) => Some(world.tip),
                None => unmined_since(payment, line)
                    .map(|since| since.saturating_add(policy.at_risk_blocks)),
            },
            (None, Some(_)) => world.prospects.next_due_height(facts, payment, prospect, world.tip),
            (None, None) => None,
        }
    };
    world.prospects.iter(facts).filter_map(next).min()
}

/// The next moment at which the clock alone changes something for this lease. It is in the past
/// when the end is overdue because the node could not be believed.
pub fn next_change_at(facts: &Facts, standing: &Standing, world: &World<'_>) -> Option<Timestamp> {
    let view = View::new(facts, standing, world);
    let end = (standing.phase == Phase::Live).then(|| view.end_at()).flatten();
    if end.is_some_and(|end| end <= world.now) {
        return end;
    }
    let mut moments: Vec<Timestamp> =
        facts.invoices.iter().map(|invoice| invoice.expires_at.plus_millis(1)).collect();
    if standing.phase == Phase::Unfunded {
        moments.extend(view.hold_until().map(|at| at.plus_millis(1)));
    }
    if standing.phase == Phase::Live && standing.suspended_at.is_none() {
        moments.extend(standing.expiring_soon_at());
        moments.extend(standing.paid_until);
        moments.extend(end);
    }
    moments.into_iter().filter(|at| *at > world.now).min()
}
