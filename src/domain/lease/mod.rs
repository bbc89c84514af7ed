//! A lease: the right to use a resource, as a fold over its credits and actions.
//! `fold` says where it stands, `course` where it stood, `advance` says which new facts are due,
//! `difference` says what to tell the world. None of them asks what time it is.

pub mod advance;
pub mod books;
pub mod course;
pub mod difference;
pub mod fold;
pub mod prospects;
pub mod refunds;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod tests;

use bitcoin::OutPoint;
use serde::{Deserialize, Serialize};

use super::ids::{LeaseId, PaymentId};
use super::invoice::Invoice;
use super::payment::Payment;
use super::price::Price;
use super::resource::TermsHistory;
use super::time::Timestamp;

/// What a credit is turned into, decided when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Buys {
    /// Time on the resource.
    Time,
    /// Nothing: the lease is over or the resource takes no money. It can be refunded.
    Refund,
}

/// What a payment was worth, once it counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The payment.
    pub payment: PaymentId,
    /// Its output.
    pub outpoint: OutPoint,
    /// Its value.
    pub amount_sat: u64,
    /// The price it was counted at; never changes.
    pub price: Price,
    /// The seconds it bought.
    pub seconds: u64,
    /// Time, or a refund.
    pub buys: Buys,
    /// The height that gave it its confirmations; the tip's for a zero-confirmation credit.
    pub height: u32,
    /// True when it was in no block yet.
    pub unmined: bool,
}

/// One thing that happened to a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Money counted.
    Credit(Credit),
    /// A credit was lost; `seconds` is what the holder lost by it.
    Reversal {
        /// The payment.
        payment: PaymentId,
        /// Seconds taken away.
        seconds: u64,
    },
    /// A reversed credit came back; `seconds` is what its reversal took.
    Restoration {
        /// The payment.
        payment: PaymentId,
        /// Seconds given back.
        seconds: u64,
    },
    /// A generation began: a unit was taken, the provisioner is called.
    Started {
        /// Its number, 1 for the first.
        generation: u32,
        /// The unit of an exclusive resource.
        unit: Option<String>,
        /// The terms it keeps.
        terms_version: u32,
    },
    /// The resource is ready; its clock starts.
    Ready,
    /// The operator stopped it; its time stands still.
    Suspended,
    /// The operator let it go on.
    Resumed,
    /// The holder gave it back, or gave up waiting.
    Returned,
    /// The operator ended it.
    Revoked,
    /// It could not be provisioned.
    Failed,
    /// Time and grace ran out.
    Expired,
}

impl What {
    /// snake_case, as it is stored and shown.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Credit(_) => "credit",
            Self::Reversal { .. } => "reversal",
            Self::Restoration { .. } => "restoration",
            Self::Started { .. } => "started",
            Self::Ready => "ready",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
            Self::Returned => "returned",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// A fact of a lease with its moment. `n` counts a lease's entries from 1, in fold order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the order.
    pub n: u32,
    /// When it happened.
    pub moment_at: Timestamp,
    /// What happened.
    pub what: What,
}

/// The lease itself, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Public identifier.
    pub id: LeaseId,
    /// The resource's id.
    pub resource: String,
    /// The terms of its first generation.
    pub terms_version: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// Everything known about a lease: what `fold` and `advance` work on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The lease.
    pub lease: Lease,
    /// All versions of the resource's terms.
    pub terms: TermsHistory,
    /// Its invoices, the first one first.
    pub invoices: Vec<Invoice>,
    /// All payments to it, in any order.
    pub payments: Vec<Payment>,
    /// What happened so far, in order.
    pub entries: Vec<Entry>,
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its time ran out.
    Expired,
    /// Its holder gave it back.
    Returned,
    /// The operator ended it.
    Revoked,
    /// It could not be provisioned.
    Failed,
    /// Its time was gone by a reversal.
    Reversed,
}

impl EndReason {
    /// snake_case, as in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Returned => "returned",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
            Self::Reversed => "reversed",
        }
    }

    /// True when money that comes later may start a new generation.
    pub fn may_start_again(self) -> bool {
        matches!(self, Self::Expired | Self::Reversed)
    }
}
