//! What the chain and the terms say of each payment of a lease, whatever was credited so far:
//! found once for a tip, since each step of settling asks for it.

use std::collections::HashMap;

use super::super::ids::InvoiceId;
use super::super::payment::{Payment, Tiers, required, tier_sum};
use super::super::policy::Policy;
use super::super::price::Price;
use super::Facts;

/// Of one payment.
#[derive(Clone, Debug)]
pub(super) struct Prospect {
    /// On time: the invoice's price. Otherwise the price when it was first seen.
    pub(super) price: Option<Price>,
    /// The version of the terms that decide its confirmations: its invoice's, or those when it
    /// was seen.
    pub(super) terms_version: Option<u32>,
    /// True when what it pays was given up: the money goes back.
    pub(super) cancelled: bool,
    /// The height that gave it its confirmations.
    pub(super) due: Option<u32>,
}

/// Of all payments of a lease, in the order of its facts.
#[derive(Clone, Debug)]
pub struct Prospects {
    of: Vec<Prospect>,
    mined_sat: u64,
}

impl Prospects {
    /// At a tip.
    pub fn new(facts: &Facts, tip: u32, policy: &Policy) -> Self {
        let invoices: HashMap<&InvoiceId, _> =
            facts.invoices.iter().map(|invoice| (&invoice.id, invoice)).collect();
        let mut tiers = Tiers::new(&facts.payments, tip, policy);
        let mut prospect = |payment: &Payment| {
            let invoice = payment.invoice.as_ref().and_then(|id| invoices.get(id));
            let seen = facts.terms.at(payment.first_seen_at);
            let terms = match invoice {
                Some(invoice) => facts.terms.version(invoice.terms_version),
                None => seen,
            };
            Prospect {
                price: match invoice.filter(|invoice| invoice.on_time(payment, policy)) {
                    Some(invoice) => Some(invoice.price),
                    None => seen.map(|found| found.terms.price),
                },
                terms_version: terms.map(|found| found.version),
                cancelled: invoice.is_some_and(|invoice| invoice.cancelled_at.is_some()),
                due: terms.and_then(|found| tiers.due_height(payment, &found.terms)),
            }
        };
        Self {
            of: facts.payments.iter().map(&mut prospect).collect(),
            // As the next block sees this one: money in the mempool raises the tier at the tip only.
            mined_sat: tier_sum(&facts.payments, tip, tip.saturating_add(1), policy),
        }
    }

    pub(super) fn iter<'a>(
        &'a self,
        facts: &'a Facts,
    ) -> impl Iterator<Item = (&'a Payment, &'a Prospect)> {
        facts.payments.iter().zip(&self.of)
    }

    /// The height at which a mined payment may count; the tip's when it does already.
    pub(super) fn next_due_height(
        &self,
        facts: &Facts,
        payment: &Payment,
        prospect: &Prospect,
        tip: u32,
    ) -> Option<u32> {
        let mined = payment.mined.as_ref()?;
        let terms = &facts.terms.version(prospect.terms_version?)?.terms;
        match prospect.due {
            Some(_) => Some(tip),
            None => {
                Some((mined.height + required(payment, terms, self.mined_sat) - 1).max(tip + 1))
            }
        }
    }
}
