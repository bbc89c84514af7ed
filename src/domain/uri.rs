//! Payment URIs (BIP321, which replaces BIP21) and amounts as text. Integers only: a float would
//! round somebody's money. Called by the views of invoices, the pages and `leasehold rent`.

const SAT_A_BTC: u64 = 100_000_000;

/// The URI for a link: `bitcoin:ADDRESS?amount=…&label=…`. No amount when nothing is due, or when
/// the payer chooses.
pub fn payment_uri(address: &str, due_sat: Option<u64>, label: Option<&str>) -> String {
    format!("bitcoin:{address}{}", query(due_sat, label))
}

/// The same URI for a QR code: scheme and bech32 address in upper case, which makes the code
/// smaller (BIP173); a base58 address stays as it is. Keys and label are case-sensitive.
pub fn payment_uri_for_qr(address: &str, due_sat: Option<u64>, label: Option<&str>) -> String {
    let lower = address.to_ascii_lowercase();
    if !["bc1", "tb1", "bcrt1"].iter().any(|start| lower.starts_with(start)) {
        return payment_uri(address, due_sat, label);
    }
    format!("BITCOIN:{}{}", address.to_ascii_uppercase(), query(due_sat, label))
}

/// Satoshis as bitcoin with eight decimals: `0.00001000`.
pub fn btc_text(amount_sat: u64) -> String {
    format!("{}.{:08}", amount_sat / SAT_A_BTC, amount_sat % SAT_A_BTC)
}

/// Satoshis for people, in groups of three: `1,000,000 sat`.
pub fn sat_text(amount_sat: u64) -> String {
    let digits = amount_sat.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 4);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text.push_str(" sat");
    text
}

fn query(due_sat: Option<u64>, label: Option<&str>) -> String {
    let amount = due_sat.filter(|sat| *sat > 0).map(|sat| format!("amount={}", btc_text(sat)));
    let label =
        label.filter(|label| !label.is_empty()).map(|label| format!("label={}", encode(label)));
    let parts: Vec<String> = amount.into_iter().chain(label).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 section 2.3.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, Denomination};
    use proptest::prelude::*;

    use super::*;

    const BECH32: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const BASE58: &str = "175tWpb8K1S7NmH4Zx6rewF9WQrcZv245W";

    #[test]
    fn links_are_lower_case_and_have_amount_and_label() {
        assert_eq!(
            payment_uri(BECH32, Some(1000), Some("gpu-small")),
            format!("bitcoin:{BECH32}?amount=0.00001000&label=gpu-small")
        );
        assert_eq!(payment_uri(BECH32, None, None), format!("bitcoin:{BECH32}"));
        assert_eq!(payment_uri(BECH32, Some(0), Some("")), format!("bitcoin:{BECH32}"));
        assert_eq!(payment_uri(BECH32, None, Some("a")), format!("bitcoin:{BECH32}?label=a"));
    }

    #[test]
    fn the_examples_of_bip321_come_out() {
        let uri = payment_uri(BASE58, Some(2_030_000_000), Some("Luke-Jr"));
        assert_eq!(uri, format!("bitcoin:{BASE58}?amount=20.30000000&label=Luke-Jr"));
        let label = payment_uri(BASE58, None, Some("Donation for project xyz"));
        assert_eq!(label, format!("bitcoin:{BASE58}?label=Donation%20for%20project%20xyz"));
    }

    #[test]
    fn in_a_qr_code_bech32_is_upper_case_and_base58_is_left_alone() {
        let upper = BECH32.to_ascii_uppercase();
        assert_eq!(
            payment_uri_for_qr(BECH32, Some(1), Some("Päck&1")),
            format!("BITCOIN:{upper}?amount=0.00000001&label=P%C3%A4ck%261")
        );
        assert_eq!(
            payment_uri_for_qr(BASE58, Some(1), None),
            format!("bitcoin:{BASE58}?amount=0.00000001")
        );
    }

    #[test]
    fn amounts_are_grouped_for_people() {
        let shown = [0, 999, 1000, 12_345, 123_456, 1_234_567].map(sat_text);
        assert_eq!(
            shown,
            ["0 sat", "999 sat", "1,000 sat", "12,345 sat", "123,456 sat", "1,234,567 sat"]
        );
    }

    proptest! {
        #[test]
        fn another_library_reads_the_same_amount(sat in 0u64..=2_100_000_000_000_000) {
            let read = Amount::from_str_in(&btc_text(sat), Denomination::Bitcoin).unwrap();
            prop_assert_eq!(read.to_sat(), sat);
        }

        #[test]
        fn another_library_reads_the_same_label(label in ".{1,40}") {
            let uri = payment_uri(BECH32, Some(1), Some(&label));
            let url = reqwest::Url::parse(&uri).unwrap();
            // The query of a web form also decodes "+", which we therefore must never write.
            let found = url.query_pairs().find(|(key, _)| key == "label").unwrap().1.into_owned();
            prop_assert_eq!(found, label);
        }
    }
}
