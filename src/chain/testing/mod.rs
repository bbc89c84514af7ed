//! A chain in memory that mines, forks, lags, evicts and fails on command, for tests of whatever
//! stands on [`BlockSource`](super::BlockSource). Checks no signature, amount or proof of work.
//! Never used by the program itself.

#![doc(hidden)]

mod source;
mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{
    Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    transaction,
};
use tokio::sync::watch;

use super::{BlockId, ChainError, NodeState};
use crate::domain::time::Timestamp;
use state::State;

/// A transaction that pays `outputs` out of a coin of nobody's; equal nonces spend the same coin.
pub fn pay(outputs: &[(ScriptBuf, u64)], nonce: u64) -> Transaction {
    let txid = Txid::from_byte_array(sha256::Hash::hash(&nonce.to_le_bytes()).to_byte_array());
    spend(&[OutPoint { txid, vout: 0 }], outputs)
}

/// A transaction that spends `inputs`.
pub fn spend(inputs: &[OutPoint], outputs: &[(ScriptBuf, u64)]) -> Transaction {
    let input = inputs.iter().map(|previous_output| TxIn {
        previous_output: *previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::from_slice(&[[1; 8]]),
    });
    let output = outputs.iter().map(|(script, sat)| TxOut {
        value: Amount::from_sat(*sat),
        script_pubkey: script.clone(),
    });
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: input.collect(),
        output: output.collect(),
    }
}

/// A regtest chain with its genesis block, and a mempool.
#[derive(Debug)]
pub struct MemoryChain {
    state: Mutex<State>,
    best: watch::Sender<BlockHash>,
}

impl Default for MemoryChain {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryChain {
    /// Only the genesis block.
    pub fn new() -> Self {
        let state = State::new();
        let best = watch::Sender::new(state.tip().hash);
        Self { state: Mutex::new(state), best }
    }

    /// Another node that has come as far as this one: the same chain, and no mempool. From here
    /// on it mines blocks of its own; [`MemoryChain::hear`] is what connects the two.
    pub fn twin(&self) -> Self {
        let state = self.state().twin();
        let best = watch::Sender::new(state.tip().hash);
        Self { state: Mutex::new(state), best }
    }

    /// Learns of the other node's blocks, and turns to them if they are more.
    pub fn hear(&self, other: &Self) {
        let end = other.tip();
        let blocks = other.state().blocks();
        self.change(|state| state.learn(blocks, end));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes who waits for a block.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        self.best.send_replace(state.tip().hash);
        result
    }

    /// The end of the active chain as the node shows it.
    pub fn tip(&self) -> BlockId {
        self.state().tip()
    }

    /// The active chain from the genesis block on.
    pub fn active(&self) -> Vec<BlockId> {
        self.state().active()
    }

    /// Mines a block of these transactions; what conflicts with them leaves the mempool.
    pub fn mine(&self, transactions: Vec<Transaction>) -> BlockId {
        self.mine_to(ScriptBuf::new(), 0, transactions)
    }

    /// As [`MemoryChain::mine`], with a coinbase that pays `script`.
    pub fn mine_to(
        &self,
        script: ScriptBuf,
        amount_sat: u64,
        transactions: Vec<Transaction>,
    ) -> BlockId {
        self.change(|state| state.mine((script, amount_sat), transactions))
    }

    /// Mines `count` empty blocks.
    pub fn mine_empty(&self, count: u32) {
        for _ in 0..count {
            self.mine(Vec::new());
        }
    }

    /// Mines the whole mempool.
    pub fn mine_pending(&self) -> BlockId {
        let pending = self.state().pending();
        self.mine(pending)
    }

    /// Takes back `depth` blocks and mines others on top, one for each list of transactions. What
    /// was in the old blocks returns to the mempool, unless the new ones hold or contradict it.
    pub fn fork(&self, depth: u32, blocks: Vec<Vec<Transaction>>) {
        self.change(|state| {
            state.disconnect(depth);
            for transactions in blocks {
                state.mine((ScriptBuf::new(), 0), transactions);
            }
        });
    }

    /// Goes back to a block that was forked away: `reconsiderblock` for the end of a branch.
    pub fn reconsider(&self, end: BlockId) {
        self.change(|state| state.activate(end.hash));
    }

    /// Pretends not to have the last `count` blocks, as a node that is syncing; with their headers
    /// or without. 0 ends it.
    pub fn lag(&self, count: u32, with_headers: bool) {
        self.change(|state| {
            state.hidden = count as usize;
            state.hidden_headers = with_headers;
        });
    }

    /// The time that the next block will carry; each later one is ten minutes on.
    pub fn set_next_time(&self, at: Timestamp) {
        self.state().next_time = u32::try_from(at.unix_s()).expect("block times fit in 32 bits");
    }

    /// Puts a transaction into the mempool, where it replaces what it conflicts with.
    pub fn send(&self, transaction: Transaction) -> Txid {
        self.state().send(transaction)
    }

    /// Whether a transaction of the active chain spends a coin.
    pub fn is_spent(&self, coin: &OutPoint) -> bool {
        let spends = |tx: &Transaction| tx.input.iter().any(|i| i.previous_output == *coin);
        self.state().confirmed().any(spends)
    }

    /// Drops a transaction from the mempool.
    pub fn evict(&self, txid: &Txid) {
        self.state().mempool.remove(txid);
    }

    /// Drops the whole mempool, as a restart with `persistmempool=0` does.
    pub fn clear_mempool(&self) {
        self.state().mempool.clear();
    }

    /// The feerate that mempool entries report.
    pub fn set_feerate(&self, feerate_msat_vb: u64) {
        self.state().feerate_msat_vb = feerate_msat_vb;
    }

    /// Fails the next call with `error`, and the calls after it with those given later.
    pub fn fail_next(&self, error: ChainError) {
        self.state().failures.push_back(error);
    }

    /// Forgets failures that did not happen yet.
    pub fn fail_no_more(&self) {
        self.state().failures.clear();
    }

    /// Changes what the node says about itself, from now on.
    pub fn pretend(&self, change: impl Fn(&mut NodeState) + Send + 'static) {
        self.state().pretend = Some(state::Pretence(Box::new(change)));
    }
}
