//! Makes the wallet and brings it to what is wanted of it. Never takes anything out of a wallet,
//! and never changes one that is not ours.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{AddressAnswer, ImportAnswer, TipAnswer};
use super::plan::{self, Import, Mark};
use super::{Standing, WalletError, Wanted, WatchOnly, parse};
use crate::chain::rpc::unusable;

/// How long the node may search the chain while we wait. It goes on when we do not.
const SCAN_TIMEOUT: Duration = Duration::from_secs(86_400);
/// `RPC_WALLET_ALREADY_LOADED`.
const LOADED_ALREADY: i64 = -35;

impl WatchOnly {
    /// Makes the wallet or loads it, checks that it is what it should be, and imports what it
    /// lacks. `scan_from` is the Unix time in seconds of the oldest block whose payments matter:
    /// from there the chain is searched for coins that may have been paid, which takes as long as
    /// it takes. To drop it then is harmless: the next call sees what was not searched.
    ///
    /// # Errors
    /// A wallet that has private keys or descriptors that are not wanted is refused and left as
    /// it is.
    pub async fn ensure(&self, wanted: &[Wanted], scan_from: u64) -> Result<(), WalletError> {
        self.open().await?;
        self.check(wanted.iter().map(|wanted| wanted.descriptor.as_str())).await?;
        let held = self.held().await?;
        let tip: TipAnswer = self.ask_node("getblockchaininfo", json!([])).await?;
        let mut imports = Vec::new();
        for wanted in wanted {
            let parsed = parse(&wanted.descriptor);
            let held = held.iter().find(|held| parse(&held.desc) == parsed);
            let first = self.first_address(&wanted.descriptor).await?;
            let mark = self.mark(&first).await?;
            let end = held.and_then(|held| held.range).map(|(_, last)| last.saturating_add(1));
            if let Some(import) = plan::due(wanted, scan_from, end, mark, tip.mediantime) {
                imports.push((wanted, first, import));
            }
        }
        if imports.is_empty() {
            return Ok(());
        }
        self.import(imports.iter().map(|(wanted, _, import)| request(wanted, import))).await?;
        for (_, first, import) in &imports {
            let () = self.ask("setlabel", json!([first, import.mark.label()])).await?;
        }
        Ok(())
    }

    async fn open(&self) -> Result<(), WalletError> {
        match self.standing().await? {
            Standing::Loaded => Ok(()),
            Standing::Unloaded => {
                // It reads the blocks since it was last loaded.
                let params = json!({ "filename": self.name });
                match self.node.call_within::<Value>(SCAN_TIMEOUT, "loadwallet", params).await {
                    Err(error) if error.code() != Some(LOADED_ALREADY) => {
                        Err(WalletError::of(error, &self.name))
                    }
                    _ => Ok(()),
                }
            }
            Standing::Missing => {
                let params = json!({
                    "wallet_name": self.name,
                    "disable_private_keys": true,
                    "blank": true,
                    "descriptors": true,
                    "load_on_startup": true,
                });
                let made = self.ask_node::<Value>("createwallet", params).await.map(drop);
                // A server beside this one may have been faster.
                match made {
                    Err(_) if self.standing().await? == Standing::Loaded => Ok(()),
                    made => made,
                }
            }
        }
    }

    async fn first_address(&self, descriptor: &str) -> Result<String, WalletError> {
        let params = json!([descriptor, [0, 0]]);
        let addresses: Vec<String> = self.ask_node("deriveaddresses", params).await?;
        let none = || WalletError::Node(unusable("deriveaddresses", &"no address"));
        addresses.into_iter().next().ok_or_else(none)
    }

    async fn mark(&self, address: &str) -> Result<Option<Mark>, WalletError> {
        let answer: AddressAnswer = self.ask("getaddressinfo", json!([address])).await?;
        Ok(answer.labels.iter().find_map(|label| Mark::read(label)))
    }

    /// One call for all, so that the chain is searched once.
    async fn import(&self, requests: impl Iterator<Item = Value>) -> Result<(), WalletError> {
        let params = json!([requests.collect::<Vec<_>>()]);
        let method = "importdescriptors";
        let answers = self.wallet.call_within(SCAN_TIMEOUT, method, params).await;
        let answers: Vec<ImportAnswer> = match answers {
            Ok(answers) => answers,
            Err(error) => {
                // As long as it searches, for another server say, it takes no import.
                self.idle().await?;
                return Err(WalletError::of(error, &self.name));
            }
        };
        match answers.into_iter().find(|answer| !answer.success) {
            None => Ok(()),
            Some(failed) => {
                let detail = failed.error.map_or("no reason".to_owned(), |fault| fault.message);
                Err(WalletError::Import { name: self.name.clone(), detail })
            }
        }
    }
}

fn request(wanted: &Wanted, import: &Import) -> Value {
    json!({
        "desc": wanted.descriptor,
        "range": [0, import.end.saturating_sub(1)],
        "internal": wanted.internal,
        "timestamp": import.since.map_or(json!("now"), Value::from),
    })
}
