//! Addresses that people hand in for refunds, alone or in a payment link, checked before anything
//! is stored. An address that is taken here can be paid; everything else is refused with what is
//! wrong in plain words.
//! Called by whatever takes a refund or payout address.

mod link;

use bitcoin::address::{KnownHrp, NetworkUnchecked, ParseError};
use bitcoin::bech32::primitives::decode::{
    CharError, SegwitHrpstringError, UncheckedHrpstringError,
};
use bitcoin::bech32::segwit;
use bitcoin::{Address, Network};

/// The longest text looked at; bech32 ends at 90 characters (BIP173).
const MOST_CHARACTERS: usize = 100;

/// Reads an address of `network` (base58, BIP173, BIP350), or a payment link that holds one
/// (BIP321). Blanks around it are taken off. As text it is in lower case if it is bech32, so one
/// destination has one spelling.
///
/// # Errors
/// What is wrong, as the end of a sentence that begins with the name of the field.
pub fn check_address(text: &str, network: Network) -> Result<Address, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty; give a bitcoin address".into());
    }
    if text.chars().any(char::is_whitespace) {
        return Err("has blanks in it; give one bitcoin address".into());
    }
    let text = match link::after_scheme(text) {
        Some(rest) => link::address_in(rest, network)?,
        None => text,
    };
    if ["lnbc", "lntb"].iter().any(|start| text.to_ascii_lowercase().starts_with(start)) {
        return Err("is a Lightning invoice; give an on-chain address".into());
    }
    if text.len() > MOST_CHARACTERS {
        return Err("is too long for a bitcoin address".into());
    }
    let address =
        text.parse::<Address<NetworkUnchecked>>().map_err(|error| reason(text, &error))?;
    address.clone().require_network(network).map_err(|_| wrong_network(text, &address, network))
}

fn reason(text: &str, error: &ParseError) -> String {
    if let Some(reason) = segwit_reason(text) {
        return reason;
    }
    match error {
        ParseError::UnknownHrp(_) => foreign(),
        ParseError::Base58(_) if looks_like_base58(text) => {
            "has a typing error: its checksum does not match".into()
        }
        ParseError::InvalidLegacyPrefix(_) | ParseError::InvalidBase58PayloadLength(_) => foreign(),
        _ => "is not a bitcoin address".into(),
    }
}

/// What is wrong with a text that is meant as a segwit address; `None` when it is none.
fn segwit_reason(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (prefix, _) = lower.rsplit_once('1')?;
    let ours = ["bc", "tb", "bcrt"].contains(&prefix);
    let error = match segwit::decode(text) {
        Ok(_) => return (!ours).then(foreign),
        Err(error) => error.0,
    };
    if !ours {
        return None;
    }
    Some(match error {
        SegwitHrpstringError::Unchecked(UncheckedHrpstringError::Char(CharError::MixedCase)) => {
            "mixes upper and lower case; write it all in lower case".into()
        }
        SegwitHrpstringError::Unchecked(UncheckedHrpstringError::Char(CharError::InvalidChar(
            found,
        ))) => format!("has a typing error: {found:?} does not occur in such an address"),
        SegwitHrpstringError::Checksum(_) => {
            "has a typing error: its checksum does not match".into()
        }
        SegwitHrpstringError::InvalidWitnessVersion(version) => {
            format!("has witness version {}; there are 0 to 16", version.to_u8())
        }
        SegwitHrpstringError::WitnessLength(_) | SegwitHrpstringError::TooLong(_) => {
            "has a wrong length for its witness version".into()
        }
        _ => "is not a valid segwit address".into(),
    })
}

fn looks_like_base58(text: &str) -> bool {
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
    (25..=36).contains(&text.len()) && text.bytes().all(alphabet)
}

fn foreign() -> String {
    "is an address of another currency or network".into()
}

fn wrong_network(text: &str, address: &Address<NetworkUnchecked>, network: Network) -> String {
    let lower = text.to_ascii_lowercase();
    let theirs = if lower.starts_with("bcrt1") {
        "regtest"
    } else if address.is_valid_for_network(Network::Bitcoin) {
        "bitcoin's main network"
    } else {
        "a test network"
    };
    let ours = name_of(network);
    let start = prefix_of(network);
    format!(
        "is an address of {theirs}; money is on {ours} here, where they begin with \"{start}1\""
    )
}

fn name_of(network: Network) -> String {
    match network {
        Network::Bitcoin => "bitcoin's main network".into(),
        other => other.to_string(),
    }
}

/// What stands before the `1` of a segwit address.
fn prefix_of(network: Network) -> &'static str {
    match KnownHrp::from(network) {
        KnownHrp::Mainnet => "bc",
        KnownHrp::Regtest => "bcrt",
        _ => "tb",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str, network: Network) -> String {
        check_address(text, network).unwrap_err()
    }

    fn network_of(text: &str) -> Network {
        if text.to_ascii_lowercase().starts_with("tb1") {
            Network::Signet
        } else {
            Network::Bitcoin
        }
    }

    /// BIP350, "valid segwit addresses", with their scripts.
    const VALID: [(&str, &str); 8] = [
        (
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        (
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
            "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
        ),
        (
            "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
            "5128751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        ("BC1SW50QGDZ25J", "6002751e"),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "5210751e76e8199196d454941c45d1b3a323"),
        (
            "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
            "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        (
            "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
            "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        ),
    ];

    const CHECKSUM: &str = "checksum does not match";
    const LENGTH: &str = "wrong length for its witness version";

    /// BIP350, "invalid segwit addresses", with what is to be said of each.
    const INVALID_350: [(&str, &str); 15] = [
        ("tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut", "another currency"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", CHECKSUM),
        ("tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf", CHECKSUM),
        ("BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL", CHECKSUM),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", CHECKSUM),
        ("tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47", CHECKSUM),
        ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", "'o' does not occur"),
        ("BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", "witness version 17"),
        ("bc1pw5dgrnzv", LENGTH),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav", LENGTH),
        ("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", LENGTH),
        ("tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq", "mixes upper and lower"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf", "not a valid segwit"),
        ("tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j", "not a valid segwit"),
        ("bc1gmk9yu", CHECKSUM),
    ];

    /// BIP173, "invalid segwit addresses".
    const INVALID_173: [(&str, &str); 10] = [
        ("tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty", "another currency"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", CHECKSUM),
        ("BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2", "witness version 17"),
        ("bc1rw5uspcuh", CHECKSUM),
        ("bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90", CHECKSUM),
        ("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", LENGTH),
        ("tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sL5k7", "mixes upper and lower"),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du", CHECKSUM),
        ("tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3pjxtptv", "not a valid segwit"),
        ("bc1gmk9yu", CHECKSUM),
    ];

    #[test]
    fn the_valid_addresses_of_bip350_pay_their_scripts() {
        for (text, script) in VALID {
            let address = check_address(text, network_of(text)).unwrap();
            assert_eq!(address.script_pubkey().to_hex_string(), script, "{text}");
            assert_eq!(address.to_string(), text.to_lowercase(), "one spelling of each");
        }
    }

    #[test]
    fn the_invalid_addresses_of_bip173_and_bip350_are_refused_with_the_reason() {
        for (text, reason) in INVALID_350.into_iter().chain(INVALID_173) {
            let found = wrong(text, network_of(text));
            assert!(found.contains(reason), "{text}: {found}");
        }
    }

    #[test]
    fn the_former_addresses_of_bip173_for_later_versions_are_refused_since_bip350() {
        for text in [
            "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k7grplx",
            "BC1SW50QA3JX3S",
            "bc1zw508d6qejxtdg4y5r3zarvaryvg6kdaj",
        ] {
            assert!(wrong(text, Network::Bitcoin).contains(CHECKSUM), "{text}");
        }
    }

    #[test]
    fn an_address_of_another_network_is_told_so() {
        let mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        let testnet = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
        assert_eq!(
            wrong(mainnet, Network::Regtest),
            "is an address of bitcoin's main network; money is on regtest here, where they begin \
             with \"bcrt1\""
        );
        assert!(wrong(testnet, Network::Bitcoin).starts_with("is an address of a test network;"));
        assert!(check_address(testnet, Network::Testnet4).is_ok());
        assert!(wrong("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", Network::Regtest).contains("main net"));
        assert!(check_address("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", Network::Regtest).is_ok());
    }

    #[test]
    fn what_people_paste_by_mistake_is_explained() {
        let good = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2";
        assert!(check_address(&format!(" {good}\n"), Network::Bitcoin).is_ok());
        for (text, reason) in [
            ("", "is empty"),
            ("bitcoin:?lightning=lnbc20u1p3y0x3hpp5743k2g0", "payment link without"),
            (&format!("{good} {good}"), "has blanks"),
            (&good.replace("N2", "N3"), CHECKSUM),
            ("lnbc20u1p3y0x3hpp5743k2g0fsqqxj7n8qzuhns5gmk", "Lightning"),
            (&"x".repeat(101), "too long"),
            ("LM2WMpR1Rp6j3Sa59cMXMs1SPzj9eXpGc1", "another currency"),
            ("hello", "is not a bitcoin address"),
            ("ÄÖÜäöüÄÖÜ", "is not a bitcoin address"),
            ("0x52908400098527886E0F7030069857D2E4169EE7", "is not a bitcoin address"),
        ] {
            let found = wrong(text, Network::Bitcoin);
            assert!(found.contains(reason), "{text}: {found}");
        }
    }
}
