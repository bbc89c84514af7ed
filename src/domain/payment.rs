//! A payment: one output that pays an address ever issued. Facts about where it is, and the
//! state derived from them (SPEC section 3).

use bitcoin::{OutPoint, Txid};
use serde::{Deserialize, Serialize};

use super::ids::{InvoiceId, PaymentId};
use super::policy::{COINBASE_MATURITY, Policy};
use super::resource::Terms;
use super::time::Timestamp;

/// Where in the chain a payment's transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Block height.
    pub height: u32,
    /// Index of the transaction in its block.
    pub position: u32,
    /// Median time past of that block (BIP113).
    pub mtp_at: Timestamp,
    /// The moment at which that block was applied.
    pub moment_at: Timestamp,
}

/// Another transaction that spends one of the same inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its txid.
    pub txid: Txid,
    /// The block it is in; `None` while it is in the mempool.
    pub height: Option<u32>,
}

/// What the mempool said of the transaction when it was first seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolEntry {
    /// True when every input was confirmed.
    pub inputs_confirmed: bool,
    /// Fee of it and its ancestors over their size, in milli-satoshi a vB.
    pub feerate_msat: u64,
}

/// The facts about one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Public identifier.
    pub id: PaymentId,
    /// Its identity: transaction and output.
    pub outpoint: OutPoint,
    /// Its value.
    pub amount_sat: u64,
    /// The invoice whose address it pays; `None` for an index never issued.
    pub invoice: Option<InvoiceId>,
    /// True for a coinbase output.
    pub coinbase: bool,
    /// When it was first seen, in the mempool or in a block.
    pub first_seen_at: Timestamp,
    /// When it, or a payment to the same invoice that it replaces, was first seen.
    pub lineage_seen_at: Timestamp,
    /// The last complete look at the mempool before it was first seen.
    pub prior_look_at: Option<Timestamp>,
    /// True while it is in the mempool.
    pub in_mempool: bool,
    /// Where it is in the chain.
    pub mined: Option<Mined>,
    /// A transaction that conflicts with it.
    pub conflict: Option<Conflict>,
    /// The tip's height when it was last found to be in neither mempool nor chain.
    pub absent_since: Option<u32>,
    /// The tip's height when it last left the chain.
    pub left_chain: Option<u32>,
    /// What the mempool said of it.
    pub entry: Option<MempoolEntry>,
}

/// A payment's state (SPEC section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Seen in the mempool.
    Mempool,
    /// In the chain, with fewer confirmations than required.
    Confirming,
    /// Counted. Stays so until `final` or `reversed`.
    Credited,
    /// Counted and deep in the chain.
    Final,
    /// In neither mempool nor chain, no conflict known.
    Gone,
    /// Another mempool transaction spends one of its inputs.
    Conflicted,
    /// A conflicting transaction is in the chain.
    Replaced,
    /// Was counted, then lost.
    Reversed,
}

impl PaymentState {
    /// snake_case, as in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mempool => "mempool",
            Self::Confirming => "confirming",
            Self::Credited => "credited",
            Self::Final => "final",
            Self::Gone => "gone",
            Self::Conflicted => "conflicted",
            Self::Replaced => "replaced",
            Self::Reversed => "reversed",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Mempool,
            Self::Confirming,
            Self::Credited,
            Self::Final,
            Self::Gone,
            Self::Conflicted,
            Self::Replaced,
            Self::Reversed,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

/// Whether a payment counts at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Not yet.
    Never,
    /// It counts.
    Standing,
    /// It did and was reversed.
    Reversed,
}

impl Payment {
    /// Confirmations at `tip`: 1 in the tip's block, 0 when not in the chain.
    pub fn confirmations(&self, tip: u32) -> u32 {
        match &self.mined {
            Some(mined) if mined.height <= tip => tip - mined.height + 1,
            _ => 0,
        }
    }

    /// True while it can still arrive: in the mempool or the chain, and unconflicted.
    pub fn on_its_way(&self) -> bool {
        self.mined.is_some() || (self.in_mempool && self.conflict.is_none())
    }

    /// Its state, given whether it counts and the tip's height.
    pub fn state(&self, counted: Counted, tip: u32, policy: &Policy) -> PaymentState {
        match (counted, &self.mined) {
            (Counted::Standing, _) if self.confirmations(tip) >= policy.final_confirmations => {
                PaymentState::Final
            }
            (Counted::Standing, _) => PaymentState::Credited,
            (_, Some(_)) => PaymentState::Confirming,
            (Counted::Reversed, None) => PaymentState::Reversed,
            (Counted::Never, None) => match &self.conflict {
                Some(conflict) if conflict.height.is_some() => PaymentState::Replaced,
                Some(_) => PaymentState::Conflicted,
                None if self.in_mempool => PaymentState::Mempool,
                None => PaymentState::Gone,
            },
        }
    }

    /// True when its credit's block went away and it is not mined again.
    pub fn at_risk(&self, counted: Counted) -> bool {
        counted == Counted::Standing && self.mined.is_none()
    }
}

/// The sum that decides how many confirmations a payment needs when the tip is at `height`:
/// all `siblings` in blocks up to it, or on their way when `height` is the `tip`, that are not
/// final yet (SPEC section 3). Depends on chain facts alone below the tip, so that following a
/// block at a time and catching up later give the same answer.
pub fn tier_sum<'a>(
    siblings: impl IntoIterator<Item = &'a Payment>,
    height: u32,
    tip: u32,
    policy: &Policy,
) -> u64 {
    siblings
        .into_iter()
        .filter(|payment| match &payment.mined {
            Some(mined) => {
                mined.height <= height && payment.confirmations(height) < policy.final_confirmations
            }
            None => height >= tip && payment.on_its_way(),
        })
        .fold(0u64, |sum, payment| sum.saturating_add(payment.amount_sat))
}

/// The first height at which `payment` has the confirmations it needs, if that is at or below
/// `tip`. `None` while it has to wait.
pub fn due_height(
    payment: &Payment,
    siblings: &[Payment],
    terms: &Terms,
    tip: u32,
    policy: &Policy,
) -> Option<u32> {
    let mined = payment.mined.as_ref()?;
    let mut height = mined.height;
    while height <= tip {
        let needed = required(payment, siblings, terms, height, tip, policy);
        if payment.confirmations(height) >= needed {
            return Some(height);
        }
        height += 1;
    }
    None
}

/// Confirmations that `payment` needs as seen at `height`; at least 1, since a mined payment
/// has that many anyway.
pub fn required(
    payment: &Payment,
    siblings: &[Payment],
    terms: &Terms,
    height: u32,
    tip: u32,
    policy: &Policy,
) -> u32 {
    let needed = terms.confirmations_for(tier_sum(siblings, height, tip, policy)).max(1);
    if payment.coinbase { needed.max(COINBASE_MATURITY) } else { needed }
}
