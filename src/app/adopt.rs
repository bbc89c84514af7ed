//! Takes in transactions that somebody else made and that pay what is owed: from coins of a batch,
//! as a wallet does that raises a fee by itself, or after a restore. What they pay has left, and is
//! not paid again.

use std::collections::BTreeMap;

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
use crate::domain::time::Timestamp;

use super::random_128;
use super::settle::Ground;
use super::settle_batch::{settle_batch, settle_subject};

/// What the outputs of a transaction pay to a script, and the first of them.
fn paid_to(transaction: &Transaction, script: &ScriptBuf) -> Option<(u32, u64)> {
    let own = (0..).zip(&transaction.output).filter(|(_, it)| it.script_pubkey == *script);
    let all: Vec<(u32, u64)> = own.map(|(vout, it)| (vout, it.value.to_sat())).collect();
    let first = all.first()?.0;
    Some((first, all.iter().map(|(_, sat)| sat).sum()))
}

/// What a transaction that is no version pays of batches whose coins it spends.
#[derive(Default)]
struct Taken {
    /// The batches, by their newest version that spends such a coin.
    batches: BTreeMap<BatchId, u32>,
    items: Vec<Item>,
    /// Scripts that are explained by it.
    scripts: Vec<ScriptBuf>,
}

/// Takes in a transaction that spends coins of batches and is none of their versions: each payout
/// is paid whose output is there with at least half of its money. The batch, if one is.
pub(super) async fn as_version(
    tx: &mut Tx,
    now: Timestamp,
    transaction: &Transaction,
) -> Result<Option<BatchId>, DbError> {
    let taken = taken(tx, transaction).await?;
    match taken.batches.keys().next() {
        Some(batch) if !taken.items.is_empty() => {
            insert_next(tx, now, batch, (transaction, &taken.items)).await?;
            Ok(Some(batch.clone()))
        }
        _ => Ok(None),
    }
}

async fn taken(tx: &mut Tx, transaction: &Transaction) -> Result<Taken, DbError> {
    let mut taken = Taken::default();
    for input in &transaction.input {
        for (batch, n) in db::batch::spenders(tx.conn(), &input.previous_output).await? {
            let newest = taken.batches.entry(batch).or_default();
            *newest = n.max(*newest);
        }
    }
    let mut owed: BTreeMap<ScriptBuf, Vec<Vec<Item>>> = BTreeMap::new();
    for (batch, n) in taken.batches.clone() {
        for (script, items) in by_script(tx, &batch, n).await? {
            owed.entry(script).or_default().push(items);
        }
    }
    for (script, sets) in owed {
        let Some((vout, sat)) = paid_to(transaction, &script) else { continue };
        taken.scripts.push(script);
        taken.items.extend(of_output(vout, sat, sets));
    }
    Ok(taken)
}

/// What a version pays to each script.
async fn by_script(
    tx: &mut Tx,
    batch: &BatchId,
    n: u32,
) -> Result<BTreeMap<ScriptBuf, Vec<Item>>, DbError> {
    let corrupt = || DbError::corrupt("payout_version", "psbt", batch);
    let row = db::batch::find(tx.conn(), batch.as_str()).await?.ok_or_else(corrupt)?;
    let version = row.version(n).ok_or_else(corrupt)?;
    let bytes = BASE64.decode(version.psbt.as_bytes()).ok();
    let stored = bytes.and_then(|it| Psbt::deserialize(&it).ok()).ok_or_else(corrupt)?;
    let mut groups: BTreeMap<ScriptBuf, Vec<Item>> = BTreeMap::new();
    for item in db::batch::items(tx.conn(), batch, n).await? {
        let vout = usize::try_from(item.vout).unwrap_or(usize::MAX);
        let output = stored.unsigned_tx.output.get(vout).ok_or_else(corrupt)?;
        groups.entry(output.script_pubkey.clone()).or_default().push(item);
    }
    Ok(groups)
}

/// Which of what batches owe to a script an output of `sat` pays: of one of them, or of all; the
/// least that it reaches, with at most half of it for the miner.
fn of_output(vout: u32, sat: u64, mut sets: Vec<Vec<Item>>) -> Vec<Item> {
    let sum = |items: &[Item]| items.iter().map(|item| item.amount_sat).sum::<u64>();
    let all = sets.concat();
    sets.push(all.clone());
    let fits = |items: &Vec<Item>| sat <= sum(items) && sat >= sum(items) / 2;
    let best = sets.into_iter().filter(fits).min_by_key(|items| sum(items));
    let paid = match best {
        Some(items) => items,
        // More than all: somebody was generous.
        None if sat > sum(&all) => all,
        None => return Vec::new(),
    };
    let amounts: Vec<u64> = paid.iter().map(|item| item.amount_sat).collect();
    let fees = split(sum(&paid).saturating_sub(sat), &amounts);
    paid.into_iter().zip(fees).map(|(item, fee_sat)| Item { vout, fee_sat, ..item }).collect()
}

/// Adds the next version of a batch, made elsewhere.
async fn insert_next(
    tx: &mut Tx,
    now: Timestamp,
    batch: &BatchId,
    (transaction, items): (&Transaction, &[Item]),
) -> Result<(), DbError> {
    let row = db::batch::find(tx.conn(), batch.as_str()).await?;
    let newest = row.and_then(|row| row.versions.last().map(|version| version.facts.n));
    insert(tx, now, (batch, newest.unwrap_or(0) + 1), (transaction, items)).await?;
    let txid = transaction.compute_txid();
    tracing::warn!(batch = batch.as_str(), %txid, "somebody else paid what this batch pays");
    Ok(())
}

/// Adds a version of a batch that was made elsewhere.
async fn insert(
    tx: &mut Tx,
    now: Timestamp,
    (batch, n): (&BatchId, u32),
    (transaction, items): (&Transaction, &[Item]),
) -> Result<(), DbError> {
    let txid = transaction.compute_txid();
    let new = NewTx {
        txid,
        raw: bitcoin::consensus::serialize(transaction),
        coinbase: false,
        inputs: transaction.input.iter().map(|input| input.previous_output).collect(),
        first_seen_at: now,
        prior_look_at: None,
    };
    db::tx::insert(tx.conn(), &new).await?;
    let (psbt, fee_sat) = bare(tx, transaction).await?;
    let version = VersionRow {
        facts: Version {
            n,
            txid,
            submitted: true,
            in_mempool: false,
            height: None,
            conflict_height: None,
        },
        unsigned_txid: psbt.unsigned_tx.compute_txid(),
        psbt: BASE64.encode(&psbt.serialize()),
        fee_sat: fee_sat.unwrap_or(0),
        weight: transaction.weight().to_wu(),
        created_at: now,
        created_by: "somebody else".into(),
        approved_by: None,
        submitted_at: None,
        change_script: None,
    };
    db::batch::insert_version(tx.conn(), batch, &version, items).await
}

/// The transaction without signatures, with those of its coins that are ours; and its fee, if all
/// are.
async fn bare(tx: &mut Tx, transaction: &Transaction) -> Result<(Psbt, Option<u64>), DbError> {
    let mut bare = transaction.clone();
    for input in &mut bare.input {
        input.script_sig = ScriptBuf::new();
        input.witness = Witness::new();
    }
    let mut psbt = Psbt::from_unsigned_tx(bare).expect("signatures were taken out");
    let mut spent_sat = Some(0_u64);
    for (known, input) in psbt.inputs.iter_mut().zip(&transaction.input) {
        match db::payment::find_output(tx.conn(), &input.previous_output).await? {
            None => spent_sat = None,
            Some(found) => {
                spent_sat = spent_sat.map(|sat| sat + found.amount_sat);
                known.witness_utxo = Some(bitcoin::TxOut {
                    value: bitcoin::Amount::from_sat(found.amount_sat),
                    script_pubkey: found.script_pubkey,
                });
            }
        }
    }
    let paid_sat: u64 = transaction.output.iter().map(|it| it.value.to_sat()).sum();
    Ok((psbt, spent_sat.map(|sat| sat.saturating_sub(paid_sat))))
}

/// A transaction of the wallet that was found after a restore.
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
    /// The batch that it is of from now on; `None` when it pays nothing that is owed.
    pub batch: Option<BatchId>,
    /// Outputs that nothing explains, in words.
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
        let taken = taken(tx, &self.transaction).await?;
        self.explain(tx, taken).await
    }
}

impl AdoptPayment {
    /// Holds each output that no batch explains against what is owed to its address.
    async fn explain(&self, tx: &mut Tx, taken: Taken) -> Result<Adopted, DbError> {
        let txid = self.transaction.compute_txid();
        let (_, fee_sat) = bare(tx, &self.transaction).await?;
        let Taken { batches, mut items, scripts: mut seen } = taken;
        let mut adopted = Adopted::default();
        for (vout, output) in (0..).zip(&self.transaction.output) {
            let script = &output.script_pubkey;
            let own = OutPoint { txid, vout };
            if seen.contains(script) || db::payment::find_output(tx.conn(), &own).await?.is_some() {
                continue;
            }
            seen.push(script.clone());
            let sat = paid_to(&self.transaction, script).map_or(0, |(_, sat)| sat);
            let address = Address::from_script(script, self.network).map(|it| it.to_string());
            let address = address.unwrap_or_else(|_| script.to_hex_string());
            let owed = open_to(tx, &address).await?;
            let owed_sat: u64 = owed.iter().map(|row| row.facts.amount_sat).sum();
            let missing_sat = owed_sat.saturating_sub(sat);
            // What is missing can only be what the miner got, and that is not most of it.
            let is_fee = fee_sat.is_some_and(|fee| missing_sat <= fee.min(owed_sat / 2));
            if owed_sat > 0 && sat <= owed_sat && is_fee {
                items.extend(shares(vout, &owed, missing_sat));
            } else {
                adopted.unclear.push(format!(
                    "{txid} pays {sat} sat to {address}; as far as is known {owed_sat} sat are \
                     owed there"
                ));
            }
        }
        if !items.is_empty() {
            let known = batches.into_keys().next();
            adopted.batch = Some(self.write(tx, known, &items).await?);
        }
        Ok(adopted)
    }

    /// As another version of a batch that is known, else as a batch of its own.
    async fn write(
        &self,
        tx: &mut Tx,
        known: Option<BatchId>,
        items: &[Item],
    ) -> Result<BatchId, DbError> {
        let id = match known {
            Some(batch) => batch,
            None => {
                let row = BatchRow {
                    id: BatchId::new(random_128()),
                    state: BatchState::Broadcast,
                    fee_policy: FeePolicy::Recipient,
                    created_at: self.ground.now,
                    abandoned_at: None,
                    replaced_by: None,
                    places: String::new(),
                    versions: Vec::new(),
                };
                db::batch::insert(tx.conn(), &row).await?;
                row.id
            }
        };
        insert_next(tx, self.ground.now, &id, (&self.transaction, items)).await?;
        for item in items {
            let row = db::payout::find(tx.conn(), item.payout.as_str()).await?;
            // What another batch fixes is paid by this one only once it is mined.
            if row.is_some_and(|row| row.state.is_open()) {
                db::payout::bind(tx.conn(), &item.payout, &id).await?;
            }
        }
        self.settle(tx, &id).await?;
        Ok(id)
    }

    /// Writes where it is, and what follows.
    async fn settle(&self, tx: &mut Tx, batch: &BatchId) -> Result<(), DbError> {
        let txid = self.transaction.compute_txid();
        if let Some((height, hash, position)) = self.block
            && let Some(block) = db::chain::find(tx.conn(), height).await?
            && block.hash == hash
        {
            let (mtp_at, moment_at) = (block.mtp_at, block.moment_at);
            let place = Place { height, position, mtp_at, moment_at };
            db::tx::mined(tx.conn(), &txid, &place).await?;
        }
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        settle_batch(tx, &self.ground, batch, tip).await?;
        for subject in db::batch::subjects(tx.conn(), batch).await? {
            settle_subject(tx, &self.ground, &subject).await?;
        }
        let detail = txid.to_string();
        let entry = (self.actor.as_str(), "payout.adopt", batch.as_str(), detail.as_str());
        db::audit_log::insert(tx.conn(), self.ground.now, entry).await
    }
}

async fn open_to(tx: &mut Tx, address: &str) -> Result<Vec<PayoutRow>, DbError> {
    let mut rows = Vec::new();
    for state in [PayoutState::Waiting, PayoutState::Due] {
        rows.extend(db::payout::list_open_to(tx.conn(), address, state).await?);
    }
    rows.retain(|row| row.facts.amount_sat > 0);
    Ok(rows)
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

/// Lets batches be prepared again after a restore.
pub struct EndHold {
    /// The clock.
    pub ground: Ground,
    /// True when something was unclear.
    pub forced: bool,
    /// The operator.
    pub actor: String,
}

impl WriteItem for EndHold {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        if db::meta::remove(tx, db::meta::PAYOUTS_HELD).await? {
            let how = if self.forced { "forced" } else { "" };
            let entry = (self.actor.as_str(), "payout.resume", "", how);
            db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        }
        Ok(())
    }
}
