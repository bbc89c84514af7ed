use bitcoin::{Amount, Network};
use proptest::prelude::*;

use super::*;

const BECH32: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// As BIP321 has it; its checksum is wrong.
const BASE58: &str = "175tWpb8K1S7NmH4Zx6rewF9WQrcZv245W";
/// A script hash on a test network (BIP49's example), as sh(wsh) gives them.
const P2SH: &str = "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2";

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
    assert_eq!(payment_uri_for_qr(P2SH, None, None), format!("bitcoin:{P2SH}"));
}

#[test]
fn amounts_are_grouped_for_people() {
    let shown = [0, 999, 1000, 12_345, 123_456, 1_234_567].map(sat_text);
    assert_eq!(
        shown,
        ["0 sat", "999 sat", "1,000 sat", "12,345 sat", "123,456 sat", "1,234,567 sat"]
    );
}

/// What another parser (the crate bip21) reads in one of our URIs.
fn read(uri: &str, network: Network) -> (String, Option<u64>, Option<String>) {
    let uri: bip21::Uri<'_, _> = uri.parse().unwrap();
    let read = uri.require_network(network).unwrap();
    let label = read.label.map(|label| String::try_from(label).unwrap());
    (read.address.to_string(), read.amount.map(Amount::to_sat), label)
}

proptest! {
    #[test]
    fn another_parser_reads_the_same_address_amount_and_label(
        sat in proptest::option::of(1..=2_100_000_000_000_000_u64),
        label in proptest::option::of("\\PC{1,40}|.{1,10}|[a-z0-9-]{1,63}|[&=?#%+ /:@]{1,9}"),
    ) {
        for (address, network) in [
            (BECH32, Network::Regtest),
            ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", Network::Bitcoin),
            (P2SH, Network::Regtest),
            ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", Network::Bitcoin),
        ] {
            let expected = (address.to_owned(), sat, label.clone());
            for uri in [
                payment_uri(address, sat, label.as_deref()),
                payment_uri_for_qr(address, sat, label.as_deref()),
            ] {
                prop_assert_eq!(read(&uri, network), expected.clone(), "{}", uri);
            }
        }
    }
}

#[test]
fn another_parser_takes_our_uri_for_its_own_network_only() {
    let uri = payment_uri(BECH32, Some(1), None);
    let parse = || uri.parse::<bip21::Uri<'_, _>>().unwrap();
    assert!(parse().require_network(Network::Regtest).is_ok());
    for other in [Network::Bitcoin, Network::Signet, Network::Testnet] {
        assert!(parse().require_network(other).is_err());
    }
}
