//! Prepares a batch: what is due, drafted, filled for the signer and kept. A preview is the same
//! without keeping it; the same facts give the same transaction.

use bitcoin::{Network, Txid};

use crate::app::idempotent::{self, Key, Outcome};
use crate::app::record_batch::{Actor, For, MarkDust, RecordBatch};
use crate::app::view_payout::{self, LeftOutView, PreparedView};
use crate::app::{AppError, Code};
use crate::domain::ids::PayoutId;
use crate::domain::payout::draft::{Draft, DraftError, LeftOut, Order, draft};

use super::gather::{Change, Gathered, LeftOutPayout};
use super::{Batcher, psbt, refused};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Prepare {
    /// Only these payouts; otherwise all that are due.
    pub only: Option<Vec<PayoutId>>,
    /// Milli-satoshi a vbyte; otherwise the node's estimate.
    pub feerate_msat: Option<u64>,
    /// The most that the fee may be of a payout, in percent; otherwise what is configured.
    pub max_fee_pct: Option<u64>,
    /// Only if it becomes this very transaction: what was previewed.
    pub expect: Option<Txid>,
}

/// A transaction that was drafted.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The transaction.
    pub draft: Draft,
    /// Its txid before signing, which a preview is known by.
    pub unsigned_txid: Txid,
    /// The feerate that it was drafted for, in milli-satoshi a vbyte.
    pub feerate_msat: u64,
    /// What was left out, and why.
    pub left_out: Vec<LeftOutPayout>,
    /// How many more are due.
    pub more_due: u64,
}

impl Prepared {
    /// Refuses another transaction than the one that was previewed.
    pub(super) fn as_seen(&self, expect: Option<Txid>) -> Result<(), AppError> {
        if expect.is_none_or(|expected| expected == self.unsigned_txid) {
            return Ok(());
        }
        let detail = "what is due or the coins have changed since the preview; look again";
        Err(refused(Code::Conflict, detail))
    }

    /// What the API shows of it.
    pub fn view(&self, network: Network) -> PreparedView {
        let left = |it: &LeftOutPayout| LeftOutView { id: it.id.to_string(), why: it.why.clone() };
        PreparedView {
            txid: self.unsigned_txid.to_string(),
            feerate_msat_vb: self.feerate_msat,
            pays: view_payout::draft(&self.draft, network),
            left_out: self.left_out.iter().map(left).collect(),
            more_due: self.more_due,
            batch: None,
        }
    }
}

impl Batcher {
    /// Shows what [`prepare`](Self::prepare) would make.
    ///
    /// # Errors
    /// Why there is nothing to make.
    pub async fn preview(&self, asked: &Prepare) -> Result<Prepared, AppError> {
        self.ready()?;
        self.not_held().await?;
        self.drafted(asked, true).await.map(|(prepared, _)| prepared)
    }

    /// Makes a batch. Answers as [`PreparedView`], with the batch's id; a key that was used before
    /// gets the same again.
    ///
    /// # Errors
    /// `conflict` when nothing is due, coins are short, or something changed meanwhile.
    pub async fn prepare(
        &self,
        asked: &Prepare,
        actor: Actor,
        key: Option<Key>,
    ) -> Result<Outcome, AppError> {
        if let Some(outcome) = self.answered(key.as_ref()).await? {
            return Ok(outcome);
        }
        let made = self.make(asked, actor, key.clone()).await;
        self.or_answered(made, key.as_ref()).await
    }

    async fn make(
        &self,
        asked: &Prepare,
        actor: Actor,
        key: Option<Key>,
    ) -> Result<Outcome, AppError> {
        self.ready()?;
        self.not_held().await?;
        let (prepared, gathered) = self.drafted(asked, false).await?;
        prepared.as_seen(asked.expect)?;
        let Gathered { addresses, change, .. } = gathered;
        let item = self.record(prepared, addresses, change, (For::New, actor, key)).await?;
        self.db.write(item).await
    }

    /// What was answered to a key: what it made is not due any more, so it cannot be made again.
    pub(super) async fn answered(&self, key: Option<&Key>) -> Result<Option<Outcome>, AppError> {
        idempotent::answered(&mut self.db.read().await?, key).await
    }

    /// What another request with the same key made meanwhile, when this one finds nothing left to do.
    pub(super) async fn or_answered(
        &self,
        made: Result<Outcome, AppError>,
        key: Option<&Key>,
    ) -> Result<Outcome, AppError> {
        match made {
            Err(error) => self.answered(key).await?.ok_or(error),
            made => made,
        }
    }

    async fn drafted(
        &self,
        asked: &Prepare,
        preview: bool,
    ) -> Result<(Prepared, Gathered), AppError> {
        let feerate_msat = self.feerate(asked.feerate_msat).await?;
        let max_fee_pct = self.max_fee_pct(asked.max_fee_pct)?;
        let mut gathered = self.gather(asked.only.as_deref()).await?;
        let order = Order {
            feerate_msat,
            fee_policy: self.rules.fee_policy,
            max_fee_pct,
            change: gathered.change.script_pubkey.clone(),
            must: std::mem::take(&mut gathered.must),
            coins: std::mem::take(&mut gathered.coins),
            payouts: std::mem::take(&mut gathered.payouts),
        };
        let draft = match draft(&order) {
            Ok(draft) => draft,
            Err(error) => return Err(self.undrafted(error, gathered.left_out, preview).await?),
        };
        let mut left_out = std::mem::take(&mut gathered.left_out);
        left_out.extend(draft.left_out.iter().map(said));
        let unsigned_txid = draft.transaction().compute_txid();
        let more_due = gathered.more_due;
        let prepared = Prepared { draft, unsigned_txid, feerate_msat, left_out, more_due };
        Ok((prepared, gathered))
    }

    /// Why nothing could be drafted, in words; what is too small to be paid is noted.
    async fn undrafted(
        &self,
        error: DraftError,
        mut left_out: Vec<LeftOutPayout>,
        preview: bool,
    ) -> Result<AppError, AppError> {
        let mut detail = format!("nothing was prepared: {error}");
        if let DraftError::Nothing { left_out: more } = &error {
            let dust = |(id, why): &(PayoutId, LeftOut)| {
                matches!(why, LeftOut::Dust { .. }).then(|| id.clone())
            };
            if !preview {
                let payouts = more.iter().filter_map(dust).collect();
                self.db.write(MarkDust { ground: self.ground(), payouts }).await?;
            }
            left_out.extend(more.iter().map(said));
        }
        if matches!(error, DraftError::Funds { .. }) {
            let least = self.policy.payout_confirmations;
            detail.push_str(&format!(
                " (those with {least} confirmations that no other batch spends): send coins to an \
                 address of the wallet's descriptor, or choose fewer payouts"
            ));
        }
        for LeftOutPayout { id, why } in left_out {
            detail.push_str(&format!("; {id}: {why}"));
        }
        Ok(refused(Code::Conflict, detail))
    }

    /// Has the wallet fill a draft for the signer, and makes what keeps it.
    pub(super) async fn record(
        &self,
        prepared: Prepared,
        addresses: std::collections::BTreeMap<PayoutId, String>,
        change: Change,
        (what, actor, key): (For, Actor, Option<Key>),
    ) -> Result<RecordBatch, AppError> {
        let answer = serde_json::json!(prepared.view(self.network));
        let draft = prepared.draft;
        let filled = psbt::fill(&self.watch_only, &draft).await?;
        Ok(RecordBatch {
            ground: self.ground(),
            txid: psbt::signed_txid(&filled),
            psbt: psbt::base64(&filled),
            draft,
            addresses,
            fee_policy: self.rules.fee_policy,
            change: (change.keychain, change.index),
            what,
            actor,
            key,
            answer,
        })
    }
}

fn said((id, why): &(PayoutId, LeftOut)) -> LeftOutPayout {
    LeftOutPayout { id: id.clone(), why: why.to_string() }
}
