//! Transactions that nobody counts on any more but that somebody may still send: versions of
//! batches that were given up. Whoever pays the same money again must make them impossible.

use std::collections::BTreeMap;

use bitcoin::OutPoint;

use crate::db::{self, Conn, DbError};
use crate::domain::ids::{BatchId, InvoiceId};
use crate::domain::policy::Policy;

/// A version that can still be mined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threat {
    /// Its batch.
    pub batch: BatchId,
    /// Its number.
    pub n: u32,
    /// What it spends: to spend one of them makes it impossible.
    pub inputs: Vec<OutPoint>,
    /// The height from which it is impossible anyway.
    pub dead_at: Option<u32>,
}

/// Versions that can still be mined and pay a recipient of a subject though they do not count.
pub async fn threats(
    conn: &mut Conn,
    policy: &Policy,
    tip: u32,
    subject: &str,
    recipient: Option<&InvoiceId>,
) -> Result<Vec<Threat>, DbError> {
    let stale = db::batch::stale(conn, subject, recipient).await?;
    let mut by_batch: BTreeMap<BatchId, Vec<u32>> = BTreeMap::new();
    for version in stale {
        by_batch.entry(version.batch).or_default().push(version.n);
    }
    let mut threats = Vec::new();
    for (batch, numbers) in by_batch {
        let all = of_batch(conn, policy, tip, &batch).await?;
        threats.extend(all.into_iter().filter(|threat| numbers.contains(&threat.n)));
    }
    Ok(threats)
}

/// The versions of a batch that can still be mined.
pub async fn of_batch(
    conn: &mut Conn,
    policy: &Policy,
    tip: u32,
    batch: &BatchId,
) -> Result<Vec<Threat>, DbError> {
    let Some(row) = db::batch::find(conn, batch.as_str()).await? else { return Ok(Vec::new()) };
    let depth = policy.final_confirmations;
    let mut threats = Vec::new();
    for version in &row.versions {
        let facts = &version.facts;
        if facts.height.is_none() && !facts.is_dead(tip, depth) {
            threats.push(Threat {
                batch: batch.clone(),
                n: facts.n,
                inputs: db::tx::inputs(conn, &facts.txid).await?,
                dead_at: facts.conflict_height.map(|height| height + depth - 1),
            });
        }
    }
    Ok(threats)
}
