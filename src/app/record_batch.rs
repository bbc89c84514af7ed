//! Keeps a drafted transaction: a new batch with its payouts, or another version of one. Checks
//! everything again that the draft was made from. From here on its coins are nobody else's, and the
//! follower knows the transaction, whoever sends it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bitcoin::{OutPoint, Txid};

use crate::db::batch::{BatchRow, Item, VersionRow};
use crate::db::tx::NewTx;
use crate::db::{self, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::ids::{BatchId, PayoutId};
use crate::domain::payout::batch::{BatchState, Version};
use crate::domain::payout::draft::{Draft, LeftOut};
use crate::domain::payout::fee::FeePolicy;

use super::idempotent::{self, Key, Outcome};
use super::settle::Ground;
use super::settle_batch::{settle_batch, settle_subject};
use super::stale::Threats;
use super::{AppError, Code, Refusal, event, random_128};

/// What a draft becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum For {
    /// A batch of its own.
    New,
    /// The next version of a batch whose newest is `after`.
    Bump {
        /// The batch.
        batch: BatchId,
        /// The number of the version it was drafted from.
        after: u32,
    },
}

/// Who acts, for the audit log and the two-person rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The API key's id.
    pub key: String,
    /// Its id and name.
    pub name: String,
}

/// A draft to be kept.
pub struct RecordBatch {
    /// Rules and clock.
    pub ground: Ground,
    /// The transaction.
    pub draft: Draft,
    /// The same as a PSBT in base64, with all that a signer needs.
    pub psbt: String,
    /// Its txid once it is signed.
    pub txid: Txid,
    /// Where each payout was to go when it was drafted.
    pub addresses: BTreeMap<PayoutId, String>,
    /// Who pays the fee.
    pub fee_policy: FeePolicy,
    /// Keychain and internal index of its change.
    pub change: (u32, u32),
    /// What it becomes.
    pub what: For,
    /// Who asks.
    pub actor: Actor,
    /// The caller's Idempotency-Key.
    pub key: Option<Key>,
    /// What is answered, beside batch and version: an object.
    pub answer: serde_json::Value,
}

fn conflict(detail: impl Into<String>) -> AppError {
    Refusal::new(Code::Conflict, detail).into()
}

impl WriteItem for RecordBatch {
    type Out = Outcome;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Outcome, AppError> {
        if let Some(outcome) = idempotent::find(tx, self.key.as_ref()).await? {
            return Ok(outcome);
        }
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        let (batch, n) = match &self.what {
            For::New => {
                self.check_payouts(tx, tip).await?;
                (BatchId::new(random_128()), 1)
            }
            For::Bump { batch, after } => {
                self.check_bump(tx, batch, *after).await?;
                (batch.clone(), after + 1)
            }
        };
        let replaced = self.replaced(tx, tip).await?;
        self.check_coins(tx, &batch, &replaced).await?;
        let (keychain, index) = self.change;
        if self.draft.change().is_some()
            && !db::keychain::take_internal(tx.conn(), keychain, index).await?
        {
            return Err(conflict("another batch was made meanwhile; prepare again"));
        }
        self.write(tx, &batch, n).await?;
        for other in replaced {
            db::batch::replace(tx.conn(), &other, &batch).await?;
            settle_batch(tx, &self.ground, &other, tip).await?;
        }
        settle_batch(tx, &self.ground, &batch, tip).await?;
        let mut subjects = db::batch::subjects(tx.conn(), &batch).await?;
        subjects.extend(self.mark_dust(tx).await?);
        for subject in subjects {
            settle_subject(tx, &self.ground, &subject).await?;
        }
        if n > 1 {
            self.tell_bump(tx, &batch, n);
        }
        let action = if n == 1 { "payout.prepare" } else { "payout.bump" };
        let detail = format!("version {n}, {}", self.txid);
        let entry = (self.actor.name.as_str(), action, batch.as_str(), detail.as_str());
        db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        let mut body = self.answer.clone();
        body["batch"] = serde_json::json!(batch);
        idempotent::keep(tx, self.key.as_ref(), 201, body, self.ground.now).await
    }
}

impl RecordBatch {
    fn shares(&self) -> impl Iterator<Item = (u32, &crate::domain::payout::draft::Share)> {
        let outputs = (0..).zip(&self.draft.outputs);
        outputs.flat_map(|(vout, output)| output.shares.iter().map(move |share| (vout, share)))
    }

    fn spends(&self) -> HashSet<OutPoint> {
        self.draft.inputs.iter().map(|coin| coin.outpoint).collect()
    }

    /// Each payout can still leave, to that address, with that amount; and every transaction that
    /// could pay the same money is made impossible.
    async fn check_payouts(&self, tx: &mut Tx, tip: u32) -> Result<(), AppError> {
        let spends = self.spends();
        let mut threats = Threats::new(&self.ground.policy, tip);
        let mut subjects = BTreeSet::new();
        for (_, share) in self.shares() {
            let changed = || conflict(format!("{} has changed; prepare again", share.id));
            let find = async |tx: &mut Tx| db::payout::find(tx.conn(), share.id.as_str()).await;
            let row = find(tx).await?.ok_or_else(changed)?;
            if subjects.insert(row.subject.clone()) {
                settle_subject(tx, &self.ground, &row.subject).await?;
            }
            let row = find(tx).await?.ok_or_else(changed)?;
            let open = row.state.is_open();
            let same = row.address.as_ref() == self.addresses.get(&share.id);
            if !open || !same || row.ready_sat < share.amount_sat {
                return Err(changed());
            }
            let all = threats.to(tx.conn(), &row).await?;
            if all.iter().any(|it| !it.inputs.iter().any(|coin| spends.contains(coin))) {
                return Err(changed());
            }
        }
        Ok(())
    }

    async fn check_bump(&self, tx: &mut Tx, batch: &BatchId, after: u32) -> Result<(), AppError> {
        let row = get(tx, batch.as_str()).await?;
        let newest = row.versions.last().map_or(0, |version| version.facts.n);
        if !row.facts().state().is_alive() || newest != after {
            return Err(conflict(format!("{batch} has changed; look at it again")));
        }
        check_covered(tx, &self.ground, batch).await
    }

    /// Batches that were given up and that this one makes impossible for good.
    async fn replaced(&self, tx: &mut Tx, tip: u32) -> Result<Vec<BatchId>, AppError> {
        let spends = self.spends();
        let mut threats = Threats::new(&self.ground.policy, tip);
        let mut replaced = Vec::new();
        for batch in db::batch::list_abandoned(tx.conn()).await? {
            let all = threats.of(tx.conn(), &batch).await?;
            if all.iter().all(|it| it.inputs.iter().any(|coin| spends.contains(coin))) {
                replaced.push(batch);
            }
        }
        Ok(replaced)
    }

    /// No coin is another batch's.
    async fn check_coins(
        &self,
        tx: &mut Tx,
        own: &BatchId,
        replaced: &[BatchId],
    ) -> Result<(), AppError> {
        let spends = self.spends();
        let others = db::batch::locked(tx.conn()).await?;
        let taken = others.into_iter().find(|(coin, batch)| {
            spends.contains(coin) && batch != own && !replaced.contains(batch)
        });
        match taken {
            Some((coin, batch)) => {
                Err(conflict(format!("the coin {coin} is in {batch} now; prepare again")))
            }
            None => Ok(()),
        }
    }

    /// Without change the same coins and payouts make the same transaction again.
    async fn made_before(&self, tx: &mut Tx) -> Result<AppError, AppError> {
        let before = match db::batch::find_version(tx.conn(), &self.txid).await? {
            Some((batch, n)) => format!("version {n} of {batch}"),
            None => "known already".into(),
        };
        let detail = format!("this very transaction is {before}; ask for another feerate");
        Ok(conflict(detail))
    }

    async fn write(&self, tx: &mut Tx, batch: &BatchId, n: u32) -> Result<(), AppError> {
        let now = self.ground.now;
        if n == 1 {
            let row = BatchRow {
                id: batch.clone(),
                state: BatchState::Prepared,
                fee_policy: self.fee_policy,
                created_at: now,
                abandoned_at: None,
                replaced_by: None,
                places: String::new(),
                versions: Vec::new(),
            };
            db::batch::insert(tx.conn(), &row).await?;
        }
        let new = NewTx {
            txid: self.txid,
            // Known once it is signed.
            raw: Vec::new(),
            coinbase: false,
            inputs: self.draft.inputs.iter().map(|coin| coin.outpoint).collect(),
            first_seen_at: now,
            prior_look_at: None,
        };
        if !db::tx::insert(tx.conn(), &new).await? {
            return Err(self.made_before(tx).await?);
        }
        let version = VersionRow {
            facts: Version {
                n,
                txid: self.txid,
                submitted: false,
                in_mempool: false,
                height: None,
                conflict_height: None,
            },
            unsigned_txid: self.draft.transaction().compute_txid(),
            psbt: self.psbt.clone(),
            fee_sat: self.draft.fee_sat,
            weight: self.draft.weight,
            created_at: now,
            created_by: self.actor.key.clone(),
            approved_by: None,
            submitted_at: None,
            change_script: self.draft.change().map(|output| output.script_pubkey.clone()),
        };
        let item = |(vout, share): (u32, &crate::domain::payout::draft::Share)| Item {
            payout: share.id.clone(),
            vout,
            amount_sat: share.amount_sat,
            fee_sat: share.fee_sat,
        };
        let items: Vec<Item> = self.shares().map(item).collect();
        db::batch::insert_version(tx.conn(), batch, &version, &items).await?;
        for item in &items {
            db::payout::bind(tx.conn(), &item.payout, batch).await?;
        }
        Ok(())
    }

    /// Notes what is too small to be paid. Returns what that comes from.
    async fn mark_dust(&self, tx: &mut Tx) -> Result<Vec<String>, AppError> {
        let mut subjects = Vec::new();
        for (id, why) in &self.draft.left_out {
            let Some(row) = db::payout::find(tx.conn(), id.as_str()).await? else { continue };
            if matches!(why, LeftOut::Dust { .. }) && row.state.is_open() {
                db::payout::mark_dust(tx.conn(), id, self.ground.now).await?;
                subjects.push(row.subject);
            }
        }
        Ok(subjects)
    }
}

impl RecordBatch {
    /// Its payouts stand where they stood.
    fn tell_bump(&self, tx: &mut Tx, batch: &BatchId, n: u32) {
        let data = serde_json::json!({
            "batch": batch,
            "version": n,
            "txid": self.txid,
            "fee_sat": self.draft.fee_sat,
        });
        let kind = EventKind::PayoutPrepared;
        tx.event(event(kind, self.ground.now, batch.as_str(), None, data));
    }
}

/// A batch that must exist.
pub(super) async fn get(tx: &mut Tx, id: &str) -> Result<BatchRow, AppError> {
    let found = db::batch::find(tx.conn(), id).await?;
    found.ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no batch {id}")).into())
}

/// The money behind every payout of a batch is there and deep enough.
pub(super) async fn check_covered(
    tx: &mut Tx,
    ground: &Ground,
    batch: &BatchId,
) -> Result<(), AppError> {
    for subject in db::batch::subjects(tx.conn(), batch).await? {
        let accounts = settle_subject(tx, ground, &subject).await?;
        let sum = |of: fn(&crate::domain::payout::Account) -> u64| -> u64 {
            accounts.iter().map(of).sum()
        };
        if sum(|account| account.overdrawn_sat()) > 0 {
            let detail = format!(
                "{subject} owes {} sat from payments with {} confirmations now, and {} sat of it \
                 are in batches: wait for confirmations, or abandon {batch} and prepare again",
                sum(|account| account.settled_sat),
                ground.policy.payout_confirmations,
                sum(|account| account.fixed_sat),
            );
            return Err(conflict(detail));
        }
    }
    Ok(())
}

/// Notes payouts that are too small to be paid, when nothing else could be drafted.
pub struct MarkDust {
    /// Rules and clock.
    pub ground: Ground,
    /// Which.
    pub payouts: Vec<PayoutId>,
}

impl WriteItem for MarkDust {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        for id in &self.payouts {
            let Some(row) = db::payout::find(tx.conn(), id.as_str()).await? else { continue };
            if row.state.is_open() {
                db::payout::mark_dust(tx.conn(), id, self.ground.now).await?;
                settle_subject(tx, &self.ground, &row.subject).await?;
            }
        }
        Ok(())
    }
}
