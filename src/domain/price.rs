//! Money to time and back. Integers only, 128-bit intermediates (SPEC section 4).

use serde::{Deserialize, Serialize};

use super::time::span;
use super::uri::sat_text;

/// A price: `sat` satoshis for every `per_s` seconds. Both are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Price {
    /// Satoshis for one period.
    pub sat: u64,
    /// Length of the period in seconds.
    pub per_s: u64,
}

/// What people call a time that something costs so much for; nothing when it has no name.
pub fn period(per_s: u64) -> Option<&'static str> {
    const NAMED: [(u64, &str); 6] = [
        (1, "a second"),
        (60, "a minute"),
        (3600, "an hour"),
        (86_400, "a day"),
        (7 * 86_400, "a week"),
        (30 * 86_400, "a month"),
    ];
    NAMED.iter().find(|(named_s, _)| *named_s == per_s).map(|(_, name)| *name)
}

impl Price {
    /// What `duration_s` costs: `ceil(duration_s × sat / per_s)`, saturating.
    pub fn cost_sat(self, duration_s: u64) -> u64 {
        narrow(self.product(duration_s, self.sat).div_ceil(u128::from(self.per_s)))
    }

    /// What `amount_sat` buys: `floor(amount_sat × per_s / sat)`, saturating.
    pub fn seconds(self, amount_sat: u64) -> u64 {
        narrow(self.product(amount_sat, self.per_s) / u128::from(self.sat))
    }

    /// As people say a cost: `20 sat an hour`, `30,000 sat a month`, `5 sat every 2 hours`.
    pub fn words(self) -> String {
        let every = match period(self.per_s) {
            Some(name) => name.to_owned(),
            None => format!("every {}", span(self.per_s)),
        };
        format!("{} {every}", sat_text(self.sat))
    }

    fn product(self, a: u64, b: u64) -> u128 {
        u128::from(a) * u128::from(b)
    }
}

/// `floor` of the sum of `seconds × sat / per_s` over all `(seconds, price)`, exact.
pub fn value_sat(parts: impl IntoIterator<Item = (u64, Price)>) -> u64 {
    let mut whole: u128 = 0;
    let (mut num, mut den): (u128, u128) = (0, 1);
    for (seconds, price) in parts {
        let product = u128::from(seconds) * u128::from(price.sat);
        let per = u128::from(price.per_s);
        whole += product / per;
        let rest = product % per;
        // num/den < 1 stays a fraction in lowest terms of the period lengths seen.
        let step = den / gcd(den, per);
        // Half the range, so that the sum of two fractions below it fits. No catalogue comes near.
        let Some(common) = step.checked_mul(per).filter(|common| *common <= u128::MAX / 2) else {
            continue;
        };
        num = num * (common / den) + rest * (common / per);
        den = common;
        whole += num / den;
        num %= den;
    }
    narrow(whole)
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn narrow(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Money that bought time at one price, added up, so that splitting a payment neither gains
/// nor loses a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The price that everything in this run was counted at.
    pub price: Price,
    /// Standing satoshis at that price, carried-over ones included.
    pub sat: u64,
    /// Seconds already given for them.
    pub seconds: u64,
}

impl Run {
    /// An empty run at `price` that begins with `carried_sat` from the run before.
    pub fn new(price: Price, carried_sat: u64) -> Self {
        Self { price, sat: carried_sat, seconds: 0 }
    }

    /// Whole satoshis that are not yet worth a second.
    pub fn balance_sat(&self) -> u64 {
        self.sat.saturating_sub(self.price.cost_sat(self.seconds))
    }

    /// The seconds that `amount_sat` more would add.
    pub fn worth_s(&self, amount_sat: u64) -> u64 {
        self.price.seconds(self.sat.saturating_add(amount_sat)).saturating_sub(self.seconds)
    }

    /// Adds money and returns the seconds it adds. At another price the whole satoshis not yet
    /// worth a second move over first; the fraction is dropped.
    pub fn add(&mut self, amount_sat: u64, price: Price) -> u64 {
        if price != self.price {
            *self = Self::new(price, self.balance_sat());
        }
        let seconds = self.worth_s(amount_sat);
        self.sat = self.sat.saturating_add(amount_sat);
        self.seconds = self.seconds.saturating_add(seconds);
        seconds
    }

    /// Puts a restored credit back in, with the seconds it bought.
    pub fn restore(&mut self, amount_sat: u64, seconds: u64) {
        self.sat = self.sat.saturating_add(amount_sat);
        self.seconds = self.seconds.saturating_add(seconds);
    }

    /// Takes a reversed credit out again.
    pub fn remove(&mut self, amount_sat: u64, seconds: u64) {
        self.sat = self.sat.saturating_sub(amount_sat);
        self.seconds = self.seconds.saturating_sub(seconds);
    }
}

#[cfg(test)]
mod tests;
