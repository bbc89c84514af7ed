//! What satoshis are worth in the operator's currency, as a hint for people. Prices are in satoshis
//! and nothing is ever computed from a hint. Called by the pages.

const SAT_A_BTC: u128 = 100_000_000;

/// What a bitcoin costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Its code (ISO 4217), such as `EUR`.
    pub currency: String,
    /// In hundredths of it.
    pub hundredths: u64,
}

impl Rate {
    /// Reads the price of a bitcoin, such as `61234.5`; more than two decimals are cut off.
    pub fn parse(currency: &str, text: &str) -> Option<Self> {
        let text = text.trim();
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 12 || !digits(whole) || !digits(part) {
            return None;
        }
        let cents: u64 = format!("{part:0<2}")[..2].parse().ok()?;
        let hundredths = whole.parse::<u64>().ok()? * 100 + cents;
        (hundredths > 0).then(|| Self { currency: currency.to_owned(), hundredths })
    }

    /// About what an amount is worth: `≈ 1.23 EUR`.
    pub fn about(&self, sat: u64) -> String {
        let value = u128::from(sat) * u128::from(self.hundredths);
        let hundredths = (value + SAT_A_BTC / 2) / SAT_A_BTC;
        match hundredths {
            0 => format!("< 0.01 {}", self.currency),
            _ => format!("≈ {}.{:02} {}", hundredths / 100, hundredths % 100, self.currency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Option<u64> {
        Rate::parse("EUR", text).map(|rate| rate.hundredths)
    }

    #[test]
    fn a_rate_is_a_plain_positive_number() {
        assert_eq!((rate("61234"), rate(" 61234.5\n")), (Some(6_123_400), Some(6_123_450)));
        assert_eq!((rate("0.019"), rate("1.999")), (Some(1), Some(199)));
        for wrong in ["", ".5", "-1", "1e5", "1,5", "0", "0.001", "1 2", "9999999999999", "EUR 1"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn amounts_are_rounded_to_the_nearest_hundredth() {
        let rate = Rate::parse("EUR", "60000").unwrap();
        let shown = [0, 8, 9, 500, 1_000_000, 2_100_000_000_000_000].map(|sat| rate.about(sat));
        assert_eq!(
            shown,
            [
                "< 0.01 EUR",
                "< 0.01 EUR",
                "≈ 0.01 EUR",
                "≈ 0.30 EUR",
                "≈ 600.00 EUR",
                "≈ 1260000000000.00 EUR",
            ]
        );
    }
}
