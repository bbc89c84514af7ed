//! Takes a signed batch back: it must be what was prepared, with signatures that fit; then it is
//! kept and sent. Files of several signers are combined.

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{Psbt, Transaction};

use crate::app::submit_batch::{KeepSignatures, SubmitBatch};
use crate::app::{AppError, Code, Refusal};
use crate::chain::BlockSource as _;
use crate::db::batch::VersionRow;
use crate::db::{self, DbError};
use crate::domain::ids::BatchId;

use super::psbt::{Signed, base64, differences, from_base64};
use super::{Batcher, away, sign};

const UNSIGNED: &str = "it has no signature; sign it first";

/// What became of a signed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The batch.
    pub batch: BatchId,
    /// The version.
    pub version: u32,
    /// False while signatures are missing; those that came are kept.
    pub complete: bool,
    /// What is missing, in words.
    pub missing: Option<String>,
}

fn wrong(detail: impl Into<String>) -> AppError {
    Refusal::field(Code::InvalidRequest, "/psbt", detail).into()
}

impl Batcher {
    /// Submits a signed PSBT (base64 or hex) or transaction (hex), of the batch `only` if one is named.
    ///
    /// # Errors
    /// `invalid_request` with what is different, missing or wrong in it; `forbidden` before it is
    /// approved; `conflict` when the batch cannot be sent any more.
    pub async fn submit(
        &self,
        text: &str,
        only: Option<&str>,
        actor: String,
    ) -> Result<Submitted, AppError> {
        let Some(signed) = Signed::read(text) else {
            return Err(wrong("this is neither a PSBT in base64 nor a transaction in hex"));
        };
        let (batch, version) = self.prepared(signed.transaction()).await?;
        if only.is_some_and(|only| only != batch.as_str()) {
            return Err(wrong(format!("this is of {batch}, not of this one")));
        }
        let (id, n) = (batch.clone(), version.facts.n);
        let raw = match signed {
            Signed::Transaction(transaction) => *transaction,
            Signed::Psbt(psbt) => {
                match self.finished(&batch, version.clone(), (*psbt, &actor)).await? {
                    Ok(transaction) => transaction,
                    Err(missing) => {
                        let (complete, missing) = (false, Some(missing));
                        return Ok(Submitted { batch, version: n, complete, missing });
                    }
                }
            }
        };
        self.trusted()?;
        if let Some(fault) = sign::fault_in(&raw) {
            return Err(wrong(fault));
        }
        if raw.compute_txid() != version.facts.txid {
            return Err(wrong("finished it is another transaction than the one prepared"));
        }
        let raw = serialize(&raw);
        if version.facts.height.is_none()
            && let Err(reason) = self.node.test_accept(&raw).await.map_err(away)?
        {
            return Err(wrong(format!("the node does not take it: {reason}{}", hint(&reason))));
        }
        let item = SubmitBatch {
            ground: self.ground(),
            batch: batch.clone(),
            version: n,
            raw: raw.clone(),
            approval: self.rules.approval,
            actor,
        };
        self.db.write(item).await?;
        // It goes out by the row of work; this only makes it faster.
        if version.facts.height.is_none()
            && let Err(error) = self.node.broadcast(&raw).await
        {
            tracing::warn!(batch = id.as_str(), %error, "it is sent as soon as the node answers");
        }
        Ok(Submitted { batch: id, version: n, complete: true, missing: None })
    }

    /// The version that a transaction is, signed or not.
    async fn prepared(&self, found: &Transaction) -> Result<(BatchId, VersionRow), AppError> {
        let mut conn = self.db.read().await?;
        let place = db::batch::find_version(&mut conn, &found.compute_txid()).await?;
        let exact = place.is_some();
        let mut place = place;
        for input in &found.input {
            if place.is_none() {
                place = db::batch::find_spender(&mut conn, &input.previous_output).await?;
            }
        }
        let Some((batch, n)) = place else {
            return Err(wrong("this is no batch of this server: no coin of it is in one"));
        };
        let corrupt = || DbError::corrupt("payout_version", "batch", &batch);
        let row = db::batch::find(&mut conn, batch.as_str()).await?.ok_or_else(corrupt)?;
        let version = row.version(n).cloned().ok_or_else(corrupt)?;
        if exact {
            return Ok((batch, version));
        }
        let stored = from_base64(&version.psbt).ok_or_else(corrupt)?;
        let mut said = differences(&stored.unsigned_tx, found).join("; ");
        if said.is_empty() {
            said = "its inputs differ".into();
        }
        Err(wrong(format!("this is not version {n} of {batch} as it was prepared: {said}")))
    }

    /// The transaction with all signatures that came so far; what is missing if some are.
    async fn finished(
        &self,
        batch: &BatchId,
        mut version: VersionRow,
        (came, actor): (Psbt, &str),
    ) -> Result<Result<Transaction, String>, AppError> {
        loop {
            let corrupt = || DbError::corrupt("payout_version", "psbt", batch);
            let stored = from_base64(&version.psbt).ok_or_else(corrupt)?;
            let combined = combine(&stored, &came)?;
            // What others finished is taken or not, now: kept, it could keep the rest from finishing.
            let mut finished = combined.clone();
            for (ours, theirs) in finished.inputs.iter_mut().zip(&came.inputs) {
                ours.tap_script_sigs.extend(theirs.tap_script_sigs.clone());
                if theirs.final_script_witness.is_some() {
                    ours.final_script_witness.clone_from(&theirs.final_script_witness);
                    ours.final_script_sig.clone_from(&theirs.final_script_sig);
                }
            }
            if let Some(raw) = self.node.finalize_psbt(&finished).await.map_err(away)? {
                let unreadable = |_| away("it made no transaction of the PSBT");
                return Ok(Ok(deserialize(&raw).map_err(unreadable)?));
            }
            if sign::bare(&came).len() == came.inputs.len() {
                return Err(wrong(UNSIGNED));
            }
            if !sign::is_multisig(&combined) || !sign::bare(&combined).is_empty() {
                return Err(wrong(missing(&combined)));
            }
            if combined == stored {
                return Ok(Err(missing(&combined)));
            }
            let psbt = base64(&combined);
            let from = std::mem::replace(&mut version.psbt, psbt.clone());
            let item = KeepSignatures {
                batch: batch.clone(),
                version: version.facts.n,
                from,
                psbt,
                now: self.clock.now(),
                actor: actor.to_owned(),
            };
            if self.db.write(item).await? {
                return Ok(Err(missing(&combined)));
            }
            // Another signer's file came at the same time.
            let mut conn = self.db.read().await?;
            let row = db::batch::find(&mut conn, batch.as_str()).await?.ok_or_else(corrupt)?;
            version = row.version(version.facts.n).cloned().ok_or_else(corrupt)?;
        }
    }
}

/// Our own PSBT with the signatures of the other one that can be verified, and nothing else of it.
fn combine(stored: &Psbt, came: &Psbt) -> Result<Psbt, AppError> {
    if came.unsigned_tx != stored.unsigned_tx {
        return Err(wrong("it is another transaction than the one prepared"));
    }
    let mut combined = stored.clone();
    for (ours, theirs) in combined.inputs.iter_mut().zip(&came.inputs) {
        ours.partial_sigs.extend(theirs.partial_sigs.clone());
        ours.tap_key_sig = theirs.tap_key_sig.or(ours.tap_key_sig);
    }
    match sign::fault(&combined) {
        Some(fault) => Err(wrong(fault)),
        None => Ok(combined),
    }
}

fn missing(psbt: &Psbt) -> String {
    let bare = sign::bare(psbt);
    if bare.len() == psbt.inputs.len() {
        return UNSIGNED.into();
    }
    if !bare.is_empty() {
        let list: Vec<String> = bare.iter().map(ToString::to_string).collect();
        return format!("no signature for input {}", list.join(", "));
    }
    let counts = sign::counts(psbt);
    let (least, most) = (counts.iter().min(), counts.iter().max());
    let have = least.zip(most).map_or(0, |(least, _)| *least);
    format!("{have} signature(s) an input are there, more are needed; submit what others signed")
}

fn hint(reason: &str) -> &'static str {
    match reason {
        it if it.contains("insufficient fee") || it.contains("replacement") => {
            "; bump it with a higher feerate"
        }
        it if it.contains("min relay fee") || it.contains("mempool min fee") => {
            "; its fee is too low for the mempool now: bump it"
        }
        it if it.contains("missingorspent") || it.contains("missing-inputs") => {
            "; a coin of it was spent otherwise, or is not confirmed any more"
        }
        _ => "",
    }
}
