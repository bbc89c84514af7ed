//! Chooses coins whose spending makes stale transactions impossible: of those that can be spent, the
//! ones that most of these spend.

use std::collections::{HashMap, HashSet};

use bitcoin::OutPoint;

use crate::app::AppError;
use crate::app::stale::Threat;
use crate::db::{self, Conn};
use crate::domain::ids::BatchId;
use crate::domain::payout::draft::Coin;

use super::{Batcher, away};

/// The coins of stale transactions.
pub(super) struct Hits<'a> {
    batcher: &'a Batcher,
    /// Coins that living batches wait to spend.
    alive: HashSet<OutPoint>,
    /// What each coin is, if it can be spent, and how many threats spend it.
    coins: HashMap<OutPoint, (usize, Option<Coin>)>,
    learnt: HashSet<(BatchId, u32)>,
    /// What was chosen.
    pub(super) chosen: Vec<Coin>,
}

impl<'a> Hits<'a> {
    pub(super) async fn new(batcher: &'a Batcher, conn: &mut Conn) -> Result<Self, AppError> {
        let alive = db::batch::locked_alive(conn).await?.into_iter().collect();
        let (coins, learnt, chosen) = (HashMap::new(), HashSet::new(), Vec::new());
        Ok(Self { batcher, alive, coins, learnt, chosen })
    }

    /// Finds out which coins of a threat can be spent.
    pub(super) async fn learn(&mut self, conn: &mut Conn, threat: &Threat) -> Result<(), AppError> {
        if !self.learnt.insert((threat.batch.clone(), threat.n)) {
            return Ok(());
        }
        for outpoint in &threat.inputs {
            if let Some((count, _)) = self.coins.get_mut(outpoint) {
                *count += 1;
                continue;
            }
            let coin = self.find(conn, outpoint).await?;
            self.coins.insert(*outpoint, (1, coin));
        }
        Ok(())
    }

    async fn find(&self, conn: &mut Conn, coin: &OutPoint) -> Result<Option<Coin>, AppError> {
        let node = &self.batcher.node;
        if self.alive.contains(coin)
            || node.unspent_output(coin, false).await.map_err(away)?.is_none()
        {
            return Ok(None);
        }
        Ok(self.batcher.known_coins(conn, &[*coin]).await?.pop())
    }

    fn best(&self, threat: &Threat) -> Option<&Coin> {
        let known = |coin: &OutPoint| self.coins.get(coin);
        let coins = threat.inputs.iter().filter_map(known);
        let spendable = coins.filter_map(|(count, coin)| Some((count, coin.as_ref()?)));
        let best = spendable.max_by_key(|(count, coin)| (*count, std::cmp::Reverse(coin.outpoint)));
        best.map(|(_, coin)| coin)
    }

    /// Whether a threat can be made impossible.
    pub(super) fn can_hit(&self, threat: &Threat) -> bool {
        self.best(threat).is_some()
    }

    /// Makes it impossible, unless it is already.
    pub(super) fn hit(&mut self, threat: &Threat) {
        let is_hit = self.chosen.iter().any(|coin| threat.inputs.contains(&coin.outpoint));
        if let Some(coin) = self.best(threat).filter(|_| !is_hit).cloned() {
            self.chosen.push(coin);
        }
    }
}
