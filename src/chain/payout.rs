//! What a payout needs of a node beside its wallet: finalise, try, and the price of space in a
//! block. Signs nothing and sends nothing.

use bitcoin::Psbt;
use data_encoding::{BASE64, HEXLOWER};
use serde_json::json;

use super::ChainError;
use super::answer::{FeeAnswer, FinalAnswer, FloorAnswer, TrialAnswer};
use super::bitcoind::Bitcoind;
use super::rpc::unusable;

/// What a transaction is refused for that the node has already, be it with other signatures.
const HAD_ALREADY: [&str; 3] =
    ["txn-already-in-mempool", "txn-same-nonwitness-data-in-mempool", "txn-already-known"];
/// The blocks that the node estimates for.
const TARGETS: std::ops::RangeInclusive<u16> = 1..=1008;

impl Bitcoind {
    /// The raw transaction of a PSBT with all its signatures; `None` while some are missing
    /// (`finalizepsbt`).
    ///
    /// # Errors
    /// When the node does not answer, or cannot read the PSBT.
    pub async fn finalize_psbt(&self, psbt: &Psbt) -> Result<Option<Vec<u8>>, ChainError> {
        let params = json!([BASE64.encode(&psbt.serialize()), true]);
        let answer: FinalAnswer = self.rpc().call("finalizepsbt", params).await?;
        Ok(answer.hex.filter(|_| answer.complete).map(|hex| hex.0))
    }

    /// Whether the node would take a transaction into its mempool, or has it there or in the
    /// chain; if not, the reason in its words (`testmempoolaccept`). No fee is too high for it.
    ///
    /// # Errors
    /// When the node does not answer, or cannot read the transaction.
    pub async fn test_accept(&self, raw: &[u8]) -> Result<Result<(), String>, ChainError> {
        const METHOD: &str = "testmempoolaccept";
        let params = json!([[HEXLOWER.encode(raw)], 0]);
        let answers: Vec<TrialAnswer> = self.rpc().call(METHOD, params).await?;
        let Some(answer) = answers.into_iter().next() else {
            return Err(unusable(METHOD, &"no answer for the transaction"));
        };
        match answer.reason {
            _ if answer.allowed => Ok(Ok(())),
            Some(reason) if HAD_ALREADY.contains(&reason.as_str()) => Ok(Ok(())),
            reason => Ok(Err(reason.unwrap_or_else(|| "no reason".to_owned()))),
        }
    }

    /// The feerate with which a transaction is mined within so many blocks, in thousandths of a
    /// satoshi a vbyte, never below what the node takes into its mempool now; `None` when it has
    /// seen too few blocks to tell (`estimatesmartfee`).
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn feerate(&self, blocks: u16) -> Result<Option<u64>, ChainError> {
        let target = blocks.clamp(*TARGETS.start(), *TARGETS.end());
        let params = json!([target, "conservative"]);
        let estimate: FeeAnswer = self.rpc().call("estimatesmartfee", params).await?;
        let Some(feerate) = estimate.feerate else {
            return Ok(None);
        };
        let floor: FloorAnswer = self.rpc().call("getmempoolinfo", json!([])).await?;
        // Bitcoin a thousand vbytes: its satoshis are thousandths of a satoshi a vbyte.
        Ok(Some(feerate.0.max(floor.mempoolminfee.0).max(floor.minrelaytxfee.0)))
    }
}
