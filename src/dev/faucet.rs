//! The faucet of the private network: pays invoices from coins it mines, and mines the blocks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::app::{Code, Refusal};
use crate::chain::ErrorClass;
use crate::chain::rpc::{Login, Rpc};
use crate::db;
use crate::domain::uri::btc_text;
use crate::http::{HttpState, Problem};

/// The wallet that pays, and the one whose public descriptor the server gets.
const PAYER: &str = "payer";
const SHOP: &str = "shop";
/// Blocks until the first coins can be spent.
const MATURE: u32 = 101;

/// Pays and mines.
pub struct Faucet {
    payer: Rpc,
    shop: Rpc,
    address: String,
}

impl Faucet {
    /// Opens or makes the wallets and mines until there are coins to spend.
    pub(super) async fn open(url: String, cookie: PathBuf) -> anyhow::Result<Self> {
        let node = Rpc::new(&url, Login::Cookie(cookie))?;
        wait_for_start(&node).await?;
        for name in [PAYER, SHOP] {
            open_wallet(&node, name).await?;
        }
        let payer = node.at_path(&format!("/wallet/{PAYER}"));
        let shop = node.at_path(&format!("/wallet/{SHOP}"));
        let address: String = payer.call("getnewaddress", json!([])).await?;
        let faucet = Self { payer, shop, address };
        let blocks: u32 = node.call("getblockcount", json!([])).await?;
        if blocks < MATURE {
            faucet.mine(MATURE - blocks).await?;
        }
        Ok(faucet)
    }

    /// The shop wallet's descriptor without its keys, both branches in one (BIP389).
    pub(super) async fn public_descriptor(&self) -> anyhow::Result<String> {
        let answer: Value = self.shop.call("listdescriptors", json!([])).await?;
        let list = answer["descriptors"].as_array().context("the wallet lists no descriptors")?;
        let external = list
            .iter()
            .filter(|entry| entry["active"] == true && entry["internal"] == false)
            .filter_map(|entry| entry["desc"].as_str())
            .find(|text| text.starts_with("wpkh("))
            .context("the wallet has no wpkh descriptor")?;
        let (text, _) = external.split_once('#').unwrap_or((external, ""));
        Ok(text.replace("/0/*", "/<0;1>/*"))
    }

    /// Sends `amount_sat` to `address`; returns the txid.
    async fn pay(&self, address: &str, amount_sat: u64) -> anyhow::Result<String> {
        let amount: Box<serde_json::value::RawValue> = serde_json::from_str(&btc_text(amount_sat))?;
        Ok(self.payer.call("sendtoaddress", json!([address, amount])).await?)
    }

    async fn mine(&self, blocks: u32) -> anyhow::Result<()> {
        let _: Vec<String> =
            self.payer.call("generatetoaddress", json!([blocks, self.address])).await?;
        Ok(())
    }

    /// Mines a block `every` so often until `shutdown`.
    ///
    /// # Errors
    /// When bitcoind is gone.
    pub async fn mine_blocks(
        self: Arc<Self>,
        every: Duration,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(every) => {}
            }
            self.mine(1).await.context("bitcoind of the private network does not answer")?;
        }
    }
}

/// The cookie is there before the node answers.
async fn wait_for_start(node: &Rpc) -> anyhow::Result<()> {
    let started = async {
        loop {
            match node.call::<u32>("getblockcount", json!([])).await {
                Err(error) if error.class() == ErrorClass::Transient => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                other => return other.map(|_| ()),
            }
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, started).await.context("bitcoind does not answer")??;
    Ok(())
}

async fn open_wallet(node: &Rpc, name: &str) -> anyhow::Result<()> {
    let loaded: Vec<String> = node.call("listwallets", json!([])).await?;
    if loaded.iter().any(|wallet| wallet == name) {
        return Ok(());
    }
    let folder: Value = node.call("listwalletdir", json!([])).await?;
    let known =
        folder["wallets"].as_array().is_some_and(|all| all.iter().any(|w| w["name"] == name));
    let method = if known { "loadwallet" } else { "createwallet" };
    let _: Value = node.call(method, json!([name])).await?;
    Ok(())
}

/// `POST /dev/pay/{invoice}`: pays what is due, or once more when nothing is.
pub fn routes(faucet: Arc<Faucet>) -> Router<HttpState> {
    Router::new().route("/dev/pay/{invoice}", post(pay)).layer(Extension(faucet))
}

async fn pay(
    State(state): State<HttpState>,
    Extension(faucet): Extension<Arc<Faucet>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let mut conn = state.db.read().await?;
    let found = db::invoice::find(&mut conn, &id).await?;
    drop(conn);
    let row = found.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such invoice"))?;
    let due = match row.doc.standing.due_sat() {
        0 => row.facts.amount_sat,
        due => due,
    };
    if let Err(error) = faucet.pay(&row.address, due).await {
        let detail = format!("the faucet could not pay: {error:#}");
        return Err(Refusal::new(Code::NotReady, detail).into());
    }
    Ok(Redirect::to(&format!("/checkout/{id}")).into_response())
}
