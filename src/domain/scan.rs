//! Finds what concerns us in raw transactions and blocks: outputs to watched scripts, inputs that
//! spend watched outpoints. Visits the bytes in place; builds and hashes a transaction only when
//! it is a hit. Never panics, whatever the bytes. Called by the follower's worker, after the watch
//! set was refreshed.

#[cfg(test)]
mod tests;
mod walk;
mod watch;

use bitcoin::{OutPoint, ScriptBuf, Txid};
use thiserror::Error;

use walk::{Cursor, Frame, Visitor};
pub use watch::{Place, WatchSet};

/// Bytes of a block header.
const HEADER_LEN: usize = 80;

/// Why bytes are not a block or a transaction as bitcoind serialises them.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ScanError {
    /// They end too early.
    #[error("the bytes end in the middle of a transaction")]
    Truncated,
    /// Something follows the end.
    #[error("{count} bytes follow the end")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A compact size in a longer form than it needs.
    #[error("a length is not in its shortest form")]
    LongLength,
    /// A segwit flag other than 1 (BIP144).
    #[error("unknown segwit flag {flag}")]
    SegwitFlag {
        /// The flag found.
        flag: u8,
    },
    /// The segwit form, but every witness is empty (BIP144).
    #[error("segwit form without a witness")]
    NoWitness,
}

/// A transaction that pays or spends something watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxHit {
    /// Its id.
    pub txid: Txid,
    /// Its index in the block; 0 for a single transaction.
    pub position: u32,
    /// Whether it creates coins: such outputs count at 100 confirmations.
    pub coinbase: bool,
    /// Its outputs to watched scripts, in order.
    pub outputs: Vec<OutputHit>,
    /// Everything it spends, in order.
    pub inputs: Vec<OutPoint>,
    /// What of it is watched.
    pub spends: Vec<OutPoint>,
    /// The whole transaction, to be sent again.
    pub raw: Vec<u8>,
}

/// An output to a watched script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputHit {
    /// Its index in the transaction.
    pub vout: u32,
    /// The script it pays.
    pub script_pubkey: ScriptBuf,
    /// What it pays.
    pub amount_sat: u64,
    /// Where the script comes from.
    pub place: Place,
}

/// Finds the hits of a block in network serialisation, in block order. Proof of work, the merkle
/// root and scripts are not checked: that is the node's business.
///
/// # Errors
/// When the bytes are not exactly one block.
pub fn scan_block(block: &[u8], watch: &WatchSet) -> Result<Vec<TxHit>, ScanError> {
    let mut cursor = Cursor::new(block);
    cursor.take(HEADER_LEN)?;
    let count = cursor.length()?;
    let mut finder = Finder::new(watch);
    let mut hits = Vec::new();
    for (_, position) in (0..count).zip(0..) {
        let frame = walk::transaction(&mut cursor, &mut finder)?;
        hits.extend(finder.take_hit(&frame, position));
    }
    cursor.end()?;
    Ok(hits)
}

/// Says whether a single transaction is a hit.
///
/// # Errors
/// When the bytes are not exactly one transaction.
pub fn scan_tx(transaction: &[u8], watch: &WatchSet) -> Result<Option<TxHit>, ScanError> {
    let mut cursor = Cursor::new(transaction);
    let mut finder = Finder::new(watch);
    let frame = walk::transaction(&mut cursor, &mut finder)?;
    cursor.end()?;
    Ok(finder.take_hit(&frame, 0))
}

/// How many transactions a block has.
///
/// # Errors
/// When the bytes are too short to say.
pub fn transaction_count(block: &[u8]) -> Result<u64, ScanError> {
    let mut cursor = Cursor::new(block);
    cursor.take(HEADER_LEN)?;
    cursor.length()
}

/// Collects the matches of the transaction being walked.
struct Finder<'w> {
    watch: &'w WatchSet,
    outputs: Vec<OutputHit>,
    spends: Vec<OutPoint>,
}

impl<'w> Finder<'w> {
    fn new(watch: &'w WatchSet) -> Self {
        Self { watch, outputs: Vec::new(), spends: Vec::new() }
    }

    fn take_hit(&mut self, frame: &Frame<'_>, position: u32) -> Option<TxHit> {
        if self.outputs.is_empty() && self.spends.is_empty() {
            return None;
        }
        Some(TxHit {
            txid: frame.txid(),
            position,
            coinbase: frame.is_coinbase(),
            outputs: std::mem::take(&mut self.outputs),
            inputs: frame.outpoints(),
            spends: std::mem::take(&mut self.spends),
            raw: frame.whole.to_vec(),
        })
    }
}

impl Visitor for Finder<'_> {
    fn wants_inputs(&self) -> bool {
        self.watch.watches_outpoints()
    }

    fn input(&mut self, outpoint: OutPoint) {
        if self.watch.watches_outpoint(&outpoint) {
            self.spends.push(outpoint);
        }
    }

    fn output(&mut self, vout: u32, amount_sat: u64, script: &[u8]) {
        if let Some(place) = self.watch.find(script) {
            let script_pubkey = ScriptBuf::from_bytes(script.to_vec());
            self.outputs.push(OutputHit { vout, script_pubkey, amount_sat, place });
        }
    }
}
