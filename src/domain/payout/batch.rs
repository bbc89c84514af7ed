//! A batch: payouts that leave in one transaction, in several versions of which at most one can
//! ever be mined. Its state follows from where these are, whoever sent them.

use bitcoin::Txid;
use serde::{Deserialize, Serialize};

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Waits for signatures.
    Prepared,
    /// A version was sent.
    Broadcast,
    /// A version is in the chain.
    Confirmed,
    /// Given up; its payouts are due again.
    Abandoned,
    /// Given up, and what it paid is in another batch that makes it impossible.
    Replaced,
    /// Coins of every version were spent otherwise; its payouts are due again.
    Conflicted,
}

impl BatchState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Prepared,
        Self::Broadcast,
        Self::Confirmed,
        Self::Abandoned,
        Self::Replaced,
        Self::Conflicted,
    ];

    /// snake_case, as in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Broadcast => "broadcast",
            Self::Confirmed => "confirmed",
            Self::Abandoned => "abandoned",
            Self::Replaced => "replaced",
            Self::Conflicted => "conflicted",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// True while its payouts are bound to it.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Prepared | Self::Broadcast)
    }
}

/// Where a version's transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number, 1 for the first.
    pub n: u32,
    /// Its transaction.
    pub txid: Txid,
    /// True once it came back signed.
    pub submitted: bool,
    /// True while it is in the mempool.
    pub in_mempool: bool,
    /// The block it is in.
    pub height: Option<u32>,
    /// The block in which a coin of it was spent otherwise, or in which the transaction that made
    /// such a coin was replaced.
    pub conflict_height: Option<u32>,
}

impl Version {
    /// True when it can never be mined: what took its coin is as deep as anything that is final.
    pub fn is_dead(&self, tip: u32, final_confirmations: u32) -> bool {
        let depth = |height: u32| (tip + 1).saturating_sub(height);
        self.height.is_none()
            && self.conflict_height.is_some_and(|height| depth(height) >= final_confirmations)
    }
}

/// The facts about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Given up by the operator.
    pub abandoned: bool,
    /// Another batch took its payouts.
    pub replaced: bool,
    /// In their order.
    pub versions: Vec<Version>,
}

impl Batch {
    /// Where it stands.
    pub fn state(&self) -> BatchState {
        let any = |is: &dyn Fn(&Version) -> bool| self.versions.iter().any(is);
        if any(&|version| version.height.is_some()) {
            BatchState::Confirmed
        } else if !any(&|version| version.conflict_height.is_none()) {
            BatchState::Conflicted
        } else if any(&|version| version.in_mempool) {
            BatchState::Broadcast
        } else if self.replaced {
            BatchState::Replaced
        } else if self.abandoned {
            BatchState::Abandoned
        } else if any(&|version| version.submitted) {
            BatchState::Broadcast
        } else {
            BatchState::Prepared
        }
    }

    /// The version to show: the one in the chain, else the newest, which is the one to be signed,
    /// also while an older one is in the mempool.
    pub fn leading(&self) -> Option<&Version> {
        self.versions.iter().max_by_key(|version| (version.height.is_some(), version.n))
    }

    /// The version to send: the newest that came back signed, unless it or a newer one is in the
    /// mempool, one is in the chain, or the batch was given up. An older one in the mempool is to be
    /// replaced.
    pub fn to_send(&self) -> Option<&Version> {
        let mined = self.versions.iter().any(|version| version.height.is_some());
        if mined || self.abandoned || self.replaced {
            return None;
        }
        let signed = |version: &&Version| version.submitted && version.conflict_height.is_none();
        let newest = self.versions.iter().filter(signed).max_by_key(|version| version.n)?;
        let there = |version: &Version| version.in_mempool && version.n >= newest.n;
        (!self.versions.iter().any(there)).then_some(newest)
    }

    /// The next height at which the chain alone changes something: a version is dead.
    pub fn next_height(&self, tip: u32, final_confirmations: u32) -> Option<u32> {
        let conflicts = self.versions.iter().filter_map(|version| version.conflict_height);
        conflicts.map(|height| height + final_confirmations - 1).filter(|it| *it > tip).min()
    }
}
