//! Reads what a batch can be made of: payouts with their addresses, coins that are free, and coins
//! that must be spent so that no earlier transaction can pay the same money too.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bitcoin::{Address, OutPoint, ScriptBuf};

use crate::app::stale::{Threat, of_batch, threats};
use crate::app::{AppError, Code, Refusal};
use crate::db::payout::PayoutRow;
use crate::db::{self, Conn, DbError};
use crate::domain::ids::{BatchId, PayoutId};
use crate::domain::keychain::{Branch, Keychain};
use crate::domain::payout::PayoutState;
use crate::domain::payout::draft::{Coin, MOST_INPUTS, Wanted};

use super::{Batcher, MOST_PAYOUTS, away, refused};

/// A payout that a batch does not pay, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutPayout {
    /// Which.
    pub id: PayoutId,
    /// In words.
    pub why: String,
}

/// What a batch can be made of.
pub(super) struct Gathered {
    pub(super) payouts: Vec<Wanted>,
    pub(super) addresses: BTreeMap<PayoutId, String>,
    pub(super) must: Vec<Coin>,
    pub(super) coins: Vec<Coin>,
    pub(super) change: Change,
    pub(super) left_out: Vec<LeftOutPayout>,
}

/// Where change goes.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) keychain: u32,
    pub(super) index: u32,
    pub(super) script_pubkey: ScriptBuf,
}

/// Why a payout that was named cannot be paid now.
fn unfit(row: &PayoutRow, confirmations: u32) -> Option<String> {
    let id = &row.facts.id;
    Some(match row.state {
        PayoutState::Prepared => format!("{id} is in a batch already"),
        PayoutState::Broadcast | PayoutState::Confirmed => format!("{id} has been sent already"),
        _ if row.address.is_none() => format!("{id} has no address yet: its holder must give one"),
        _ if row.ready_sat == 0 => {
            format!("{id} waits: not all payments behind it have {confirmations} confirmations")
        }
        _ => return None,
    })
}

impl Batcher {
    /// The payouts that are due, or those named.
    pub(super) async fn wanted(
        &self,
        conn: &mut Conn,
        only: Option<&[PayoutId]>,
    ) -> Result<Vec<PayoutRow>, AppError> {
        let Some(only) = only else { return Ok(db::payout::list_due(conn, MOST_PAYOUTS).await?) };
        let most = usize::try_from(MOST_PAYOUTS).unwrap_or(usize::MAX);
        if only.is_empty() || only.len() > most {
            let detail = format!("name 1 to {MOST_PAYOUTS} payouts, or leave it out for all");
            return Err(Refusal::field(Code::InvalidRequest, "/only", detail).into());
        }
        let mut rows = Vec::new();
        for id in only.iter().collect::<BTreeSet<_>>() {
            let found = db::payout::find(conn, id.as_str()).await?;
            let unknown = || refused(Code::NotFound, format!("there is no payout {id}"));
            let row = found.ok_or_else(unknown)?;
            if let Some(why) = unfit(&row, self.policy.payout_confirmations) {
                return Err(refused(Code::Conflict, why));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Everything for a new batch. Without `only` coins of all batches that were given up are
    /// spent, too, so that these are impossible from then on.
    pub(super) async fn gather(&self, only: Option<&[PayoutId]>) -> Result<Gathered, AppError> {
        let mut conn = self.db.read().await?;
        let rows = self.wanted(&mut conn, only).await?;
        let tip = db::chain::tip(&mut conn).await?.map_or(0, |tip| tip.height);
        let mut left_out = Vec::new();
        let mut fit = Vec::new();
        for row in rows {
            let recipient = row.facts.recipient.as_ref();
            let found = threats(&mut conn, &self.policy, tip, &row.subject, recipient).await?;
            fit.push((row, found));
        }
        let mut abandoned = Vec::new();
        if only.is_none() {
            for batch in db::batch::list_abandoned(&mut conn).await? {
                abandoned.extend(of_batch(&mut conn, &self.policy, tip, &batch).await?);
            }
        }
        drop(conn);
        let all = fit.iter().flat_map(|(_, found)| found).chain(&abandoned);
        let mut hits = Hits::new(self, all).await?;
        fit.retain(|(row, found)| match found.iter().find(|threat| !hits.can_hit(threat)) {
            None => true,
            Some(threat) => {
                left_out.push(blocked(&row.facts.id, threat));
                false
            }
        });
        for threat in fit.iter().flat_map(|(_, found)| found).chain(&abandoned) {
            hits.hit(threat);
        }
        let must = hits.chosen;
        let spent: HashSet<OutPoint> = must.iter().map(|coin| coin.outpoint).collect();
        let mut replaced: BTreeSet<BatchId> = BTreeSet::new();
        replaced.extend(fit.iter().flat_map(|(_, it)| it).map(|threat| threat.batch.clone()));
        replaced.extend(abandoned.into_iter().map(|threat| threat.batch));
        let coins = self.free_coins(&replaced, &spent).await?;
        let rows = fit.into_iter().map(|(row, _)| row).collect();
        let (payouts, addresses) = self.destinations(rows, &mut left_out).await?;
        let change = self.change().await?;
        Ok(Gathered { payouts, addresses, must, coins, change, left_out })
    }

    /// Where each payout goes; none to ourselves, which would come back as a payment.
    async fn destinations(
        &self,
        rows: Vec<PayoutRow>,
        left_out: &mut Vec<LeftOutPayout>,
    ) -> Result<(Vec<Wanted>, BTreeMap<PayoutId, String>), AppError> {
        let (mut payouts, mut addresses) = (Vec::new(), BTreeMap::new());
        let mut known: HashMap<String, Option<ScriptBuf>> = HashMap::new();
        for row in rows {
            let Some(text) = row.address.clone() else { continue };
            if !known.contains_key(&text) {
                known.insert(text.clone(), self.destination(&text).await?);
            }
            let id = row.facts.id.clone();
            match known.get(&text).cloned().flatten() {
                Some(script_pubkey) => {
                    addresses.insert(id.clone(), text);
                    payouts.push(Wanted { id, script_pubkey, amount_sat: row.ready_sat });
                }
                None => {
                    let why = "its address is one of this shop; its holder must give another";
                    left_out.push(LeftOutPayout { id, why: why.into() });
                }
            }
        }
        Ok((payouts, addresses))
    }

    async fn destination(&self, text: &str) -> Result<Option<ScriptBuf>, AppError> {
        let unreadable = || DbError::corrupt("payout", "address", text);
        let address: Address<_> = text.parse().map_err(|_| unreadable())?;
        let address = address.require_network(self.network).map_err(|_| unreadable())?;
        let ours = self.watch_only.is_ours(&address).await.map_err(away)?;
        Ok((!ours).then(|| address.script_pubkey()))
    }

    /// The next change address of the keychain that issues.
    pub(super) async fn change(&self) -> Result<Change, AppError> {
        let mut conn = self.db.read().await?;
        let index = db::keychain::next_internal(&mut conn, self.keychain_id).await?;
        let keychains = self.keychains(&mut conn).await?;
        let id = self.keychain_id;
        let keychain = keychains.get(&id).ok_or_else(|| DbError::corrupt("keychain", "id", id))?;
        let script_pubkey = keychain.script(Branch::Internal, index);
        Ok(Change { keychain: id, index, script_pubkey })
    }

    async fn keychains(&self, conn: &mut Conn) -> Result<HashMap<u32, Keychain>, AppError> {
        let mut found = HashMap::new();
        for row in db::keychain::list(conn).await? {
            let keychain = Keychain::parse(&row.descriptor, self.network)
                .map_err(|_| DbError::corrupt("keychain", "descriptor", row.id))?;
            found.insert(row.id, keychain);
        }
        Ok(found)
    }

    /// Coins with the confirmations that payouts need, in no batch but `replaced`, not `spent`: the
    /// largest ones, as many as a transaction can spend.
    pub(super) async fn free_coins(
        &self,
        replaced: &BTreeSet<BatchId>,
        spent: &HashSet<OutPoint>,
    ) -> Result<Vec<Coin>, AppError> {
        let least = self.policy.payout_confirmations;
        let mut unspent = self.watch_only.coins(least).await.map_err(away)?;
        let mut conn = self.db.read().await?;
        let locked = db::batch::locked(&mut conn).await?;
        drop(conn);
        let locked: HashSet<OutPoint> = locked
            .into_iter()
            .filter(|(_, batch)| !replaced.contains(batch))
            .map(|(coin, _)| coin)
            .collect();
        unspent.retain(|coin| !locked.contains(&coin.outpoint) && !spent.contains(&coin.outpoint));
        unspent.sort_by_key(|coin| (std::cmp::Reverse(coin.amount_sat), coin.outpoint));
        unspent.truncate(MOST_INPUTS);
        let outpoints: Vec<OutPoint> = unspent.iter().map(|coin| coin.outpoint).collect();
        self.coins(&outpoints).await
    }

    /// Our coins as a draft wants them; those that the books do not know are not ours to spend.
    pub(super) async fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Coin>, AppError> {
        let mut conn = self.db.read().await?;
        let weights: HashMap<u32, u64> = self
            .keychains(&mut conn)
            .await?
            .into_iter()
            .map(|(id, keychain)| (id, keychain.satisfaction_weight()))
            .collect();
        let mut coins = Vec::new();
        for outpoint in outpoints {
            let Some(found) = db::payment::find_output(&mut conn, outpoint).await? else {
                tracing::warn!(coin = %outpoint, "a coin of the wallet that is not in the books");
                continue;
            };
            coins.push(Coin {
                outpoint: *outpoint,
                amount_sat: found.amount_sat,
                script_pubkey: found.script_pubkey,
                satisfaction_weight: weights.get(&found.keychain).copied().unwrap_or(0),
            });
        }
        Ok(coins)
    }
}

fn blocked(id: &PayoutId, threat: &Threat) -> LeftOutPayout {
    let (batch, n) = (&threat.batch, threat.n);
    let until = match threat.dead_at {
        Some(height) => format!("until block {height}"),
        None => "until that is settled".into(),
    };
    let why = format!(
        "version {n} of {batch} pays it, too, and may still be mined, and none of its coins can be \
         spent otherwise now; it waits {until}"
    );
    LeftOutPayout { id: id.clone(), why }
}

/// Chooses coins whose spending makes threats impossible: of those that can be spent, the ones
/// that most threats spend.
struct Hits {
    spendable: HashMap<OutPoint, (usize, Coin)>,
    chosen: Vec<Coin>,
}

impl Hits {
    async fn new<'a>(
        batcher: &Batcher,
        threats: impl Iterator<Item = &'a Threat>,
    ) -> Result<Self, AppError> {
        let mut counts: BTreeMap<OutPoint, usize> = BTreeMap::new();
        let mut seen = HashSet::new();
        for threat in threats.filter(|threat| seen.insert((threat.batch.clone(), threat.n))) {
            for coin in &threat.inputs {
                *counts.entry(*coin).or_default() += 1;
            }
        }
        let mut conn = batcher.db.read().await?;
        let alive: HashSet<OutPoint> =
            db::batch::locked_alive(&mut conn).await?.into_iter().collect();
        drop(conn);
        let mut spendable = HashMap::new();
        for (outpoint, count) in counts.iter().filter(|(coin, _)| !alive.contains(coin)) {
            let unspent = batcher.node.unspent_output(outpoint, false).await.map_err(away)?;
            if unspent.is_none() {
                continue;
            }
            let coins = batcher.coins(&[*outpoint]).await?;
            spendable.extend(coins.into_iter().map(|coin| (*outpoint, (*count, coin))));
        }
        Ok(Self { spendable, chosen: Vec::new() })
    }

    fn best(&self, threat: &Threat) -> Option<&Coin> {
        let coins = threat.inputs.iter().filter_map(|coin| self.spendable.get(coin));
        let best = coins.max_by_key(|(count, coin)| (*count, std::cmp::Reverse(coin.outpoint)));
        best.map(|(_, coin)| coin)
    }

    fn can_hit(&self, threat: &Threat) -> bool {
        self.best(threat).is_some()
    }

    fn hit(&mut self, threat: &Threat) {
        let is_hit = self.chosen.iter().any(|coin| threat.inputs.contains(&coin.outpoint));
        if let Some(coin) = self.best(threat).filter(|_| !is_hit).cloned() {
            self.chosen.push(coin);
        }
    }
}
