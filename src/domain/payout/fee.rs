//! Fees: who pays them, how they are computed, how one is shared.

use serde::{Deserialize, Serialize};

/// Who pays the miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeePolicy {
    /// Every output pays an equal share.
    Recipient,
    /// The operator.
    Sender,
}

impl FeePolicy {
    /// snake_case, as in the configuration and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::Sender => "sender",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Recipient, Self::Sender].into_iter().find(|policy| policy.as_str() == text)
    }
}

/// The fee of `weight` weight units at `feerate_msat` milli-satoshi a vbyte, rounded up.
pub fn fee_sat(weight: u64, feerate_msat: u64) -> u64 {
    let product = u128::from(weight) * u128::from(feerate_msat);
    u64::try_from(product.div_ceil(4000)).unwrap_or(u64::MAX)
}

/// Splits `whole` by `parts`, exactly: what rounding down leaves goes to the first ones.
pub fn split(whole: u64, parts: &[u64]) -> Vec<u64> {
    let sum: u128 = parts.iter().map(|part| u128::from(*part)).sum();
    if sum == 0 {
        return vec![0; parts.len()];
    }
    let share = |part: &u64| u128::from(whole) * u128::from(*part) / sum;
    let mut shares: Vec<u64> =
        parts.iter().map(|part| u64::try_from(share(part)).unwrap_or(u64::MAX)).collect();
    let rest = whole - shares.iter().sum::<u64>();
    for share in shares.iter_mut().take(usize::try_from(rest).unwrap_or(usize::MAX)) {
        *share += 1;
    }
    shares
}
