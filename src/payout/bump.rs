//! Another version of a batch with a higher fee (BIP125): the same payouts, at least the same
//! coins, so that only one of the versions can be mined.

use std::collections::{BTreeSet, HashSet};

use bitcoin::{OutPoint, Txid};

use crate::app::idempotent::{Key, Outcome};
use crate::app::record_batch::{Actor, For};
use crate::app::{AppError, Code, Refusal};
use crate::db;
use crate::db::batch::{BatchRow, VersionRow};
use crate::domain::payout::draft::{Draft, Order, Wanted, draft};
use crate::domain::payout::fee::fee_sat;

use super::gather::Change;
use super::prepare::Prepared;
use super::{Batcher, feerate_text, psbt, refused};

/// What a replacement pays more than what it replaces, at least: the nodes' default
/// `incrementalrelayfee`, in milli-satoshi a vbyte.
const INCREMENT_MSAT: u64 = 1000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Bump {
    /// The batch.
    pub batch: String,
    /// Milli-satoshi a vbyte; otherwise the node's estimate.
    pub feerate_msat: Option<u64>,
    /// The most that the fee may be of a payout, in percent; otherwise what is configured.
    pub max_fee_pct: Option<u64>,
    /// Only if it becomes this very transaction: what was previewed.
    pub expect: Option<Txid>,
}

impl Batcher {
    /// Shows what [`bump`](Self::bump) would make.
    ///
    /// # Errors
    /// As of that.
    pub async fn preview_bump(&self, asked: &Bump) -> Result<Prepared, AppError> {
        self.redrafted(asked).await.map(|(prepared, ..)| prepared)
    }

    /// Makes the next version of a batch.
    ///
    /// # Errors
    /// `conflict` when it is not alive; `invalid_request` when the fee is too low to replace.
    pub async fn bump(
        &self,
        asked: &Bump,
        actor: Actor,
        key: Option<Key>,
    ) -> Result<Outcome, AppError> {
        if let Some(outcome) = self.answered(key.as_ref()).await? {
            return Ok(outcome);
        }
        let made = self.make_version(asked, actor, key.clone()).await;
        self.or_answered(made, key.as_ref()).await
    }

    async fn make_version(
        &self,
        asked: &Bump,
        actor: Actor,
        key: Option<Key>,
    ) -> Result<Outcome, AppError> {
        let (prepared, change, what) = self.redrafted(asked).await?;
        prepared.as_seen(asked.expect)?;
        let item = self.record(prepared, Default::default(), change, (what, actor, key)).await?;
        self.db.write(item).await
    }

    /// The next version, and where its change goes.
    async fn redrafted(&self, asked: &Bump) -> Result<(Prepared, Change, For), AppError> {
        self.ready()?;
        self.not_held().await?;
        let feerate_msat = self.feerate(asked.feerate_msat).await?;
        let max_fee_pct = self.max_fee_pct(asked.max_fee_pct)?;
        let (row, version) = self.newest(&asked.batch).await?;
        let (payouts, inputs) = self.paid_by(&row, &version).await?;
        let must = self.coins(&inputs).await?;
        if must.len() != inputs.len() {
            return Err(refused(Code::Conflict, "a coin of it is not in the books any more"));
        }
        let spent: HashSet<OutPoint> = inputs.into_iter().collect();
        let coins = self.free_coins(&BTreeSet::new(), &spent).await?;
        let change = self.change().await?;
        let order = Order {
            feerate_msat,
            fee_policy: row.fee_policy,
            max_fee_pct,
            change: change.script_pubkey.clone(),
            must,
            coins,
            payouts,
        };
        let draft =
            draft(&order).map_err(|error| refused(Code::Conflict, format!("no bump: {error}")))?;
        if let Some((id, why)) = draft.left_out.first() {
            let detail = format!(
                "at this feerate {id} could not be paid: {why}. Allow a larger fee (max_fee_pct), or \
                 abandon the batch and prepare again"
            );
            return Err(refused(Code::Conflict, detail));
        }
        enough(&draft, &version)?;
        let unsigned_txid = draft.transaction().compute_txid();
        let left_out = Vec::new();
        let prepared = Prepared { draft, unsigned_txid, feerate_msat, left_out, more_due: 0 };
        Ok((prepared, change, For::Bump { batch: row.id, after: version.facts.n }))
    }

    async fn newest(&self, batch: &str) -> Result<(BatchRow, VersionRow), AppError> {
        let mut conn = self.db.read().await?;
        let unknown = || refused(Code::NotFound, format!("there is no batch {batch}"));
        let row = db::batch::find(&mut conn, batch).await?.ok_or_else(unknown)?;
        let state = row.facts().state();
        if !state.is_alive() || row.abandoned_at.is_some() || row.replaced_by.is_some() {
            let detail = format!("{batch} is {}; it cannot be bumped", state.as_str());
            return Err(refused(Code::Conflict, detail));
        }
        let version = row.versions.last().cloned().ok_or_else(unknown)?;
        Ok((row, version))
    }

    /// What a version pays to whom, and what it spends.
    async fn paid_by(
        &self,
        row: &BatchRow,
        version: &VersionRow,
    ) -> Result<(Vec<Wanted>, Vec<OutPoint>), AppError> {
        let corrupt = || db::DbError::corrupt("payout_version", "psbt", &row.id);
        let stored = psbt::from_base64(&version.psbt).ok_or_else(corrupt)?;
        let mut conn = self.db.read().await?;
        let items = db::batch::items(&mut conn, &row.id, version.facts.n).await?;
        let mut payouts = Vec::new();
        for item in items {
            let vout = usize::try_from(item.vout).unwrap_or(usize::MAX);
            let output = stored.unsigned_tx.output.get(vout).ok_or_else(corrupt)?;
            payouts.push(Wanted {
                id: item.payout,
                script_pubkey: output.script_pubkey.clone(),
                amount_sat: item.amount_sat,
            });
        }
        let inputs = stored.unsigned_tx.input.iter().map(|input| input.previous_output);
        Ok((payouts, inputs.collect()))
    }
}

/// Nodes take a replacement only if it pays for its own way on top of what it replaces.
fn enough(draft: &Draft, old: &VersionRow) -> Result<(), AppError> {
    let least_sat = old.fee_sat.saturating_add(fee_sat(draft.weight, INCREMENT_MSAT));
    if draft.fee_sat >= least_sat {
        return Ok(());
    }
    let least = (u128::from(least_sat) * 4000).div_ceil(u128::from(draft.weight.max(1)));
    let least = u64::try_from(least).unwrap_or(u64::MAX);
    let detail = format!(
        "the fee would be {} sat; to replace version {} it must be at least {least_sat} sat, which \
         takes {} sat/vB (feerate_msat_vb {least})",
        draft.fee_sat,
        old.facts.n,
        feerate_text(least)
    );
    Err(Refusal::field(Code::InvalidRequest, "/feerate_msat_vb", detail).into())
}
