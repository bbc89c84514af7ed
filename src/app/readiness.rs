//! What this node of ours knows about the world right now. Fed by the follow worker, read by
//! `/readyz`, by views that show confirmations, and by whoever must know if the node is trusted.

use bitcoin::BlockHash;
use tokio::sync::watch;

use crate::domain::time::Timestamp;

/// The tip as it was last applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TipNow {
    /// Height.
    pub height: u32,
    /// Hash.
    pub hash: BlockHash,
}

/// Whether bitcoind can be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeNow {
    /// Not asked yet, or catching up with its chain.
    CatchingUp,
    /// Followed to its tip; what a keychain issued before is being searched for.
    Recovering,
    /// Followed to its tip, and nothing speaks against it.
    Trusted,
    /// It answers, but its word is not enough.
    Doubted(String),
    /// It does not answer.
    Failing(String),
}

/// What is known now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Our tip; `None` before the first block.
    pub tip: Option<TipNow>,
    /// Blocks that the node has and we have not applied.
    pub lag: u32,
    /// The node.
    pub node: NodeNow,
    /// The node's version, as it tells its peers.
    pub node_version: Option<String>,
    /// When the chain and the mempool were last followed to the end.
    pub followed_at: Option<Timestamp>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { tip: None, lag: 0, node: NodeNow::CatchingUp, node_version: None, followed_at: None }
    }
}

impl Readiness {
    /// Whether money may be credited, and leases may end for lack of it.
    pub fn trusted(&self) -> bool {
        self.node == NodeNow::Trusted
    }

    /// Height of the tip; 0 before the first block.
    pub fn height(&self) -> u32 {
        self.tip.map_or(0, |tip| tip.height)
    }
}

/// Where it is published.
pub type ReadinessSender = watch::Sender<Readiness>;
/// Where it is read.
pub type ReadinessReceiver = watch::Receiver<Readiness>;
