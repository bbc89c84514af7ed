//! Walks the serialisation of transactions (BIP144) without building them.
//! Never allocates while walking and never trusts a length: each is checked against what is left.
//! Called by `domain::scan` only.

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{OutPoint, Txid};

use super::ScanError;

/// Bytes of an outpoint: a txid and a 32-bit output index.
const OUTPOINT_LEN: usize = 36;

/// Is told of every input and output in order.
pub(super) trait Visitor {
    /// Whether `input` should be called at all.
    fn wants_inputs(&self) -> bool;
    /// An input spends `outpoint`.
    fn input(&mut self, outpoint: OutPoint);
    /// An output pays `script`.
    fn output(&mut self, vout: u32, amount_sat: u64, script: &[u8]);
}

/// A position in bytes that were not checked yet.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], ScanError> {
        let end = self.at.checked_add(count).ok_or(ScanError::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(ScanError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ScanError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take returns exactly as many bytes as asked for"))
    }

    /// A compact size; only its shortest form is valid.
    pub(super) fn length(&mut self) -> Result<u64, ScanError> {
        let [first] = self.array()?;
        let (value, least) = match first {
            0xff => (u64::from_le_bytes(self.array()?), 0x1_0000_0000),
            0xfe => (u32::from_le_bytes(self.array()?).into(), 0x1_0000),
            0xfd => (u16::from_le_bytes(self.array()?).into(), 0xfd),
            small => (small.into(), 0),
        };
        if value < least { Err(ScanError::LongLength) } else { Ok(value) }
    }

    fn sized(&mut self) -> Result<&'a [u8], ScanError> {
        let length = self.length()?;
        self.take(usize::try_from(length).map_err(|_| ScanError::Truncated)?)
    }

    /// Fails when anything is left.
    pub(super) fn end(&self) -> Result<(), ScanError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(ScanError::TrailingBytes { count }),
        }
    }
}

/// Where the parts of a walked transaction lie.
pub(super) struct Frame<'a> {
    /// All of it.
    pub(super) whole: &'a [u8],
    // From the number of inputs to the last output: what version and lock time enclose in the txid.
    body: &'a [u8],
    inputs: &'a [u8],
    input_count: u64,
}

/// Walks one transaction and leaves the cursor behind it.
pub(super) fn transaction<'a>(
    cursor: &mut Cursor<'a>,
    visitor: &mut impl Visitor,
) -> Result<Frame<'a>, ScanError> {
    let bytes = cursor.bytes;
    let start = cursor.at;
    cursor.take(4)?;
    let mut body = cursor.at;
    let mut input_count = cursor.length()?;
    let segwit = input_count == 0;
    if segwit {
        let [flag] = cursor.array()?;
        if flag != 1 {
            return Err(ScanError::SegwitFlag { flag });
        }
        body = cursor.at;
        input_count = cursor.length()?;
    }
    let inputs = cursor.at;
    walk_inputs(cursor, input_count, visitor)?;
    let inputs_end = cursor.at;
    walk_outputs(cursor, visitor)?;
    let body_end = cursor.at;
    if segwit {
        walk_witnesses(cursor, input_count)?;
    }
    cursor.take(4)?;
    Ok(Frame {
        whole: &bytes[start..cursor.at],
        body: &bytes[body..body_end],
        inputs: &bytes[inputs..inputs_end],
        input_count,
    })
}

fn walk_inputs(
    cursor: &mut Cursor<'_>,
    count: u64,
    visitor: &mut impl Visitor,
) -> Result<(), ScanError> {
    let wanted = visitor.wants_inputs();
    for _ in 0..count {
        let previous = cursor.array()?;
        if wanted {
            visitor.input(outpoint(&previous));
        }
        cursor.sized()?;
        cursor.take(4)?;
    }
    Ok(())
}

fn walk_outputs(cursor: &mut Cursor<'_>, visitor: &mut impl Visitor) -> Result<(), ScanError> {
    let count = cursor.length()?;
    for (_, vout) in (0..count).zip(0..) {
        let amount_sat = u64::from_le_bytes(cursor.array()?);
        let script = cursor.sized()?;
        visitor.output(vout, amount_sat, script);
    }
    Ok(())
}

fn walk_witnesses(cursor: &mut Cursor<'_>, input_count: u64) -> Result<(), ScanError> {
    let mut any = input_count == 0;
    for _ in 0..input_count {
        let items = cursor.length()?;
        any |= items > 0;
        for _ in 0..items {
            cursor.sized()?;
        }
    }
    if any { Ok(()) } else { Err(ScanError::NoWitness) }
}

fn outpoint(bytes: &[u8; OUTPOINT_LEN]) -> OutPoint {
    let (txid, vout) = bytes.split_first_chunk::<32>().expect("36 bytes begin with 32");
    let vout = u32::from_le_bytes(vout.try_into().expect("and end with 4"));
    OutPoint { txid: Txid::from_byte_array(*txid), vout }
}

impl Frame<'_> {
    /// The id: the double hash of everything but the witness.
    pub(super) fn txid(&self) -> Txid {
        let mut engine = sha256d::Hash::engine();
        engine.input(&self.whole[..4]);
        engine.input(self.body);
        engine.input(&self.whole[self.whole.len() - 4..]);
        Txid::from_raw_hash(sha256d::Hash::from_engine(engine))
    }

    /// Everything it spends.
    pub(super) fn outpoints(&self) -> Vec<OutPoint> {
        struct Collect(Vec<OutPoint>);
        impl Visitor for Collect {
            fn wants_inputs(&self) -> bool {
                true
            }
            fn input(&mut self, outpoint: OutPoint) {
                self.0.push(outpoint);
            }
            fn output(&mut self, _vout: u32, _amount_sat: u64, _script: &[u8]) {}
        }
        let mut collect = Collect(Vec::new());
        walk_inputs(&mut Cursor::new(self.inputs), self.input_count, &mut collect)
            .expect("the same bytes were walked before");
        collect.0
    }

    /// Whether its only input is the null outpoint.
    pub(super) fn is_coinbase(&self) -> bool {
        self.input_count == 1 && self.outpoints() == [OutPoint::null()]
    }
}
