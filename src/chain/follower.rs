//! Decides the next step along the node's chain: one block on, one block back, or none.
//! Keeps nothing that matters and no database: the tip comes in as an argument, so a restart, a
//! crash and a second server are all the same case. Called by `worker::follow`.

use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{BlockId, BlockSource, ChainError, Header, Standing, header_hash};
use crate::domain::time::Timestamp;

/// How often a step is tried when the chain changes between its questions.
const TRIES: u32 = 5;

/// A block that follows the tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedBlock {
    /// The block.
    pub id: BlockId,
    /// Its parent, our tip; all zeros for the genesis block.
    pub prev: BlockHash,
    /// The time its miner wrote into it.
    pub time_at: Timestamp,
    /// The median time past, of it and the ten blocks before it.
    pub mtp_at: Timestamp,
    /// The block in network serialisation.
    pub bytes: Bytes,
}

/// What to do with the tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// This block comes next.
    Connect(FetchedBlock),
    /// The tip has left the chain: take it back.
    Rewind,
    /// There is nothing above the tip.
    AtTip,
    /// The node's chain lacks our tip and has no more work: it is syncing, lost data, or saw
    /// another block first. Wait, and neither credit nor end anything (SPEC 3). A shared tip so
    /// only ever goes to more work, and two nodes that differ do not pull it to and fro.
    Behind,
}

/// What the header of our tip says about the next move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextMove {
    /// This block comes next.
    Connect(BlockHash),
    /// Our tip is not in the node's active chain: ask why.
    OffChain,
    /// There is nothing above it.
    AtTip,
}

/// Reads the next move from what the node knows about our tip.
pub fn next_move(tip: Option<&Header>) -> NextMove {
    match tip {
        Some(Header { active: true, next: Some(next), .. }) => NextMove::Connect(*next),
        Some(Header { active: true, next: None, .. }) => NextMove::AtTip,
        Some(Header { active: false, .. }) | None => NextMove::OffChain,
    }
}

/// The next step from `tip`, without reading ahead. Without a tip the genesis block is next.
///
/// # Errors
/// Whatever the source fails with, and [`ChainError::ForeignChain`] at the bottom.
pub async fn next<S: BlockSource>(
    source: &Arc<S>,
    tip: Option<BlockId>,
) -> Result<Move, ChainError> {
    Follower::new(source.clone()).next(tip).await
}

/// Steps along the chain and keeps the next block coming while the caller commits this one.
///
/// What is read ahead is only ever a block's bytes, which its hash vouches for. Whether that block
/// is still the next one is asked anew at every step, so that a reorg is never overlooked.
#[derive(Debug)]
pub struct Follower<S> {
    source: Arc<S>,
    ahead: Option<Ahead>,
}

/// A block on its way to us.
#[derive(Debug)]
struct Ahead {
    hash: BlockHash,
    fetch: JoinHandle<Result<Bytes, ChainError>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.fetch.abort();
    }
}

impl<S: BlockSource> Follower<S> {
    /// A follower that has read nothing yet.
    pub fn new(source: Arc<S>) -> Self {
        Self { source, ahead: None }
    }

    /// The next step from `tip`. May be called with any tip at any time.
    ///
    /// # Errors
    /// Whatever the source fails with, and [`ChainError::ForeignChain`] when the tip is the
    /// genesis block of another chain.
    pub async fn next(&mut self, tip: Option<BlockId>) -> Result<Move, ChainError> {
        for _ in 0..TRIES {
            let step = match tip {
                Some(tip) => self.step(tip).await?,
                None => self.first().await?,
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
        Err(unusable("the chain changed again and again while it was read"))
    }

    async fn first(&mut self) -> Result<Option<Move>, ChainError> {
        let genesis = self.source.hash_at(0).await?;
        let genesis = genesis.ok_or_else(|| unusable("the node has no block 0"))?;
        Ok(self.connect(None, genesis).await?.map(Move::Connect))
    }

    /// `None` when the chain changed between two questions.
    async fn step(&mut self, tip: BlockId) -> Result<Option<Move>, ChainError> {
        // While catching up the block that is on its way is the next one nearly always, and its
        // own header says so: the tip's need not be asked for.
        if let Some(hash) = self.ahead.as_ref().map(|ahead| ahead.hash)
            && let Some(block) = self.connect(Some(tip), hash).await?
        {
            return Ok(Some(Move::Connect(block)));
        }
        self.ahead = None;
        let header = self.source.header(&tip.hash).await?;
        match next_move(header.as_ref()) {
            NextMove::Connect(hash) => Ok(self.connect(Some(tip), hash).await?.map(Move::Connect)),
            NextMove::AtTip => Ok(Some(Move::AtTip)),
            NextMove::OffChain => self.off_chain(&tip).await,
        }
    }

    /// The block, if it is active and follows `tip` at this moment.
    async fn connect(
        &mut self,
        tip: Option<BlockId>,
        hash: BlockHash,
    ) -> Result<Option<FetchedBlock>, ChainError> {
        let follows = |header: &Header| {
            header.active
                && header.prev == tip.map(|tip| tip.hash)
                && header.id.height == tip.map_or(0, |tip| tip.height.saturating_add(1))
        };
        let Some(header) = self.source.header(&hash).await?.filter(follows) else {
            return Ok(None);
        };
        let ahead = self.ahead.take().filter(|ahead| ahead.hash == hash);
        let mut ahead = ahead.unwrap_or_else(|| self.fetch(hash));
        let bytes =
            (&mut ahead.fetch).await.map_err(|_| unusable("reading a block broke off"))??;
        self.ahead = header.next.map(|next| self.fetch(next));
        let prev = header.prev.unwrap_or_else(BlockHash::all_zeros);
        check(&bytes, &hash, &prev)?;
        let (id, time_at, mtp_at) = (header.id, header.time_at, header.mtp_at);
        Ok(Some(FetchedBlock { id, prev, time_at, mtp_at, bytes }))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "reads while the caller writes; ends by itself or with the follower"
    )]
    fn fetch(&self, hash: BlockHash) -> Ahead {
        let source = self.source.clone();
        let fetch = tokio::spawn(async move { source.block(&hash).await });
        Ahead { hash, fetch }
    }

    async fn off_chain(&self, tip: &BlockId) -> Result<Option<Move>, ChainError> {
        match self.source.standing(tip).await? {
            Standing::Left if tip.height == 0 => Err(ChainError::ForeignChain { bottom: *tip }),
            Standing::Left => Ok(Some(Move::Rewind)),
            Standing::Ahead => Ok(Some(Move::Behind)),
            Standing::Active => Ok(None),
        }
    }
}

/// A node is not trusted with the identity of a block: its bytes must say it themselves.
fn check(bytes: &[u8], hash: &BlockHash, prev: &BlockHash) -> Result<(), ChainError> {
    if header_hash(bytes) != Some(*hash) {
        return Err(unusable("it is not the block asked for"));
    }
    // Version, then the parent's hash.
    if bytes.get(4..36) != Some(prev.as_byte_array()) {
        return Err(unusable("the block has another parent than its header"));
    }
    Ok(())
}

fn unusable(detail: &str) -> ChainError {
    ChainError::Unusable { method: "getblock".to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests;
