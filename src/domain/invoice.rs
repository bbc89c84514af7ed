//! An invoice: one address for one purpose. Where it stands is computed from its payments.

use serde::{Deserialize, Serialize};

use super::ids::{InvoiceId, LeaseId};
use super::payment::{Counted, Payment};
use super::policy::Policy;
use super::price::Price;
use super::time::Timestamp;

/// What the money is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The first invoice of a lease.
    Lease,
    /// More time for a lease, by anyone.
    Topup,
}

impl Purpose {
    /// snake_case, as in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Topup => "topup",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Lease, Self::Topup].into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// The facts about one invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Public identifier.
    pub id: InvoiceId,
    /// What it is for.
    pub purpose: Purpose,
    /// The lease it pays for.
    pub lease: LeaseId,
    /// The terms it keeps.
    pub terms_version: u32,
    /// What was asked for.
    pub amount_sat: u64,
    /// The price that on-time money gets.
    pub price: Price,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the quote ends.
    pub expires_at: Timestamp,
    /// When its holder gave it up, nothing received.
    pub cancelled_at: Option<Timestamp>,
}

/// How long between two looks at the mempool counts as not having followed it, in seconds.
const UNWATCHED_S: u64 = 60;

impl Invoice {
    /// True when `payment` gets this invoice's price: seen in time (or its block proves that it
    /// was, if nobody was looking) and mined within the price lock (SPEC section 3).
    pub fn on_time(&self, payment: &Payment, policy: &Policy) -> bool {
        let mined_in_time = payment
            .mined
            .as_ref()
            .is_none_or(|mined| mined.moment_at <= self.expires_at.plus_s(policy.price_lock_s));
        let seen = payment.lineage_seen_at <= self.expires_at;
        mined_in_time && (seen || self.proved_by_block(payment))
    }

    fn proved_by_block(&self, payment: &Payment) -> bool {
        let unwatched = payment.prior_look_at.is_none_or(|look| {
            look < self.expires_at && look.seconds_until(payment.first_seen_at) > UNWATCHED_S
        });
        unwatched && payment.mined.as_ref().is_some_and(|mined| mined.mtp_at <= self.expires_at)
    }
}

/// An invoice's status (SPEC section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceStatus {
    /// Credited money reached what is needed.
    Settled,
    /// Credited and unconfirmed money reach what is needed.
    Confirming,
    /// Given up, nothing received.
    Cancelled,
    /// Waiting for money.
    Open,
    /// The quote is over; later money still counts.
    Expired,
}

impl InvoiceStatus {
    /// snake_case, as in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Confirming => "confirming",
            Self::Cancelled => "cancelled",
            Self::Open => "open",
            Self::Expired => "expired",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Settled, Self::Confirming, Self::Cancelled, Self::Open, Self::Expired]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// Something worth knowing about an invoice; a set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceFlag {
    /// Something came, less than needed.
    Partial,
    /// More was credited than asked for.
    Over,
    /// A payment came after the quote.
    Late,
    /// A payment was first seen after it had settled.
    Duplicate,
    /// A payment was replaced by another transaction.
    Replaced,
    /// A credit's block went away, or it was credited before its block.
    AtRisk,
    /// A credit was reversed.
    Reversed,
    /// Money waits: for more, or for a free unit.
    Held,
}

/// One payment as an invoice's standing sees it.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// The payment.
    pub payment: &'a Payment,
    /// Whether it counts.
    pub counted: Counted,
    /// When it was credited first.
    pub credited_at: Option<Timestamp>,
    /// Whether its time waits for more money or a unit.
    pub held: bool,
}

/// Where an invoice stands, without the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceStanding {
    /// What was asked for.
    pub amount_sat: u64,
    /// What settles it.
    pub need_sat: u64,
    /// Money that counts.
    pub credited_sat: u64,
    /// Money on its way.
    pub unconfirmed_sat: u64,
    /// When the quote ends.
    pub expires_at: Timestamp,
    /// True when it was given up.
    pub cancelled: bool,
    /// Ascending, each once.
    pub flags: Vec<InvoiceFlag>,
}

impl InvoiceStanding {
    /// From the invoice and its payments, in any order.
    pub fn new(invoice: &Invoice, received: &[Received<'_>], policy: &Policy) -> Self {
        let sum = |keep: &dyn Fn(&Received<'_>) -> bool| {
            received
                .iter()
                .filter(|entry| keep(entry))
                .fold(0u64, |sum, entry| sum.saturating_add(entry.payment.amount_sat))
        };
        let credited_sat = sum(&|entry| entry.counted == Counted::Standing);
        let unconfirmed_sat =
            sum(&|entry| entry.counted != Counted::Standing && entry.payment.on_its_way());
        let mut standing = Self {
            amount_sat: invoice.amount_sat,
            need_sat: policy.less_tolerance(invoice.amount_sat),
            credited_sat,
            unconfirmed_sat,
            expires_at: invoice.expires_at,
            cancelled: invoice.cancelled_at.is_some(),
            flags: Vec::new(),
        };
        standing.flags = standing.find_flags(invoice, received, policy);
        standing
    }

    fn find_flags(
        &self,
        invoice: &Invoice,
        received: &[Received<'_>],
        policy: &Policy,
    ) -> Vec<InvoiceFlag> {
        let total = self.credited_sat.saturating_add(self.unconfirmed_sat);
        let settled_at = self.settled_at(received);
        let any = |keep: &dyn Fn(&Received<'_>) -> bool| received.iter().any(keep);
        let late = |entry: &Received<'_>| {
            (entry.counted == Counted::Standing || entry.payment.on_its_way())
                && !invoice.on_time(entry.payment, policy)
        };
        let duplicate = |entry: &Received<'_>| {
            entry.payment.on_its_way()
                && settled_at.is_some_and(|at| entry.payment.first_seen_at > at)
        };
        let candidates = [
            (InvoiceFlag::Partial, 0 < total && total < self.need_sat),
            (InvoiceFlag::Over, self.credited_sat > self.amount_sat),
            (InvoiceFlag::Late, any(&late)),
            (InvoiceFlag::Duplicate, any(&duplicate)),
            (
                InvoiceFlag::Replaced,
                any(&|e| e.payment.mined.is_none() && e.payment.conflict.is_some()),
            ),
            (InvoiceFlag::AtRisk, any(&|e| e.payment.at_risk(e.counted))),
            (InvoiceFlag::Reversed, any(&|e| e.counted == Counted::Reversed)),
            (InvoiceFlag::Held, any(&|e| e.held)),
        ];
        candidates.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag).collect()
    }

    /// The moment of the credit with which it settled, of those that stand.
    fn settled_at(&self, received: &[Received<'_>]) -> Option<Timestamp> {
        let mut credits: Vec<(Timestamp, u64)> = received
            .iter()
            .filter(|entry| entry.counted == Counted::Standing)
            .filter_map(|entry| entry.credited_at.map(|at| (at, entry.payment.amount_sat)))
            .collect();
        credits.sort_unstable();
        let mut sum = 0u64;
        credits.into_iter().find_map(|(at, amount)| {
            sum = sum.saturating_add(amount);
            (sum >= self.need_sat).then_some(at)
        })
    }

    /// Its status at `now`, the first that matches.
    pub fn status(&self, now: Timestamp) -> InvoiceStatus {
        let total = self.credited_sat.saturating_add(self.unconfirmed_sat);
        if self.credited_sat >= self.need_sat {
            InvoiceStatus::Settled
        } else if total >= self.need_sat {
            InvoiceStatus::Confirming
        } else if self.cancelled && total == 0 {
            InvoiceStatus::Cancelled
        } else if now <= self.expires_at {
            InvoiceStatus::Open
        } else {
            InvoiceStatus::Expired
        }
    }

    /// What is still due, as the payment link asks for.
    pub fn due_sat(&self) -> u64 {
        self.amount_sat.saturating_sub(self.credited_sat.saturating_add(self.unconfirmed_sat))
    }
}
