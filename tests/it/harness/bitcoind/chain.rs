//! What a test does to the chain and the mempool.

use std::str::FromStr;

use bitcoin::{BlockHash, Txid};
use serde_json::{Value, json};

use super::Bitcoind;

/// `invalidateblock` gives back to the mempool only what stood in the last ten blocks of a step.
const STEP: u32 = 10;
/// Two weeks is the age at which the mempool drops a transaction.
const EXPIRY_S: u64 = 15 * 86_400;

fn parsed<T: FromStr>(value: &Value) -> T {
    let text = value.as_str().unwrap_or_else(|| panic!("not a text: {value}"));
    text.parse().unwrap_or_else(|_| panic!("not what was expected: {text}"))
}

fn list<T: FromStr>(value: &Value) -> Vec<T> {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}")).iter().map(parsed).collect()
}

impl Bitcoind {
    /// The height of its best block.
    pub fn height(&self) -> u32 {
        let height = self.call("getblockcount", json!([]));
        u32::try_from(height.as_u64().unwrap()).unwrap()
    }

    /// Its best block.
    pub fn tip(&self) -> BlockHash {
        parsed(&self.call("getbestblockhash", json!([])))
    }

    /// The block of the active chain at a height.
    pub fn block_at(&self, height: u32) -> BlockHash {
        parsed(&self.call("getblockhash", json!([height])))
    }

    /// Everything in its mempool, parents first.
    pub fn mempool(&self) -> Vec<Txid> {
        list(&self.call("getrawmempool", json!([])))
    }

    /// A transaction of the mempool, as hex.
    pub fn raw(&self, txid: &Txid) -> String {
        parsed(&self.call("getrawtransaction", json!([txid])))
    }

    /// Puts a transaction into the mempool.
    pub fn submit(&self, raw: &str) -> Txid {
        parsed(&self.call("sendrawtransaction", json!([raw, 0])))
    }

    /// Tells another node of this one's blocks and mempool, as a connection of the two would.
    pub fn tell(&self, other: &Self) {
        let common = |height: &u32| {
            let theirs = other.try_call("getblockhash", json!([height]));
            theirs.is_ok_and(|hash| parsed::<BlockHash>(&hash) == self.block_at(*height))
        };
        let height = self.height();
        let fork = (0..=height).rev().find(common).expect("they have one genesis block");
        for height in fork + 1..=height {
            let block = self.call("getblock", json!([self.block_at(height), 0]));
            other.call("submitblock", json!([block]));
        }
        for txid in self.mempool() {
            // It may have it, or another one that spends the same.
            let _ = other.try_call("sendrawtransaction", json!([self.raw(&txid), 0]));
        }
    }

    /// Mines blocks with what is in the mempool.
    pub fn mine(&self, count: u32) -> Vec<BlockHash> {
        self.mine_to(&self.new_address(), count)
    }

    /// As [`Bitcoind::mine`], the coinbase paid to `address`.
    pub fn mine_to(&self, address: &str, count: u32) -> Vec<BlockHash> {
        list(&self.call("generatetoaddress", json!([count, address])))
    }

    /// Mines one block with exactly these transactions: txids of the mempool, or raw hex.
    pub fn mine_only<T: ToString>(&self, transactions: &[T]) -> BlockHash {
        let list: Vec<_> = transactions.iter().map(ToString::to_string).collect();
        parsed(&self.call("generateblock", json!([self.new_address(), list]))["hash"])
    }

    /// Mines empty blocks, whatever is in the mempool.
    pub fn mine_empty(&self, count: u32) {
        for _ in 0..count {
            self.mine_only::<Txid>(&[]);
        }
    }

    /// Takes back `depth` blocks; what was in them waits in the mempool. Returns the lowest of
    /// them for [`Bitcoind::reconsider`].
    pub fn invalidate(&self, depth: u32) -> BlockHash {
        let height = self.height();
        assert!(depth <= height, "the chain has only {height} blocks");
        let last = height - depth + 1;
        let mut at = height.saturating_sub(STEP - 1);
        while at > last {
            self.call("invalidateblock", json!([self.block_at(at)]));
            at = at.saturating_sub(STEP);
        }
        let lowest = self.block_at(last);
        self.call("invalidateblock", json!([lowest]));
        lowest
    }

    /// Undoes [`Bitcoind::invalidate`] and brings the old blocks back, if they have more work.
    pub fn reconsider(&self, lowest: &BlockHash) {
        // Each step of `invalidate` has marked a block of its own.
        for tip in self.call("getchaintips", json!([])).as_array().unwrap() {
            if tip["status"] == "invalid" {
                self.call("reconsiderblock", json!([tip["hash"]]));
            }
        }
        self.call("reconsiderblock", json!([lowest]));
    }

    /// Turns from one block to another of the same height, which then is the only valid one.
    pub fn turn(&self, from: &BlockHash, to: &BlockHash) {
        self.call("reconsiderblock", json!([to]));
        self.call("invalidateblock", json!([from]));
        assert_eq!(self.tip(), *to);
    }

    /// Takes back `depth` blocks and mines one more than that; the transactions of the old ones
    /// are in the first of the new ones.
    pub fn reorg(&self, depth: u32) {
        let address = self.new_address();
        self.invalidate(depth);
        self.mine_to(&address, depth + 1);
    }

    /// As [`Bitcoind::reorg`], but the new blocks are empty: the transactions wait in the mempool.
    pub fn reorg_empty(&self, depth: u32) {
        self.invalidate(depth);
        self.mine_empty(depth + 1);
    }

    /// Makes the mempool forget a transaction and what builds on it. Everything else stays, and
    /// the wallet gains a transaction that pays itself. Returns the raw hex, to submit it again.
    pub fn evict(&self, victim: &Txid) -> String {
        let raw = self.raw(victim);
        // A transaction goes when another one comes in after it has expired.
        let others: Vec<_> = self
            .mempool()
            .into_iter()
            .filter(|txid| txid != victim)
            .map(|txid| (txid, self.raw(&txid)))
            .collect();
        let came = self.call("getmempoolentry", json!([victim]))["time"].as_u64().unwrap();
        self.call("setmocktime", json!([came + EXPIRY_S]));
        self.pay_itself();
        self.call("setmocktime", json!([0]));
        for (txid, raw) in others {
            if self.try_call("sendrawtransaction", json!([raw, 0])).is_err() {
                self.abandon(&txid);
            }
        }
        self.abandon(victim);
        assert!(!self.mempool().contains(victim), "{victim} is still in the mempool");
        raw
    }
}
