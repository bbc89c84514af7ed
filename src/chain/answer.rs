//! The parts of bitcoind's answers that we read, in structs of our own: nodes differ in the rest.
//! Amounts are read from their decimal text, never through a float.

use bitcoin::{Amount, BlockHash, Denomination, ScriptBuf, SignedAmount, Txid, Work};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{BlockId, Header, MempoolEntry};
use crate::domain::time::Timestamp;

/// Bytes written as hex, decoded without a copy of the text.
pub(super) struct Hex(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decode;
        impl Visitor<'_> for Decode {
            type Value = Hex;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string of hex digits")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Hex, E> {
                HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map(Hex).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Decode)
    }
}

/// An amount in whole bitcoin with a decimal point. A fee lowered by `prioritisetransaction` may
/// be negative; it counts as none.
pub(super) struct Btc(pub(super) u64);

impl<'de> Deserialize<'de> for Btc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let signed = SignedAmount::from_str_in(text.get(), Denomination::Bitcoin);
        let amount = signed.map_err(D::Error::custom)?;
        Ok(Self(Amount::try_from(amount).unwrap_or(Amount::ZERO).to_sat()))
    }
}

fn work<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Work, D::Error> {
    let Hex(bytes) = Hex::deserialize(deserializer)?;
    let bytes = bytes.try_into().map_err(|_| D::Error::custom("chain work has not 32 bytes"))?;
    Ok(Work::from_be_bytes(bytes))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    i64::deserialize(deserializer).map(Timestamp::from_secs)
}

/// `getblockheader HASH true`.
#[derive(Deserialize)]
pub(super) struct HeaderAnswer {
    hash: BlockHash,
    height: u32,
    /// -1 outside the active chain.
    confirmations: i64,
    #[serde(deserialize_with = "seconds")]
    time: Timestamp,
    #[serde(deserialize_with = "seconds")]
    mediantime: Timestamp,
    #[serde(deserialize_with = "work")]
    chainwork: Work,
    previousblockhash: Option<BlockHash>,
    nextblockhash: Option<BlockHash>,
}

impl From<HeaderAnswer> for Header {
    fn from(answer: HeaderAnswer) -> Self {
        Self {
            id: BlockId { height: answer.height, hash: answer.hash },
            prev: answer.previousblockhash,
            time_at: answer.time,
            mtp_at: answer.mediantime,
            active: answer.confirmations > 0,
            next: answer.nextblockhash,
            work: answer.chainwork,
        }
    }
}

/// `getblockchaininfo`.
#[derive(Deserialize)]
pub(super) struct ChainAnswer {
    pub(super) chain: String,
    pub(super) blocks: u32,
    pub(super) headers: u32,
    pub(super) bestblockhash: BlockHash,
    pub(super) initialblockdownload: bool,
    #[serde(default)]
    pub(super) pruned: bool,
    pub(super) pruneheight: Option<u32>,
    #[serde(deserialize_with = "work")]
    pub(super) chainwork: Work,
}

/// `getnetworkinfo`.
#[derive(Deserialize)]
pub(super) struct NetworkAnswer {
    pub(super) version: u32,
    pub(super) subversion: String,
    pub(super) connections: u32,
}

/// One of `getchaintips`.
#[derive(Deserialize)]
pub(super) struct ChainTip {
    pub(super) height: u32,
    pub(super) hash: BlockHash,
    pub(super) branchlen: u32,
    pub(super) status: String,
}

/// `getmempoolinfo`.
#[derive(Deserialize)]
pub(super) struct MempoolAnswer {
    #[serde(default = "yes")]
    pub(super) loaded: bool,
}

fn yes() -> bool {
    true
}

/// `getmempoolentry`.
#[derive(Deserialize)]
pub(super) struct EntryAnswer {
    ancestorcount: u32,
    ancestorsize: u64,
    fees: Fees,
}

#[derive(Deserialize)]
struct Fees {
    ancestor: Btc,
}

impl From<EntryAnswer> for MempoolEntry {
    fn from(answer: EntryAnswer) -> Self {
        let msat = answer.fees.ancestor.0.saturating_mul(1000);
        Self {
            ancestor_count: answer.ancestorcount,
            feerate_msat_vb: msat.checked_div(answer.ancestorsize).unwrap_or(0),
        }
    }
}

/// One of `gettxspendingprevout`.
#[derive(Deserialize)]
pub(super) struct Spender {
    pub(super) spendingtxid: Option<Txid>,
}

/// `gettxout`.
#[derive(Deserialize)]
pub(super) struct OutputAnswer {
    pub(super) value: Btc,
    pub(super) confirmations: u32,
    pub(super) coinbase: bool,
    #[serde(rename = "scriptPubKey")]
    pub(super) script: ScriptAnswer,
}

/// `scantxoutset start […]`.
#[derive(Deserialize)]
pub(super) struct CoinsAnswer {
    pub(super) unspents: Vec<CoinAnswer>,
}

#[derive(Deserialize)]
pub(super) struct CoinAnswer {
    #[serde(rename = "scriptPubKey")]
    pub(super) script: Hex,
}

#[derive(Deserialize)]
pub(super) struct ScriptAnswer {
    hex: Hex,
}

impl ScriptAnswer {
    pub(super) fn into_script(self) -> ScriptBuf {
        ScriptBuf::from_bytes(self.hex.0)
    }
}

/// `finalizepsbt`.
#[derive(Deserialize)]
pub(super) struct FinalAnswer {
    pub(super) complete: bool,
    pub(super) hex: Option<Hex>,
}

/// One of `testmempoolaccept`.
#[derive(Deserialize)]
pub(super) struct TrialAnswer {
    #[serde(default)]
    pub(super) allowed: bool,
    #[serde(rename = "reject-reason")]
    pub(super) reason: Option<String>,
}

/// `estimatesmartfee`, a thousand vbytes.
#[derive(Deserialize)]
pub(super) struct FeeAnswer {
    pub(super) feerate: Option<Btc>,
}

/// `getmempoolinfo`, for what a thousand vbytes must pay at least.
#[derive(Deserialize)]
pub(super) struct FloorAnswer {
    pub(super) mempoolminfee: Btc,
    pub(super) minrelaytxfee: Btc,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_to_the_satoshi() {
        let read = |text| serde_json::from_str::<Btc>(text).map(|btc| btc.0).ok();
        assert_eq!(read("0.00000001"), Some(1));
        assert_eq!(read("20999999.97690000"), Some(2_099_999_997_690_000));
        assert_eq!(read("-0.00000200"), Some(0));
        assert_eq!(read("0.000000001"), None);
        assert_eq!(read("\"1\""), None);
    }

    #[test]
    fn a_feerate_counts_the_ancestors() {
        let text = r#"{"vsize":100,"ancestorcount":2,"ancestorsize":300,"fees":{"base":0.00000100,"ancestor":0.00000700}}"#;
        let entry: EntryAnswer = serde_json::from_str(text).unwrap();
        assert_eq!(
            MempoolEntry::from(entry),
            MempoolEntry { ancestor_count: 2, feerate_msat_vb: 2333 }
        );
    }

    #[test]
    fn hex_is_read_in_either_case_and_whole() {
        let read = |text| serde_json::from_str::<Hex>(text).map(|hex| hex.0).ok();
        assert_eq!(read("\"00fFAb\""), Some(vec![0, 0xff, 0xab]));
        assert_eq!(read("\"00f\""), None);
        assert_eq!(read("7"), None);
    }
}
