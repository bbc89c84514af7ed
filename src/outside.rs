//! No text from outside makes a parser panic: neither any text at all, nor a good one with some
//! places changed, which comes further. The same of blocks, transactions and lease tokens is
//! beside their parsers.

use axum::http::{Extensions, HeaderMap, HeaderValue};
use bitcoin::Network;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::catalog;
use crate::config::{Config, Problems};
use crate::domain::address::check_address;
use crate::domain::bearer::Bearer;
use crate::domain::ids::LeaseId;
use crate::domain::jwk::parse_key_set;
use crate::domain::keychain::Keychain;
use crate::domain::params::check_params;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Secret, Types, retry_after_s};
use crate::http::json::parse;
use crate::http::source::Sources;
use crate::webhook::Reach;

const CATALOG: &str = include_str!("../examples/catalog.toml");
const CONFIG: &str = "listen = \"127.0.0.1:8080\"\npublic_url = \"https://a.example\"\n\
    database = \"postgres://a:b@c/d\"\ntoken_ttl = \"1h\"\n\
    [bitcoind]\nnetwork = \"regtest\"\nrpc_url = \"http://127.0.0.1:18443\"\n\
    poll_interval = \"100ms\"\nmax_tip_age = \"2h\"\n\
    [wallet]\ndescriptor = \"wpkh(x)\"\nbirthday_height = 5\n\
    [money]\n[payouts]\nmin_payout_sat = 1000\n\
    [limits]\ncreate_per_minute = 10\nshared_source = [\"203.0.113.7\"]\n";
const KEY: &str = "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp";
const ADDRESSES: [&str; 5] = [
    "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "BITCOIN:?BC=BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4&amount=1",
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
];

/// What parsers stumble over.
const PIECES: [&str; 24] = [
    "",
    "\0",
    "\"",
    "'''",
    "\\u",
    "=",
    "[[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "/",
    "*",
    "h",
    "#",
    "<0;1>",
    ".",
    "-1",
    "1e999",
    "18446744073709551616",
    "9999999999999d",
    "ß",
    "\u{202e}",
];

/// Any text, or one of `good` with up to four places changed.
fn text(good: &[&str]) -> impl Strategy<Value = String> + use<> {
    let good: Vec<String> = good.iter().map(|&text| text.to_owned()).collect();
    let piece = prop_oneof![select(&PIECES[..]).prop_map(str::to_owned), ".{0,3}"];
    let changes = vec((any::<Index>(), 0..4_usize, piece), 0..5);
    let changed = (select(good), changes).prop_map(|(text, changes)| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, gone, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = text.len().min(at + gone);
            text.splice(at..end, piece.chars());
        }
        text.into_iter().collect()
    });
    prop_oneof![1 => any::<String>(), 4 => changed]
}

fn descriptors() -> impl Strategy<Value = String> {
    let key = format!("[73c5da0a/84h/0h/0h]{KEY}/<0;1>/*");
    let all = [
        format!("wpkh({key})"),
        format!("tr({key},multi_a(1,{key}))"),
        format!("sh(wsh(sortedmulti(1,{key})))"),
        format!("wsh(and_v(v:pk({key}),older(10)))#qqqqqqqq"),
    ];
    text(&all.each_ref().map(String::as_str))
}

/// Reads a configuration from a file with this text.
fn config_of(text: &str, variable: &str) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leasehold.toml");
    std::fs::write(&file, text).unwrap();
    let home = ("HOME".into(), "/home/op".into());
    Config::load(Some(&file), [home, ("LEASEHOLD_TOKEN_TTL".into(), variable.into())])
}

#[test]
fn what_is_changed_was_good() {
    assert_eq!(config_of(CONFIG, "1h").map(|config| config.token_ttl_s), Ok(3600));
    assert_eq!(catalog::parse("catalog.toml", CATALOG).map(|terms| terms.len()), Ok(2));
    assert!(Keychain::parse(&format!("wpkh({KEY}/<0;1>/*)"), Network::Regtest).is_ok());
    assert!(check_address(ADDRESSES[0], Network::Regtest).is_ok());
}

proptest! {
    #[test]
    fn no_configuration_makes_the_parser_panic(text in text(&[CONFIG]), variable in text(&["1h", "500ms"])) {
        let _ = config_of(&text, &variable);
    }

    #[test]
    fn no_catalogue_makes_the_parser_panic(text in text(&[CATALOG])) {
        let _ = catalog::parse("catalog.toml", &text);
    }

    #[test]
    fn no_descriptor_makes_the_parser_panic(text in descriptors()) {
        if let Ok(keychain) = Keychain::parse(&text, Network::Regtest) {
            prop_assert!(Keychain::parse(&keychain.canonical(), Network::Regtest).is_ok());
        }
    }

    #[test]
    fn no_address_makes_the_parser_panic(text in text(&ADDRESSES)) {
        for network in [Network::Bitcoin, Network::Regtest, Network::Signet] {
            if let Ok(address) = check_address(&text, network) {
                prop_assert_eq!(check_address(&address.to_string(), network), Ok(address));
            }
        }
    }

    #[test]
    fn no_secret_id_or_time_makes_its_parser_panic(
        secret in text(&["Bearer clm_zhmeb6il6zvjxhef72tvstld67shepgb4dphxrrlmv2dok4ebbxq", "bearer a.b.c"]),
        id in text(&["lse_aaaaaaaaaaaaaaaaaaaaaaaaaa"]),
        time in text(&["2026-11-18T11:06:40.123Z", "9223372036854775807 ms"]),
    ) {
        let _ = (Bearer::parse(&secret), Bearer::from_header(&secret), LeaseId::parse(&id));
        if let Ok(time) = time.parse::<Timestamp>() {
            prop_assert_eq!(time.to_string().parse::<Timestamp>().ok(), Some(time));
        }
    }

    #[test]
    fn no_parameter_makes_its_check_panic(
        ssh in text(&["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me"]),
        host in text(&["box.example.org"]),
        wireguard in text(&["CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="]),
        name in any::<String>(),
    ) {
        let rules = "[resource.params]\nssh = { format = \"ssh-public-key\" }\n\
            host = { format = \"hostname\" }\nwireguard = { format = \"wireguard-public-key\" }\n";
        let text = format!(
            "[[resource]]\nid = \"a\"\naccess = \"shared\"\nprice = {{ sat = 5, per = \"1h\" }}\n{rules}"
        );
        let terms = catalog::parse("catalog.toml", &text).unwrap();
        let mut given = json!({ "ssh": ssh, "host": host, "wireguard": wireguard });
        given[name] = json!(5);
        let _ = check_params(&terms[0], given.as_object().unwrap());
    }

    #[test]
    fn no_body_and_no_key_set_makes_its_parser_panic(text in text(&[
        "{\"a\": [1, -2.5e3, null, true, \"\\ud834\\udd1e\"]}",
        "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"secp256k1\", \"x\": \"AA\", \"y\": \"AA\"}]}",
    ])) {
        if let Ok(value) = parse::<Value>(text.as_bytes()) {
            let _ = parse_key_set(&value);
        }
    }

    #[test]
    fn nothing_of_a_webhook_makes_its_parser_panic(
        url in text(&["https://hooks.example:8443/in?a=b", "http://[::ffff:10.0.0.1]/", "http://0x7f.1/"]),
        secret in text(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]),
        kind in text(&["payment.*", "lease.ended"]),
        wait in text(&["120", "Wed, 18 Nov 2026 11:07:40 GMT"]),
    ) {
        if let Ok(url) = Reach::new(false).check_url(&url) {
            prop_assert!(Reach::new(false).check_url(url.as_str()).is_ok(), "what is stored is checked again");
        }
        if let Some(secret) = Secret::parse(&secret) {
            prop_assert_eq!(Secret::parse(&secret.reveal()), Some(secret));
        }
        if let Ok(types) = Types::parse(&[kind]) {
            prop_assert_eq!(Types::stored(&types.to_stored()), types);
        }
        let _ = retry_after_s(&wait, Timestamp::default());
    }

    #[test]
    fn no_header_of_a_proxy_makes_its_parser_panic(text in text(&[
        "for=\"[2001:db8::1]:4711\";proto=https, for=203.0.113.7", "203.0.113.7, ::1",
    ])) {
        for name in ["forwarded", "x-forwarded-for"] {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                headers.insert(name, value);
            }
            let sources = Sources { proxy_header: Some(name.into()), ..Sources::default() };
            let _ = sources.find(&headers, &Extensions::new());
        }
    }
}

#[test]
fn nothing_nested_deeply_overflows_the_stack() {
    for open in ["[", "{\"a\":", "a = [", "a={a=", "wsh(", "tr(", "[a."] {
        let text = open.repeat(60_000 / open.len());
        assert!(parse::<Value>(text.as_bytes()).is_err());
        assert!(catalog::parse("catalog.toml", &text).is_err());
        assert!(catalog::parse("catalog.toml", &format!("a = {text}")).is_err());
        assert!(Keychain::parse(&text, Network::Regtest).is_err());
    }
}
