//! After a restore, and at the first start on a descriptor: what the keychain issued before is
//! searched for, and nothing is issued until that is known. Blocks are read by the follower as
//! always, with more scripts watched; only the end of it is here.

use std::sync::Arc;

use anyhow::Context;
use bitcoin::ScriptBuf;

use crate::app::end_recovery::{EndRecovery, NoteSeen};
use crate::app::readiness::NodeNow;
use crate::chain::BlockSource;
use crate::db;
use crate::db::keychain::{KeychainRow, KnownScript, Recovery};
use crate::domain::keychain::{Branch, Keychain};

use super::follow::Follow;

/// How far the search goes, and how much is left out after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Unused indexes after the last used one at which the search ends.
    pub lookahead: u32,
    /// Indexes that are left out after the last used one.
    pub skip: u32,
}

impl Default for Reach {
    /// As SPEC section 12.
    fn default() -> Self {
        Self { lookahead: 10_000, skip: 100_000 }
    }
}

impl Reach {
    /// Where a keychain goes on. A new one that nobody used before starts at 0; of a restored one
    /// it cannot be known what was issued and never paid.
    fn next_index(self, row: &KeychainRow) -> u32 {
        match (row.recovery, row.first_unused()) {
            (Some(Recovery::New), 0) | (None, _) => row.next_index,
            (_, first_unused) => first_unused.saturating_add(self.skip),
        }
    }
}

impl<S: BlockSource> Follow<S> {
    /// Ends the recovery of every keychain, when the chain was followed to its tip.
    ///
    /// # Errors
    /// Those of the node and the database.
    pub(super) async fn recover(&mut self) -> anyhow::Result<()> {
        while let Some(row) = self.recovering().await? {
            self.publish(|now| now.node = NodeNow::Recovering);
            let keychain = Keychain::parse(&row.descriptor, self.settings.network)
                .context("a stored descriptor cannot be read")?;
            let keychain = Arc::new(keychain);
            if row.recovery == Some(Recovery::New) {
                self.search_coins(&row, &keychain).await?;
            }
            // What was found since counts.
            let Some(row) = self.recovering().await?.filter(|now| now.id == row.id) else {
                continue;
            };
            let next_index = self.settings.reach.next_index(&row);
            let left_out = derive(&keychain, row.next_index, next_index).await?;
            if next_index > row.next_index {
                tracing::warn!(keychain = row.id, next_index, "indexes are left out");
            }
            self.db.write(EndRecovery { row, next_index, left_out }).await?;
        }
        Ok(())
    }

    async fn recovering(&self) -> anyhow::Result<Option<KeychainRow>> {
        let mut conn = self.db.read().await?;
        let rows = db::keychain::list(&mut conn).await?;
        Ok(rows.into_iter().find(|row| row.recovery.is_some()))
    }

    /// Asks the node for coins of a new keychain: they may be in blocks that are not read.
    async fn search_coins(
        &self,
        row: &KeychainRow,
        keychain: &Arc<Keychain>,
    ) -> anyhow::Result<()> {
        let mut from = row.first_unused();
        loop {
            let end = from + self.settings.reach.lookahead;
            tracing::info!(keychain = row.id, from, end, "asking the node for earlier coins");
            let scripts = derive(keychain, from, end).await?;
            let plain: Vec<ScriptBuf> =
                scripts.iter().map(|script| script.script_pubkey.clone()).collect();
            let paid = self.source.unspent_scripts(&plain).await?;
            let used = scripts.iter().rev().find(|script| paid.contains(&script.script_pubkey));
            let Some(used) = used else { return Ok(()) };
            self.db.write(NoteSeen { keychain: row.id, index: used.index }).await?;
            from = used.index + 1;
        }
    }
}

/// External scripts `from..end`, off the runtime's threads: each takes some 40 µs.
async fn derive(keychain: &Arc<Keychain>, from: u32, end: u32) -> anyhow::Result<Vec<KnownScript>> {
    let keychain = keychain.clone();
    let derive = move || {
        let script =
            |index| KnownScript { index, script_pubkey: keychain.script(Branch::External, index) };
        (from..end).map(script).collect()
    };
    tokio::task::spawn_blocking(derive).await.context("deriving scripts broke off")
}

#[cfg(test)]
mod tests;
