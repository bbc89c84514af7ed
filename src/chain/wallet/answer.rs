//! The parts of the wallet calls' answers that we read. No float is ever made of a number.

use bitcoin::{BlockHash, OutPoint, Psbt, ScriptBuf, Txid};
use data_encoding::BASE64;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Coin, Sent};
use crate::chain::answer::{Btc, Hex};

/// `getwalletinfo`.
#[derive(Deserialize)]
pub(super) struct InfoAnswer {
    pub(super) private_keys_enabled: bool,
    #[serde(default)]
    pub(super) descriptors: bool,
    pub(super) scanning: Scanning,
}

/// `false`, or `{duration, progress}` with a progress from 0 to 1. Here in whole percent.
pub(super) struct Scanning(pub(super) Option<u8>);

impl<'de> Deserialize<'de> for Scanning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Under {
            progress: Box<RawValue>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if text.get() == "false" {
            return Ok(Self(None));
        }
        let under: Under = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self(Some(percent(under.progress.get()))))
    }
}

/// The first two digits after the point. A scan that is under way is never at 100.
fn percent(text: &str) -> u8 {
    match text.split_once('.') {
        // Written as 1e-05 when it is small.
        _ if text.contains(['e', 'E']) => 0,
        Some(("0", fraction)) => {
            let digits: String = fraction.chars().chain("00".chars()).take(2).collect();
            digits.parse().unwrap_or(0)
        }
        _ if text == "0" => 0,
        _ => 99,
    }
}

/// `listdescriptors`.
#[derive(Deserialize)]
pub(super) struct DescriptorsAnswer {
    pub(super) descriptors: Vec<DescriptorAnswer>,
}

#[derive(Deserialize)]
pub(super) struct DescriptorAnswer {
    pub(super) desc: String,
    /// First and last index; none for a descriptor of one script.
    pub(super) range: Option<(u32, u32)>,
}

/// One of `importdescriptors`.
#[derive(Deserialize)]
pub(super) struct ImportAnswer {
    pub(super) success: bool,
    pub(super) error: Option<crate::chain::rpc::Fault>,
}

/// `listwalletdir`.
#[derive(Deserialize)]
pub(super) struct FolderAnswer {
    pub(super) wallets: Vec<FolderEntry>,
}

#[derive(Deserialize)]
pub(super) struct FolderEntry {
    pub(super) name: String,
}

/// `getblockchaininfo`, for the median time of the tip.
#[derive(Deserialize)]
pub(super) struct TipAnswer {
    pub(super) mediantime: u64,
}

/// `getaddressinfo`.
#[derive(Deserialize)]
pub(super) struct AddressAnswer {
    #[serde(default)]
    ismine: bool,
    #[serde(default)]
    iswatchonly: bool,
    #[serde(default)]
    pub(super) labels: Vec<String>,
}

impl AddressAnswer {
    pub(super) fn is_ours(&self) -> bool {
        self.ismine || self.iswatchonly
    }
}

/// One of `listunspent`.
#[derive(Deserialize)]
pub(super) struct UnspentAnswer {
    txid: Txid,
    vout: u32,
    amount: Btc,
    confirmations: u32,
    #[serde(rename = "scriptPubKey")]
    script: Hex,
}

impl From<UnspentAnswer> for Coin {
    fn from(answer: UnspentAnswer) -> Self {
        Self {
            outpoint: OutPoint { txid: answer.txid, vout: answer.vout },
            amount_sat: answer.amount.0,
            script_pubkey: ScriptBuf::from_bytes(answer.script.0),
            confirmations: answer.confirmations,
        }
    }
}

/// `listsinceblock`.
#[derive(Deserialize)]
pub(super) struct HistoryAnswer {
    pub(super) transactions: Vec<HistoryEntry>,
}

#[derive(Deserialize)]
pub(super) struct HistoryEntry {
    pub(super) txid: Txid,
    pub(super) category: String,
    #[serde(default)]
    pub(super) abandoned: bool,
    /// Negative for one that a mined transaction conflicts with.
    pub(super) confirmations: i64,
}

/// `gettransaction`.
#[derive(Deserialize)]
pub(super) struct TransactionAnswer {
    hex: Hex,
    blockhash: Option<BlockHash>,
    blockheight: Option<u32>,
    blockindex: Option<u32>,
}

impl From<TransactionAnswer> for Sent {
    fn from(answer: TransactionAnswer) -> Self {
        let block = match (answer.blockheight, answer.blockhash, answer.blockindex) {
            (Some(height), Some(hash), Some(position)) => Some((height, hash, position)),
            _ => None,
        };
        Self { raw: answer.hex.0, block }
    }
}

/// `walletprocesspsbt`.
#[derive(Deserialize)]
pub(super) struct FilledAnswer {
    #[serde(deserialize_with = "psbt")]
    pub(super) psbt: Psbt,
}

fn psbt<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Psbt, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
    Psbt::deserialize(&bytes).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_read_in_whole_percent() {
        let read = |text: &str| serde_json::from_str::<Scanning>(text).map(|it| it.0).ok();
        assert_eq!(read("false"), Some(None));
        let under = |progress: &str| read(&format!(r#"{{"duration":3,"progress":{progress}}}"#));
        for (progress, percent) in [
            ("0", 0),
            ("0.3", 30),
            ("0.0712345", 7),
            ("0.999999", 99),
            ("1.0", 99),
            ("1", 99),
            ("5.2e-05", 0),
        ] {
            assert_eq!(under(progress), Some(Some(percent)), "{progress}");
        }
        assert_eq!(read("7"), None);
    }
}
