//! A look at the node's mempool, at its tip only: what pays us, what left, what conflicts.

use std::collections::{HashMap, HashSet};

use bitcoin::Txid;

use crate::app::apply_block::Applied;
use crate::app::apply_mempool::{ApplyMempool, Seen};
use crate::chain::follower::{self, Move};
use crate::chain::mempool::{CHUNK, read};
use crate::chain::{BlockId, BlockSource};
use crate::db;
use crate::db::tx::Pending;
use crate::domain::payment::MempoolEntry;
use crate::domain::scan::{TxHit, scan_tx};

use super::follow::Follow;

/// How long a look without news may go unrecorded, in seconds. Shorter than the gap after which
/// the mempool counts as not watched.
const RECORD_EVERY_S: u64 = 20;

/// Servers on one database have nodes with mempools of their own. What a node has lost is gone at
/// once, until another server says otherwise; what it never had is gone when no server has said
/// for so long that its node has it.
const GONE_AFTER_S: u64 = 120;
/// How often that is said.
const SAY_EVERY_S: u64 = 40;

impl<S: BlockSource> Follow<S> {
    /// Looks once. False when the tip moved meanwhile and the look is worth nothing.
    pub(super) async fn look(&mut self) -> anyhow::Result<bool> {
        let Some(tip) = self.tip().await? else { return Ok(false) };
        let difference = self.mempool.compare(&*self.source).await?;
        let depth = self.settings.policy.final_confirmations;
        self.watch.refresh(tip.height.saturating_sub(depth)).await?;
        let mut hits = Vec::new();
        let mut read_ids = Vec::new();
        for chunk in difference.added.chunks(CHUNK) {
            for (txid, raw) in read(&*self.source, chunk).await? {
                read_ids.push(txid);
                hits.extend(scan_tx(&raw, self.watch.set())?);
            }
        }
        metrics::counter!("leasehold_transactions_scanned_total")
            .increment(u64::try_from(read_ids.len()).unwrap_or(u64::MAX));
        let here: HashSet<Txid> = read_ids.iter().copied().collect();
        let gone: HashSet<Txid> = difference.removed.iter().copied().collect();
        let mut item = self.item(tip.hash, hits).await?;
        self.compare_pending(&mut item, &here, &gone).await?;
        let id = BlockId { height: tip.height, hash: tip.hash };
        if follower::next(&self.source, Some(id)).await? != Move::AtTip {
            return Ok(false);
        }
        if !self.record(item).await? {
            return Ok(false);
        }
        self.mempool.record_seen(read_ids);
        self.mempool.record_removed(&difference.removed);
        Ok(true)
    }

    async fn item(
        &self,
        tip: bitcoin::BlockHash,
        hits: Vec<TxHit>,
    ) -> anyhow::Result<ApplyMempool> {
        let mut seen = Vec::new();
        let mut conflicts = Vec::new();
        let mut conn = self.db.read().await?;
        for hit in hits {
            for outpoint in &hit.spends {
                let ours = db::tx::spenders(&mut conn, outpoint).await?;
                conflicts.extend(
                    ours.into_iter().filter(|ours| *ours != hit.txid).map(|ours| (ours, hit.txid)),
                );
            }
            // What pays nobody of us may be a version of a batch.
            if hit.outputs.is_empty() && !db::tx::is_known(&mut conn, &hit.txid).await? {
                continue;
            }
            let entry = self.source.mempool_entry(&hit.txid).await?.map(|entry| MempoolEntry {
                inputs_confirmed: entry.ancestor_count <= 1,
                feerate_msat: entry.feerate_msat_vb,
            });
            seen.push(Seen { hit, entry });
        }
        let (back, still, left) = (Vec::new(), Vec::new(), Vec::new());
        Ok(ApplyMempool { tip, seen, back, still, left, conflicts, now: self.clock.now() })
    }

    /// Compares what the database has in the mempool with what is there.
    async fn compare_pending(
        &self,
        item: &mut ApplyMempool,
        added: &HashSet<Txid>,
        removed: &HashSet<Txid>,
    ) -> anyhow::Result<()> {
        let mut conn = self.db.read().await?;
        let tip = db::chain::tip(&mut conn).await?.map_or(0, |tip| tip.height);
        let policy = &self.settings.policy;
        // What stays away longer has lost its credit and is only news when it comes back.
        let patience = policy.final_confirmations.max(policy.at_risk_blocks);
        let pending = db::tx::pending(&mut conn, tip.saturating_sub(patience)).await?;
        drop(conn);
        let is_here = |txid: &Txid| {
            added.contains(txid) || (self.mempool.contains(txid) && !removed.contains(txid))
        };
        let mut absent: Vec<&Pending> = Vec::new();
        for tx in &pending {
            let seen_s = tx.mempool_at.map(|at| at.seconds_until(item.now));
            match (seen_s, is_here(&tx.txid)) {
                (None, true) => item.back.push(tx.txid),
                (Some(ago), true) if ago >= SAY_EVERY_S => item.still.push(tx.txid),
                // Another server's node may have it.
                (Some(ago), false) if ago >= GONE_AFTER_S || removed.contains(&tx.txid) => {
                    item.left.push(tx.txid);
                }
                _ => {}
            }
            if !is_here(&tx.txid) {
                absent.push(tx);
            }
        }
        // Who spends what they wanted to spend only changes with the mempool.
        if absent.is_empty() || (added.is_empty() && removed.is_empty() && item.left.is_empty()) {
            return Ok(());
        }
        let inputs: Vec<_> =
            absent.iter().flat_map(|tx| tx.inputs.iter().map(|input| (*input, tx.txid))).collect();
        // What is known of a conflict already is no news.
        let mut known: HashMap<_, _> =
            absent.iter().filter_map(|tx| Some((tx.txid, tx.conflict?))).collect();
        known.extend(item.conflicts.iter().copied());
        for chunk in inputs.chunks(CHUNK) {
            let outpoints: Vec<_> = chunk.iter().map(|(outpoint, _)| *outpoint).collect();
            let spenders = self.source.mempool_spenders(&outpoints).await?;
            for ((_, ours), by) in chunk.iter().zip(spenders) {
                let news = |by: &Txid| by != ours && known.get(ours) != Some(by);
                if let Some(by) = by.filter(news) {
                    known.insert(*ours, by);
                    item.conflicts.push((*ours, by));
                }
            }
        }
        Ok(())
    }

    /// Writes the look when it has news, or when the last record is old.
    async fn record(&mut self, item: ApplyMempool) -> anyhow::Result<bool> {
        let now = item.now;
        let fresh = self.looked_at.is_some_and(|at| at.seconds_until(now) < RECORD_EVERY_S);
        if item.is_empty() && fresh {
            return Ok(true);
        }
        if self.db.write(item).await? == Applied::Stale {
            return Ok(false);
        }
        self.looked_at = Some(now);
        Ok(true)
    }
}
