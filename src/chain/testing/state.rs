//! What the in-memory chain consists of, and how it changes. Called by the parent module only.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header as BlockHeader, Version};
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Transaction,
    TxIn, TxMerkleNode, TxOut, Txid, Witness, transaction,
};

use crate::chain::{BlockId, ChainError, Header, NodeState};
use crate::domain::time::Timestamp;
use bitcoin::Work;

const BLOCK_SPACING_S: u32 = 600;
const MTP_BLOCKS: usize = 11;
/// Blocks that a node mines before its number is one of its twin's.
const TWIN: u64 = 1 << 32;

pub(super) struct Pretence(pub(super) Box<dyn Fn(&mut NodeState) + Send>);

impl fmt::Debug for Pretence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pretence")
    }
}

#[derive(Debug)]
pub(super) struct State {
    blocks: HashMap<BlockHash, (BlockId, Block)>,
    /// From the genesis block to the end, hidden blocks included.
    chain: Vec<BlockHash>,
    /// Blocks of another node, and those left for them: off the chain, but not taken back.
    valid: HashSet<BlockHash>,
    pub(super) hidden: usize,
    pub(super) hidden_headers: bool,
    pub(super) mempool: BTreeMap<Txid, Transaction>,
    pub(super) feerate_msat_vb: u64,
    pub(super) next_time: u32,
    pub(super) failures: VecDeque<ChainError>,
    pub(super) pretend: Option<Pretence>,
    mined: u64,
}

impl State {
    pub(super) fn new() -> Self {
        let genesis = genesis_block(Network::Regtest);
        let hash = genesis.block_hash();
        Self {
            next_time: genesis.header.time + BLOCK_SPACING_S,
            blocks: HashMap::from([(hash, (BlockId { height: 0, hash }, genesis))]),
            chain: vec![hash],
            valid: HashSet::new(),
            hidden: 0,
            hidden_headers: false,
            mempool: BTreeMap::new(),
            feerate_msat_vb: 5000,
            failures: VecDeque::new(),
            pretend: None,
            mined: 0,
        }
    }

    /// Its chain, with the blocks that it mines from now on unlike ours.
    pub(super) fn twin(&self) -> Self {
        Self {
            blocks: self.blocks.clone(),
            chain: self.chain.clone(),
            next_time: self.next_time,
            mined: self.mined + TWIN,
            ..Self::new()
        }
    }

    pub(super) fn blocks(&self) -> HashMap<BlockHash, (BlockId, Block)> {
        self.blocks.clone()
    }

    /// Takes over blocks of another node, and its chain if that is longer.
    pub(super) fn learn(&mut self, blocks: HashMap<BlockHash, (BlockId, Block)>, end: BlockId) {
        self.valid.extend(blocks.keys().filter(|hash| !self.blocks.contains_key(*hash)));
        self.blocks.extend(blocks);
        if end.height > self.tip().height {
            let before = self.chain.clone();
            self.activate(end.hash);
            self.valid.extend(before);
        }
    }

    /// Whether a block was not taken back by order.
    pub(super) fn is_valid(&self, hash: &BlockHash) -> bool {
        self.valid.contains(hash)
    }

    /// The part of the chain that the node shows.
    pub(super) fn shown(&self) -> &[BlockHash] {
        &self.chain[..self.chain.len().saturating_sub(self.hidden).max(1)]
    }

    pub(super) fn tip(&self) -> BlockId {
        let last = self.shown().last().expect("the genesis block is always shown");
        self.blocks[last].0
    }

    pub(super) fn active(&self) -> Vec<BlockId> {
        self.shown().iter().map(|hash| self.blocks[hash].0).collect()
    }

    pub(super) fn is_active(&self, id: &BlockId) -> bool {
        self.shown().get(id.height as usize) == Some(&id.hash)
    }

    /// Whether a block is only hidden.
    pub(super) fn is_hidden(&self, hash: &BlockHash) -> bool {
        self.chain[self.shown().len()..].contains(hash)
    }

    pub(super) fn block(&self, hash: &BlockHash) -> Option<&Block> {
        self.blocks.get(hash).map(|(_, block)| block)
    }

    pub(super) fn header(&self, hash: &BlockHash) -> Option<Header> {
        if self.is_hidden(hash) && !self.hidden_headers {
            return None;
        }
        let (id, block) = self.blocks.get(hash)?;
        let active = self.is_active(id);
        let height = id.height as usize;
        let mut work = [0; 32];
        work[24..].copy_from_slice(&(u64::from(id.height) + 1).to_be_bytes());
        Some(Header {
            id: *id,
            prev: (height > 0).then_some(block.header.prev_blockhash),
            time_at: Timestamp::from_secs(block.header.time.into()),
            mtp_at: self.median_time(block),
            active,
            next: self.shown().get(height + 1).copied().filter(|_| active),
            work: Work::from_be_bytes(work),
        })
    }

    fn median_time(&self, block: &Block) -> Timestamp {
        let mut times = vec![block.header.time];
        let mut at = block;
        while let Some((_, parent)) = self.blocks.get(&at.header.prev_blockhash)
            && times.len() < MTP_BLOCKS
        {
            times.push(parent.header.time);
            at = parent;
        }
        times.sort_unstable();
        Timestamp::from_secs(times[times.len() / 2].into())
    }

    pub(super) fn mine(
        &mut self,
        coinbase: (ScriptBuf, u64),
        transactions: Vec<Transaction>,
    ) -> BlockId {
        let prev = *self.chain.last().expect("the genesis block stays");
        let height = self.blocks[&prev].0.height + 1;
        self.mined += 1;
        let mut txdata = vec![coinbase_of(height, self.mined, coinbase)];
        for tx in transactions {
            self.drop_conflicts(&tx);
            self.mempool.remove(&tx.compute_txid());
            txdata.push(tx);
        }
        let header = BlockHeader {
            version: Version::TWO,
            prev_blockhash: prev,
            merkle_root: TxMerkleNode::all_zeros(),
            time: self.next_time,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        };
        self.next_time = self.next_time.saturating_add(BLOCK_SPACING_S);
        let mut block = Block { header, txdata };
        block.header.merkle_root =
            block.compute_merkle_root().expect("there is always a coinbase transaction");
        let id = BlockId { height, hash: block.block_hash() };
        self.blocks.insert(id.hash, (id, block));
        self.chain.push(id.hash);
        id
    }

    pub(super) fn disconnect(&mut self, depth: u32) {
        for _ in 0..depth {
            assert!(self.chain.len() > 1, "the genesis block cannot be taken back");
            let hash = self.chain.pop().expect("the chain is longer than one block");
            self.valid.remove(&hash);
            let transactions = self.blocks[&hash].1.txdata.clone();
            for tx in transactions.into_iter().filter(|tx| !tx.is_coinbase()) {
                let rival = |input: &TxIn| self.spender(&input.previous_output).is_some();
                if !tx.input.iter().any(rival) {
                    self.mempool.insert(tx.compute_txid(), tx);
                }
            }
        }
    }

    pub(super) fn activate(&mut self, end: BlockHash) {
        let mut branch = Vec::new();
        let mut at = end;
        while !self.chain.contains(&at) {
            branch.push(at);
            at = self.blocks[&at].1.header.prev_blockhash;
        }
        let fork = self.chain.iter().position(|hash| *hash == at).expect("the walk ended there");
        let depth = self.chain.len() - 1 - fork;
        self.disconnect(u32::try_from(depth).expect("no test is that long"));
        for hash in branch.into_iter().rev() {
            for tx in self.blocks[&hash].1.txdata.clone() {
                self.drop_conflicts(&tx);
                self.mempool.remove(&tx.compute_txid());
            }
            self.chain.push(hash);
        }
    }

    pub(super) fn send(&mut self, tx: Transaction) -> Txid {
        let txid = tx.compute_txid();
        self.drop_conflicts(&tx);
        self.mempool.insert(txid, tx);
        txid
    }

    /// Drops what spends the same coins, and what builds on that.
    fn drop_conflicts(&mut self, tx: &Transaction) {
        let txid = tx.compute_txid();
        for input in &tx.input {
            while let Some(loser) = self.spender(&input.previous_output).filter(|by| *by != txid) {
                self.drop_with_children(loser);
            }
        }
    }

    fn drop_with_children(&mut self, txid: Txid) {
        let Some(tx) = self.mempool.remove(&txid) else { return };
        for (_, vout) in tx.output.iter().zip(0..) {
            if let Some(child) = self.spender(&OutPoint { txid, vout }) {
                self.drop_with_children(child);
            }
        }
    }

    /// The mempool transaction that spends a coin.
    pub(super) fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        let spends = |tx: &Transaction| tx.input.iter().any(|i| i.previous_output == *outpoint);
        self.mempool.iter().find(|(_, tx)| spends(tx)).map(|(txid, _)| *txid)
    }

    /// The mempool, parents first.
    pub(super) fn pending(&self) -> Vec<Transaction> {
        let mut left: Vec<_> = self.mempool.values().cloned().collect();
        let mut sorted = Vec::new();
        let mut unplaced: HashSet<_> = self.mempool.keys().copied().collect();
        while let Some(at) = left.iter().position(|tx| {
            tx.input.iter().all(|input| !unplaced.contains(&input.previous_output.txid))
        }) {
            let tx = left.remove(at);
            unplaced.remove(&tx.compute_txid());
            sorted.push(tx);
        }
        sorted
    }

    /// Unconfirmed transactions that one builds on, itself included.
    pub(super) fn ancestors(&self, txid: &Txid) -> HashSet<Txid> {
        let mut found = HashSet::new();
        let mut open = vec![*txid];
        while let Some(txid) = open.pop() {
            if let Some(tx) = self.mempool.get(&txid)
                && found.insert(txid)
            {
                open.extend(tx.input.iter().map(|input| input.previous_output.txid));
            }
        }
        found
    }

    /// The transactions of the active chain, the last block first.
    pub(super) fn confirmed(&self) -> impl Iterator<Item = &Transaction> {
        self.shown().iter().rev().flat_map(|hash| &self.blocks[hash].1.txdata)
    }
}

fn coinbase_of(height: u32, salt: u64, (script, amount_sat): (ScriptBuf, u64)) -> Transaction {
    let script_sig =
        Builder::new().push_int(height.into()).push_slice(salt.to_le_bytes()).into_script();
    let input = TxIn {
        previous_output: OutPoint::null(),
        script_sig,
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[[0; 32]]),
    };
    let output = TxOut { value: Amount::from_sat(amount_sat), script_pubkey: script };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![output],
    }
}
