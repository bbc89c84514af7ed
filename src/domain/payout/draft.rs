//! Drafts the transaction of a batch: which coins, which outputs, which fee, what is left out and
//! why. The same facts give the same transaction, so that a preview is what is made.
//! Called by `payout`; knows no node and no database.

use std::collections::{BTreeMap, HashSet};

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use thiserror::Error;

use super::super::ids::PayoutId;
use super::fee::{FeePolicy, fee_sat, split};

/// The most inputs of one transaction: more would not be relayed, or not be signed in time.
pub const MOST_INPUTS: usize = 500;

/// The most that nodes relay is 400,000 weight units; some are left for signatures that are larger
/// than they should be.
const MOST_WEIGHT: u64 = 390_000;

/// A coin of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The output.
    pub outpoint: OutPoint,
    /// Its value.
    pub amount_sat: u64,
    /// The script it pays.
    pub script_pubkey: ScriptBuf,
    /// The most weight units that spending it adds to an empty input.
    pub satisfaction_weight: u64,
}

/// A payout to be put into the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub id: PayoutId,
    /// Where it goes.
    pub script_pubkey: ScriptBuf,
    /// What is taken from what is owed.
    pub amount_sat: u64,
}

/// What a draft is made of.
#[derive(Clone, Debug)]
pub struct Order {
    /// Milli-satoshi a vbyte.
    pub feerate_msat: u64,
    /// Who pays the fee.
    pub fee_policy: FeePolicy,
    /// The most that the fee may be of what is paid, in percent.
    pub max_fee_pct: u64,
    /// Where change goes.
    pub change: ScriptBuf,
    /// Coins that must be spent: they make earlier transactions impossible.
    pub must: Vec<Coin>,
    /// Coins that may be spent.
    pub coins: Vec<Coin>,
    /// What is to be paid.
    pub payouts: Vec<Wanted>,
}

/// Why a payout is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LeftOut {
    /// Its output would be less than nodes relay.
    #[error("{left_sat} sat would be left of it, less than the network relays to that address")]
    Dust {
        /// What its output would be.
        left_sat: u64,
    },
    /// Its share of the fee is above the limit.
    #[error("its share of the fee, {fee_sat} sat, is more than {limit_pct} % of it")]
    Fee {
        /// The share of its output.
        fee_sat: u64,
        /// The limit.
        limit_pct: u64,
    },
    /// The coins are not enough for all, and it is among the largest.
    #[error("the coins that can be spent now are not enough for all; it is left for later")]
    Funds,
}

/// Why nothing can be drafted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DraftError {
    /// Nothing is left to be paid.
    #[error("there is nothing to pay")]
    Nothing {
        /// What was left out.
        left_out: Vec<(PayoutId, LeftOut)>,
    },
    /// Not enough coins.
    #[error("{needed_sat} sat are needed, {available_sat} sat are in coins that can be spent now")]
    Funds {
        /// With the fee, when the sender pays it.
        needed_sat: u64,
        /// In all coins that were offered.
        available_sat: u64,
    },
    /// Too many coins would be needed.
    #[error("more coins would be needed than one transaction can spend ({MOST_INPUTS})")]
    Inputs,
    /// The sender would pay more than the limit.
    #[error("the fee, {fee_sat} sat, is more than {limit_pct} % of the {total_sat} sat to pay")]
    Fee {
        /// The fee.
        fee_sat: u64,
        /// What is to be paid.
        total_sat: u64,
        /// The limit.
        limit_pct: u64,
    },
}

/// What one payout gets out of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which.
    pub id: PayoutId,
    /// What is taken from what is owed.
    pub amount_sat: u64,
    /// What of it is the fee.
    pub fee_sat: u64,
}

/// An output of the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where it goes.
    pub script_pubkey: ScriptBuf,
    /// Its value.
    pub amount_sat: u64,
    /// The payouts that it pays; none for change.
    pub shares: Vec<Share>,
}

/// The transaction of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What it spends, in the order of the inputs.
    pub inputs: Vec<Coin>,
    /// What it pays, in the order of the outputs.
    pub outputs: Vec<Output>,
    /// What the miner gets.
    pub fee_sat: u64,
    /// The most it weighs when it is signed.
    pub weight: u64,
    /// What was left out, and why.
    pub left_out: Vec<(PayoutId, LeftOut)>,
}

impl Draft {
    /// The transaction without signatures: version 2, replaceable (BIP125), no lock time.
    pub fn transaction(&self) -> Transaction {
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: self.inputs.iter().map(|coin| input(coin.outpoint)).collect(),
            output: self
                .outputs
                .iter()
                .map(|it| output(&it.script_pubkey, it.amount_sat))
                .collect(),
        }
    }

    /// The output that comes back to us.
    pub fn change(&self) -> Option<&Output> {
        self.outputs.iter().find(|output| output.shares.is_empty())
    }

    /// What is taken from what is owed.
    pub fn total_sat(&self) -> u64 {
        self.outputs.iter().flat_map(|output| &output.shares).map(|share| share.amount_sat).sum()
    }
}

fn input(previous_output: OutPoint) -> TxIn {
    TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    }
}

fn output(script_pubkey: &ScriptBuf, amount_sat: u64) -> TxOut {
    TxOut { value: Amount::from_sat(amount_sat), script_pubkey: script_pubkey.clone() }
}

/// The least output to `script` that nodes relay.
pub fn dust_sat(script: &ScriptBuf) -> u64 {
    script.minimal_non_dust().to_sat()
}

/// Drafts the transaction: as many payouts as can be paid, one output an address.
///
/// # Errors
/// Why there is none.
pub fn draft(order: &Order) -> Result<Draft, DraftError> {
    let mut groups: BTreeMap<ScriptBuf, Vec<&Wanted>> = BTreeMap::new();
    let mut payouts: Vec<&Wanted> = order.payouts.iter().filter(|it| it.amount_sat > 0).collect();
    payouts.sort_by(|a, b| a.id.cmp(&b.id));
    for wanted in payouts {
        groups.entry(wanted.script_pubkey.clone()).or_default().push(wanted);
    }
    let mut left_out = Vec::new();
    loop {
        if groups.is_empty() {
            return Err(DraftError::Nothing { left_out });
        }
        let sums: Vec<(ScriptBuf, u64)> = groups
            .iter()
            .map(|(script, list)| (script.clone(), list.iter().map(|it| it.amount_sat).sum()))
            .collect();
        let funded = match Funded::choose(order, &sums) {
            Ok(funded) => funded,
            // What can be paid is paid.
            Err(DraftError::Funds { .. } | DraftError::Inputs) if sums.len() > 1 => {
                let largest = sums.iter().max_by_key(|(_, sat)| *sat).map(|(script, _)| script);
                let list = largest.and_then(|script| groups.remove(script)).unwrap_or_default();
                left_out.extend(list.into_iter().map(|it| (it.id.clone(), LeftOut::Funds)));
                continue;
            }
            Err(error) => return Err(error),
        };
        let bad = funded.refused(order, &sums)?;
        if bad.is_empty() {
            return Ok(funded.draft(order, &groups, left_out));
        }
        for (script, why) in bad {
            let list = groups.remove(&script).unwrap_or_default();
            left_out.extend(list.into_iter().map(|wanted| (wanted.id.clone(), why)));
        }
    }
}

/// Coins, change and fee for a set of outputs.
struct Funded {
    inputs: Vec<Coin>,
    change_sat: Option<u64>,
    fee_sat: u64,
    weight: u64,
    /// What each output pays of the fee, in their order.
    shares: Vec<u64>,
}

impl Funded {
    /// Takes the coins that must be spent, then the largest ones until it is enough.
    fn choose(order: &Order, sums: &[(ScriptBuf, u64)]) -> Result<Self, DraftError> {
        let mut inputs = order.must.clone();
        let must: HashSet<OutPoint> = inputs.iter().map(|coin| coin.outpoint).collect();
        let mut more: Vec<&Coin> =
            order.coins.iter().filter(|coin| !must.contains(&coin.outpoint)).collect();
        more.sort_by_key(|coin| (std::cmp::Reverse(coin.amount_sat), coin.outpoint));
        let mut more = more.into_iter();
        if inputs.len() > MOST_INPUTS {
            return Err(DraftError::Inputs);
        }
        let total_sat: u64 = sums.iter().map(|(_, sat)| sat).sum();
        loop {
            let found_sat: u64 = inputs.iter().map(|coin| coin.amount_sat).sum();
            let needed_sat = total_sat.saturating_add(match order.fee_policy {
                FeePolicy::Recipient => 0,
                FeePolicy::Sender => fee_sat(weight(&inputs, sums, None), order.feerate_msat),
            });
            if !inputs.is_empty() && found_sat >= needed_sat {
                let funded = Self::settle(order, sums, inputs, found_sat - total_sat);
                let fits = funded.weight <= MOST_WEIGHT;
                return if fits { Ok(funded) } else { Err(DraftError::Inputs) };
            }
            let Some(coin) = more.next() else {
                return Err(DraftError::Funds { needed_sat, available_sat: found_sat });
            };
            if inputs.len() >= MOST_INPUTS {
                return Err(DraftError::Inputs);
            }
            inputs.push(coin.clone());
        }
    }

    /// `spare_sat` is what the coins hold beyond what is paid.
    fn settle(order: &Order, sums: &[(ScriptBuf, u64)], inputs: Vec<Coin>, spare_sat: u64) -> Self {
        let sender = order.fee_policy == FeePolicy::Sender;
        let with = weight(&inputs, sums, Some(&order.change));
        let with_sat = fee_sat(with, order.feerate_msat);
        let change_sat = if sender { spare_sat.saturating_sub(with_sat) } else { spare_sat };
        let outputs = vec![1; sums.len()];
        if change_sat >= dust_sat(&order.change) {
            let shares = split(if sender { 0 } else { with_sat }, &outputs);
            let change_sat = Some(change_sat);
            return Self { inputs, change_sat, fee_sat: with_sat, weight: with, shares };
        }
        // Too little to come back: it goes to the miner, and the recipients pay less.
        let weight = weight(&inputs, sums, None);
        let needed_sat = fee_sat(weight, order.feerate_msat);
        let shares = split(needed_sat.saturating_sub(spare_sat), &outputs);
        let fee_sat = needed_sat.max(spare_sat);
        Self { inputs, change_sat: None, fee_sat, weight, shares }
    }

    /// The outputs that cannot be, and why.
    fn refused(
        &self,
        order: &Order,
        sums: &[(ScriptBuf, u64)],
    ) -> Result<Vec<(ScriptBuf, LeftOut)>, DraftError> {
        let limit_pct = order.max_fee_pct;
        let above = |fee_sat: u64, sat: u64| {
            u128::from(fee_sat) * 100 > u128::from(sat) * u128::from(limit_pct)
        };
        let why = |((script, sat), share_sat): (&(ScriptBuf, u64), &u64)| {
            let left_sat = sat.saturating_sub(*share_sat);
            if left_sat < dust_sat(script) {
                return Some((script.clone(), LeftOut::Dust { left_sat }));
            }
            let too_much = above(*share_sat, *sat);
            too_much.then(|| (script.clone(), LeftOut::Fee { fee_sat: *share_sat, limit_pct }))
        };
        let bad: Vec<_> = sums.iter().zip(&self.shares).filter_map(why).collect();
        let total_sat: u64 = sums.iter().map(|(_, sat)| sat).sum();
        let (sender, fee_sat) = (order.fee_policy == FeePolicy::Sender, self.fee_sat);
        if sender && bad.is_empty() && above(fee_sat, total_sat) {
            return Err(DraftError::Fee { fee_sat, total_sat, limit_pct });
        }
        Ok(bad)
    }

    fn draft(
        self,
        order: &Order,
        groups: &BTreeMap<ScriptBuf, Vec<&Wanted>>,
        left_out: Vec<(PayoutId, LeftOut)>,
    ) -> Draft {
        let mut outputs: Vec<Output> = groups
            .iter()
            .zip(&self.shares)
            .map(|((script, list), fee_sat)| {
                let amounts: Vec<u64> = list.iter().map(|it| it.amount_sat).collect();
                let fees = split(*fee_sat, &amounts);
                let share = |(wanted, fee_sat): (&&Wanted, u64)| Share {
                    id: wanted.id.clone(),
                    amount_sat: wanted.amount_sat,
                    fee_sat,
                };
                Output {
                    script_pubkey: script.clone(),
                    amount_sat: amounts.iter().sum::<u64>() - fee_sat,
                    shares: list.iter().zip(fees).map(share).collect(),
                }
            })
            .collect();
        if let Some(amount_sat) = self.change_sat {
            let script_pubkey = order.change.clone();
            outputs.push(Output { script_pubkey, amount_sat, shares: Vec::new() });
        }
        // Change in its place by script, which tells nobody which output it is.
        outputs.sort_by(|a, b| a.script_pubkey.cmp(&b.script_pubkey));
        let mut inputs = self.inputs;
        inputs.sort_by_key(|coin| coin.outpoint);
        Draft { inputs, outputs, fee_sat: self.fee_sat, weight: self.weight, left_out }
    }
}

/// The most that the signed transaction weighs (BIP141): the bare one with a segwit marker, and for
/// each input an empty witness and what satisfies it.
fn weight(inputs: &[Coin], sums: &[(ScriptBuf, u64)], change: Option<&ScriptBuf>) -> u64 {
    let outputs = sums.iter().map(|(script, sat)| output(script, *sat));
    let bare = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: inputs.iter().map(|coin| input(coin.outpoint)).collect(),
        output: outputs.chain(change.map(|script| output(script, 0))).collect(),
    };
    let satisfied: u64 = inputs.iter().map(|coin| 1 + coin.satisfaction_weight).sum();
    bare.weight().to_wu() + 2 + satisfied
}
