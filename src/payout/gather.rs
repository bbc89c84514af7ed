//! Reads what a batch can be made of: payouts with their addresses, coins that are free, and coins
//! that must be spent so that no earlier transaction can pay the same money too.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bitcoin::{Address, OutPoint, ScriptBuf};

use crate::app::stale::{Threat, Threats};
use crate::app::{AppError, Code, Refusal};
use crate::db::payout::PayoutRow;
use crate::db::{self, Conn, DbError};
use crate::domain::ids::{BatchId, PayoutId};
use crate::domain::keychain::{Branch, Keychain};
use crate::domain::payout::PayoutState;
use crate::domain::payout::draft::{Coin, MOST_INPUTS, Wanted};

use super::hits::Hits;
use super::{Batcher, MOST_PAYOUTS, away, refused};

/// A payout that a batch does not pay, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutPayout {
    /// Which.
    pub id: PayoutId,
    /// In words.
    pub why: String,
}

/// Why a payout to an address of ours is not made.
const NOT_THERE: &str = "its address is one of this shop; its holder must give another";
/// How many due payouts are looked at for a batch, the largest first.
const CANDIDATES: u32 = 2000;

/// What a batch can be made of.
pub(super) struct Gathered {
    pub(super) payouts: Vec<Wanted>,
    pub(super) addresses: BTreeMap<PayoutId, String>,
    pub(super) must: Vec<Coin>,
    pub(super) coins: Vec<Coin>,
    pub(super) change: Change,
    pub(super) left_out: Vec<LeftOutPayout>,
    /// How many that are due were not looked at, since a batch takes no more.
    pub(super) more_due: u64,
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
    /// The payouts that the next batch looks at first, and how many more are due.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn due(&self) -> Result<(Vec<PayoutRow>, u64), AppError> {
        let mut conn = self.db.snapshot().await?;
        let rows = db::payout::list_due(&mut conn, MOST_PAYOUTS).await?;
        let more = db::payout::count_due(&mut conn).await?.saturating_sub(count(rows.len()));
        Ok((rows, more))
    }

    /// The payouts that are due, or those named.
    pub(super) async fn wanted(
        &self,
        conn: &mut Conn,
        only: Option<&[PayoutId]>,
    ) -> Result<Vec<PayoutRow>, AppError> {
        let Some(only) = only else { return Ok(db::payout::list_due(conn, CANDIDATES).await?) };
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
        let due = match only {
            Some(_) => 0,
            None => db::payout::count_due(&mut conn).await?,
        };
        let tip = db::chain::tip(&mut conn).await?.map_or(0, |tip| tip.height);
        let mut threats = Threats::new(&self.policy, tip);
        let mut hits = Hits::new(self, &mut conn).await?;
        let mut gathered = Gathered::new(self.change().await?);
        let mut against = Vec::new();
        let mut scripts: HashMap<String, Option<ScriptBuf>> = HashMap::new();
        let most = usize::try_from(MOST_PAYOUTS).unwrap_or(usize::MAX);
        // What cannot be paid takes nobody's place.
        for row in rows {
            if gathered.payouts.len() == most {
                break;
            }
            let Some(address) = row.address.clone() else { continue };
            if !scripts.contains_key(&address) {
                scripts.insert(address.clone(), self.destination(&address).await?);
            }
            let Some(Some(script)) = scripts.get(&address).cloned() else {
                gathered.leave_out(&row, NOT_THERE.into());
                continue;
            };
            let found = threats.to(&mut conn, &row).await?;
            for threat in &found {
                hits.learn(&mut conn, threat).await?;
            }
            match found.iter().find(|threat| !hits.can_hit(threat)) {
                Some(threat) => gathered.leave_out(&row, blocked(threat)),
                None => {
                    gathered.pay(&row, script, address);
                    against.extend(found);
                }
            }
        }
        let seen = gathered.payouts.len() + gathered.left_out.len();
        gathered.more_due = due.saturating_sub(count(seen));
        if only.is_none() {
            for batch in db::batch::list_abandoned(&mut conn).await? {
                against.extend(threats.of(&mut conn, &batch).await?);
            }
        }
        for threat in &against {
            hits.learn(&mut conn, threat).await?;
        }
        against.iter().for_each(|threat| hits.hit(threat));
        gathered.must = hits.chosen;
        // The other coins of what is impossible then are free.
        let spent: HashSet<OutPoint> = gathered.must.iter().map(|coin| coin.outpoint).collect();
        let mut replaced = BTreeSet::new();
        for batch in against.iter().map(|threat| &threat.batch).collect::<BTreeSet<_>>() {
            let all = threats.of(&mut conn, batch).await?;
            if all.iter().all(|it| it.inputs.iter().any(|coin| spent.contains(coin))) {
                replaced.insert(batch.clone());
            }
        }
        drop(conn);
        gathered.coins = self.free_coins(&replaced, &spent).await?;
        Ok(gathered)
    }

    /// What an address stands for; `None` when it is ours, or cannot be read: money to ourselves
    /// would come back as a payment.
    async fn destination(&self, text: &str) -> Result<Option<ScriptBuf>, AppError> {
        let address = text.parse::<Address<_>>().ok();
        let address = address.and_then(|address| address.require_network(self.network).ok());
        let Some(address) = address else { return Ok(None) };
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
        let outpoints: Vec<OutPoint> = unspent.iter().map(|coin| coin.outpoint).collect();
        self.coins(&outpoints).await
    }

    /// Our coins as a draft wants them; those that the books do not know are not ours to spend.
    pub(super) async fn coins(&self, outpoints: &[OutPoint]) -> Result<Vec<Coin>, AppError> {
        let mut conn = self.db.read().await?;
        self.known_coins(&mut conn, outpoints).await
    }

    /// The same over a connection.
    pub(super) async fn known_coins(
        &self,
        conn: &mut Conn,
        outpoints: &[OutPoint],
    ) -> Result<Vec<Coin>, AppError> {
        let weights: HashMap<u32, u64> = self
            .keychains(conn)
            .await?
            .into_iter()
            .map(|(id, keychain)| (id, keychain.satisfaction_weight()))
            .collect();
        let mut coins = Vec::new();
        for outpoint in outpoints {
            if coins.len() == MOST_INPUTS {
                break;
            }
            let Some(found) = db::payment::find_output(conn, outpoint).await? else {
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

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Why a payout waits for an earlier transaction.
fn blocked(threat: &Threat) -> String {
    let (batch, n) = (&threat.batch, threat.n);
    let until = match threat.dead_at {
        Some(height) => format!("until block {height}"),
        None => "until that is settled".into(),
    };
    format!(
        "version {n} of {batch} pays it, too, and may still be mined, and none of its coins can be \
         spent otherwise now; it waits {until}"
    )
}

impl Gathered {
    fn new(change: Change) -> Self {
        let (payouts, addresses) = (Vec::new(), BTreeMap::new());
        let (must, coins, left_out) = (Vec::new(), Vec::new(), Vec::new());
        Self { payouts, addresses, must, coins, change, left_out, more_due: 0 }
    }

    fn pay(&mut self, row: &PayoutRow, script_pubkey: ScriptBuf, address: String) {
        let id = row.facts.id.clone();
        self.addresses.insert(id.clone(), address);
        self.payouts.push(Wanted { id, script_pubkey, amount_sat: row.ready_sat });
    }

    fn leave_out(&mut self, row: &PayoutRow, why: String) {
        self.left_out.push(LeftOutPayout { id: row.facts.id.clone(), why });
    }
}
