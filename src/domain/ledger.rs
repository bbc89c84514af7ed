//! The ledger: double entry, append-only. An entry is the difference between where the money
//! was and where it is; its lines always sum to zero.

use serde::{Deserialize, Serialize};

use super::lease::books::Books;

/// A place where money can be. `received` and `lost` are the debit side: everything else sums
/// up to them (SPEC section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// Money that came and counts.
    Received,
    /// Waits for more money, a unit, or a second's worth.
    Held,
    /// Time not yet elapsed.
    Prepaid,
    /// Time elapsed, or kept.
    Earned,
    /// Can go back.
    Refundable,
    /// Went back, the fee included that was taken from it.
    Refunded,
    /// Can go back, but is less than the network relays.
    Dust,
    /// Went back and was reversed: the other part of the debit side.
    Lost,
    /// Pays an address that was never issued.
    Unallocated,
}

impl Account {
    /// Every account.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Held,
        Self::Prepaid,
        Self::Earned,
        Self::Refundable,
        Self::Refunded,
        Self::Dust,
        Self::Lost,
        Self::Unallocated,
    ];

    /// snake_case, as in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Held => "held",
            Self::Prepaid => "prepaid",
            Self::Earned => "earned",
            Self::Refundable => "refundable",
            Self::Refunded => "refunded",
            Self::Dust => "dust",
            Self::Lost => "lost",
            Self::Unallocated => "unallocated",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|account| account.as_str() == text)
    }
}

/// One line of an entry: `amount_sat` is a debit when positive, a credit when negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The account.
    pub account: Account,
    /// Signed satoshis.
    pub amount_sat: i64,
}

fn signed(sat: u64) -> i64 {
    i64::try_from(sat).unwrap_or(i64::MAX)
}

/// The lines that lead from `old` to `new`; none when nothing moved.
pub fn lines(old: &Books, new: &Books) -> Vec<Line> {
    let moved = [
        (Account::Received, signed(new.received_sat) - signed(old.received_sat)),
        (Account::Held, signed(old.held_sat) - signed(new.held_sat)),
        (Account::Prepaid, signed(old.prepaid_sat) - signed(new.prepaid_sat)),
        (Account::Earned, signed(old.earned_sat) - signed(new.earned_sat)),
        (Account::Refundable, signed(old.refundable_sat) - signed(new.refundable_sat)),
        (Account::Refunded, signed(old.refunded_sat) - signed(new.refunded_sat)),
        (Account::Dust, signed(old.dust_sat) - signed(new.dust_sat)),
        (Account::Lost, signed(new.lost_sat) - signed(old.lost_sat)),
        (Account::Unallocated, signed(old.unallocated_sat) - signed(new.unallocated_sat)),
    ];
    moved
        .into_iter()
        .filter(|(_, amount_sat)| *amount_sat != 0)
        .map(|(account, amount_sat)| Line { account, amount_sat })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_balanced_and_names_only_what_moved() {
        let old = Books::default();
        let new = Books { received_sat: 1000, prepaid_sat: 900, earned_sat: 100, ..old };
        let entry = lines(&old, &new);
        assert_eq!(entry.iter().map(|line| line.amount_sat).sum::<i64>(), 0);
        assert_eq!(entry.len(), 3);
        assert!(lines(&new, &new).is_empty());
    }
}
