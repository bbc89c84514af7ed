//! A payment: one output that pays an address ever issued. Facts about where it is, and the
//! state derived from them (SPEC section 3).

use std::collections::BTreeMap;

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

    /// True while its money is there or on its way.
    pub fn stands(self) -> bool {
        !matches!(self, Self::Gone | Self::Conflicted | Self::Replaced | Self::Reversed)
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

/// The transitions of facts, as the chain and the mempool report them. Nothing else may change
/// where a payment is.
impl Payment {
    /// A block with its transaction was connected.
    pub fn mined_in(&mut self, mined: Mined) {
        self.mined = Some(mined);
        self.in_mempool = false;
        self.absent_since = None;
        self.conflict = None;
    }

    /// Its block was disconnected; `tip` is the tip's height after that.
    pub fn unmined(&mut self, tip: u32) {
        self.mined = None;
        self.absent_since = Some(tip);
        self.left_chain = Some(tip);
    }

    /// It was found in the mempool. What the mempool said the first time stays.
    pub fn entered_mempool(&mut self, entry: Option<MempoolEntry>) {
        if self.mined.is_some() {
            // A snapshot that is older than its block.
            return;
        }
        self.in_mempool = true;
        self.absent_since = None;
        self.entry = self.entry.or(entry);
        if self.conflict.as_ref().is_some_and(|conflict| conflict.height.is_none()) {
            self.conflict = None;
        }
    }

    /// It is no longer in the mempool, and in no block as far as known; `tip` is the tip's height.
    pub fn left_mempool(&mut self, tip: u32) {
        self.in_mempool = false;
        if self.mined.is_none() {
            self.absent_since = self.absent_since.or(Some(tip));
        }
    }

    /// Another transaction spends one of its inputs. One in a block outweighs one in the mempool.
    pub fn conflicted_by(&mut self, conflict: Conflict) {
        let known_in_block = self.conflict.as_ref().is_some_and(|known| known.height.is_some());
        if self.mined.is_none() && !known_in_block {
            self.conflict = Some(conflict);
        }
    }

    /// The block of the transaction that conflicts with it was disconnected.
    pub fn conflict_unmined(&mut self) {
        if let Some(conflict) = &mut self.conflict {
            conflict.height = None;
        }
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

/// The sums that decide about the confirmations of payments to one subject, each found once.
#[derive(Debug)]
pub struct Tiers<'a> {
    siblings: &'a [Payment],
    tip: u32,
    policy: &'a Policy,
    known: BTreeMap<u32, u64>,
}

impl<'a> Tiers<'a> {
    /// Of `siblings`, when the tip is at height `tip`.
    pub fn new(siblings: &'a [Payment], tip: u32, policy: &'a Policy) -> Self {
        Self { siblings, tip, policy, known: BTreeMap::new() }
    }

    /// The first height at which `payment` has the confirmations it needs, if that is at or below
    /// the tip. `None` while it has to wait.
    pub fn due_height(&mut self, payment: &Payment, terms: &Terms) -> Option<u32> {
        let mined = payment.mined.as_ref()?;
        let due = |height: &u32| {
            let sum = self
                .known
                .entry(*height)
                .or_insert_with(|| tier_sum(self.siblings, *height, self.tip, self.policy));
            payment.confirmations(*height) >= required(payment, terms, *sum)
        };
        (mined.height..=self.tip).find(due)
    }
}

/// Confirmations that a mined payment needs when `tier_sat` is on its way; at least 1, since it
/// has that many anyway.
pub fn required(payment: &Payment, terms: &Terms, tier_sat: u64) -> u32 {
    let needed = terms.confirmations_for(tier_sat).max(1);
    if payment.coinbase { needed.max(COINBASE_MATURITY) } else { needed }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;

    use super::*;

    fn payment() -> Payment {
        Payment {
            id: PaymentId::new([1; 16]),
            outpoint: OutPoint::new(Txid::all_zeros(), 0),
            amount_sat: 1000,
            invoice: None,
            coinbase: false,
            first_seen_at: Timestamp::from_secs(100),
            lineage_seen_at: Timestamp::from_secs(100),
            prior_look_at: None,
            in_mempool: true,
            mined: None,
            conflict: None,
            absent_since: None,
            left_chain: None,
            entry: None,
        }
    }

    fn block(height: u32) -> Mined {
        let moment_at = Timestamp::from_secs(i64::from(height) * 600);
        Mined { height, position: 1, mtp_at: moment_at.minus_s(3600), moment_at }
    }

    fn rival(height: Option<u32>) -> Conflict {
        Conflict { txid: Txid::from_byte_array([9; 32]), height }
    }

    fn state(payment: &Payment, counted: Counted) -> PaymentState {
        payment.state(counted, 200, &Policy::default())
    }

    #[test]
    fn a_block_takes_a_payment_out_of_the_mempool_and_ends_every_doubt() {
        let mut payment = payment();
        payment.left_mempool(7);
        payment.conflicted_by(rival(None));
        payment.mined_in(block(8));
        assert_eq!(payment.mined, Some(block(8)));
        assert!(!payment.in_mempool);
        assert_eq!((payment.conflict, payment.absent_since), (None, None));
    }

    #[test]
    fn a_disconnected_payment_is_absent_since_the_new_tip() {
        let mut payment = payment();
        payment.mined_in(block(8));
        payment.unmined(7);
        assert_eq!(payment.mined, None);
        assert_eq!((payment.absent_since, payment.left_chain), (Some(7), Some(7)));
        assert_eq!(state(&payment, Counted::Never), PaymentState::Gone);
    }

    #[test]
    fn a_payment_that_returns_to_the_mempool_is_not_absent_but_has_left_the_chain() {
        let mut payment = payment();
        payment.mined_in(block(8));
        payment.unmined(7);
        payment.entered_mempool(None);
        assert!(payment.in_mempool);
        assert_eq!((payment.absent_since, payment.left_chain), (None, Some(7)));
    }

    #[test]
    fn absence_is_counted_from_the_first_tip_without_it() {
        let mut payment = payment();
        payment.left_mempool(7);
        payment.left_mempool(9);
        assert_eq!(payment.absent_since, Some(7));
        payment.mined_in(block(10));
        payment.left_mempool(11);
        assert_eq!(payment.absent_since, None);
    }

    #[test]
    fn what_the_mempool_said_first_stays() {
        let said = |feerate_msat| Some(MempoolEntry { inputs_confirmed: true, feerate_msat });
        let mut payment = payment();
        payment.entered_mempool(said(1000));
        payment.left_mempool(7);
        payment.entered_mempool(said(5000));
        assert_eq!(payment.entry, said(1000));
    }

    #[test]
    fn a_late_look_at_the_mempool_does_not_move_a_mined_payment() {
        let mut payment = payment();
        payment.mined_in(block(8));
        payment.entered_mempool(None);
        assert!(!payment.in_mempool);
        assert_eq!(state(&payment, Counted::Never), PaymentState::Confirming);
    }

    #[test]
    fn a_rival_in_the_mempool_makes_it_conflicted_and_one_in_a_block_replaces_it() {
        let mut payment = payment();
        payment.left_mempool(7);
        payment.conflicted_by(rival(None));
        assert_eq!(state(&payment, Counted::Never), PaymentState::Conflicted);
        payment.conflicted_by(rival(Some(8)));
        assert_eq!(state(&payment, Counted::Never), PaymentState::Replaced);
        payment.conflicted_by(rival(None));
        assert_eq!(state(&payment, Counted::Never), PaymentState::Replaced);
    }

    #[test]
    fn a_rival_whose_block_is_disconnected_is_a_rival_in_the_mempool_again() {
        let mut payment = payment();
        payment.left_mempool(7);
        payment.conflicted_by(rival(Some(8)));
        payment.conflict_unmined();
        assert_eq!(state(&payment, Counted::Never), PaymentState::Conflicted);
        payment.entered_mempool(None);
        assert_eq!(state(&payment, Counted::Never), PaymentState::Mempool);
    }

    #[test]
    fn a_payment_in_a_block_has_no_rival() {
        let mut payment = payment();
        payment.mined_in(block(8));
        payment.conflicted_by(rival(None));
        assert_eq!(payment.conflict, None);
    }
}
