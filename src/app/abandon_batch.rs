//! The operator gives a batch up: its payouts are due again, and whatever pays them next makes
//! every version of it impossible.

use crate::db::{self, Tx, WriteItem};
use crate::domain::payout::batch::BatchState;

use super::record_batch::get;
use super::settle::Ground;
use super::settle_batch::{settle_batch, settle_subject};
use super::{AppError, Code, Refusal};

/// Gives a batch up. Doing it again changes nothing.
pub struct AbandonBatch {
    /// Rules and clock.
    pub ground: Ground,
    /// The batch's id.
    pub batch: String,
    /// The operator.
    pub actor: String,
}

impl WriteItem for AbandonBatch {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        let row = get(tx, &self.batch).await?;
        match row.facts().state() {
            BatchState::Confirmed => {
                let detail = "it is in the chain: it has paid, and cannot be given up";
                return Err(Refusal::new(Code::Conflict, detail).into());
            }
            _ if row.abandoned_at.is_some() => return Ok(()),
            _ => {}
        }
        db::batch::abandon(tx.conn(), &row.id, self.ground.now).await?;
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        settle_batch(tx, &self.ground, &row.id, tip).await?;
        for subject in db::batch::subjects(tx.conn(), &row.id).await? {
            settle_subject(tx, &self.ground, &subject).await?;
        }
        let entry = (self.actor.as_str(), "payout.abandon", self.batch.as_str(), "");
        db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        Ok(())
    }
}
