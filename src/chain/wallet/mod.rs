//! The node's watch-only wallet that holds our keychains: it knows which coins are unspent and
//! fills PSBTs. Made and kept by ourselves. It has no key, nothing is credited by what it says,
//! and following the chain does without it. Called by `worker::wallet`, `check` and the payouts.

mod answer;
mod ensure;
mod error;
mod plan;

use std::collections::HashSet;

use bitcoin::{Address, BlockHash, OutPoint, Psbt, ScriptBuf, Txid};
use data_encoding::BASE64;
use miniscript::{Descriptor, DescriptorPublicKey};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::answer::{
    AddressAnswer, DescriptorAnswer, DescriptorsAnswer, FilledAnswer, FolderAnswer, HistoryAnswer,
    HistoryEntry, InfoAnswer, TransactionAnswer, UnspentAnswer,
};
use super::bitcoind::Bitcoind;
use super::rpc::{Rpc, unusable};

pub use error::WalletError;

/// The largest range that the node imports for a descriptor.
pub const LARGEST_RANGE: u32 = 1_000_000;

/// More confirmations than there can be.
const ANY_DEPTH: u32 = 9_999_999;

/// A coin of ours that is unspent in the chain (`listunspent`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it holds.
    pub amount_sat: u64,
    /// The script it pays.
    pub script_pubkey: ScriptBuf,
    /// Of its transaction.
    pub confirmations: u32,
}

/// A transaction of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its bytes.
    pub raw: Vec<u8>,
    /// The block it is in: height, hash, place in it.
    pub block: Option<(u32, BlockHash, u32)>,
}

/// A branch of a keychain as the wallet must hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Public, with origin and checksum, of a single branch: …/0/* or …/1/*.
    pub descriptor: String,
    /// Whether it is our change.
    pub internal: bool,
    /// Indexes below it, at most [`LARGEST_RANGE`].
    pub end: u32,
    /// The first index that can never have been paid: to import what is at it or above, no chain
    /// needs to be searched.
    pub unpaid_from: u32,
}

/// What the node has under the wallet's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Missing,
    /// A wallet that is not loaded.
    Unloaded,
    /// A wallet that is loaded.
    Loaded,
}

/// The node's watch-only wallet of one name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WatchOnly {
    node: Rpc,
    wallet: Rpc,
    name: String,
}

impl WatchOnly {
    /// The wallet `name` of `node`. Does not connect yet.
    pub fn new(node: &Bitcoind, name: String) -> Self {
        let wallet = node.rpc().at_path(&format!("wallet/{name}"));
        Self { node: node.rpc().clone(), wallet, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the node has it. Changes nothing.
    ///
    /// # Errors
    /// When the node does not answer, or has no wallets.
    pub async fn standing(&self) -> Result<Standing, WalletError> {
        let loaded: Vec<String> = self.ask_node("listwallets", json!([])).await?;
        if loaded.contains(&self.name) {
            return Ok(Standing::Loaded);
        }
        let folder: FolderAnswer = self.ask_node("listwalletdir", json!([])).await?;
        let there = folder.wallets.iter().any(|entry| entry.name == self.name);
        Ok(if there { Standing::Unloaded } else { Standing::Missing })
    }

    /// How far a search of the chain is, in percent; `None` when the wallet is ready.
    ///
    /// # Errors
    /// [`WalletError::NotLoaded`] when the node has not loaded it; what is wrong with it.
    pub async fn scanning(&self) -> Result<Option<u8>, WalletError> {
        let info: InfoAnswer = self.ask("getwalletinfo", json!([])).await?;
        let name = self.name.clone();
        match info {
            InfoAnswer { private_keys_enabled: true, .. } => Err(WalletError::PrivateKeys { name }),
            InfoAnswer { descriptors: false, .. } => Err(WalletError::Legacy { name }),
            InfoAnswer { scanning, .. } => Ok(scanning.0),
        }
    }

    /// Refuses a wallet that is not a watch-only one of these descriptors, or of some of them.
    /// Changes nothing.
    ///
    /// # Errors
    /// What is wrong with it; [`WalletError::Scanning`] while it is not to be asked.
    pub async fn check(&self, wanted: impl Iterator<Item = &str>) -> Result<(), WalletError> {
        self.idle().await?;
        let known: Vec<_> = wanted.map(parse).collect();
        for held in self.held().await? {
            let parsed = parse(&held.desc);
            if parsed.is_none() || !known.contains(&parsed) {
                let (name, descriptor) = (self.name.clone(), shortened(&held.desc));
                return Err(WalletError::Foreign { name, descriptor });
            }
        }
        Ok(())
    }

    /// Our coins with at least so many confirmations, without immature ones and, of unconfirmed
    /// ones, those of others (`listunspent`).
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn coins(&self, min_confirmations: u32) -> Result<Vec<Coin>, WalletError> {
        let params = json!([min_confirmations, ANY_DEPTH, [], false]);
        let coins: Vec<UnspentAnswer> = self.ask("listunspent", params).await?;
        Ok(coins.into_iter().map(Coin::from).collect())
    }

    /// Transactions that spend coins of ours and are in the chain or may still be, oldest first
    /// (`listsinceblock`).
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn sent(&self) -> Result<Vec<Txid>, WalletError> {
        let history: HistoryAnswer = self.ask("listsinceblock", json!([])).await?;
        let mut seen = HashSet::new();
        let stands = |entry: &HistoryEntry| {
            entry.category == "send" && entry.confirmations >= 0 && !entry.abandoned
        };
        let sent = history.transactions.into_iter().filter(stands).map(|entry| entry.txid);
        // An entry for each output.
        Ok(sent.filter(|txid| seen.insert(*txid)).collect())
    }

    /// One of them (`gettransaction`).
    ///
    /// # Errors
    /// When the node does not answer or does not know it.
    pub async fn transaction(&self, txid: &Txid) -> Result<Sent, WalletError> {
        let answer: TransactionAnswer = self.ask("gettransaction", json!([txid])).await?;
        Ok(answer.into())
    }

    /// The PSBT with what the wallet knows of its inputs and outputs: the coins that are spent and
    /// the derivations of our keys (`walletprocesspsbt`). Signs nothing.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn fill(&self, psbt: &Psbt) -> Result<Psbt, WalletError> {
        let params = json!({
            "psbt": BASE64.encode(&psbt.serialize()),
            "sign": false,
            "bip32derivs": true,
            "finalize": false,
        });
        let filled: FilledAnswer = self.ask("walletprocesspsbt", params).await?;
        if filled.psbt.unsigned_tx != psbt.unsigned_tx {
            let error = unusable("walletprocesspsbt", &"it is another transaction");
            return Err(WalletError::Node(error));
        }
        Ok(filled.psbt)
    }

    /// Whether an address is one of ours, of either branch, within what the wallet holds
    /// (`getaddressinfo`).
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn is_ours(&self, address: &Address) -> Result<bool, WalletError> {
        let answer: AddressAnswer = self.ask("getaddressinfo", json!([address])).await?;
        Ok(answer.is_ours())
    }

    /// It is what it should be, and searches nothing.
    async fn idle(&self) -> Result<(), WalletError> {
        match self.scanning().await? {
            None => Ok(()),
            Some(percent) => Err(WalletError::Scanning { name: self.name.clone(), percent }),
        }
    }

    async fn held(&self) -> Result<Vec<DescriptorAnswer>, WalletError> {
        let answer: DescriptorsAnswer = self.ask("listdescriptors", json!([])).await?;
        Ok(answer.descriptors)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, WalletError> {
        self.wallet.call(method, params).await.map_err(|error| WalletError::of(error, &self.name))
    }

    async fn ask_node<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, WalletError> {
        self.node.call(method, params).await.map_err(|error| WalletError::of(error, &self.name))
    }
}

/// Descriptors are compared by what they say: the node writes `h` where others write `'`.
fn parse(descriptor: &str) -> Option<Descriptor<DescriptorPublicKey>> {
    descriptor.parse().ok()
}

/// Enough to recognise a descriptor by, without its keys.
fn shortened(descriptor: &str) -> String {
    let (body, checksum) = descriptor.split_once('#').unwrap_or((descriptor, "none"));
    let kind: String = body.chars().take_while(|c| c.is_ascii_lowercase() || *c == '(').collect();
    format!("{kind}…#{checksum}")
}
