//! After a restore: a transaction that spends our coins and that this database does not know. What
//! it pays to addresses to which money is owed has left already, and is not paid again.

use std::collections::BTreeSet;

use bitcoin::{Address, BlockHash, Network, OutPoint, Psbt, ScriptBuf, Transaction, Witness};
use data_encoding::BASE64;

use crate::db::batch::{BatchRow, Item, VersionRow};
use crate::db::payout::PayoutRow;
use crate::db::tx::{NewTx, Place};
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::ids::BatchId;
use crate::domain::payout::PayoutState;
use crate::domain::payout::batch::{BatchState, Version};
use crate::domain::payout::fee::{FeePolicy, split};

use super::random_128;
use super::settle::Ground;
use super::settle_batch::{settle_batch, settle_subject};
use super::stale::of_batch;

/// A transaction of the wallet that was found.
pub struct AdoptPayment {
    /// Rules and clock.
    pub ground: Ground,
    /// The network of all addresses.
    pub network: Network,
    /// The transaction.
    pub transaction: Transaction,
    /// The block it is in, and its place there.
    pub block: Option<(u32, BlockHash, u32)>,
    /// The operator.
    pub actor: String,
}

/// What was found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The batch that it is from now on; `None` when it pays nothing that is owed.
    pub batch: Option<BatchId>,
    /// Outputs to addresses to which other amounts are owed, in words.
    pub unclear: Vec<String>,
}

impl WriteItem for AdoptPayment {
    type Out = Adopted;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Adopted, DbError> {
        let txid = self.transaction.compute_txid();
        if db::batch::find_version(tx.conn(), &txid).await?.is_some() {
            return Ok(Adopted::default());
        }
        let mut adopted = Adopted::default();
        let mut items = Vec::new();
        let mut replaced = BTreeSet::new();
        for (vout, output) in (0..).zip(&self.transaction.output) {
            let Ok(address) = Address::from_script(&output.script_pubkey, self.network) else {
                continue;
            };
            let sat = output.value.to_sat();
            let owed = self.owed_to(tx, &address.to_string()).await?;
            match owed.paid_by(sat) {
                Some(rows) => {
                    items.extend(shares(vout, &rows, sum_sat(&rows) - sat));
                    replaced.extend(owed.batches);
                }
                None if owed.sat() == 0 => {}
                None => adopted.unclear.push(format!(
                    "{txid} pays {sat} sat to {address}, to which {} sat are owed",
                    owed.sat()
                )),
            }
        }
        if !items.is_empty() {
            let batch = self.write(tx, &items).await?;
            let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
            for other in replaced {
                db::batch::replace(tx.conn(), &other, &batch).await?;
                settle_batch(tx, &self.ground, &other, tip).await?;
            }
            adopted.batch = Some(batch);
        }
        Ok(adopted)
    }
}

/// What is owed to one address.
#[derive(Default)]
struct OwedTo {
    /// In no batch.
    open: Vec<PayoutRow>,
    /// In batches that the transaction makes impossible: it may be a later version of theirs, or
    /// what was made after they had been given up.
    taken: Vec<PayoutRow>,
    batches: BTreeSet<BatchId>,
    /// In batches that could be mined beside it.
    beside: Vec<PayoutRow>,
}

impl OwedTo {
    fn sat(&self) -> u64 {
        sum_sat(&self.open) + sum_sat(&self.taken) + sum_sat(&self.beside)
    }

    /// The payouts that an output of `sat` pays: what is missing is the fee, at most half of it.
    fn paid_by(&self, sat: u64) -> Option<Vec<PayoutRow>> {
        let all = [self.open.clone(), self.taken.clone()].concat();
        let fits = |rows: &&Vec<PayoutRow>| {
            let owed_sat = sum_sat(rows);
            sat > 0 && sat <= owed_sat && sat >= owed_sat / 2
        };
        let sets = [&self.taken, &self.open, &all];
        sets.into_iter().filter(fits).min_by_key(|rows| sum_sat(rows)).cloned()
    }
}

fn sum_sat(rows: &[PayoutRow]) -> u64 {
    rows.iter().map(|row| row.facts.amount_sat).sum()
}

fn shares(vout: u32, owed: &[PayoutRow], fee_sat: u64) -> Vec<Item> {
    let amounts: Vec<u64> = owed.iter().map(|row| row.facts.amount_sat).collect();
    let fees = split(fee_sat, &amounts);
    let item = |(row, fee_sat): (&PayoutRow, u64)| Item {
        payout: row.facts.id.clone(),
        vout,
        amount_sat: row.facts.amount_sat,
        fee_sat,
    };
    owed.iter().zip(fees).map(item).collect()
}

impl AdoptPayment {
    async fn owed_to(&self, tx: &mut Tx, address: &str) -> Result<OwedTo, DbError> {
        let mut owed = OwedTo::default();
        for state in [PayoutState::Waiting, PayoutState::Due] {
            owed.open.extend(db::payout::list_open_to(tx.conn(), address, state).await?);
        }
        owed.open.retain(|row| row.facts.amount_sat > 0);
        for state in [PayoutState::Prepared, PayoutState::Broadcast] {
            for row in db::payout::list_open_to(tx.conn(), address, state).await? {
                match self.makes_impossible(tx, &row).await? {
                    Some(batch) => {
                        owed.batches.insert(batch);
                        owed.taken.push(row);
                    }
                    None => owed.beside.push(row),
                }
            }
        }
        Ok(owed)
    }

    /// The batch that fixes a payout, if this transaction spends a coin of each version of it.
    async fn makes_impossible(
        &self,
        tx: &mut Tx,
        row: &PayoutRow,
    ) -> Result<Option<BatchId>, DbError> {
        let Some(fixing) = row.txid.as_ref().and_then(|txid| txid.parse().ok()) else {
            return Ok(None);
        };
        let Some((batch, _)) = db::batch::find_version(tx.conn(), &fixing).await? else {
            return Ok(None);
        };
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        let threats = of_batch(tx.conn(), &self.ground.policy, tip, &batch).await?;
        let spends = |coin: &OutPoint| {
            self.transaction.input.iter().any(|input| input.previous_output == *coin)
        };
        let all = threats.iter().all(|threat| threat.inputs.iter().any(spends));
        Ok(all.then_some(batch))
    }

    async fn write(&self, tx: &mut Tx, items: &[Item]) -> Result<BatchId, DbError> {
        let (now, txid) = (self.ground.now, self.transaction.compute_txid());
        let id = BatchId::new(random_128());
        let row = BatchRow {
            id: id.clone(),
            state: BatchState::Broadcast,
            fee_policy: FeePolicy::Recipient,
            created_at: now,
            abandoned_at: None,
            replaced_by: None,
            versions: Vec::new(),
        };
        db::batch::insert(tx.conn(), &row).await?;
        let new = NewTx {
            txid,
            raw: bitcoin::consensus::serialize(&self.transaction),
            coinbase: false,
            inputs: self.transaction.input.iter().map(|input| input.previous_output).collect(),
            first_seen_at: now,
            prior_look_at: None,
        };
        db::tx::insert(tx.conn(), &new).await?;
        if let Some((height, hash, position)) = self.block
            && let Some(block) = db::chain::find(tx.conn(), height).await?
            && block.hash == hash
        {
            let (mtp_at, moment_at) = (block.mtp_at, block.moment_at);
            let place = Place { height, position, mtp_at, moment_at };
            db::tx::mined(tx.conn(), &txid, &place).await?;
        }
        let (psbt, fee_sat) = self.psbt(tx).await?;
        let version = VersionRow {
            facts: Version {
                n: 1,
                txid,
                submitted: true,
                in_mempool: false,
                height: None,
                conflict_height: None,
            },
            unsigned_txid: psbt.unsigned_tx.compute_txid(),
            psbt: BASE64.encode(&psbt.serialize()),
            fee_sat,
            weight: self.transaction.weight().to_wu(),
            created_at: now,
            created_by: "found in the chain".into(),
            approved_by: None,
            submitted_at: Some(now),
        };
        db::batch::insert_version(tx.conn(), &id, &version, items).await?;
        db::batch::submitted(tx.conn(), &id, 1, now).await?;
        for item in items {
            db::payout::bind(tx.conn(), &item.payout, &id).await?;
        }
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        settle_batch(tx, &self.ground, &id, tip).await?;
        for subject in db::batch::subjects(tx.conn(), &id).await? {
            settle_subject(tx, &self.ground, &subject).await?;
        }
        let detail = txid.to_string();
        let entry = (self.actor.as_str(), "payout.adopt", id.as_str(), detail.as_str());
        db::audit_log::insert(tx.conn(), now, entry).await?;
        Ok(id)
    }

    /// The transaction without signatures, with those of its coins that are ours; and its fee, 0
    /// when not all are.
    async fn psbt(&self, tx: &mut Tx) -> Result<(Psbt, u64), DbError> {
        let mut bare = self.transaction.clone();
        for input in &mut bare.input {
            input.script_sig = ScriptBuf::new();
            input.witness = Witness::new();
        }
        let mut psbt = Psbt::from_unsigned_tx(bare).expect("signatures were taken out");
        let (mut spent_sat, mut all) = (0, true);
        for (known, input) in psbt.inputs.iter_mut().zip(&self.transaction.input) {
            match db::payment::find_output(tx.conn(), &input.previous_output).await? {
                None => all = false,
                Some(found) => {
                    spent_sat += found.amount_sat;
                    known.witness_utxo = Some(bitcoin::TxOut {
                        value: bitcoin::Amount::from_sat(found.amount_sat),
                        script_pubkey: found.script_pubkey,
                    });
                }
            }
        }
        let paid_sat: u64 = self.transaction.output.iter().map(|it| it.value.to_sat()).sum();
        Ok((psbt, if all { spent_sat.saturating_sub(paid_sat) } else { 0 }))
    }
}

/// Lets batches be prepared again after a restore.
pub struct EndHold {
    /// The clock.
    pub ground: Ground,
    /// The operator.
    pub actor: String,
}

impl WriteItem for EndHold {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        if db::meta::remove(tx, db::meta::PAYOUTS_HELD_AT).await? {
            let entry = (self.actor.as_str(), "payout.resume", "", "");
            db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        }
        Ok(())
    }
}
