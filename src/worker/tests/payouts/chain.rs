//! What a node would say of coins: which are there, which are spent, which transactions it takes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use bitcoin::consensus::deserialize;
use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf, Transaction, Txid};

use crate::chain::BlockSource;
use crate::chain::testing::MemoryChain;

/// Blocks that were read before.
#[derive(Default)]
pub struct Blocks(HashMap<BlockHash, Block>);

/// Chain and mempool at a moment.
pub struct View {
    /// Where each transaction of the chain is.
    pub heights: HashMap<Txid, u32>,
    spent: HashMap<OutPoint, Txid>,
    mempool: HashSet<Txid>,
    spent_in_mempool: HashSet<OutPoint>,
    pub tip: u32,
    /// What the chain pays to each script.
    pub paid: HashMap<ScriptBuf, u64>,
}

impl Blocks {
    pub async fn view(&mut self, chain: &MemoryChain) -> View {
        let mut view = View {
            heights: HashMap::new(),
            spent: HashMap::new(),
            mempool: HashSet::new(),
            spent_in_mempool: HashSet::new(),
            tip: chain.tip().height,
            paid: HashMap::new(),
        };
        for id in chain.active() {
            if let Entry::Vacant(new) = self.0.entry(id.hash) {
                let bytes = chain.block(&id.hash).await.unwrap();
                new.insert(deserialize(&bytes).unwrap());
            }
            for tx in &self.0[&id.hash].txdata {
                let txid = tx.compute_txid();
                view.heights.insert(txid, id.height);
                for output in &tx.output {
                    let paid = view.paid.entry(output.script_pubkey.clone()).or_default();
                    *paid += output.value.to_sat();
                }
                view.spent.extend(inputs(tx).map(|coin| (coin, txid)));
            }
        }
        view.mempool = chain.mempool().await.unwrap().into_iter().collect();
        let txids: Vec<Txid> = view.mempool.iter().copied().collect();
        for raw in chain.mempool_transactions(&txids).await.unwrap().into_iter().flatten() {
            let tx: Transaction = deserialize(&raw).unwrap();
            view.spent_in_mempool.extend(inputs(&tx));
        }
        view
    }
}

pub fn inputs(tx: &Transaction) -> impl Iterator<Item = OutPoint> {
    tx.input.iter().map(|input| input.previous_output)
}

impl View {
    /// Made in the chain, and spent by nothing in it.
    pub fn is_unspent(&self, coin: &OutPoint) -> bool {
        self.heights.contains_key(&coin.txid) && !self.spent.contains_key(coin)
    }

    /// The same, by nothing in the mempool either, with so many confirmations.
    pub fn is_free(&self, coin: &OutPoint, confirmations: u32) -> bool {
        let deep = |height: &u32| self.tip + 1 - height >= confirmations;
        self.heights.get(&coin.txid).is_some_and(deep)
            && !self.spent.contains_key(coin)
            && !self.spent_in_mempool.contains(coin)
    }

    /// The height at which something else spent one of these coins.
    pub fn taken_at(&self, txid: &Txid, coins: impl Iterator<Item = OutPoint>) -> Option<u32> {
        let other = |coin| self.spent.get(&coin).filter(|by| *by != txid);
        coins.filter_map(other).map(|by| self.heights[by]).max()
    }

    /// Whether a node takes it, replacing what is in its mempool: its coins are there, in the
    /// chain or, unless it is to be `mined` at once, in the mempool.
    pub fn takes(&self, tx: &Transaction, foreign: &HashSet<OutPoint>, mined: bool) -> bool {
        let is_there = |coin: OutPoint| {
            let made = self.heights.contains_key(&coin.txid)
                || foreign.contains(&coin)
                || !mined && self.mempool.contains(&coin.txid);
            made && !self.spent.contains_key(&coin)
        };
        !self.heights.contains_key(&tx.compute_txid()) && inputs(tx).all(is_there)
    }
}
