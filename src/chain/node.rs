//! How the node is doing, and when its word is not enough to give or take anything (SPEC 3).
//! Pure: takes the clock as an argument. Called by the follow worker, `/readyz` and `check`.

use std::fmt;

use bitcoin::constants::genesis_block;
use bitcoin::{BlockHash, Network};

use super::{BlockId, ChainError};
use crate::domain::time::Timestamp;

/// A node's answer about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Its own word for its network: `main`, `testnet4`, `signet`, `regtest`, …
    pub chain: String,
    /// The hash of its block 0.
    pub genesis: BlockHash,
    /// The end of its active chain.
    pub tip: BlockId,
    /// The time in the header of its best block.
    pub tip_at: Timestamp,
    /// Headers it knows, on the best header chain.
    pub headers: u32,
    /// Whether it thinks it is still far behind.
    pub initial_block_download: bool,
    /// Its connections.
    pub peers: u32,
    /// The lowest block it still has, when it prunes.
    pub prune_height: Option<u32>,
    /// Whether it prunes.
    pub pruned: bool,
    /// Its version as a number, 290402 for 29.4.2.
    pub version: u32,
    /// Its version as it tells its peers.
    pub subversion: String,
}

/// Why the node cannot be relied on at the moment: nothing is credited, and nothing ends or is
/// released for lack of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is in initial block download.
    Syncing {
        /// Its best block.
        blocks: u32,
        /// What it knows to exist.
        headers: u32,
    },
    /// Its chain is shorter than what we have stored.
    Behind {
        /// Its best block.
        blocks: u32,
        /// Our tip.
        stored: u32,
    },
    /// Its chain lacks the stored tip and has no more work.
    OtherBranch,
    /// Nobody tells it about blocks.
    NoPeers,
    /// Its best block is too old.
    StaleTip {
        /// How old.
        age_s: u64,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syncing { blocks, headers } => {
                write!(f, "bitcoind is in initial block download, at block {blocks} of {headers}")
            }
            Self::Behind { blocks, stored } => {
                write!(f, "bitcoind is at block {blocks}, behind the stored tip {stored}")
            }
            Self::OtherBranch => {
                write!(f, "bitcoind's chain lacks the stored tip and has no more work than it")
            }
            Self::NoPeers => write!(f, "bitcoind has no peers"),
            Self::StaleTip { age_s } => write!(f, "bitcoind's best block is {age_s} s old"),
        }
    }
}

impl NodeState {
    /// Refuses a node of another network than `configured`, by name and by genesis block.
    ///
    /// # Errors
    /// [`ChainError::WrongNetwork`].
    pub fn check_network(&self, configured: Network) -> Result<(), ChainError> {
        let named = self.chain == configured.to_core_arg();
        if named && self.genesis == genesis_block(configured).block_hash() {
            return Ok(());
        }
        let found = if named {
            format!("a {} of another genesis block ({})", self.chain, self.genesis)
        } else {
            self.chain.clone()
        };
        Err(ChainError::WrongNetwork { found, configured })
    }

    /// The first reason not to rely on it. `stored` is the height of our tip. A regtest network
    /// needs no peers and may rest as long as it likes.
    pub fn doubt(&self, stored: Option<u32>, now: Timestamp, max_tip_age_s: u64) -> Option<Doubt> {
        let blocks = self.tip.height;
        let regtest = self.chain == Network::Regtest.to_core_arg();
        let age_s = self.tip_at.seconds_until(now);
        if self.initial_block_download && !(regtest && self.headers == blocks) {
            Some(Doubt::Syncing { blocks, headers: self.headers })
        } else if let Some(stored) = stored.filter(|stored| *stored > blocks) {
            Some(Doubt::Behind { blocks, stored })
        } else if regtest {
            None
        } else if self.peers == 0 {
            Some(Doubt::NoPeers)
        } else {
            (age_s > max_tip_age_s).then_some(Doubt::StaleTip { age_s })
        }
    }
}

#[cfg(test)]
mod tests;
