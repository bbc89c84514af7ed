use super::*;

const DESCRIPTOR: &str = "[wallet]\ndescriptor = \"wpkh(public)\"\n";

fn load(text: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Result<Config, Problems>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(DEFAULT_FILE);
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file), environment(variables));
    (folder, config)
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let home = [("HOME", "/home/op")];
    home.iter().chain(variables).map(|(name, value)| (name.into(), value.into())).collect()
}

fn good(text: &str, variables: &[(&str, &str)]) -> (PathBuf, Config) {
    let (folder, config) = load(text, variables);
    (folder.path().to_owned(), config.unwrap())
}

fn wrong(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let (folder, config) = load(text, variables);
    let folder = format!("{}/", folder.path().display());
    let problems = config.unwrap_err();
    problems.list().iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let (base, config) = good(DESCRIPTOR, &[]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url(config.listen), "http://127.0.0.1:8080");
    assert!(
        matches!(&config.database, Database::Sqlite(file) if *file == base.join("leasehold.db"))
    );
    assert_eq!(config.catalog, base.join("catalog.toml"));
    assert_eq!(config.signing_key_file, base.join("lease-signing.key"));
    assert_eq!((config.token_ttl_s, config.gate_max_staleness_s), (3600, 5));
    assert_eq!(config.bitcoind.network, Network::Regtest);
    assert_eq!(config.bitcoind.rpc_url, "http://127.0.0.1:18443");
    assert!(matches!(&config.bitcoind.login,
        Login::Cookie(file) if file == Path::new("/home/op/.bitcoin/regtest/.cookie")));
    assert_eq!((config.bitcoind.rest_url, config.bitcoind.zmq), (None, None));
    assert_eq!(config.bitcoind.poll_interval, Duration::from_secs(1));
    assert_eq!(config.wallet.birthday_height, None);
    assert_eq!((config.wallet.recover_lookahead, config.wallet.recover_skip), (10_000, 100_000));
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.policy.min_payout_sat, 1000);
    assert_eq!(config.payouts.fee_policy, FeePolicy::Recipient);
    assert!(!config.payouts.require_approval);
    assert_eq!((config.payouts.approval_above_sat, config.payouts.max_fee_pct), (0, 20));
    assert_eq!(config.admin.bootstrap_key_file, base.join("admin.key"));
    assert_eq!(config.limits.trusted_proxy_header, None);
    assert_eq!(config.limits.create_per_minute, 10);
    assert_eq!(config.limits.holds_per_source, 3);
    assert_eq!(config.limits.max_open_unpaid, 1000);
    assert!(config.limits.shared_source.is_empty());
    assert!(!config.webhooks.allow_private);
    assert_eq!((config.brand, config.fiat_hint), (Brand::default(), None));
}

#[test]
fn every_key_of_the_file_is_taken() {
    let (base, config) = good(
        r#"
        listen = "[::1]:9000"
        public_url = "https://lease.example/"
        database = "postgres://u:p@db/leasehold"
        catalog = "/etc/leasehold/catalog.toml"
        signing_key_file = "keys/sign.key"
        token_ttl = "15m"
        gate_max_staleness = "10s"
        [bitcoind]
        network = "bitcoin"
        rpc_url = "http://node:8332"
        rpc_user = "lease"
        rpc_password = "12345"
        rest_url = "http://node:8332"
        zmq = "tcp://node:28332"
        poll_interval = "250ms"
        max_tip_age = "2h"
        [wallet]
        descriptor = "tr(public)"
        birthday_height = 0
        recover_lookahead = 5
        recover_skip = 6
        [money]
        final_confirmations = 144
        at_risk_blocks = 3
        price_lock = "24h"
        confirming_hold = "1h"
        tolerance_ppm = 0
        zero_conf_max_exposure_sat = 50000
        zero_conf_min_feerate = 5
        [payouts]
        payout_confirmations = 12
        min_payout_sat = 5000
        fee_policy = "sender"
        require_approval = true
        approval_above_sat = 250000
        max_fee_pct = 5
        [admin]
        bootstrap_key_file = "boot.key"
        [limits]
        trusted_proxy_header = "X-Forwarded-For"
        create_per_minute = 20
        holds_per_source = 1
        max_open_unpaid = 50
        shared_source = ["127.0.0.1", "::1"]
        [webhooks]
        allow_private = true
        "#,
        &[],
    );
    assert_eq!(config.public_url(config.listen), "https://lease.example");
    assert_eq!(config.database.shown(), "postgres://db/leasehold");
    assert_eq!(config.catalog, Path::new("/etc/leasehold/catalog.toml"));
    assert_eq!(config.gate_max_staleness_s, 10);
    assert_eq!(config.claim_secret_file(), base.join("keys/sign.claim-secret"));
    assert!(matches!(&config.bitcoind.login, Login::Password { user, .. } if user == "lease"));
    assert_eq!(config.bitcoind.max_tip_age_s, Some(7200));
    assert_eq!(config.bitcoind.zmq.as_deref(), Some("tcp://node:28332"));
    assert_eq!(config.wallet.birthday_height, Some(0));
    let policy = Policy {
        final_confirmations: 144,
        at_risk_blocks: 3,
        price_lock_s: 86_400,
        confirming_hold_s: 3600,
        tolerance_ppm: 0,
        zero_conf_max_exposure_sat: 50_000,
        zero_conf_min_feerate_msat: 5000,
        payout_confirmations: 12,
        min_payout_sat: 5000,
        failed_for_s: 72 * 3600,
    };
    assert_eq!(config.policy, policy);
    assert_eq!(config.payouts.fee_policy, FeePolicy::Sender);
    assert!(config.payouts.require_approval);
    assert_eq!((config.payouts.approval_above_sat, config.payouts.max_fee_pct), (250_000, 5));
    assert_eq!(config.limits.trusted_proxy_header.as_deref(), Some("x-forwarded-for"));
    assert_eq!(config.limits.shared_source.len(), 2);
    assert!(config.webhooks.allow_private);
}

#[test]
fn the_environment_wins_over_the_file() {
    let (_, config) = good(
        "listen = \"127.0.0.1:1\"\n[money]\ntolerance_ppm = 1\n[wallet]\ndescriptor = \"file\"",
        &[
            ("LEASEHOLD_LISTEN", "127.0.0.1:2"),
            ("LEASEHOLD_MONEY__TOLERANCE_PPM", "2"),
            ("LEASEHOLD_MONEY__PRICE_LOCK", "1h"),
            ("LEASEHOLD_BITCOIND__ZMQ", ""),
            ("LEASEHOLD_LIMITS__SHARED_SOURCE", "10.0.0.1, 10.0.0.2"),
            ("LEASEHOLD_WEBHOOKS__ALLOW_PRIVATE", "true"),
            ("LEASEHOLD_LOG", "debug"),
            ("LEASEHOLD_SERVICE_HOST", "10.0.0.9"),
        ],
    );
    assert_eq!(config.listen.port(), 2);
    assert_eq!((config.policy.tolerance_ppm, config.policy.price_lock_s), (2, 3600));
    assert_eq!(config.limits.shared_source.len(), 2);
    assert!(config.webhooks.allow_private);
}

#[test]
fn the_environment_alone_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join(DEFAULT_FILE);
    let error = Config::load(Some(&absent), environment(&[])).unwrap_err().to_string();
    assert!(error.contains("does not exist"), "{error}");
    let given = environment(&[("LEASEHOLD_WALLET__DESCRIPTOR", "wpkh(public)")]);
    let config = Config::load(None, given).unwrap();
    assert_eq!((config.file, config.catalog), (None, PathBuf::from("catalog.toml")));
}

#[test]
fn unknown_names_are_refused_with_the_nearest_one_wherever_they_are() {
    let text =
        format!("lisen = 1\n[bitcoin]\nnetwork = \"regtest\"\n{DESCRIPTOR}brithday_height = 1");
    let found = wrong(
        &text,
        &[
            ("LEASEHOLD_PUBLIC_ULR", "x"),
            ("LEASEHOLD_MONEY__PRICELOCK", "1h"),
            ("LEASEHOLD_WEBHOOK__X", "1"),
        ],
    );
    assert_eq!(
        found,
        [
            "leasehold.toml: lisen: unknown key; did you mean \"listen\"?",
            "environment variable LEASEHOLD_PUBLIC_ULR: public_ulr: unknown key; did you mean \
         \"public_url\"?",
            "leasehold.toml: wallet.brithday_height: unknown key; did you mean \"birthday_height\"?",
            "environment variable LEASEHOLD_MONEY__PRICELOCK: money.pricelock: unknown key; did you \
         mean \"price_lock\"?",
            "leasehold.toml: [bitcoin]: unknown section; did you mean [bitcoind]?",
            "environment variable LEASEHOLD_WEBHOOK__X: [webhook]: unknown section; did you mean \
         [webhooks]?",
        ]
    );
}

#[test]
fn wrong_values_are_all_named_at_once() {
    let found = wrong(
        "listen = \"localhost\"\n[bitcoind]\nnetwork = \"mainnet\"\nzmq = \"28332\"\n\
         rpc_user = \"u\"\n[money]\nat_risk_blocks = 0\n[payouts]\nfee_policy = \"me\"\n\
         require_approval = \"yes\"\nmax_fee_pct = 0\n[limits]\nshared_source = [\"tor\"]\n",
        &[("LEASEHOLD_TOKEN_TTL", "0s")],
    );
    let starts = [
        "leasehold.toml: listen: found \"localhost\", allowed: an IP address and a port",
        "environment variable LEASEHOLD_TOKEN_TTL: token_ttl: found \"0s\", allowed: a duration",
        "leasehold.toml: bitcoind.network: found \"mainnet\", allowed: \"bitcoin\", ",
        "leasehold.toml: bitcoind.rpc_password: is missing; give it or rpc_password_file",
        "leasehold.toml: bitcoind.zmq: found \"28332\", allowed: ",
        "leasehold.toml: wallet.descriptor: is missing; give the public descriptor",
        "leasehold.toml: money.at_risk_blocks: found 0, allowed: a whole number from 1 to 10000",
        "leasehold.toml: payouts.fee_policy: found \"me\", allowed: ",
        "leasehold.toml: payouts.require_approval: found \"yes\", allowed: true or false",
        "leasehold.toml: payouts.max_fee_pct: found 0, allowed: a whole number from 1 to 100",
        "leasehold.toml: limits.shared_source: found [\"tor\"], allowed: a list of IP addresses",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}\n{start}");
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let secret = "hunter2";
    let (_, config) = good(
        "database = \"postgres://u:hunter2@db/x?password=hunter2\"\n[bitcoind]\n\
         rpc_user = \"u\"\nrpc_password = \"hunter2\"\n[wallet]\ndescriptor = \"wpkh(hunter2)\"",
        &[],
    );
    let shown = format!("{config:?} {}", config.database.shown());
    assert!(!shown.contains(secret), "{shown}");
    let found = wrong(
        "database = \"mysql://u:hunter2@db\"\npublic_url = \"http://x/?hunter2\"\n[bitcoind]\n\
         rpc_url = \"http://u:hunter2@127.0.0.1\"\ncookie_file = \"c\"\nrpc_user = \"u\"\n\
         rpc_password = \"hunter2\"",
        &[("LEASEHOLD_WALLET__DESCRIPTOR", "")],
    );
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|line| !line.contains(secret)), "{found:#?}");
}

#[test]
fn the_address_of_the_server_has_no_path_since_its_pages_link_from_the_root() {
    let found = wrong(&format!("public_url = \"https://x.example/shop/\"\n{DESCRIPTOR}"), &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("public_url") && found[0].contains("without a path"), "{found:?}");
}

#[test]
fn a_password_that_looks_like_a_number_stays_text_and_may_be_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "0123\n").unwrap();
    let file = folder.path().join(DEFAULT_FILE);
    std::fs::write(&file, DESCRIPTOR).unwrap();
    let password = |variables: &[(&str, &str)]| {
        let config = Config::load(Some(&file), environment(variables)).unwrap();
        match config.bitcoind.login {
            Login::Password { password, .. } => {
                secrecy::ExposeSecret::expose_secret(&password).to_owned()
            }
            Login::Cookie(file) => file.display().to_string(),
        }
    };
    let user = ("LEASEHOLD_BITCOIND__RPC_USER", "u");
    assert_eq!(password(&[user, ("LEASEHOLD_BITCOIND__RPC_PASSWORD", "0123")]), "0123");
    assert_eq!(password(&[user, ("LEASEHOLD_BITCOIND__RPC_PASSWORD_FILE", "password")]), "0123");
}

#[test]
fn ports_and_folders_follow_the_network_unless_given() {
    let node = |network: &str| {
        let text = format!("[bitcoind]\nnetwork = \"{network}\"\n{DESCRIPTOR}");
        let bitcoind = good(&text, &[]).1.bitcoind;
        let Login::Cookie(cookie) = bitcoind.login else { panic!("a cookie") };
        (bitcoind.rpc_url, cookie.display().to_string(), bitcoind.max_tip_age_s)
    };
    let four_hours = Some(4 * 3600);
    let of = |port: u16, folder: &str| {
        (format!("http://127.0.0.1:{port}"), format!("/home/op/.bitcoin/{folder}.cookie"))
    };
    for (network, port, folder) in
        [("bitcoin", 8332, ""), ("testnet4", 48332, "testnet4/"), ("signet", 38332, "signet/")]
    {
        let (url, cookie) = of(port, folder);
        assert_eq!(node(network), (url, cookie, four_hours));
    }
    assert_eq!(node("regtest").2, None, "a regtest chain may stand still");
}

#[test]
fn a_server_on_all_addresses_links_to_loopback_until_told_otherwise() {
    let (_, config) = good(DESCRIPTOR, &[]);
    assert_eq!(config.public_url("0.0.0.0:81".parse().unwrap()), "http://127.0.0.1:81");
    assert_eq!(config.public_url("[::1]:81".parse().unwrap()), "http://[::1]:81");
    assert_eq!(config.public_url("[::]:81".parse().unwrap()), "http://[::1]:81");
}

/// The environment that an example in `examples/` gives, by a line's beginning and what is between
/// name and value.
fn given_by(example: &str, before: &str, between: &str) -> Vec<(String, String)> {
    let lines = example.lines().filter_map(|line| line.trim().strip_prefix(before));
    let pairs = lines.filter_map(|line| line.split_once(between));
    pairs
        .filter(|(name, _)| name.starts_with("LEASEHOLD_"))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

#[test]
fn the_examples_write_only_into_the_folder_that_can_be_written() {
    let unit = include_str!("../../examples/leasehold.service");
    let compose = include_str!("../../examples/compose.yaml");
    assert!(unit.contains("\nProtectSystem=strict\n") && compose.contains("read_only: true"));
    for given in [given_by(unit, "Environment=", "="), given_by(compose, "", ": ")] {
        let given: Vec<_> = given.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let (_, config) = good(DESCRIPTOR, &given);
        let Database::Sqlite(database) = &config.database else { panic!("not a file") };
        let claim_secret = config.claim_secret_file();
        for file in
            [database, &config.signing_key_file, &claim_secret, &config.admin.bootstrap_key_file]
        {
            assert!(file.starts_with("/var/lib/leasehold"), "{}", file.display());
        }
    }
}

#[test]
fn a_brand_is_taken_with_its_logo() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logo.SVG"), "<svg/>").unwrap();
    let file = folder.path().join(DEFAULT_FILE);
    let brand = "[brand]\nname = \"Acme\"\nlogo = \"logo.SVG\"\naccent = \"#7A0000\"\n\
                 footer = \"Acme Ltd.\"\ncontact = \"help@acme.example\"\n";
    std::fs::write(&file, format!("{DESCRIPTOR}{brand}")).unwrap();
    let brand = Config::load(Some(&file), environment(&[])).unwrap().brand;
    assert_eq!((brand.name.as_str(), brand.accent.to_string()), ("Acme", "#7a0000".into()));
    let logo = brand.logo.as_ref().unwrap();
    assert_eq!((logo.kind, logo.bytes.as_slice()), ("image/svg+xml", b"<svg/>".as_slice()));
    assert_eq!(brand.contact_url().as_deref(), Some("mailto:help@acme.example"));
    assert_ne!(brand.accent_at_night(), brand.accent);
}

#[test]
fn a_brand_that_cannot_be_read_or_shown_is_refused_with_what_can() {
    let text = format!(
        "{DESCRIPTOR}[brand]\nname = \"\"\nlogo = \"logo.gif\"\naccent = \"#ffcc00\"\n\
         contact = \"call me\"\n"
    );
    assert_eq!(
        wrong(&text, &[]),
        [
            "leasehold.toml: brand.name: found \"\", allowed: one line of 1 to 40 characters",
            "leasehold.toml: brand.logo: allowed: a file that ends in .svg, .png, .webp or .jpg",
            "leasehold.toml: brand.accent: #ffcc00 is too light: text in it could not be read on \
             a white page (contrast below 4.5); the nearest that can is \"#7f6600\"",
            "leasehold.toml: brand.contact: found \"call me\", allowed: an e-mail address such as \
             \"help@example.org\", or an https:// address",
        ]
    );
    let told = wrong(&format!("{DESCRIPTOR}[brand]\nlogo = \"gone.png\"\naccent = \"red\"\n"), &[]);
    assert!(told[0].contains("\"gone.png\" cannot be read"), "{told:?}");
    assert!(told[1].contains("allowed: a colour such as \"#0b57a4\""), "{told:?}");
}

#[test]
fn a_hint_in_another_currency_needs_both_its_code_and_its_rate() {
    let hint = "[fiat_hint]\ncurrency = \"EUR\"\nrate_file = \"eur.rate\"\n";
    let (base, config) = good(&format!("{DESCRIPTOR}{hint}"), &[]);
    let wanted =
        FiatHint { currency: "EUR".into(), rate_file: base.join("eur.rate"), max_age_s: 86_400 };
    assert_eq!(config.fiat_hint, Some(wanted));
    assert_eq!(
        wrong(&format!("{DESCRIPTOR}[fiat_hint]\ncurrency = \"EUR\"\n"), &[]),
        [
            "leasehold.toml: fiat_hint.rate_file: is missing; give a file with the price of a bitcoin in it"
        ]
    );
    assert_eq!(
        wrong(&format!("{DESCRIPTOR}[fiat_hint]\ncurrency = \"euro\"\nrate_file = \"r\"\n"), &[]),
        ["leasehold.toml: fiat_hint.currency: found \"euro\", allowed: a code such as \"EUR\""]
    );
}
