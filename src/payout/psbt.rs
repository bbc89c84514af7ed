//! PSBTs (BIP174, BIP371) of batches: filled for the signer, read as they come back, and compared
//! with what was prepared.

use std::collections::BTreeSet;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{OutPoint, Psbt, Transaction, Txid};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

use crate::app::AppError;
use crate::chain::wallet::WatchOnly;
use crate::domain::payout::draft::Draft;

use super::away;

/// What comes back from a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// With some or all signatures.
    Psbt(Box<Psbt>),
    /// Ready to be sent.
    Transaction(Box<Transaction>),
}

impl Signed {
    /// Reads base64 or hex of a PSBT, or hex of a transaction. Blanks and line ends do not count.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text: String = text.split_whitespace().collect();
        if let Some(psbt) = from_base64(&text) {
            return Some(Self::Psbt(Box::new(psbt)));
        }
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        match Psbt::deserialize(&bytes) {
            Ok(psbt) => Some(Self::Psbt(Box::new(psbt))),
            Err(_) => deserialize_hex(&text).ok().map(Box::new).map(Self::Transaction),
        }
    }

    /// The transaction, with whatever signatures it has.
    pub(super) fn transaction(&self) -> &Transaction {
        match self {
            Self::Psbt(psbt) => &psbt.unsigned_tx,
            Self::Transaction(transaction) => transaction,
        }
    }
}

/// Base64 of a PSBT.
pub fn base64(psbt: &Psbt) -> String {
    BASE64.encode(&psbt.serialize())
}

/// Reads base64 of a PSBT.
pub fn from_base64(text: &str) -> Option<Psbt> {
    Psbt::deserialize(&BASE64.decode(text.trim().as_bytes()).ok()?).ok()
}

/// The PSBT of a draft with the coins and derivations that a signer needs.
///
/// # Errors
/// When the node does not know a coin, or knows it otherwise.
pub(super) async fn fill(wallet: &WatchOnly, draft: &Draft) -> Result<Psbt, AppError> {
    let bare = Psbt::from_unsigned_tx(draft.transaction()).map_err(away)?;
    let filled = wallet.fill(&bare).await.map_err(away)?;
    for (n, coin) in draft.inputs.iter().enumerate() {
        let known = filled
            .spend_utxo(n)
            .map_err(|_| away(format!("its wallet does not know the coin {}", coin.outpoint)))?;
        if known.value.to_sat() != coin.amount_sat || known.script_pubkey != coin.script_pubkey {
            return Err(away(format!("it knows the coin {} otherwise", coin.outpoint)));
        }
        // Without it the txid after signing is not known.
        if coin.script_pubkey.is_p2sh() && filled.inputs[n].redeem_script.is_none() {
            return Err(away(format!("it does not know the script of the coin {}", coin.outpoint)));
        }
    }
    Ok(filled)
}

/// The txid that the transaction will have: of sh(wsh) the redeem script is in it (BIP141).
pub(super) fn signed_txid(psbt: &Psbt) -> Txid {
    let mut transaction = psbt.unsigned_tx.clone();
    for (input, known) in transaction.input.iter_mut().zip(&psbt.inputs) {
        if let Some(script) = &known.redeem_script
            && let Ok(bytes) = PushBytesBuf::try_from(script.to_bytes())
        {
            input.script_sig = Builder::new().push_slice(bytes).into_script();
        }
    }
    transaction.compute_txid()
}

/// In what `found` is not `expected`, in words; empty when both pay the same from the same.
pub(super) fn differences(expected: &Transaction, found: &Transaction) -> Vec<String> {
    let mut said = Vec::new();
    let coins = |transaction: &Transaction| -> BTreeSet<OutPoint> {
        transaction.input.iter().map(|input| input.previous_output).collect()
    };
    let (wanted, spent) = (coins(expected), coins(found));
    said.extend(
        spent.difference(&wanted).map(|coin| format!("it spends {coin}, which is not in it")),
    );
    said.extend(wanted.difference(&spent).map(|coin| format!("it does not spend {coin}")));
    for n in 0..expected.output.len().max(found.output.len()) {
        match (expected.output.get(n), found.output.get(n)) {
            (Some(a), Some(b)) if a.script_pubkey != b.script_pubkey => {
                said.push(format!("output {n} pays another address"));
            }
            (Some(a), Some(b)) if a.value != b.value => said.push(format!(
                "output {n} pays {} sat instead of {} sat",
                b.value.to_sat(),
                a.value.to_sat()
            )),
            (None, Some(_)) => said.push(format!("output {n} was not prepared")),
            (Some(_), None) => said.push(format!("output {n} is missing")),
            _ => {}
        }
    }
    let rest = |transaction: &Transaction| {
        let order: Vec<_> =
            transaction.input.iter().map(|it| (it.previous_output, it.sequence)).collect();
        (transaction.version, transaction.lock_time, order)
    };
    if said.is_empty() && rest(expected) != rest(found) {
        said.push("its version, lock time, sequence numbers or order of inputs differ".into());
    }
    said
}
