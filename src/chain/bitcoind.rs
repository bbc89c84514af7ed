//! A bitcoind as a block source, over RPC and, where the node offers it, REST. With what lies
//! beside it in `chain` the only code that knows what bitcoind's calls are named and how they answer.
//! Uses no wallet call (those are in `chain::wallet`) and nothing that needs a transaction index.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bitcoin::{BlockHash, OutPoint, ScriptBuf, Txid};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::{
    ChainAnswer, ChainTip, CoinsAnswer, EntryAnswer, HeaderAnswer, Hex, MempoolAnswer,
    NetworkAnswer, OutputAnswer, Spender,
};
use super::rest::Rest;
use super::rpc::{BATCH, Login, OUT_OF_RANGE, Rpc, UNKNOWN, unusable};
use super::{
    BlockId, BlockSource, Broadcast, ChainError, Header, MempoolEntry, NodeState, Standing,
};
use crate::domain::time::Timestamp;

/// Time that an answer may take on top of the time the node was told to wait.
const WAIT_MARGIN: Duration = Duration::from_secs(10);
/// How long reading every coin may take.
const COINS_TIMEOUT: Duration = Duration::from_secs(3600);
/// `RPC_MISC_ERROR`.
const MISC: i64 = -1;
/// `RPC_VERIFY_ERROR` and `RPC_VERIFY_REJECTED`: the transaction is not taken.
const NOT_TAKEN: [i64; 2] = [-25, -26];
/// `RPC_VERIFY_ALREADY_IN_UTXO_SET`.
const IN_CHAIN: i64 = -27;

/// An output as `gettxout` knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnspentOutput {
    /// What it holds.
    pub amount_sat: u64,
    /// The script it pays.
    pub script_pubkey: ScriptBuf,
    /// Of its transaction; 0 in the mempool.
    pub confirmations: u32,
    /// Whether it is newly created coins.
    pub coinbase: bool,
}

/// A node.
#[derive(Debug)]
pub struct Bitcoind {
    rpc: Rpc,
    rest: Option<Rest>,
    /// Whether `waitfornewblock` takes the tip we know, so that no block falls into the gap
    /// between asking for the tip and waiting. Learnt from the first answer.
    wait_takes_tip: AtomicBool,
}

impl Bitcoind {
    /// A node at `rpc_url`, with blocks over `rest_url` when that is given. Does not connect yet.
    ///
    /// # Errors
    /// [`ChainError::Config`] for unfit URLs.
    pub fn new(rpc_url: &str, login: Login, rest_url: Option<&str>) -> Result<Self, ChainError> {
        let rpc = Rpc::new(rpc_url, login)?;
        let rest = rest_url.map(Rest::new).transpose()?;
        Ok(Self { rpc, rest, wait_takes_tip: AtomicBool::new(true) })
    }

    /// The client, for calls that are not of the chain.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// Whether blocks come over REST: `None` when it is not configured, else whether it answers
    /// now. The node works without; this is for `check` and the start.
    ///
    /// # Errors
    /// Why it does not answer.
    pub async fn probe_rest(&self) -> Option<Result<(), ChainError>> {
        Some(self.rest.as_ref()?.probe().await)
    }

    /// An unspent output, in the mempool's view or the chain's alone; `None` when it is spent or
    /// never was (`gettxout`).
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn unspent_output(
        &self,
        outpoint: &OutPoint,
        with_mempool: bool,
    ) -> Result<Option<UnspentOutput>, ChainError> {
        let params = json!([outpoint.txid, outpoint.vout, with_mempool]);
        let answer: Option<OutputAnswer> = self.rpc.call("gettxout", params).await?;
        Ok(answer.map(|answer| UnspentOutput {
            amount_sat: answer.value.0,
            confirmations: answer.confirmations,
            coinbase: answer.coinbase,
            script_pubkey: answer.script.into_script(),
        }))
    }

    /// A transaction of a known block, `None` when it is not in it (`getrawtransaction`).
    ///
    /// # Errors
    /// When the node does not answer, or no longer has the block.
    pub async fn transaction_in_block(
        &self,
        txid: &Txid,
        block: &BlockHash,
    ) -> Result<Option<Bytes>, ChainError> {
        let answer = self.find("getrawtransaction", json!([txid, false, block])).await?;
        Ok(answer.map(|Hex(bytes)| bytes.into()))
    }

    /// A call that answers "unknown" with -5.
    async fn find<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<Option<T>, ChainError> {
        match self.rpc.call(method, params).await {
            Ok(answer) => Ok(Some(answer)),
            Err(ChainError::Refused { code: UNKNOWN, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn block_over_rpc(&self, hash: &BlockHash) -> Result<Bytes, ChainError> {
        match self.rpc.call("getblock", json!([hash, 0])).await {
            Ok(Hex(bytes)) => Ok(bytes.into()),
            Err(error) if is_pruned(&error) => {
                let height = self.header(hash).await?.map_or(0, |header| header.id.height);
                Err(ChainError::Pruned { height })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the node holds a block for invalid, which `invalidateblock` also does: it is then
    /// on a branch that ends in a tip of status `invalid`.
    async fn is_invalid(&self, id: &BlockId) -> Result<bool, ChainError> {
        let tips: Vec<ChainTip> = self.rpc.call("getchaintips", json!([])).await?;
        for tip in tips.iter().filter(|tip| tip.status == "invalid") {
            let mut at = (tip.height, tip.hash);
            let fork = tip.height.saturating_sub(tip.branchlen);
            if id.height <= fork {
                continue;
            }
            while at.0 > id.height {
                let parent = self.header(&at.1).await?.and_then(|header| header.prev);
                let Some(parent) = parent else { break };
                at = (at.0 - 1, parent);
            }
            if at == (id.height, id.hash) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Core says "Block not available (pruned data)", also when it is only not downloaded yet.
fn is_pruned(error: &ChainError) -> bool {
    matches!(error, ChainError::Refused { code: MISC, detail, .. } if detail.contains("pruned"))
}

impl BlockSource for Bitcoind {
    async fn node_state(&self) -> Result<NodeState, ChainError> {
        let chain: ChainAnswer = self.rpc.call("getblockchaininfo", json!([])).await?;
        let network: NetworkAnswer = self.rpc.call("getnetworkinfo", json!([])).await?;
        let genesis = self.rpc.call("getblockhash", json!([0])).await?;
        let tip = BlockId { height: chain.blocks, hash: chain.bestblockhash };
        let tip_at = self.header(&tip.hash).await?.map_or(Timestamp::default(), |h| h.time_at);
        Ok(NodeState {
            chain: chain.chain,
            genesis,
            tip,
            tip_at,
            headers: chain.headers,
            initial_block_download: chain.initialblockdownload,
            peers: network.connections,
            prune_height: chain.pruneheight,
            pruned: chain.pruned,
            version: network.version,
            subversion: network.subversion,
        })
    }

    async fn header(&self, hash: &BlockHash) -> Result<Option<Header>, ChainError> {
        let answer: Option<HeaderAnswer> = self.find("getblockheader", json!([hash, true])).await?;
        Ok(answer.map(Header::from))
    }

    async fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, ChainError> {
        match self.rpc.call("getblockhash", json!([height])).await {
            Ok(hash) => Ok(Some(hash)),
            Err(ChainError::Refused { code: OUT_OF_RANGE, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn block(&self, hash: &BlockHash) -> Result<Bytes, ChainError> {
        if let Some(rest) = &self.rest
            && let Some(block) = rest.block(hash).await
        {
            return Ok(block);
        }
        self.block_over_rpc(hash).await
    }

    async fn standing(&self, id: &BlockId) -> Result<Standing, ChainError> {
        let chain: ChainAnswer = self.rpc.call("getblockchaininfo", json!([])).await?;
        match self.header(&id.hash).await? {
            Some(header) if header.active => Ok(Standing::Active),
            // Not for equal work: the server beside this one would take its own block back.
            Some(header) if header.work < chain.chainwork => Ok(Standing::Left),
            Some(_) if self.is_invalid(id).await? => Ok(Standing::Left),
            // Of a block that it never heard of the work is not known: its height stands for it.
            None if chain.blocks > id.height => Ok(Standing::Left),
            Some(_) | None => Ok(Standing::Ahead),
        }
    }

    async fn mempool(&self) -> Result<Vec<Txid>, ChainError> {
        let state: MempoolAnswer = self.rpc.call("getmempoolinfo", json!([])).await?;
        if !state.loaded {
            let detail = "it is still reading its mempool from disk".to_owned();
            return Err(ChainError::WarmingUp { detail });
        }
        self.rpc.call("getrawmempool", json!([])).await
    }

    async fn mempool_transactions(&self, txids: &[Txid]) -> Result<Vec<Option<Bytes>>, ChainError> {
        let params: Vec<_> = txids.iter().map(|txid| json!([txid])).collect();
        let answers = self.rpc.batch("getrawtransaction", &params).await?;
        answers
            .into_iter()
            .map(|answer| match answer {
                Ok(Hex(bytes)) => Ok(Some(bytes.into())),
                Err(fault) if fault.code == UNKNOWN => Ok(None),
                Err(fault) => Err(fault.into_error("getrawtransaction")),
            })
            .collect()
    }

    async fn mempool_entry(&self, txid: &Txid) -> Result<Option<MempoolEntry>, ChainError> {
        let answer: Option<EntryAnswer> = self.find("getmempoolentry", json!([txid])).await?;
        Ok(answer.map(MempoolEntry::from))
    }

    async fn mempool_spenders(
        &self,
        outpoints: &[OutPoint],
    ) -> Result<Vec<Option<Txid>>, ChainError> {
        let mut spenders = Vec::with_capacity(outpoints.len());
        for chunk in outpoints.chunks(BATCH) {
            let list: Vec<_> =
                chunk.iter().map(|out| json!({ "txid": out.txid, "vout": out.vout })).collect();
            let answer: Vec<Spender> = self.rpc.call("gettxspendingprevout", json!([list])).await?;
            if answer.len() != chunk.len() {
                return Err(unusable("gettxspendingprevout", &"not one answer an outpoint"));
            }
            spenders.extend(answer.into_iter().map(|spender| spender.spendingtxid));
        }
        Ok(spenders)
    }

    async fn unspent_scripts(&self, scripts: &[ScriptBuf]) -> Result<Vec<ScriptBuf>, ChainError> {
        let raw: Vec<_> = scripts.iter().map(|it| format!("raw({})", it.to_hex_string())).collect();
        let method = "scantxoutset";
        let answer = self.rpc.call_within(COINS_TIMEOUT, method, json!(["start", raw])).await;
        let CoinsAnswer { unspents } = answer?;
        Ok(unspents.into_iter().map(|coin| ScriptBuf::from_bytes(coin.script.0)).collect())
    }

    async fn broadcast(&self, transaction: &[u8]) -> Result<Broadcast, ChainError> {
        // No fee limit of ours: what a payer chose to pay is not for us to judge.
        let params = json!([HEXLOWER.encode(transaction), 0]);
        match self.rpc.call::<Txid>("sendrawtransaction", params).await {
            Ok(_) => Ok(Broadcast::InMempool),
            Err(ChainError::Refused { code: IN_CHAIN, .. }) => Ok(Broadcast::InChain),
            Err(ChainError::Refused { code, detail, .. }) if NOT_TAKEN.contains(&code) => {
                Ok(Broadcast::Rejected { reason: detail })
            }
            Err(error) => Err(error),
        }
    }

    async fn wait_for_block(&self, tip: &BlockHash, timeout: Duration) -> Result<(), ChainError> {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let limit = timeout.saturating_add(WAIT_MARGIN);
        let wait = |params| self.rpc.call_within::<Value>(limit, "waitfornewblock", params);
        if self.wait_takes_tip.load(Ordering::Relaxed) {
            match wait(json!([millis, tip])).await {
                // Nodes before 29 answer a parameter too many with their help text.
                Err(ChainError::Refused { code: MISC, .. }) => {
                    self.wait_takes_tip.store(false, Ordering::Relaxed);
                }
                result => return result.map(drop),
            }
        }
        let best: BlockHash = self.rpc.call("getbestblockhash", json!([])).await?;
        if best == *tip { wait(json!([millis])).await.map(drop) } else { Ok(()) }
    }
}
