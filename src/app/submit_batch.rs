//! A version came back signed: it is kept with its bytes and goes to the network by a row of work,
//! so that no crash can lose it. Checks once more that everything it pays is still owed.

use crate::db::{self, Tx, WriteItem};
use crate::domain::ids::BatchId;
use crate::domain::payout::batch::BatchState;
use crate::domain::time::Timestamp;

use super::record_batch::{check_covered, get};
use super::settle::Ground;
use super::settle_batch::{settle_batch, settle_subject};
use super::{AppError, Code, Refusal};

/// When a batch needs a second key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Whether it does at all.
    pub required: bool,
    /// Up to this total it does not.
    pub above_sat: u64,
}

impl Approval {
    /// Whether so much needs a second key.
    pub fn needed(&self, total_sat: u64) -> bool {
        self.required && total_sat > self.above_sat
    }
}

/// Why a batch in this state takes no more signatures.
fn cannot_be_sent(state: BatchState) -> Option<&'static str> {
    match state {
        BatchState::Prepared | BatchState::Broadcast => None,
        BatchState::Confirmed => Some("is in the chain already"),
        BatchState::Abandoned => Some("was given up; prepare its payouts again"),
        BatchState::Replaced => Some("was given up, and what it paid is in another batch"),
        BatchState::Conflicted => Some("cannot be mined: a coin of it was spent otherwise"),
    }
}

/// Keeps a PSBT with signatures that are not enough yet.
pub struct KeepSignatures {
    /// The batch.
    pub batch: BatchId,
    /// The version.
    pub version: u32,
    /// The PSBT that was combined into, so that none is lost.
    pub from: String,
    /// With the new signatures.
    pub psbt: String,
    /// The clock.
    pub now: Timestamp,
    /// The operator.
    pub actor: String,
}

impl WriteItem for KeepSignatures {
    /// False when others came meanwhile.
    type Out = bool;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, AppError> {
        let row = get(tx, self.batch.as_str()).await?;
        if let Some(why) = cannot_be_sent(row.facts().state()) {
            return Err(Refusal::new(Code::Conflict, format!("{} {why}", row.id)).into());
        }
        let same = row.version(self.version).is_some_and(|version| version.psbt == self.from);
        if same {
            db::batch::record_psbt(tx.conn(), &self.batch, self.version, &self.psbt).await?;
            let detail = format!("version {}", self.version);
            let entry = (self.actor.as_str(), "payout.sign", row.id.as_str(), detail.as_str());
            db::audit_log::insert(tx.conn(), self.now, entry).await?;
        }
        Ok(same)
    }
}

/// Keeps a signed transaction and has it sent.
pub struct SubmitBatch {
    /// Rules and clock.
    pub ground: Ground,
    /// The batch.
    pub batch: BatchId,
    /// The version.
    pub version: u32,
    /// The signed transaction; the node would take it.
    pub raw: Vec<u8>,
    /// When a second key is needed.
    pub approval: Approval,
    /// The operator.
    pub actor: String,
}

impl WriteItem for SubmitBatch {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        let row = get(tx, self.batch.as_str()).await?;
        let unknown = || Refusal::new(Code::NotFound, format!("{} has no such version", row.id));
        let version = row.version(self.version).ok_or_else(unknown)?;
        let state = row.facts().state();
        if state == BatchState::Confirmed {
            return Ok(());
        }
        if let Some(why) = cannot_be_sent(state) {
            return Err(Refusal::new(Code::Conflict, format!("{} {why}", row.id)).into());
        }
        let items = db::batch::items(tx.conn(), &row.id, self.version).await?;
        let total_sat: u64 = items.iter().map(|item| item.amount_sat).sum();
        if self.approval.needed(total_sat) && version.approved_by.is_none() {
            let detail = format!(
                "{} pays {total_sat} sat: another API key with scope payout must approve it first",
                row.id
            );
            return Err(Refusal::new(Code::Forbidden, detail).into());
        }
        check_covered(tx, &self.ground, &row.id).await?;
        db::tx::keep_bytes(tx.conn(), &version.facts.txid, &self.raw).await?;
        db::batch::submitted(tx.conn(), &row.id, self.version, self.ground.now).await?;
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        settle_batch(tx, &self.ground, &row.id, tip).await?;
        for subject in db::batch::subjects(tx.conn(), &row.id).await? {
            settle_subject(tx, &self.ground, &subject).await?;
        }
        // The same again only sends it again.
        if version.submitted_at.is_none() {
            let detail = version.facts.txid.to_string();
            let entry = (self.actor.as_str(), "payout.submit", row.id.as_str(), detail.as_str());
            db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        }
        Ok(())
    }
}
