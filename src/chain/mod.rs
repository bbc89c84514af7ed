//! The bitcoin chain as the rest of the program sees it: one trait, a node behind it.
//! Knows no database and decides nothing about money. Every answer is what the node says now;
//! nothing here may be taken for settled. Called by the workers, `check` and `audit`.

mod answer;
pub mod bitcoind;
mod error;
pub mod follower;
pub mod mempool;
mod node;
mod payout;
mod rest;
pub mod rpc;
pub mod testing;
pub mod typed;
pub mod wallet;
pub mod zmq;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Txid, Work};
use bytes::Bytes;

pub use error::{ChainError, ErrorClass};
pub use node::{Doubt, NodeState};

use crate::domain::time::Timestamp;

/// Bytes of a block header.
const HEADER_LEN: usize = 80;

/// A block by both of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockId {
    /// Blocks below it.
    pub height: u32,
    /// The double hash of its header.
    pub hash: BlockHash,
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at height {}", self.hash, self.height)
    }
}

/// The hash of the header that `block` begins with; `None` when it is too short to have one.
pub(crate) fn header_hash(block: &[u8]) -> Option<BlockHash> {
    let header = block.get(..HEADER_LEN)?;
    Some(BlockHash::from_raw_hash(sha256d::Hash::hash(header)))
}

/// What the node knows about a block without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The block.
    pub id: BlockId,
    /// Its parent; the genesis block has none.
    pub prev: Option<BlockHash>,
    /// The time its miner wrote into it.
    pub time_at: Timestamp,
    /// The median time of it and the ten blocks before it.
    pub mtp_at: Timestamp,
    /// Whether it is in the node's active chain.
    pub active: bool,
    /// Its child in the active chain.
    pub next: Option<BlockHash>,
    /// The work of the chain that ends with it.
    pub work: Work,
}

/// Why a block is not in the node's active chain, if it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is, after all.
    Active,
    /// The node has turned to a chain of more work, or holds this block for invalid.
    Left,
    /// The node's chain has no more work: it is syncing, lost data, or has another block of the
    /// same height. The next block decides.
    Ahead,
}

/// The node's opinion of a transaction in its mempool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolEntry {
    /// Unconfirmed transactions that it builds on, itself included: 1 means that all its inputs
    /// are confirmed.
    pub ancestor_count: u32,
    /// The feerate a miner gets for it and all of those, in thousandths of a satoshi a vbyte.
    pub feerate_msat_vb: u64,
}

/// What became of a transaction that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// It is in the node's mempool, now or since before.
    InMempool,
    /// It is in the chain already.
    InChain,
    /// The node does not take it.
    Rejected {
        /// The node's words.
        reason: String,
    },
}

/// A node's view of the chain. Implemented by [`bitcoind::Bitcoind`] and by the in-memory chain
/// of [`testing`].
pub trait BlockSource: Send + Sync + 'static {
    /// How the node is doing.
    fn node_state(&self) -> impl Future<Output = Result<NodeState, ChainError>> + Send;

    /// What is known of a block, `None` when the node never heard of it.
    fn header(
        &self,
        hash: &BlockHash,
    ) -> impl Future<Output = Result<Option<Header>, ChainError>> + Send;

    /// The block of the active chain at a height, `None` above its end.
    fn hash_at(
        &self,
        height: u32,
    ) -> impl Future<Output = Result<Option<BlockHash>, ChainError>> + Send;

    /// A block in network serialisation.
    fn block(&self, hash: &BlockHash) -> impl Future<Output = Result<Bytes, ChainError>> + Send;

    /// Where a block stands that seems to have left the active chain.
    fn standing(&self, id: &BlockId) -> impl Future<Output = Result<Standing, ChainError>> + Send;

    /// Every transaction in the mempool.
    fn mempool(&self) -> impl Future<Output = Result<Vec<Txid>, ChainError>> + Send;

    /// Transactions of the mempool, `None` for those that are not (any longer) in it.
    fn mempool_transactions(
        &self,
        txids: &[Txid],
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, ChainError>> + Send;

    /// A transaction's ancestors and feerate, `None` when it is not in the mempool.
    fn mempool_entry(
        &self,
        txid: &Txid,
    ) -> impl Future<Output = Result<Option<MempoolEntry>, ChainError>> + Send;

    /// For each outpoint the mempool transaction that spends it.
    fn mempool_spenders(
        &self,
        outpoints: &[OutPoint],
    ) -> impl Future<Output = Result<Vec<Option<Txid>>, ChainError>> + Send;

    /// Those of `scripts` that hold coins in the chain now. Reads every coin there is: minutes on
    /// a large chain.
    fn unspent_scripts(
        &self,
        scripts: &[ScriptBuf],
    ) -> impl Future<Output = Result<Vec<ScriptBuf>, ChainError>> + Send;

    /// Sends a transaction; harmless when it was sent before.
    fn broadcast(
        &self,
        transaction: &[u8],
    ) -> impl Future<Output = Result<Broadcast, ChainError>> + Send;

    /// Waits until the node's best block is not `tip`, at most `timeout`. Only a hint: it may
    /// return early, and a timer must stand behind it.
    fn wait_for_block(
        &self,
        tip: &BlockHash,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), ChainError>> + Send;
}

impl<S: BlockSource> BlockSource for Arc<S> {
    async fn node_state(&self) -> Result<NodeState, ChainError> {
        S::node_state(self).await
    }

    async fn header(&self, hash: &BlockHash) -> Result<Option<Header>, ChainError> {
        S::header(self, hash).await
    }

    async fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, ChainError> {
        S::hash_at(self, height).await
    }

    async fn block(&self, hash: &BlockHash) -> Result<Bytes, ChainError> {
        S::block(self, hash).await
    }

    async fn standing(&self, id: &BlockId) -> Result<Standing, ChainError> {
        S::standing(self, id).await
    }

    async fn mempool(&self) -> Result<Vec<Txid>, ChainError> {
        S::mempool(self).await
    }

    async fn mempool_transactions(&self, txids: &[Txid]) -> Result<Vec<Option<Bytes>>, ChainError> {
        S::mempool_transactions(self, txids).await
    }

    async fn mempool_entry(&self, txid: &Txid) -> Result<Option<MempoolEntry>, ChainError> {
        S::mempool_entry(self, txid).await
    }

    async fn mempool_spenders(
        &self,
        outpoints: &[OutPoint],
    ) -> Result<Vec<Option<Txid>>, ChainError> {
        S::mempool_spenders(self, outpoints).await
    }

    async fn unspent_scripts(&self, scripts: &[ScriptBuf]) -> Result<Vec<ScriptBuf>, ChainError> {
        S::unspent_scripts(self, scripts).await
    }

    async fn broadcast(&self, transaction: &[u8]) -> Result<Broadcast, ChainError> {
        S::broadcast(self, transaction).await
    }

    async fn wait_for_block(&self, tip: &BlockHash, timeout: Duration) -> Result<(), ChainError> {
        S::wait_for_block(self, tip, timeout).await
    }
}
