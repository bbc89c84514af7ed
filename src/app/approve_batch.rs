//! A second person agrees to what a batch pays, before it may be sent.

use crate::db::{self, Tx, WriteItem};

use super::record_batch::{Actor, get};
use super::settle::Ground;
use super::{AppError, Code, Refusal};

/// Approves the newest version of a batch.
pub struct ApproveBatch {
    /// Rules and clock.
    pub ground: Ground,
    /// The batch's id.
    pub batch: String,
    /// The version that was looked at.
    pub version: u32,
    /// Who approves: another API key than the one that made it.
    pub actor: Actor,
}

impl WriteItem for ApproveBatch {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        let row = get(tx, &self.batch).await?;
        let newest = row.versions.last().filter(|_| row.facts().state().is_alive());
        let Some(version) = newest.filter(|version| version.facts.n == self.version) else {
            let detail = format!("version {} is not what would be sent; look again", self.version);
            return Err(Refusal::new(Code::Conflict, detail).into());
        };
        if version.created_by == self.actor.key {
            let detail = "the API key that prepared a batch cannot approve it; another one must";
            return Err(Refusal::new(Code::Forbidden, detail).into());
        }
        if version.approved_by.is_some() {
            return Ok(());
        }
        db::batch::approve(tx.conn(), &row.id, self.version, &self.actor.key).await?;
        let detail = format!("version {}", self.version);
        let entry =
            (self.actor.name.as_str(), "payout.approve", self.batch.as_str(), detail.as_str());
        db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        Ok(())
    }
}
