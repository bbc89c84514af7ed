//! An in-memory bitcoin node: a chain that forks and a mempool that replaces and evicts. Coins
//! are numbers; a coin is spent at most once in chain and mempool together.

use bitcoin::Txid;
use bitcoin::hashes::Hash as _;

use crate::domain::payment::MempoolEntry;
use crate::domain::time::Timestamp;

/// Height of the first block that every chain has.
pub(super) const BASE: u32 = 100;

/// A transaction, known by its place in `Node::txs`.
#[derive(Clone, Debug)]
pub(super) struct Tx {
    pub(super) coins: Vec<usize>,
    /// Our addresses that it pays; payments to others do not matter.
    pub(super) outputs: Vec<(usize, u64)>,
    pub(super) entry: MempoolEntry,
}

impl Tx {
    pub(super) fn conflicts_with(&self, other: &Self) -> bool {
        self.coins.iter().any(|coin| other.coins.contains(coin))
    }
}

/// A block, known by a number that no other block of any branch has.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) id: usize,
    pub(super) at: Timestamp,
    pub(super) txs: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) txs: Vec<Tx>,
    pub(super) chain: Vec<Block>,
    pub(super) mempool: Vec<usize>,
    /// The blocks of the branch that was left last, and how many blocks came before them.
    abandoned: (usize, Vec<Block>),
    blocks_made: usize,
    coins_made: usize,
}

/// The id of transaction number `tx`.
pub(super) fn txid(tx: usize) -> Txid {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&tx.to_le_bytes());
    Txid::from_byte_array(bytes)
}

impl Node {
    pub(super) fn new(now: Timestamp) -> Self {
        let first = Block { id: 0, at: now, txs: Vec::new() };
        Self {
            txs: Vec::new(),
            chain: vec![first],
            mempool: Vec::new(),
            abandoned: (1, Vec::new()),
            blocks_made: 1,
            coins_made: 0,
        }
    }

    /// A coin that nobody spent yet.
    pub(super) fn coin(&mut self) -> usize {
        self.coins_made += 1;
        self.coins_made
    }

    /// Makes a transaction without telling anyone.
    pub(super) fn make(&mut self, tx: Tx) -> usize {
        self.txs.push(tx);
        self.txs.len() - 1
    }

    fn in_chain(&self, tx: usize) -> bool {
        self.chain.iter().any(|block| block.txs.contains(&tx))
    }

    fn conflict(&self, a: usize, b: usize) -> bool {
        a != b && self.txs[a].conflicts_with(&self.txs[b])
    }

    /// Takes a transaction into the mempool; what conflicts with it there is replaced.
    pub(super) fn broadcast(&mut self, tx: usize) {
        let spent = self.chain.iter().flat_map(|block| &block.txs).any(|t| self.conflict(*t, tx));
        if !spent && !self.in_chain(tx) && !self.mempool.contains(&tx) {
            self.mempool =
                self.mempool.iter().copied().filter(|t| !self.conflict(*t, tx)).collect();
            self.mempool.push(tx);
        }
    }

    pub(super) fn evict(&mut self, tx: usize) {
        self.mempool.retain(|other| *other != tx);
    }

    /// The next block, with the mempool's transactions whose bits are set in `take`, and with
    /// `thief`, whose rivals in the mempool lose.
    pub(super) fn mine(&mut self, now: Timestamp, take: u32, thief: Option<usize>) {
        if let Some(thief) = thief {
            self.broadcast(thief);
        }
        let taken = |place: usize, tx: &usize| take >> (place % 32) & 1 == 1 || Some(*tx) == thief;
        let txs: Vec<usize> = self
            .mempool
            .iter()
            .enumerate()
            .filter(|(place, tx)| taken(*place, tx))
            .map(|(_, tx)| *tx)
            .collect();
        self.mempool.retain(|tx| !txs.contains(tx));
        self.chain.push(Block { id: self.blocks_made, at: now, txs });
        self.blocks_made += 1;
    }

    /// Takes up to `depth` blocks off; their transactions go back to the mempool.
    pub(super) fn disconnect(&mut self, depth: usize) -> usize {
        let depth = depth.min(self.chain.len() - 1);
        let lost = self.chain.split_off(self.chain.len() - depth);
        for tx in lost.iter().flat_map(|block| &block.txs) {
            if !self.mempool.iter().any(|other| self.conflict(*other, *tx)) {
                self.mempool.push(*tx);
            }
        }
        self.abandoned = (self.chain.len(), lost);
        depth
    }

    /// Goes back to the branch that was left last, the very same blocks.
    pub(super) fn reconsider(&mut self) {
        let (fork, blocks) = std::mem::replace(&mut self.abandoned, (1, Vec::new()));
        if fork > self.chain.len() || blocks.is_empty() {
            return;
        }
        self.disconnect(self.chain.len() - fork);
        for block in blocks {
            let rival =
                |tx: &usize| block.txs.iter().any(|own| own == tx || self.conflict(*own, *tx));
            self.mempool = self.mempool.iter().copied().filter(|tx| !rival(tx)).collect();
            self.chain.push(block);
        }
    }

    /// Median time past of the block at `place` in the chain (BIP113).
    pub(super) fn mtp(&self, place: usize) -> Timestamp {
        let mut times: Vec<Timestamp> =
            self.chain[place.saturating_sub(10)..=place].iter().map(|block| block.at).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }
}
