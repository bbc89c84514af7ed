//! What of the node's mempool was looked at already. A cache and nothing more: after a restart
//! everything is looked at again, and looking twice does no harm. Used at the tip only.
//! Keeps ids, never transactions. Called by `worker::follow`.
//!
//! A pass is: `compare`, then refresh the watch set (the order matters: an address that was paid
//! in this snapshot was handed out before it), then `read` chunk by chunk, commit what was found,
//! and `record_seen`; what failed on the way is in the next difference again.

use bitcoin::Txid;
use bytes::Bytes;
use rustc_hash::FxHashSet;

use super::{BlockSource, ChainError};

/// Transactions to read at a time.
pub const CHUNK: usize = 100;

/// How the mempool differs from what was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// New here.
    pub added: Vec<Txid>,
    /// No longer here: mined, replaced, evicted or expired.
    pub removed: Vec<Txid>,
}

/// The transactions seen, at about 40 bytes each.
#[derive(Debug, Default)]
pub struct Mempool {
    seen: FxHashSet<Txid>,
}

impl Mempool {
    /// Nothing seen yet: the first difference has the whole mempool as added.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a snapshot of the ids and compares. Changes nothing by itself.
    ///
    /// # Errors
    /// Whatever the source fails with; also while the node is still loading its mempool, since
    /// what is missing then is not gone.
    pub async fn compare<S: BlockSource>(&self, source: &S) -> Result<Difference, ChainError> {
        let snapshot = source.mempool().await?;
        let added: Vec<_> =
            snapshot.iter().copied().filter(|txid| !self.seen.contains(txid)).collect();
        // Nothing is gone when as many are known as before.
        if snapshot.len() - added.len() == self.seen.len() {
            return Ok(Difference { added, removed: Vec::new() });
        }
        let here: FxHashSet<_> = snapshot.into_iter().collect();
        let removed = self.seen.iter().copied().filter(|txid| !here.contains(txid)).collect();
        Ok(Difference { added, removed })
    }

    /// Marks transactions as looked at: call it when what they mean is stored.
    pub fn record_seen(&mut self, txids: impl IntoIterator<Item = Txid>) {
        self.seen.extend(txids);
    }

    /// Forgets transactions that left: call it when what that means is stored.
    pub fn record_removed(&mut self, txids: &[Txid]) {
        for txid in txids {
            self.seen.remove(txid);
        }
    }

    /// Whether it was looked at and has not left since.
    pub fn contains(&self, txid: &Txid) -> bool {
        self.seen.contains(txid)
    }

    /// How many transactions were looked at and are still there.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

/// Reads some transactions of a difference, at most [`CHUNK`] at a time by custom. One that has
/// vanished since the snapshot is left out: not seen, it is in the next difference if it is back.
///
/// # Errors
/// Whatever the source fails with.
pub async fn read<S: BlockSource>(
    source: &S,
    txids: &[Txid],
) -> Result<Vec<(Txid, Bytes)>, ChainError> {
    let raw = source.mempool_transactions(txids).await?;
    Ok(txids.iter().zip(raw).filter_map(|(txid, raw)| Some((*txid, raw?))).collect())
}

#[cfg(test)]
mod tests;
