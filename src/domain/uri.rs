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
mod tests;
