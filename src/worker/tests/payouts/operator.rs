//! An operator with keys and a watch-only wallet of its own: prepares, bumps, signs, submits and
//! gives up batches as the server does it with a node. A careless one asks for what must be refused.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bitcoin::consensus::serialize;
use bitcoin::{Address, Network, OutPoint, Psbt, Transaction};

use super::chain::{Blocks, View};
use crate::app::AppError;
use crate::app::abandon_batch::AbandonBatch;
use crate::app::record_batch::{Actor, For, MarkDust, RecordBatch};
use crate::app::stale::{Threat, Threats};
use crate::app::submit_batch::{Approval, SubmitBatch};
use crate::db::{self, Conn};
use crate::domain::ids::{BatchId, PayoutId};
use crate::domain::keychain::Branch;
use crate::domain::payout::draft::{Coin, Draft, DraftError, LeftOut, Order, Wanted, draft};
use crate::domain::payout::fee::FeePolicy;
use crate::payout::base64;
use crate::worker::rig::Rig;

/// What it is told to do when it prepares.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub feerate_msat: u64,
    /// Only the payout at this place of those that are due.
    pub only: Option<usize>,
    /// Spends none of the coins that it must.
    pub careless: bool,
}

#[derive(Default)]
pub struct Operator {
    blocks: Blocks,
    /// Every version that was ever made: its batch, its number, the transaction.
    pub made: Vec<(BatchId, u32, Draft)>,
}

/// A version's transaction, signed.
pub fn signed(draft: &Draft) -> Transaction {
    let mut tx = draft.transaction();
    for input in &mut tx.input {
        input.witness = bitcoin::Witness::from_slice(&[[1; 8]]);
    }
    tx
}

/// The same coins spent by somebody else with the same keys, for a higher fee: the largest output
/// is smaller, and an output may be left out.
pub fn raised(draft: &Draft, without: Option<usize>) -> Option<Transaction> {
    let mut tx = signed(draft);
    if let Some(place) = without.filter(|_| tx.output.len() > 1) {
        let _ = tx.output.remove(place % tx.output.len());
    }
    let largest = tx.output.iter_mut().max_by_key(|output| output.value)?;
    largest.value = largest.value.checked_sub(bitcoin::Amount::from_sat(400))?;
    Some(tx)
}

fn actor() -> Actor {
    Actor { key: "key_test".into(), name: "key_test".into() }
}

impl Operator {
    pub async fn view(&mut self, rig: &Rig) -> View {
        self.blocks.view(&rig.chain).await
    }

    /// Makes a batch of what is due. `None` when nothing could be drafted.
    pub async fn prepare(&mut self, rig: &Rig, how: How) -> Option<Result<BatchId, AppError>> {
        let view = self.view(rig).await;
        let mut conn = rig.db.read().await.unwrap();
        let gathered = gather(rig, &mut conn, &view, how).await;
        let index = db::keychain::next_internal(&mut conn, 1).await.unwrap();
        drop(conn);
        let order = Order {
            feerate_msat: how.feerate_msat,
            fee_policy: FeePolicy::Recipient,
            max_fee_pct: 25,
            change: rig.shop.keychain.script(Branch::Internal, index),
            must: gathered.must,
            coins: gathered.coins,
            payouts: gathered.payouts,
        };
        let made = match draft(&order) {
            Ok(made) => made,
            Err(DraftError::Nothing { left_out }) => {
                let dust =
                    left_out.into_iter().filter(|(_, why)| matches!(why, LeftOut::Dust { .. }));
                let payouts = dust.map(|(id, _)| id).collect();
                rig.db.write(MarkDust { ground: rig.ground(), payouts }).await.unwrap();
                return None;
            }
            Err(_) => return None,
        };
        Some(self.record(rig, made, (gathered.addresses, index, For::New)).await)
    }

    /// What is due, though something else may still pay it that can never be made impossible.
    pub async fn stuck(&mut self, rig: &Rig) -> Vec<PayoutId> {
        let view = self.view(rig).await;
        let mut conn = rig.db.read().await.unwrap();
        let mut stuck = Vec::new();
        let mut threats = Threats::new(&rig.shop.policy, view.tip);
        for row in db::payout::list_due(&mut conn, 100).await.unwrap() {
            let found = threats.to(&mut conn, &row).await.unwrap();
            // A coin that is in no block may come back, or be taken.
            let is_there = |coin: &OutPoint| view.heights.contains_key(&coin.txid);
            let settled = |threat: &&Threat| threat.inputs.iter().all(is_there);
            let free = |threat: &Threat| threat.inputs.iter().any(|coin| view.is_unspent(coin));
            if found.iter().filter(settled).any(|threat| !free(threat)) {
                stuck.push(row.facts.id);
            }
        }
        stuck
    }

    async fn record(
        &mut self,
        rig: &Rig,
        made: Draft,
        (addresses, index, what): (BTreeMap<PayoutId, String>, u32, For),
    ) -> Result<BatchId, AppError> {
        let n = match &what {
            For::New => 1,
            For::Bump { after, .. } => after + 1,
        };
        let psbt = Psbt::from_unsigned_tx(made.transaction()).unwrap();
        let item = RecordBatch {
            ground: rig.ground(),
            txid: made.transaction().compute_txid(),
            psbt: base64(&psbt),
            draft: made.clone(),
            addresses,
            fee_policy: FeePolicy::Recipient,
            change: (1, index),
            what,
            actor: actor(),
            key: None,
            answer: serde_json::json!({}),
        };
        let outcome = rig.db.write(item).await?;
        let batch = BatchId::parse(outcome.body["batch"].as_str().unwrap()).unwrap();
        self.made.push((batch.clone(), n, made));
        Ok(batch)
    }

    /// Makes the next version of a batch, with twice the fee.
    pub async fn bump(&mut self, rig: &Rig, batch: &BatchId) -> Option<Result<BatchId, AppError>> {
        let newest = self.made.iter().rfind(|(of, _, _)| of == batch);
        let (_, after, old) = newest?.clone();
        let view = self.view(rig).await;
        let mut conn = rig.db.read().await.unwrap();
        let locked = db::batch::locked(&mut conn).await.unwrap();
        let locked: HashSet<OutPoint> = locked.into_iter().map(|(coin, _)| coin).collect();
        let coins = coins(rig, &mut conn).await;
        let index = db::keychain::next_internal(&mut conn, 1).await.unwrap();
        drop(conn);
        let free =
            |coin: &Coin| view.is_free(&coin.outpoint, 2) && !locked.contains(&coin.outpoint);
        let pays = old.outputs.iter().flat_map(|output| {
            output.shares.iter().map(|share| Wanted {
                id: share.id.clone(),
                script_pubkey: output.script_pubkey.clone(),
                amount_sat: share.amount_sat,
            })
        });
        let order = Order {
            feerate_msat: old.fee_sat * 8000 / old.weight,
            fee_policy: FeePolicy::Recipient,
            max_fee_pct: 60,
            change: rig.shop.keychain.script(Branch::Internal, index),
            must: old.inputs.clone(),
            coins: coins.into_values().filter(free).collect(),
            payouts: pays.collect(),
        };
        let made = draft(&order).ok().filter(|made| made.left_out.is_empty())?;
        let what = For::Bump { batch: batch.clone(), after };
        Some(self.record(rig, made, (BTreeMap::new(), index, what)).await)
    }

    /// Hands a signed version in; the caller sends it.
    pub async fn submit(&self, rig: &Rig, place: usize) -> Result<Transaction, AppError> {
        let (batch, version, draft) = &self.made[place];
        let tx = signed(draft);
        let item = SubmitBatch {
            ground: rig.ground(),
            batch: batch.clone(),
            version: *version,
            raw: serialize(&tx),
            approval: Approval { required: false, above_sat: 0 },
            actor: "key_test".into(),
        };
        rig.db.write(item).await.map(|()| tx)
    }

    pub async fn abandon(&self, rig: &Rig, batch: &BatchId) -> Result<(), AppError> {
        let (ground, batch) = (rig.ground(), batch.to_string());
        rig.db.write(AbandonBatch { ground, batch, actor: "key_test".into() }).await
    }
}

struct Gathered {
    payouts: Vec<Wanted>,
    addresses: BTreeMap<PayoutId, String>,
    must: Vec<Coin>,
    coins: Vec<Coin>,
}

/// All outputs of ours, spent or not.
async fn coins(rig: &Rig, conn: &mut Conn) -> HashMap<OutPoint, Coin> {
    let weight = rig.shop.keychain.satisfaction_weight();
    let all = db::payment::list(conn, &db::payment::Filter::default(), 10_000).await.unwrap();
    let coin = |row: db::payment::PaymentRow| Coin {
        outpoint: row.facts.outpoint,
        amount_sat: row.facts.amount_sat,
        script_pubkey: row.script_pubkey,
        satisfaction_weight: weight,
    };
    all.into_iter().map(|row| (row.facts.outpoint, coin(row))).collect()
}

/// What is due, the coins that must be spent for it and those that may be.
async fn gather(rig: &Rig, conn: &mut Conn, view: &View, how: How) -> Gathered {
    let mut threats = Threats::new(&rig.shop.policy, view.tip);
    let mut rows = db::payout::list_due(conn, 100).await.unwrap();
    if let Some(place) = how.only.filter(|_| !rows.is_empty()) {
        rows = vec![rows.swap_remove(place % rows.len())];
    }
    let all = coins(rig, conn).await;
    let locked = db::batch::locked(conn).await.unwrap();
    let alive: HashSet<OutPoint> =
        db::batch::locked_alive(conn).await.unwrap().into_iter().collect();
    let spendable = |threat: &Threat| {
        let mut found = threat.inputs.iter().filter(|coin| {
            view.is_unspent(coin) && !alive.contains(*coin) && all.contains_key(*coin)
        });
        found.next().map(|coin| all[coin].clone())
    };
    let (mut must, mut replaced) = (BTreeMap::new(), BTreeSet::new());
    let (mut payouts, mut addresses) = (Vec::new(), BTreeMap::new());
    let mut hit = |threat: &Threat| {
        replaced.insert(threat.batch.clone());
        if let Some(coin) = spendable(threat) {
            must.insert(coin.outpoint, coin);
        }
    };
    for row in rows {
        let found = threats.to(conn, &row).await.unwrap();
        if !how.careless && !found.iter().all(|threat| spendable(threat).is_some()) {
            continue;
        }
        found.iter().for_each(&mut hit);
        let text = row.address.clone().unwrap();
        let address: Address<_> = text.parse().unwrap();
        let script_pubkey = address.require_network(Network::Regtest).unwrap().script_pubkey();
        addresses.insert(row.facts.id.clone(), text);
        payouts.push(Wanted { id: row.facts.id, script_pubkey, amount_sat: row.ready_sat });
    }
    if how.only.is_none() {
        for batch in db::batch::list_abandoned(conn).await.unwrap() {
            let found = threats.of(conn, &batch).await.unwrap();
            found.iter().for_each(&mut hit);
        }
    }
    // A careless one takes coins that no earlier transaction spends.
    let is_locked = |(_, of): &(OutPoint, BatchId)| how.careless || !replaced.contains(of);
    let kept: HashSet<OutPoint> =
        locked.into_iter().filter(is_locked).map(|(coin, _)| coin).collect();
    let free = |coin: &Coin| view.is_free(&coin.outpoint, 2) && !kept.contains(&coin.outpoint);
    let coins = all.into_values().filter(free).collect();
    let must = if how.careless { Vec::new() } else { must.into_values().collect() };
    Gathered { payouts, addresses, must, coins }
}
