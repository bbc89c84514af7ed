//! A block is connected or disconnected: facts only, in one transaction that moves the tip.
//! What follows from them (credits, reversals) is settled afterwards.

use bitcoin::BlockHash;

use crate::db::chain::Block;
use crate::db::tx::Place;
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::scan::TxHit;
use crate::domain::time::Timestamp;

use super::record_tx::{self, Sight};

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is applied.
    Done,
    /// The tip is another one: somebody was faster. Load it and go on from there.
    Stale,
}

/// A block with what concerns us in it.
pub struct ScannedBlock {
    /// Height.
    pub height: u32,
    /// Hash.
    pub hash: BlockHash,
    /// Time in its header.
    pub header_at: Timestamp,
    /// Median time past.
    pub mtp_at: Timestamp,
    /// Transactions that pay us or spend what one of ours spends.
    pub hits: Vec<TxHit>,
}

/// Connects blocks on top of `from`. Several when catching up.
pub struct ApplyBlocks {
    /// The tip they are built on.
    pub from: BlockHash,
    /// In order.
    pub blocks: Vec<ScannedBlock>,
    /// True when the server was at the tip when they were found: their moment is now.
    pub following: bool,
    /// The clock.
    pub now: Timestamp,
}

impl WriteItem for ApplyBlocks {
    type Out = Applied;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Applied, DbError> {
        let Some(tip) = db::chain::tip(tx.conn()).await? else { return Ok(Applied::Stale) };
        let Some(last) = self.blocks.last() else { return Ok(Applied::Done) };
        if tip.hash != self.from {
            return Ok(Applied::Stale);
        }
        if !db::chain::swap_tip(tx.conn(), self.from, last.height, last.hash).await? {
            return Ok(Applied::Stale);
        }
        let before = db::chain::find(tx.conn(), tip.height).await?;
        let mut moment_at = before.map_or(Timestamp::from_millis(0), |block| block.moment_at);
        for block in &self.blocks {
            let at = if self.following { self.now } else { block.header_at.min(self.now) };
            moment_at = at.max(moment_at);
            connect(tx, block, moment_at, tip.look_at).await?;
        }
        Ok(Applied::Done)
    }
}

async fn connect(
    tx: &mut Tx,
    block: &ScannedBlock,
    moment_at: Timestamp,
    look_at: Option<Timestamp>,
) -> Result<(), DbError> {
    let row = Block {
        height: block.height,
        hash: block.hash,
        header_at: block.header_at,
        mtp_at: block.mtp_at,
        moment_at,
    };
    db::chain::insert(tx.conn(), &row).await?;
    for hit in &block.hits {
        record_tx::conflicts(tx, hit, Some(block.height), moment_at).await?;
        if !record_tx::concerns(tx, hit).await? {
            continue;
        }
        let sight = Sight { at: moment_at, prior_look_at: look_at };
        record_tx::record(tx, hit, sight).await?;
        place(tx, hit, block, moment_at).await?;
    }
    Ok(())
}

/// Records what concerns us in a block that was followed already, or lies below the first one.
pub struct ApplyAgain {
    /// The block.
    pub block: ScannedBlock,
}

impl WriteItem for ApplyAgain {
    /// Whether the block is still in the chain, and how many payments were new.
    type Out = (Applied, u64);
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(Applied, u64), DbError> {
        let block = &self.block;
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        let known = db::chain::find(tx.conn(), block.height).await?;
        let other = known.as_ref().is_some_and(|known| known.hash != block.hash);
        if other || block.height > tip {
            return Ok((Applied::Stale, 0));
        }
        let moment_at = known.map_or(block.header_at, |known| known.moment_at);
        let mut found = 0;
        for hit in &block.hits {
            record_tx::conflicts(tx, hit, Some(block.height), moment_at).await?;
            if !record_tx::concerns(tx, hit).await? {
                continue;
            }
            let sight = Sight { at: moment_at, prior_look_at: None };
            let new = record_tx::record(tx, hit, sight).await?;
            // What is known already stays untouched.
            if new > 0 || !db::tx::is_mined_at(tx.conn(), &hit.txid, block.height).await? {
                place(tx, hit, block, moment_at).await?;
            }
            found += new;
        }
        Ok((Applied::Done, found))
    }
}

/// Notes where a transaction of ours is.
async fn place(
    tx: &mut Tx,
    hit: &TxHit,
    block: &ScannedBlock,
    moment_at: Timestamp,
) -> Result<(), DbError> {
    let place =
        Place { height: block.height, position: hit.position, mtp_at: block.mtp_at, moment_at };
    db::tx::mined(tx.conn(), &hit.txid, &place).await?;
    db::payment::mark_changed(tx.conn(), &hit.txid).await
}

/// Disconnects the tip.
pub struct Rewind {
    /// The block that is disconnected.
    pub hash: BlockHash,
}

/// What became of a rewind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewound {
    /// It is disconnected.
    Done,
    /// The tip is another one.
    Stale,
    /// The block before it was never applied: this is not the chain that was followed.
    Bottom,
}

impl WriteItem for Rewind {
    type Out = Rewound;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Rewound, DbError> {
        let Some(tip) = db::chain::tip(tx.conn()).await? else { return Ok(Rewound::Stale) };
        if tip.hash != self.hash {
            return Ok(Rewound::Stale);
        }
        let Some(below) = tip.height.checked_sub(1) else { return Ok(Rewound::Bottom) };
        let Some(before) = db::chain::find(tx.conn(), below).await? else {
            return Ok(Rewound::Bottom);
        };
        if !db::chain::swap_tip(tx.conn(), tip.hash, before.height, before.hash).await? {
            return Ok(Rewound::Stale);
        }
        db::payment::mark_changed_at(tx.conn(), tip.height).await?;
        db::tx::rewind(tx.conn(), tip.height).await?;
        db::chain::remove(tx.conn(), tip.height).await?;
        Ok(Rewound::Done)
    }
}

/// Sets the block from which on the chain is followed. Those below it are kept too, so that a
/// reorg right after the start finds its way.
pub struct StartAt {
    /// Ascending; the last one is the tip.
    pub blocks: Vec<Block>,
}

impl WriteItem for StartAt {
    type Out = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let Some((tip, below)) = self.blocks.split_last() else { return Ok(false) };
        if !db::chain::start(tx.conn(), tip).await? {
            return Ok(false);
        }
        for block in below {
            db::chain::insert(tx.conn(), block).await?;
        }
        Ok(true)
    }
}
