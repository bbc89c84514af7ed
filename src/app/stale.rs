//! Transactions that nobody counts on any more but that somebody may still send: versions of
//! batches that were given up. Whoever pays the same money again must make them impossible.

use std::collections::HashMap;

use bitcoin::{OutPoint, Txid};

use crate::db::payout::PayoutRow;
use crate::db::{self, Conn, DbError};
use crate::domain::ids::BatchId;
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

/// Finds threats; reads each batch once.
pub struct Threats<'a> {
    policy: &'a Policy,
    tip: u32,
    known: HashMap<BatchId, HashMap<Txid, Threat>>,
}

impl<'a> Threats<'a> {
    /// As things stand at the tip.
    pub fn new(policy: &'a Policy, tip: u32) -> Self {
        Self { policy, tip, known: HashMap::new() }
    }

    /// Versions that can still be mined and pay the recipient of `row` though they do not count.
    pub async fn to(&mut self, conn: &mut Conn, row: &PayoutRow) -> Result<Vec<Threat>, DbError> {
        let mut threats = Vec::new();
        let rows = db::payout::list_of_subject(conn, &row.subject).await?;
        for other in rows.iter().filter(|it| it.facts.recipient == row.facts.recipient) {
            for paying in other.facts.stale() {
                let known = self.batch(conn, &paying.batch).await?;
                threats.extend(known.get(&paying.txid).cloned());
            }
        }
        Ok(threats)
    }

    /// The versions of a batch that can still be mined.
    pub async fn of(&mut self, conn: &mut Conn, id: &BatchId) -> Result<Vec<Threat>, DbError> {
        let mut all: Vec<Threat> = self.batch(conn, id).await?.values().cloned().collect();
        all.sort_by_key(|threat| threat.n);
        Ok(all)
    }

    async fn batch(
        &mut self,
        conn: &mut Conn,
        id: &BatchId,
    ) -> Result<&HashMap<Txid, Threat>, DbError> {
        if !self.known.contains_key(id) {
            let found = self.read(conn, id).await?;
            self.known.insert(id.clone(), found);
        }
        Ok(&self.known[id])
    }

    async fn read(&self, conn: &mut Conn, id: &BatchId) -> Result<HashMap<Txid, Threat>, DbError> {
        let mut threats = HashMap::new();
        let Some(row) = db::batch::find(conn, id.as_str()).await? else { return Ok(threats) };
        let depth = self.policy.final_confirmations;
        for version in &row.versions {
            let facts = &version.facts;
            if facts.height.is_none() && !facts.is_dead(self.tip, depth) {
                let threat = Threat {
                    batch: id.clone(),
                    n: facts.n,
                    inputs: db::tx::inputs(conn, &facts.txid).await?,
                    dead_at: facts.conflict_height.map(|height| height + depth - 1),
                };
                threats.insert(facts.txid, threat);
            }
        }
        Ok(threats)
    }
}
