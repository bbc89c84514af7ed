//! The in-memory chain as a block source.

use std::time::Duration;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction, Txid};
use bytes::Bytes;

use super::MemoryChain;
use super::state::State;
use crate::chain::{
    BlockId, BlockSource, Broadcast, ChainError, Header, MempoolEntry, NodeState, Standing,
};

impl MemoryChain {
    /// Answers from the state, or fails if a failure was ordered.
    fn answer<T>(&self, answer: impl FnOnce(&mut State) -> T) -> Result<T, ChainError> {
        let mut state = self.state();
        match state.failures.pop_front() {
            Some(error) => Err(error),
            None => Ok(answer(&mut state)),
        }
    }
}

fn node_state(state: &State) -> NodeState {
    let tip = state.tip();
    let header = state.header(&tip.hash).expect("the tip is known");
    let mut node = NodeState {
        chain: "regtest".to_owned(),
        genesis: state.shown()[0],
        tip,
        tip_at: header.time_at,
        headers: tip.height,
        initial_block_download: false,
        peers: 8,
        prune_height: None,
        pruned: false,
        version: 290_000,
        subversion: "/Memory:1/".to_owned(),
    };
    if let Some(pretence) = &state.pretend {
        (pretence.0)(&mut node);
    }
    node
}

fn standing(state: &State, id: &BlockId) -> Standing {
    let known = state.block(&id.hash).is_some();
    let more = state.tip().height > id.height;
    if state.is_active(id) {
        Standing::Active
    } else if state.is_hidden(&id.hash) || !more && (!known || state.is_valid(&id.hash)) {
        Standing::Ahead
    } else {
        Standing::Left
    }
}

fn broadcast(state: &mut State, tx: Transaction) -> Broadcast {
    let rejected = |reason: &str| Broadcast::Rejected { reason: reason.to_owned() };
    let txid = tx.compute_txid();
    if state.mempool.contains_key(&txid) {
        return Broadcast::InMempool;
    }
    if state.confirmed().any(|mined| mined.compute_txid() == txid) {
        return Broadcast::InChain;
    }
    let takes_same = |mined: &Transaction| {
        mined.input.iter().any(|a| tx.input.iter().any(|b| a.previous_output == b.previous_output))
    };
    if state.confirmed().any(takes_same) {
        return rejected("bad-txns-inputs-missingorspent");
    }
    if tx.input.iter().any(|input| state.spender(&input.previous_output).is_some()) {
        return rejected("txn-mempool-conflict");
    }
    state.send(tx);
    Broadcast::InMempool
}

impl BlockSource for MemoryChain {
    async fn node_state(&self) -> Result<NodeState, ChainError> {
        self.answer(|state| node_state(state))
    }

    async fn header(&self, hash: &BlockHash) -> Result<Option<Header>, ChainError> {
        self.answer(|state| state.header(hash))
    }

    async fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, ChainError> {
        self.answer(|state| state.shown().get(height as usize).copied())
    }

    async fn block(&self, hash: &BlockHash) -> Result<Bytes, ChainError> {
        let block = self.answer(|state| state.block(hash).map(serialize))?;
        block.map(Bytes::from).ok_or_else(|| ChainError::Refused {
            method: "getblock".to_owned(),
            code: -5,
            detail: "Block not found".to_owned(),
        })
    }

    async fn standing(&self, id: &BlockId) -> Result<Standing, ChainError> {
        self.answer(|state| standing(state, id))
    }

    async fn mempool(&self) -> Result<Vec<Txid>, ChainError> {
        self.answer(|state| state.mempool.keys().copied().collect())
    }

    async fn mempool_transactions(&self, txids: &[Txid]) -> Result<Vec<Option<Bytes>>, ChainError> {
        self.answer(|state| {
            let raw = |txid| state.mempool.get(txid).map(|tx| Bytes::from(serialize(tx)));
            txids.iter().map(raw).collect()
        })
    }

    async fn mempool_entry(&self, txid: &Txid) -> Result<Option<MempoolEntry>, ChainError> {
        self.answer(|state| {
            let ancestors = state.ancestors(txid).len();
            (ancestors > 0).then(|| MempoolEntry {
                ancestor_count: u32::try_from(ancestors).expect("no test is that long"),
                feerate_msat_vb: state.feerate_msat_vb,
            })
        })
    }

    async fn mempool_spenders(
        &self,
        outpoints: &[OutPoint],
    ) -> Result<Vec<Option<Txid>>, ChainError> {
        self.answer(|state| outpoints.iter().map(|outpoint| state.spender(outpoint)).collect())
    }

    async fn unspent_scripts(&self, scripts: &[ScriptBuf]) -> Result<Vec<ScriptBuf>, ChainError> {
        self.answer(|state| {
            let spent: Vec<OutPoint> =
                state.confirmed().flat_map(|tx| &tx.input).map(|i| i.previous_output).collect();
            let unspent = |tx: &Transaction| -> Vec<ScriptBuf> {
                let txid = tx.compute_txid();
                let outputs = tx.output.iter().zip(0..);
                outputs
                    .filter(|(_, vout)| !spent.contains(&OutPoint { txid, vout: *vout }))
                    .map(|(output, _)| output.script_pubkey.clone())
                    .collect()
            };
            let all = state.confirmed().flat_map(unspent);
            all.filter(|script| scripts.contains(script)).collect()
        })
    }

    async fn broadcast(&self, transaction: &[u8]) -> Result<Broadcast, ChainError> {
        let tx = deserialize(transaction).map_err(|error| ChainError::Refused {
            method: "sendrawtransaction".to_owned(),
            code: -22,
            detail: error.to_string(),
        })?;
        self.answer(|state| broadcast(state, tx))
    }

    async fn wait_for_block(&self, tip: &BlockHash, timeout: Duration) -> Result<(), ChainError> {
        self.answer(|_| ())?;
        let mut best = self.best.subscribe();
        // Time-out or news: both end the wait.
        let _ = tokio::time::timeout(timeout, best.wait_for(|best| best != tip)).await;
        Ok(())
    }
}
