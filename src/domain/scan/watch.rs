//! What the scanner looks for: scripts, each with its place in a keychain, and outpoints.
//! Ten million scripts must fit at 36 to 60 bytes each, and nearly every question is answered no,
//! so there is one shelf for each script form: a small filter that says no by one read, a table
//! of 8-byte slots (half a fingerprint, a row number), and packed rows.
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

    /// An empty set that takes `scripts` scripts of one form without growing.
    pub fn with_capacity(scripts: usize) -> Self {
        Self { expected: scripts, ..Self::default() }
    }

    /// Watches a script for ever. A script that is already watched keeps its first place; the
    /// answer says whether it was new.
    ///
    /// # Panics
    /// When the script has less than two bytes: no descriptor makes such a one.
    pub fn insert(&mut self, script: &Script, place: Place) -> bool {
        let (form, program) =
            split(script.as_bytes()).expect("no descriptor makes a script of less than two bytes");
        let known = self.shelves.iter().position(|shelf| shelf.form == form);
        let at = known.unwrap_or_else(|| {
            self.shelves.push(Shelf::new(form, std::mem::take(&mut self.expected)));
            self.shelves.len() - 1
        });
        self.shelves[at].insert(program, place)
    }

    /// The place of a script, if it is watched.
    pub fn find(&self, script: &[u8]) -> Option<Place> {
        let (form, program) = split(script)?;
        self.shelves.iter().find(|shelf| shelf.form == form)?.find(program)
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

/// What scripts of one kind have in common: their first two bytes and the length of the rest.
type Form = ([u8; 2], usize);

fn split(script: &[u8]) -> Option<(Form, &[u8])> {
    let (first, program) = script.split_first_chunk()?;
    Some(((*first, program.len()), program))
}

/// Rows allocated at a time: growing never copies the rows there are.
const ROWS_PER_CHUNK: u32 = 4096;
const SMALLEST_TABLE: usize = 64;
/// Slots for each 64-bit word of the filter: 11 to 16 bits a script.
const SLOTS_PER_WORD: usize = 8;
const EMPTY: u64 = 0;

/// The scripts of one form.
#[derive(Debug)]
struct Shelf {
    form: Form,
    count: u32,
    /// Three bits a script, all in one word: what is not here is not in the table either. This
    /// read is so predictable that the processor goes on to the next output meanwhile.
    filter: Vec<u64>,
    /// The low half of the fingerprint above the row's number plus one; the fingerprint scaled to
    /// the table is the slot at which a search begins.
    slots: Vec<u64>,
    /// Programs, each with its place behind it.
    chunks: Vec<Vec<u8>>,
}

impl Shelf {
    fn new(form: Form, expected: usize) -> Self {
        let mut shelf = Self { form, count: 0, filter: vec![], slots: vec![], chunks: vec![] };
        shelf.resize(expected.saturating_mul(4).div_ceil(3).max(SMALLEST_TABLE));
        shelf
    }

    fn find(&self, program: &[u8]) -> Option<Place> {
        let print = Print::of(program);
        if !self.may_have(print) {
            return None;
        }
        self.row_of(print, program).map(|row| self.place(row))
    }

    fn insert(&mut self, program: &[u8], place: Place) -> bool {
        let print = Print::of(program);
        if self.may_have(print) && self.row_of(print, program).is_some() {
            return false;
        }
        // A quarter stays empty: searches end there.
        if (self.count as usize + 1) * 4 > self.slots.len() * 3 {
            self.resize(self.slots.len() + self.slots.len() / 2);
        }
        if self.count.is_multiple_of(ROWS_PER_CHUNK) {
            self.chunks.push(Vec::with_capacity(ROWS_PER_CHUNK as usize * self.row_len()));
        }
        let chunk = self.chunks.last_mut().expect("the first row makes the first chunk");
        chunk.extend_from_slice(program);
        chunk.extend_from_slice(&place.pack());
        let row = self.count;
        self.count = row.checked_add(1).expect("2^32 scripts need more memory than there is");
        self.enter(print, row);
        true
    }

    fn row_len(&self) -> usize {
        self.form.1 + PLACE_LEN
    }

    fn row(&self, row: u32) -> &[u8] {
        let start = (row % ROWS_PER_CHUNK) as usize * self.row_len();
        &self.chunks[(row / ROWS_PER_CHUNK) as usize][start..start + self.row_len()]
    }

    fn place(&self, row: u32) -> Place {
        let packed = self.row(row).last_chunk().expect("a row ends with its place");
        Place::unpack(*packed)
    }

    fn may_have(&self, print: Print) -> bool {
        self.filter[print.scaled(self.filter.len())] & print.bits() == print.bits()
    }

    fn row_of(&self, print: Print, program: &[u8]) -> Option<u32> {
        let mut at = print.scaled(self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return None;
            }
            let [row, tag] = halves(slot);
            if tag == print.tag() && self.row(row - 1).starts_with(program) {
                return Some(row - 1);
            }
            at = self.next_slot(at);
        }
    }

    fn enter(&mut self, print: Print, row: u32) {
        let word = print.scaled(self.filter.len());
        self.filter[word] |= print.bits();
        let mut at = print.scaled(self.slots.len());
        while self.slots[at] != EMPTY {
            at = self.next_slot(at);
        }
        self.slots[at] = u64::from(print.tag()) << 32 | (u64::from(row) + 1);
    }

    fn next_slot(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    fn resize(&mut self, slots: usize) {
        // The old tables go first, so that both never exist at once.
        (self.slots, self.filter) = (Vec::new(), Vec::new());
        self.slots = vec![EMPTY; slots];
        self.filter = vec![0; slots / SLOTS_PER_WORD];
        for row in 0..self.count {
            let print = Print::of(&self.row(row)[..self.form.1]);
            self.enter(print, row);
        }
    }

    fn allocated_bytes(&self) -> usize {
        let rows: usize = self.chunks.iter().map(Vec::capacity).sum();
        let lists = self.chunks.capacity() * size_of::<Vec<u8>>();
        let words = self.slots.capacity() + self.filter.capacity();
        rows + lists + words * size_of::<u64>()
    }
}

/// A fingerprint of a program.
#[derive(Clone, Copy)]
struct Print(u64);

impl Print {
    /// A program is a hash or a key, so one multiplication of its last bytes spreads it well.
    fn of(program: &[u8]) -> Self {
        let mut last = [0; 8];
        let tail = &program[program.len().saturating_sub(8)..];
        last[..tail.len()].copy_from_slice(tail);
        Self(u64::from_le_bytes(last).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Scales it to a table, which so may have any length.
    fn scaled(self, length: usize) -> usize {
        let scaled = (u128::from(self.0) * length as u128) >> 64;
        usize::try_from(scaled).expect("it is below the length of the table")
    }

    fn tag(self) -> u32 {
        halves(self.0)[0]
    }

    /// Three bits of a filter word, chosen by bits that `scaled` does not use.
    fn bits(self) -> u64 {
        1 << (self.0 & 63) | 1 << (self.0 >> 6 & 63) | 1 << (self.0 >> 12 & 63)
    }
}
