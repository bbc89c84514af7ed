//! What the API shows of payouts and batches.

use bitcoin::{Address, Network, Psbt};
use data_encoding::BASE64;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::batch::{BatchRow, Item, VersionRow};
use crate::db::payout::PayoutRow;
use crate::db::{self, Conn, DbError};
use crate::domain::payout::PayoutState;
use crate::domain::payout::batch::BatchState;
use crate::domain::payout::draft::Draft;
use crate::domain::payout::fee::FeePolicy;
use crate::domain::time::Timestamp;

use super::submit_batch::Approval;

/// A payout: money that is owed to somebody, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PayoutView {
    /// `pyt_…`.
    pub id: String,
    /// `refund`.
    pub kind: String,
    /// The lease or payment that it comes from.
    pub subject: String,
    /// The resource's id.
    pub resource: Option<String>,
    /// What is taken from what is owed; a fee that the recipient pays is inside.
    pub amount_sat: u64,
    /// What of it can leave now; 0 once it is in a batch.
    pub ready_sat: u64,
    /// `waiting`, `due`, `prepared`, `broadcast` or `confirmed`.
    #[schema(value_type = String, example = "due")]
    pub state: PayoutState,
    /// Why it waits: `address`, `confirmations`, `minimum`; `dust`: it was too small for the network.
    pub waits_for: Option<String>,
    /// Where it goes.
    pub address: Option<String>,
    /// The batch it was put into last.
    pub batch: Option<String>,
    /// The transaction that pays it.
    pub txid: Option<String>,
    /// When it was first owed.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Shows a payout.
pub fn payout(row: &PayoutRow) -> PayoutView {
    let waits_for = match row.state {
        PayoutState::Waiting if row.address.is_none() => Some("address"),
        PayoutState::Waiting if row.ready_sat == 0 => Some("confirmations"),
        PayoutState::Waiting => Some("minimum"),
        PayoutState::Due if row.facts.dust => Some("dust"),
        _ => None,
    };
    PayoutView {
        id: row.facts.id.to_string(),
        kind: row.kind.clone(),
        subject: row.subject.clone(),
        resource: row.resource.clone(),
        amount_sat: row.facts.amount_sat,
        ready_sat: row.ready_sat,
        state: row.state,
        waits_for: waits_for.map(Into::into),
        address: row.address.clone(),
        batch: row.facts.batch.as_ref().map(ToString::to_string),
        txid: row.txid.clone(),
        created_at: row.created_at,
    }
}

/// A coin that a batch spends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InputView {
    /// Its transaction.
    pub txid: String,
    /// Its output.
    pub vout: u32,
    /// Its value; 0 when it is not ours.
    pub amount_sat: u64,
}

/// What an output pays to one payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShareView {
    /// The payout.
    pub id: String,
    /// What is taken from what is owed.
    pub amount_sat: u64,
    /// What of it is the fee.
    pub fee_sat: u64,
}

/// An output of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutputView {
    /// Where it goes.
    pub address: String,
    /// Its value.
    pub amount_sat: u64,
    /// True for what comes back to us.
    pub change: bool,
    /// The payouts that it pays.
    pub payouts: Vec<ShareView>,
}

/// What a batch's transaction does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PaysView {
    /// What is taken from what is owed.
    pub total_sat: u64,
    /// What the miner gets.
    pub fee_sat: u64,
    /// The most virtual bytes of it once it is signed.
    pub vsize: u64,
    /// In the order of its inputs.
    pub inputs: Vec<InputView>,
    /// In the order of its outputs.
    pub outputs: Vec<OutputView>,
}

/// One of the transactions of a batch, of which at most one can be mined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct VersionView {
    /// 1 for the first.
    pub version: u32,
    /// Its txid once it is signed.
    pub txid: String,
    /// What the miner gets.
    pub fee_sat: u64,
    /// True while the node has it in its mempool.
    pub in_mempool: bool,
    /// The block it is in.
    pub height: Option<u32>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The API key that made it.
    pub created_by: String,
    /// The API key that approved it.
    pub approved_by: Option<String>,
    /// When it came back with all signatures.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub submitted_at: Option<Timestamp>,
}

/// A batch: payouts that leave in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BatchView {
    /// `bat_…`.
    pub id: String,
    /// `prepared`, `broadcast`, `confirmed`, `abandoned`, `replaced` or `conflicted`.
    #[schema(value_type = String, example = "prepared")]
    pub state: BatchState,
    /// The version in the chain, else the newest: what follows is of it. `versions` tells which one
    /// is in the mempool.
    pub version: u32,
    /// Its txid once it is signed.
    pub txid: String,
    /// Confirmations of it.
    pub confirmations: u32,
    /// `recipient` or `sender`.
    #[schema(value_type = String, example = "recipient")]
    pub fee_policy: FeePolicy,
    /// What it pays.
    pub pays: PaysView,
    /// True while another API key has to approve this version before it can be submitted.
    pub needs_approval: bool,
    /// The PSBT (BIP174) in base64, with the signatures that came so far.
    pub psbt: String,
    /// All versions.
    pub versions: Vec<VersionView>,
    /// The batch that took its payouts.
    pub replaced_by: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A payout that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeftOutView {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

/// What was prepared, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PreparedView {
    /// The txid of the transaction before it is signed: a preview is known by it.
    pub txid: String,
    /// The feerate it was drafted for.
    pub feerate_msat_vb: u64,
    /// What it pays.
    pub pays: PaysView,
    /// What is due and is not paid by it.
    pub left_out: Vec<LeftOutView>,
    /// How many more are due and stay so: a batch pays up to 250, the largest first. 0 when it was
    /// asked for some only.
    pub more_due: u64,
    /// The batch; `null` for a preview.
    pub batch: Option<BatchView>,
}

fn address(script: &bitcoin::Script, network: Network) -> String {
    match Address::from_script(script, network) {
        Ok(address) => address.to_string(),
        Err(_) => script.to_hex_string(),
    }
}

/// Shows what a draft pays.
pub fn draft(draft: &Draft, network: Network) -> PaysView {
    let input = |coin: &crate::domain::payout::draft::Coin| InputView {
        txid: coin.outpoint.txid.to_string(),
        vout: coin.outpoint.vout,
        amount_sat: coin.amount_sat,
    };
    let output = |output: &crate::domain::payout::draft::Output| OutputView {
        address: address(&output.script_pubkey, network),
        amount_sat: output.amount_sat,
        change: output.shares.is_empty(),
        payouts: output
            .shares
            .iter()
            .map(|share| ShareView {
                id: share.id.to_string(),
                amount_sat: share.amount_sat,
                fee_sat: share.fee_sat,
            })
            .collect(),
    };
    PaysView {
        total_sat: draft.total_sat(),
        fee_sat: draft.fee_sat,
        vsize: draft.weight.div_ceil(4),
        inputs: draft.inputs.iter().map(input).collect(),
        outputs: draft.outputs.iter().map(output).collect(),
    }
}

/// Shows a batch; `None` when there is no such one.
///
/// # Errors
/// Those of the database.
pub async fn batch(
    conn: &mut Conn,
    id: &str,
    (network, tip, approval): (Network, u32, Approval),
) -> Result<Option<BatchView>, DbError> {
    let Some(row) = db::batch::find(conn, id).await? else { return Ok(None) };
    let facts = row.facts();
    let corrupt = || DbError::corrupt("payout_version", "psbt", id);
    let leading = facts.leading().map(|version| version.n);
    let version = leading.and_then(|n| row.version(n)).ok_or_else(corrupt)?;
    let items = db::batch::items(conn, &row.id, version.facts.n).await?;
    let psbt = BASE64.decode(version.psbt.as_bytes()).ok();
    let psbt = psbt.and_then(|it| Psbt::deserialize(&it).ok()).ok_or_else(corrupt)?;
    let pays = pays(&psbt, version, &items, network).ok_or_else(corrupt)?;
    let state = facts.state();
    let signed = version.submitted_at.is_some() || version.facts.height.is_some();
    let waits = state.is_alive() && !signed && version.approved_by.is_none();
    let confirmations = version.facts.height.map_or(0, |height| (tip + 1).saturating_sub(height));
    Ok(Some(BatchView {
        id: row.id.to_string(),
        state,
        version: version.facts.n,
        txid: version.facts.txid.to_string(),
        confirmations,
        fee_policy: row.fee_policy,
        needs_approval: waits && approval.needed(pays.total_sat),
        pays,
        psbt: version.psbt.clone(),
        versions: versions(&row),
        replaced_by: row.replaced_by.clone(),
        created_at: row.created_at,
    }))
}

fn versions(row: &BatchRow) -> Vec<VersionView> {
    row.versions
        .iter()
        .map(|version| VersionView {
            version: version.facts.n,
            txid: version.facts.txid.to_string(),
            fee_sat: version.fee_sat,
            in_mempool: version.facts.in_mempool,
            height: version.facts.height,
            created_at: version.created_at,
            created_by: version.created_by.clone(),
            approved_by: version.approved_by.clone(),
            submitted_at: version.submitted_at,
        })
        .collect()
}

fn pays(psbt: &Psbt, row: &VersionRow, items: &[Item], network: Network) -> Option<PaysView> {
    let mut inputs = Vec::new();
    for (n, input) in psbt.unsigned_tx.input.iter().enumerate() {
        inputs.push(InputView {
            txid: input.previous_output.txid.to_string(),
            vout: input.previous_output.vout,
            amount_sat: psbt.spend_utxo(n).map_or(0, |coin| coin.value.to_sat()),
        });
    }
    let outputs = (0..).zip(&psbt.unsigned_tx.output).map(|(vout, output)| {
        let own = items.iter().filter(|item| item.vout == vout);
        let payouts: Vec<ShareView> = own
            .map(|item| ShareView {
                id: item.payout.to_string(),
                amount_sat: item.amount_sat,
                fee_sat: item.fee_sat,
            })
            .collect();
        OutputView {
            address: address(&output.script_pubkey, network),
            amount_sat: output.value.to_sat(),
            change: payouts.is_empty(),
            payouts,
        }
    });
    Some(PaysView {
        total_sat: items.iter().map(|item| item.amount_sat).sum(),
        fee_sat: row.fee_sat,
        vsize: row.weight.div_ceil(4),
        inputs,
        outputs: outputs.collect(),
    })
}
