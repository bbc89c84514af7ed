//! A look at the mempool, as facts: what entered, what left, what conflicts with ours. Holds
//! only for the tip it was taken at.

use bitcoin::{BlockHash, Txid};

use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::payment::MempoolEntry;
use crate::domain::scan::TxHit;
use crate::domain::time::Timestamp;

use super::apply_block::Applied;
use super::record_tx::{self, Sight};

/// A transaction in the mempool that concerns us.
pub struct Seen {
    /// The transaction.
    pub hit: TxHit,
    /// What the mempool says of it.
    pub entry: Option<MempoolEntry>,
}

/// The difference that a complete look at the mempool made.
pub struct ApplyMempool {
    /// The tip it was taken at.
    pub tip: BlockHash,
    /// Transactions that pay us and are in it now.
    pub seen: Vec<Seen>,
    /// Transactions of ours that the database has elsewhere but that are in it.
    pub back: Vec<Txid>,
    /// Transactions of ours that are still in it, when that was not said for a while.
    pub still: Vec<Txid>,
    /// Transactions of ours that are not in it any more.
    pub left: Vec<Txid>,
    /// Ours, and the one in the mempool that spends the same output.
    pub conflicts: Vec<(Txid, Txid)>,
    /// The clock when the look was complete.
    pub now: Timestamp,
}

impl ApplyMempool {
    /// True when nothing of ours changed.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
            && self.back.is_empty()
            && self.still.is_empty()
            && self.left.is_empty()
            && self.conflicts.is_empty()
    }
}

impl WriteItem for ApplyMempool {
    type Out = Applied;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Applied, DbError> {
        let Some(tip) = db::chain::tip(tx.conn()).await? else { return Ok(Applied::Stale) };
        if tip.hash != self.tip {
            return Ok(Applied::Stale);
        }
        let sight = Sight { at: self.now, prior_look_at: tip.look_at };
        for txid in &self.left {
            db::tx::left_mempool(tx.conn(), txid, tip.height).await?;
            db::payment::mark_changed(tx.conn(), txid).await?;
        }
        for seen in &self.seen {
            record_tx::record(tx, &seen.hit, sight).await?;
            let entry = seen.entry.map(|entry| (entry.feerate_msat, entry.inputs_confirmed));
            self.entered(tx, &seen.hit.txid, entry).await?;
        }
        for txid in &self.back {
            self.entered(tx, txid, None).await?;
        }
        for txid in &self.still {
            db::tx::still_in_mempool(tx.conn(), txid, self.now).await?;
        }
        for (ours, by) in &self.conflicts {
            db::tx::conflict(tx.conn(), ours, by, None).await?;
            db::payment::mark_changed(tx.conn(), ours).await?;
        }
        db::chain::looked(tx.conn(), self.now).await?;
        Ok(Applied::Done)
    }
}

impl ApplyMempool {
    async fn entered(
        &self,
        tx: &mut Tx,
        txid: &Txid,
        entry: Option<(u64, bool)>,
    ) -> Result<(), DbError> {
        db::tx::entered_mempool(tx.conn(), txid, self.now, entry).await?;
        db::payment::mark_changed(tx.conn(), txid).await
    }
}
