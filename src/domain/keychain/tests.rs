//! Official vectors of BIP84, BIP86 and BIP380, agreement of the fast path with miniscript's
//! own derivation, and one refusal for each reason.

use bitcoin::base58;

use super::check::verified;
use super::*;

const BIP84_ZPUB: &str = "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2AGutZYs";
const BIP86_XPUB: &str = "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ";
const TPUB: &str = "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp";
const XPRV: &str = "xprv9s21ZrQH143K31xYSDQpPDxsXRTUcvj2iNHm5NUtrGiGG5e2DtALGdso3pGz6ssrdK4PFmM8NSpSBHNqPqm55Qn3LqFtT2emdEXVYsCzC2U";
const WIF: &str = "L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1";

/// The same key under the version bytes that descriptors know.
fn xpub_of_bip84() -> String {
    let mut bytes = base58::decode_check(BIP84_ZPUB).unwrap();
    bytes[..4].copy_from_slice(&[0x04, 0x88, 0xb2, 0x1e]);
    base58::encode_check(&bytes)
}

fn main(text: &str) -> Keychain {
    Keychain::parse(text, Network::Bitcoin).unwrap()
}

fn refusal(text: &str) -> KeychainError {
    Keychain::parse(text, Network::Regtest).unwrap_err()
}

#[test]
fn wpkh_gives_the_addresses_of_bip84() {
    let keychain = main(&format!("wpkh([73c5da0a/84h/0h/0h]{}/<0;1>/*)", xpub_of_bip84()));
    let address = |branch, index| keychain.address(branch, index).to_string();
    assert_eq!(address(Branch::External, 0), "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu");
    assert_eq!(address(Branch::External, 1), "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g");
    assert_eq!(address(Branch::Internal, 0), "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el");
}

#[test]
fn tr_gives_the_addresses_of_bip86() {
    let keychain = main(&format!("tr([73c5da0a/86h/0h/0h]{BIP86_XPUB}/<0;1>/*)"));
    let address = |branch, index| keychain.address(branch, index).to_string();
    assert_eq!(
        address(Branch::External, 0),
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    );
    assert_eq!(
        address(Branch::External, 1),
        "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh"
    );
    assert_eq!(
        address(Branch::Internal, 0),
        "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7"
    );
}

#[test]
fn bip380_checksum_vectors_are_told_apart() {
    assert_eq!(verified("raw(deadbeef)#89f8spxm"), Ok("raw(deadbeef)"));
    assert_eq!(verified("raw(deadbeef)"), Ok("raw(deadbeef)"));
    let length = |found| Err(KeychainError::ChecksumLength { found });
    assert_eq!(verified("raw(deadbeef)#"), length(0));
    assert_eq!(verified("raw(deadbeef)#89f8spxmx"), length(9));
    assert_eq!(verified("raw(deadbeef)#89f8spx"), length(7));
    assert_eq!(verified("raw(deadbeef)##9f8spxm"), length(7));
    assert!(matches!(verified("raw(deedbeef)#89f8spxm"), Err(KeychainError::Checksum { .. })));
    assert_eq!(verified("raw(Ü)#00000000"), Err(KeychainError::Character { position: 5 }));
}

#[test]
fn a_wrong_checksum_names_the_one_of_the_text() {
    let text = format!("wpkh({TPUB}/<0;1>/*)");
    let KeychainError::Checksum { expected } = refusal(&format!("{text}#qqqqqqqq")) else {
        panic!("another error");
    };
    assert!(Keychain::parse(&format!("{text}#{expected}"), Network::Regtest).is_ok());
}

#[test]
fn every_kind_derives_as_miniscript_does_by_itself() {
    let (a, b) = (xpub_of_bip84(), BIP86_XPUB);
    let (a, b) = (format!("{a}/<0;1>/*"), format!("{b}/7/<2;5>/*"));
    for text in [
        format!("wpkh({b})"),
        format!("tr({b})"),
        format!("tr({a},multi_a(1,{b}))"),
        format!("wsh(multi(2,{a},{b}))"),
        format!("wsh(sortedmulti(1,{a},{b}))"),
        format!("sh(wsh(multi(2,{a},{b})))"),
        format!("sh(wsh(sortedmulti(2,{a},{b})))"),
    ] {
        let keychain = main(&text);
        let plain: Descriptor<DescriptorPublicKey> = text.parse().unwrap();
        for (plain, branch) in plain
            .into_single_descriptors()
            .unwrap()
            .iter()
            .zip([Branch::External, Branch::Internal])
        {
            for index in [0, 1, 77, INDEX_END - 1] {
                let expected = plain.derived_descriptor(SECP256K1, index).unwrap();
                assert_eq!(keychain.script(branch, index), expected.script_pubkey(), "{text}");
            }
        }
    }
}

#[test]
fn dust_follows_the_script_type() {
    let dust = |text: &str| main(text).dust_sat();
    let key = format!("{BIP86_XPUB}/<0;1>/*");
    assert_eq!(dust(&format!("wpkh({key})")), 294);
    assert_eq!(dust(&format!("tr({key})")), 330);
    assert_eq!(dust(&format!("wsh(sortedmulti(1,{key}))")), 330);
    assert_eq!(dust(&format!("sh(wsh(sortedmulti(1,{key})))")), 540);
}

#[test]
fn the_id_names_the_supply_of_addresses_and_not_the_spelling() {
    let plain = main(&format!("wpkh({BIP86_XPUB}/<0;1>/*)"));
    let origin = main(&format!("wpkh([73c5da0a/84'/0'/0']{BIP86_XPUB}/<0;1>/*)"));
    let origin_h = main(&format!("  wpkh([73c5da0a/84h/0h/0h]{BIP86_XPUB}/<0;1>/*)\n"));
    let change = main(&format!("wpkh({BIP86_XPUB}/<0;9>/*)"));
    let other = main(&format!("wpkh({BIP86_XPUB}/<1;0>/*)"));
    assert_eq!(plain.id(), origin.id());
    assert_eq!(plain.id(), change.id());
    assert_ne!(plain.id(), other.id());
    assert_eq!(origin.canonical(), origin_h.canonical());
    assert_eq!(plain.id().len(), 32);
    assert_eq!(main(&origin.canonical()), origin, "the normal spelling is read back");
}

#[test]
fn a_private_key_is_refused_and_never_repeated() {
    let garbled = XPRV.replace("21ZrQH", "21ZrQI");
    for secret in [XPRV, WIF, &garbled, &XPRV.replacen("xprv", "tprv", 1), &WIF.replace('2', "3")] {
        for text in [
            format!("wpkh({secret}/<0;1>/*)"),
            format!("wpkh({secret}/<0;1>/*)#qqqqqqqq"),
            format!("wsh(multi(1,{BIP86_XPUB}/<0;1>/*,{secret}))"),
            secret.to_owned(),
        ] {
            let error = refusal(&text);
            assert_eq!(error, KeychainError::PrivateKey, "{text}");
            assert!(!error.to_string().contains(&secret[4..20]));
        }
    }
}

#[test]
fn no_refusal_repeats_a_long_word_of_the_descriptor() {
    let mistyped = TPUB.replace("NzVb", "NzVc");
    for text in [
        format!("wpkh({mistyped}/<0;1>/*)"),
        format!("wpkh({mistyped}"),
        format!("{mistyped}(x)"),
        format!("tr({TPUB}/<0;1>/*,pk({mistyped}))"),
    ] {
        let message = refusal(&text).to_string();
        assert!(!message.contains(&mistyped[..40]), "{message}");
    }
}

#[test]
fn each_unfit_descriptor_is_refused_for_its_reason() {
    let key = format!("{TPUB}/<0;1>/*");
    let point = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
    let kind = |found| KeychainError::Kind { found };
    for (text, expected) in [
        (format!("pkh({key})"), kind("pkh")),
        (format!("sh(wpkh({key}))"), kind("sh(wpkh)")),
        (format!("sh(multi(1,{key}))"), kind("plain sh")),
        (format!("pk({key})"), kind("bare")),
        (format!("wsh(and_v(v:pk({key}),older(10)))"), kind("general wsh miniscript")),
        (format!("wpkh({point})"), KeychainError::SingleKey),
        (format!("wsh(multi(1,{point},{key}))"), KeychainError::SingleKey),
        (format!("wpkh({TPUB}/<0;1>)"), KeychainError::NoWildcard),
        (format!("wpkh({TPUB}/<0;1>/*h)"), KeychainError::Hardened),
        (format!("wpkh({TPUB}/0h/<0;1>/*)"), KeychainError::Hardened),
        (format!("wpkh({TPUB}/0/*)"), KeychainError::Branches { found: 1 }),
        (format!("wpkh({TPUB}/<0;1;2>/*)"), KeychainError::Branches { found: 3 }),
        (format!("wpkh({TPUB}/<0;0>/*)"), KeychainError::SameBranches),
        (
            format!("wpkh({BIP86_XPUB}/<0;1>/*)"),
            KeychainError::Network { found: "mainnet (xpub)", configured: Network::Regtest },
        ),
        (
            format!("wsh(multi(1,{BIP86_XPUB}/<0;1>/*,{key}))"),
            KeychainError::Network {
                found: "partly mainnet, partly test network",
                configured: Network::Regtest,
            },
        ),
        (
            format!("wpkh({BIP84_ZPUB}/<0;1>/*)"),
            KeychainError::Slip132 { prefix: "zpub".to_owned() },
        ),
    ] {
        assert_eq!(refusal(&text), expected, "{text}");
    }
    assert!(matches!(refusal("wpkh(hello)"), KeychainError::Syntax { .. }));
    assert!(matches!(refusal(""), KeychainError::Syntax { .. }));
    assert!(matches!(refusal(&format!("wpkh({key}")), KeychainError::Syntax { .. }));
    let twice = format!("wsh(multi(2,{key},{key}))");
    assert!(matches!(refusal(&twice), KeychainError::Unsafe { .. }));
}

#[test]
fn branches_have_names_that_read_back() {
    for branch in [Branch::External, Branch::Internal] {
        assert_eq!(Branch::from_name(branch.as_str()), Some(branch));
    }
    assert_eq!(Branch::from_name("change"), None);
}

#[test]
fn a_branch_alone_is_a_descriptor_with_origin_and_checksum() {
    let origin = format!("[73c5da0a/84h/1h/0h]{TPUB}/<0;1>/*");
    for text in [
        format!("wpkh({origin})"),
        format!("tr({origin})"),
        format!("wsh(sortedmulti(1,{origin},{TPUB}/<2;3>/*))"),
        format!("sh(wsh(sortedmulti(1,{origin},{TPUB}/<2;3>/*)))"),
    ] {
        let keychain = Keychain::parse(&text, Network::Regtest).unwrap();
        for (branch, steps) in [(Branch::External, [0, 2]), (Branch::Internal, [1, 3])] {
            let single = keychain.single(branch);
            let body = verified(&single).unwrap();
            assert!(single.len() == body.len() + 9 && body.contains("[73c5da0a/84"), "{single}");
            let plain = text.replace("<0;1>", &steps[0].to_string());
            let expected: Descriptor<DescriptorPublicKey> =
                plain.replace("<2;3>", &steps[1].to_string()).parse().unwrap();
            assert_eq!(single.parse().ok(), Some(expected), "{single}");
        }
    }
}
