//! Which new facts are due: credits, reversals, restorations, the end. Everything that happens
//! to a lease by the chain or the clock is decided here, in the order of its moments, so that
//! following block by block and catching up later write the same entries.

use bitcoin::OutPoint;

use super::super::invoice::{Invoice, Purpose};
use super::super::payment::{Counted, Payment, due_height, required, tier_sum};
use super::super::policy::Policy;
use super::super::price::{Price, Run};
use super::super::resource::Terms;
use super::super::time::Timestamp;
use super::fold::{CreditLine, Phase, Standing};
use super::{Buys, Credit, EndReason, Entry, Facts, What};

/// What a decision needs to know about the world outside the lease.
pub struct World<'a> {
    /// The clock.
    pub now: Timestamp,
    /// Height of the tip.
    pub tip: u32,
    /// The operator's rules.
    pub policy: &'a Policy,
    /// Whether the node can be believed; if not, nothing is credited and nothing ends.
    pub trusted: bool,
    /// Whether the resource takes money: neither paused nor retired.
    pub accepting: bool,
    /// The moment at which the block at a height was applied.
    pub moments: &'a (dyn Fn(u32) -> Option<Timestamp> + Sync),
    /// Zero-confirmation credits not mined yet, of all other leases.
    pub unmined_credit_sat: u64,
}

/// The order in which entries of one moment are taken.
type Order = (Timestamp, u32, u32, OutPoint);

/// The next entry that is due, or `None` when the lease is settled.
pub fn next_entry(facts: &Facts, standing: &Standing, world: &World<'_>) -> Option<Entry> {
    if !world.trusted {
        return None;
    }
    let change = facts
        .payments
        .iter()
        .filter_map(|payment| change_of(facts, standing, world, payment))
        .min_by_key(|(order, _)| *order);
    let end = end_at(facts, standing, world.policy).filter(|end| *end <= world.now);
    let (moment_at, what) = match (change, end) {
        (Some(((at, ..), _)), Some(end)) if end <= at => (end, What::Expired),
        (None, Some(end)) => (end, What::Expired),
        (Some(((at, ..), what)), _) => (at, what),
        (None, None) => return None,
    };
    let moment_at = moment_at.max(standing.last_at);
    Some(Entry { n: standing.entries + 1, moment_at, what })
}

/// What is due for one payment.
fn change_of(
    facts: &Facts,
    standing: &Standing,
    world: &World<'_>,
    payment: &Payment,
) -> Option<(Order, What)> {
    let order = |height: u32, at: Option<Timestamp>| {
        let (mined_height, position) =
            payment.mined.as_ref().map_or((u32::MAX, 0), |mined| (mined.height, mined.position));
        let at = at.or_else(|| (world.moments)(height)).unwrap_or(world.now);
        (at.max(standing.last_at), mined_height, position, payment.outpoint)
    };
    let terms = terms_of(facts, payment)?;
    let due = || due_height(payment, &facts.payments, terms, world.tip, world.policy);
    match standing.line(&payment.id) {
        None => {
            if let Some(height) = due() {
                let order = order(height, None);
                let credit = credit(facts, standing, world, payment, height, false)?;
                return Some((order, What::Credit(credit)));
            }
            zero_conf_allowed(facts, standing, world, payment, terms).then_some(())?;
            let credit = credit(facts, standing, world, payment, world.tip, true)?;
            Some((order(world.tip, Some(world.now)), What::Credit(credit)))
        }
        Some(line) if line.counted == Counted::Reversed => {
            let order = order(due()?, None);
            let seconds = line.taken_s;
            Some((order, What::Restoration { payment: payment.id.clone(), seconds }))
        }
        Some(line) => {
            let (height, at) = lost_at(payment, line, world)?;
            let order = order(height, at);
            let seconds = match standing.lots.iter().find(|lot| lot.payment == payment.id) {
                Some(lot) => lot.seconds.min(standing.left_s(order.0)),
                None => 0,
            };
            Some((order, What::Reversal { payment: payment.id.clone(), seconds }))
        }
    }
}

/// The height at which a standing credit is lost, if it is at or below the tip, and the moment
/// when that is not the block's.
fn lost_at(
    payment: &Payment,
    line: &CreditLine,
    world: &World<'_>,
) -> Option<(u32, Option<Timestamp>)> {
    if payment.mined.is_some() {
        return None;
    }
    if let Some(conflict) = &payment.conflict {
        match conflict.height {
            Some(height) => return Some((height, None)),
            // The mempool knows no moments of its own.
            None if never_mined(payment, line) => return Some((world.tip, Some(world.now))),
            None => {}
        }
    }
    let limit = unmined_since(payment, line)?.saturating_add(world.policy.at_risk_blocks);
    (limit <= world.tip).then_some((limit, None))
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

/// Zero-confirmation credits of this lease that are not mined yet.
fn unmined_credit_sat(facts: &Facts, standing: &Standing) -> u64 {
    facts
        .payments
        .iter()
        .filter(|payment| payment.at_risk(standing.counted(&payment.id)))
        .filter(|payment| standing.line(&payment.id).is_some_and(|line| never_mined(payment, line)))
        .map(|payment| payment.amount_sat)
        .sum()
}

fn zero_conf_allowed(
    facts: &Facts,
    standing: &Standing,
    world: &World<'_>,
    payment: &Payment,
    terms: &Terms,
) -> bool {
    let policy = world.policy;
    let sum = tier_sum(&facts.payments, world.tip, world.tip, policy);
    let exposure = world
        .unmined_credit_sat
        .saturating_add(unmined_credit_sat(facts, standing))
        .saturating_add(payment.amount_sat);
    payment.mined.is_none()
        && payment.in_mempool
        && payment.conflict.is_none()
        && terms.confirmations_for(sum) == 0
        && policy.zero_conf_max_exposure_sat > 0
        && exposure <= policy.zero_conf_max_exposure_sat
        && payment.entry.is_some_and(|entry| {
            entry.inputs_confirmed && entry.feerate_msat >= policy.zero_conf_min_feerate_msat
        })
}

fn invoice_of<'a>(facts: &'a Facts, payment: &Payment) -> Option<&'a Invoice> {
    let id = payment.invoice.as_ref()?;
    facts.invoices.iter().find(|invoice| invoice.id == *id)
}

/// True when what it pays was given up: the money goes back.
fn cancelled(facts: &Facts, payment: &Payment) -> bool {
    invoice_of(facts, payment).is_some_and(|invoice| invoice.cancelled_at.is_some())
}

/// The terms that decide a payment's confirmations: its invoice's, or those when it was seen.
fn terms_of<'a>(facts: &'a Facts, payment: &Payment) -> Option<&'a Terms> {
    match invoice_of(facts, payment) {
        Some(invoice) => facts.terms.version(invoice.terms_version),
        None => facts.terms.at(payment.first_seen_at),
    }
    .map(|found| &found.terms)
}

/// On time: the invoice's price. Otherwise the price when it was first seen.
pub fn price_of(facts: &Facts, payment: &Payment, policy: &Policy) -> Option<Price> {
    match invoice_of(facts, payment).filter(|invoice| invoice.on_time(payment, policy)) {
        Some(invoice) => Some(invoice.price),
        None => facts.terms.at(payment.first_seen_at).map(|found| found.terms.price),
    }
}

fn credit(
    facts: &Facts,
    standing: &Standing,
    world: &World<'_>,
    payment: &Payment,
    height: u32,
    unmined: bool,
) -> Option<Credit> {
    let price = price_of(facts, payment, world.policy)?;
    let over = standing.phase == Phase::Ended
        && !standing.end_reason.is_some_and(EndReason::may_start_again);
    let refund = over || !world.accepting || cancelled(facts, payment);
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

/// Seconds that money on its way, first seen before `until`, would be worth, pending ones
/// included.
pub fn coming_s(facts: &Facts, standing: &Standing, policy: &Policy, until: Timestamp) -> u64 {
    facts
        .payments
        .iter()
        .filter(|payment| {
            standing.counted(&payment.id) != Counted::Standing
                && payment.on_its_way()
                && payment.first_seen_at < until
                && !cancelled(facts, payment)
        })
        .filter_map(|payment| Some(price_of(facts, payment, policy)?.seconds(payment.amount_sat)))
        .fold(standing.pending_s, u64::saturating_add)
}

/// The least time that starts a generation under `terms`, the tolerance taken off.
pub fn least_s(terms: &Terms, policy: &Policy) -> u64 {
    policy.less_tolerance(terms.min_duration_s)
}

/// When a lease in grace ends: later while money first seen in time is on its way.
pub fn end_at(facts: &Facts, standing: &Standing, policy: &Policy) -> Option<Timestamp> {
    if standing.suspended_at.is_some() {
        return None;
    }
    let grace_until = standing.grace_until()?;
    let least = facts.terms.version(standing.terms_version).map(|t| least_s(&t.terms, policy))?;
    let coming = coming_s(facts, standing, policy, grace_until);
    let held = coming > 0 && coming >= least;
    Some(if held { grace_until.plus_s(policy.confirming_hold_s) } else { grace_until })
}

/// Until when the unit of a lease that has not started stays held, given its quote's end.
pub fn hold_until(facts: &Facts, standing: &Standing, policy: &Policy) -> Option<Timestamp> {
    let first = facts.invoices.iter().find(|invoice| invoice.purpose == Purpose::Lease)?;
    let least = facts.terms.version(first.terms_version).map(|t| least_s(&t.terms, policy))?;
    let limit = first.expires_at.plus_s(policy.confirming_hold_s);
    let coming = coming_s(facts, standing, policy, limit);
    Some(if coming > 0 && coming >= least { limit } else { first.expires_at })
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
    facts
        .payments
        .iter()
        .filter_map(|payment| {
            let line = standing.line(&payment.id).filter(|l| l.counted == Counted::Standing);
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
                (None, Some(mined)) => next_due_height(facts, world, payment, mined.height),
                (None, None) => None,
            }
        })
        .min()
}

/// The height at which a mined payment may count.
fn next_due_height(
    facts: &Facts,
    world: &World<'_>,
    payment: &Payment,
    mined_height: u32,
) -> Option<u32> {
    let (tip, policy) = (world.tip, world.policy);
    let terms = terms_of(facts, payment)?;
    if due_height(payment, &facts.payments, terms, tip, policy).is_some() {
        return Some(tip);
    }
    // As the next block sees this one: money in the mempool raises the tier at the tip only.
    let needed = required(payment, &facts.payments, terms, tip, tip + 1, policy);
    Some((mined_height + needed - 1).max(tip + 1))
}

/// The next moment at which the clock alone changes something for this lease. It is in the past
/// when the end is overdue because the node could not be believed.
pub fn next_change_at(
    facts: &Facts,
    standing: &Standing,
    policy: &Policy,
    now: Timestamp,
) -> Option<Timestamp> {
    let end = (standing.phase == Phase::Live).then(|| end_at(facts, standing, policy)).flatten();
    if end.is_some_and(|end| end <= now) {
        return end;
    }
    let mut moments: Vec<Timestamp> =
        facts.invoices.iter().map(|invoice| invoice.expires_at.plus_millis(1)).collect();
    if standing.phase == Phase::Unfunded {
        moments.extend(hold_until(facts, standing, policy).map(|at| at.plus_millis(1)));
    }
    if standing.phase == Phase::Live && standing.suspended_at.is_none() {
        moments.extend(standing.expiring_soon_at());
        moments.extend(standing.paid_until);
        moments.extend(end);
    }
    moments.into_iter().filter(|at| *at > now).min()
}
