//! The address in a payment link (BIP321, formerly BIP21), which is what wallets copy and QR codes
//! hold. Amount, label and whatever else a link asks for is left out: here money goes to an address.
//! Called by `check_address`, which checks what comes out.

use bitcoin::Network;

const SCHEME: &str = "bitcoin:";
/// How much of a parameter's name is repeated in a reason.
const SHOWN_CHARACTERS: usize = 40;

/// What follows `bitcoin:`; `None` when `text` is no such link.
pub(super) fn after_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

/// The address of `network` in a link, not checked yet; `rest` is what follows `bitcoin:`. The
/// address stands before the `?`, or, when nothing stands there, in a parameter named like the
/// beginning of the network's addresses (`bc=`, `tb=`, `bcrt=`). Names count in any case.
///
/// # Errors
/// What is wrong, as [`check_address`](super::check_address) says it.
pub(super) fn address_in(rest: &str, network: Network) -> Result<&str, String> {
    let (body, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameters = || {
        let all = query.split('&').map(|one| one.split_once('=').unwrap_or((one, "")));
        all.filter(|(name, _)| !name.is_empty())
    };
    if let Some((name, _)) = parameters().find(|(name, _)| is_required(name)) {
        let name: String = name.chars().take(SHOWN_CHARACTERS).collect();
        return Err(format!(
            "is a payment link that requires {name:?}, which is not supported here; give only a \
             bitcoin address"
        ));
    }
    if !body.is_empty() {
        return Ok(body);
    }
    let wanted = super::prefix_of(network);
    let mut found =
        parameters().filter(|(name, value)| name.eq_ignore_ascii_case(wanted) && !value.is_empty());
    match (found.next(), found.next()) {
        (Some((_, address)), None) => Ok(address),
        (Some(_), Some(_)) => {
            Err("is a payment link with several addresses; give one of them alone".into())
        }
        (None, _) => Err(format!(
            "is a payment link without an on-chain address for {}; give a bitcoin address",
            super::name_of(network)
        )),
    }
}

fn is_required(name: &str) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("req-"))
}

#[cfg(test)]
mod tests {
    use super::super::check_address;
    use super::*;

    const SEGWIT: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const TAPROOT: &str = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0";
    const LEGACY: &str = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2";
    const TEST: &str = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
    const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn found(text: &str, network: Network) -> String {
        check_address(text, network).unwrap().to_string()
    }

    fn wrong(text: &str) -> String {
        check_address(text, Network::Bitcoin).unwrap_err()
    }

    #[test]
    fn the_address_of_a_link_is_taken_and_the_rest_left_out() {
        for text in [
            format!("bitcoin:{SEGWIT}"),
            format!(" bitcoin:{SEGWIT}?\n"),
            format!("Bitcoin:{SEGWIT}?amount=0.1&label=Lu%C3%AFs&message=a%3Fb"),
            format!("BITCOIN:{}?AMOUNT=1&PJ=HTTPS://A.EXAMPLE", SEGWIT.to_uppercase()),
            format!("bitcoin:{SEGWIT}?lightning=lnbc1{}", "q".repeat(1200)),
            format!("bitcoin:{SEGWIT}?&&=&x&request=1&tb={TEST}&bc={TAPROOT}"),
        ] {
            assert_eq!(found(&text, Network::Bitcoin), SEGWIT, "{text}");
        }
        assert_eq!(found(&format!("bitcoin:{LEGACY}?label=x"), Network::Bitcoin), LEGACY);
    }

    #[test]
    fn a_link_without_a_body_is_asked_for_the_address_of_our_network() {
        let link = format!("bitcoin:?lightning=lnbc1&bc={TAPROOT}&tb={TEST}&bcrt={REGTEST}");
        for (network, address) in [
            (Network::Bitcoin, TAPROOT),
            (Network::Signet, TEST),
            (Network::Testnet4, TEST),
            (Network::Regtest, REGTEST),
        ] {
            assert_eq!(found(&link, network), address);
        }
        let upper = format!("BITCOIN:?BC={}", SEGWIT.to_uppercase());
        assert_eq!(found(&upper, Network::Bitcoin), SEGWIT);
    }

    #[test]
    fn a_link_that_names_no_address_or_several_is_refused() {
        for none in ["bitcoin:", "bitcoin:?", "bitcoin:?lightning=lnbc1&bc=", "bitcoin:?tb=x"] {
            assert_eq!(
                wrong(none),
                "is a payment link without an on-chain address for bitcoin's main network; give a \
                 bitcoin address"
            );
        }
        let two = wrong(&format!("bitcoin:?bc={SEGWIT}&BC={TAPROOT}"));
        assert!(two.contains("several addresses"), "{two}");
    }

    #[test]
    fn what_a_link_requires_is_refused_by_its_name() {
        for text in [
            format!("bitcoin:{SEGWIT}?amount=1&req-somethingyoudontunderstand=50"),
            format!("BITCOIN:?BC={SEGWIT}&REQ-somethingyoudontunderstand"),
        ] {
            let found = wrong(&text);
            assert!(found.contains("-somethingyoudontunderstand\""), "{found}");
            assert!(found.ends_with("give only a bitcoin address"), "{found}");
        }
        let long = wrong(&format!("bitcoin:{SEGWIT}?req-{}", "x".repeat(5000)));
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn the_address_in_a_link_is_checked_as_any_other() {
        for (text, reason) in [
            (format!("bitcoin:{}?amount=1", SEGWIT.replace("f3t4", "f3t5")), "checksum does not"),
            (format!("bitcoin:{TEST}"), "is an address of a test network"),
            (format!("bitcoin:?bc={TEST}"), "is an address of a test network"),
            (format!("bitcoin:bitcoin:{SEGWIT}"), "is not a bitcoin address"),
            (format!("bitcoin:{SEGWIT} bitcoin:{LEGACY}"), "has blanks"),
            ("bitcoin:lnbc20u1p3y0x3hpp5743k2g0".into(), "Lightning"),
            (format!("bitcoin:{}", "x".repeat(101)), "too long"),
        ] {
            let found = wrong(&text);
            assert!(found.contains(reason), "{text}: {found}");
        }
    }
}
