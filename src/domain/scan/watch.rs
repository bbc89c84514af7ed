//! What the scanner looks for: scripts, each with its place in a keychain, and outpoints.
//! Ten million scripts must fit at 36 to 60 bytes each, so there is one table for each script
//! length: open addressing over 8-byte slots (half a fingerprint, a row number) and packed rows.
//! A fingerprint alone never makes a hit: the whole script is compared.

use bitcoin::{OutPoint, Script};
use rustc_hash::FxHashSet;

use crate::domain::keychain::Branch;

/// Where a script comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The keychain's row number.
    pub keychain: u32,
    /// The branch of its descriptor.
    pub branch: Branch,
    /// The derivation index, below 2^31.
    pub index: u32,
}

/// Bytes of a packed [`Place`].
const PLACE_LEN: usize = 8;
const INTERNAL_BIT: u32 = 1 << 31;

impl Place {
    fn pack(self) -> [u8; PLACE_LEN] {
        assert!(self.index < INTERNAL_BIT, "derivation indexes are below 2^31");
        let branch = match self.branch {
            Branch::External => 0,
            Branch::Internal => INTERNAL_BIT,
        };
        (u64::from(self.keychain) << 32 | u64::from(branch | self.index)).to_le_bytes()
    }

    fn unpack(bytes: [u8; PLACE_LEN]) -> Self {
        let [low, high] = halves(u64::from_le_bytes(bytes));
        let branch = if low & INTERNAL_BIT == 0 { Branch::External } else { Branch::Internal };
        Self { keychain: high, branch, index: low & !INTERNAL_BIT }
    }
}

/// The low and the high half of a number.
fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// The scripts and outpoints that matter.
#[derive(Debug, Default)]
pub struct WatchSet {
    shelves: Vec<Shelf>,
    outpoints: FxHashSet<OutPoint>,
    expected: usize,
}

impl WatchSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty set that takes `scripts` scripts of one length without growing.
    pub fn with_capacity(scripts: usize) -> Self {
        Self { expected: scripts, ..Self::default() }
    }

    /// Watches a script for ever. A script that is already watched keeps its first place; the
    /// answer says whether it was new.
    pub fn insert(&mut self, script: &Script, place: Place) -> bool {
        let script = script.as_bytes();
        let known = self.shelves.iter().position(|shelf| shelf.script_len == script.len());
        let at = known.unwrap_or_else(|| {
            self.shelves.push(Shelf::new(script.len(), std::mem::take(&mut self.expected)));
            self.shelves.len() - 1
        });
        self.shelves[at].insert(script, place)
    }

    /// The place of a script, if it is watched.
    pub fn find(&self, script: &[u8]) -> Option<Place> {
        self.shelves.iter().find(|shelf| shelf.script_len == script.len())?.find(script)
    }

    /// How many scripts are watched.
    pub fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.count as usize).sum()
    }

    /// Whether no script is watched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated for the scripts.
    pub fn allocated_bytes(&self) -> usize {
        self.shelves.iter().map(Shelf::allocated_bytes).sum()
    }

    /// Reports transactions that spend this outpoint: an input of a payment that is not final yet,
    /// or a coin of ours.
    pub fn watch_outpoint(&mut self, outpoint: OutPoint) {
        self.outpoints.insert(outpoint);
    }

    /// Stops reporting it.
    pub fn unwatch_outpoint(&mut self, outpoint: &OutPoint) {
        self.outpoints.remove(outpoint);
    }

    /// Whether this outpoint is watched.
    pub fn watches_outpoint(&self, outpoint: &OutPoint) -> bool {
        self.outpoints.contains(outpoint)
    }

    /// Whether any outpoint is watched.
    pub fn watches_outpoints(&self) -> bool {
        !self.outpoints.is_empty()
    }
}

/// Rows allocated at a time: growing never copies the rows there are.
const ROWS_PER_CHUNK: u32 = 4096;
const SMALLEST_TABLE: usize = 64;
const EMPTY: u64 = 0;

/// The scripts of one length. A slot holds the low half of the fingerprint above the row's number
/// plus one; the high half chose the slot.
#[derive(Debug)]
struct Shelf {
    script_len: usize,
    count: u32,
    slots: Vec<u64>,
    chunks: Vec<Vec<u8>>,
}

impl Shelf {
    fn new(script_len: usize, expected: usize) -> Self {
        let slots = expected.saturating_mul(4).div_ceil(3).max(SMALLEST_TABLE);
        Self { script_len, count: 0, slots: vec![EMPTY; slots], chunks: Vec::new() }
    }

    fn find(&self, script: &[u8]) -> Option<Place> {
        self.row_of(fingerprint(script), script).map(|row| self.place(row))
    }

    fn insert(&mut self, script: &[u8], place: Place) -> bool {
        let print = fingerprint(script);
        if self.row_of(print, script).is_some() {
            return false;
        }
        // A quarter stays empty: searches end there.
        if (self.count as usize + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        if self.count.is_multiple_of(ROWS_PER_CHUNK) {
            self.chunks.push(Vec::with_capacity(ROWS_PER_CHUNK as usize * self.row_len()));
        }
        let chunk = self.chunks.last_mut().expect("the first row makes the first chunk");
        chunk.extend_from_slice(script);
        chunk.extend_from_slice(&place.pack());
        let row = self.count;
        self.count = row.checked_add(1).expect("2^32 scripts need more memory than there is");
        self.claim_slot(print, row);
        true
    }

    fn row_len(&self) -> usize {
        self.script_len + PLACE_LEN
    }

    fn row(&self, row: u32) -> &[u8] {
        let start = (row % ROWS_PER_CHUNK) as usize * self.row_len();
        &self.chunks[(row / ROWS_PER_CHUNK) as usize][start..start + self.row_len()]
    }

    fn place(&self, row: u32) -> Place {
        let packed = self.row(row).last_chunk().expect("a row ends with its place");
        Place::unpack(*packed)
    }

    fn row_of(&self, print: u64, script: &[u8]) -> Option<u32> {
        let [tag, _] = halves(print);
        let mut at = self.first_slot(print);
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return None;
            }
            let [row, slot_tag] = halves(slot);
            if slot_tag == tag && self.row(row - 1).starts_with(script) {
                return Some(row - 1);
            }
            at = self.next_slot(at);
        }
    }

    fn claim_slot(&mut self, print: u64, row: u32) {
        let [tag, _] = halves(print);
        let mut at = self.first_slot(print);
        while self.slots[at] != EMPTY {
            at = self.next_slot(at);
        }
        self.slots[at] = u64::from(tag) << 32 | (u64::from(row) + 1);
    }

    // Scales the fingerprint to the table, so that the table may have any length and grow by half.
    fn first_slot(&self, print: u64) -> usize {
        let scaled = (u128::from(print) * self.slots.len() as u128) >> 64;
        usize::try_from(scaled).expect("it is below the length of the table")
    }

    fn next_slot(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    fn grow(&mut self) {
        let length = self.slots.len() + self.slots.len() / 2;
        // The old table goes first, so that both never exist at once.
        self.slots = Vec::new();
        self.slots = vec![EMPTY; length];
        for row in 0..self.count {
            let print = fingerprint(&self.row(row)[..self.script_len]);
            self.claim_slot(print, row);
        }
    }

    fn allocated_bytes(&self) -> usize {
        let rows: usize = self.chunks.iter().map(Vec::capacity).sum();
        let lists = self.chunks.capacity() * size_of::<Vec<u8>>();
        rows + lists + self.slots.capacity() * size_of::<u64>()
    }
}

/// The last eight bytes are part of the program in every standard script, and a program is a
/// hash or a key, so one multiplication spreads it well enough.
fn fingerprint(script: &[u8]) -> u64 {
    let mut last = [0; 8];
    let tail = &script[script.len().saturating_sub(8)..];
    last[..tail.len()].copy_from_slice(tail);
    u64::from_le_bytes(last).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
