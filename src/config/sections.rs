//! Every key with what is allowed and its default (SPEC section 12), one function a section.
//! Reads on after a mistake so that all are named at once. Called by `Config::load`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::Network;
use secrecy::{ExposeSecret, SecretString};

use super::brand::brand;
use super::fiat::fiat_hint;
use super::layers::Layers;
use super::{Admin, Bitcoind, Config, Database, Limits, Login, Payouts, Wallet, Webhooks};
use crate::domain::payout::fee::FeePolicy;
use crate::domain::policy::{Policy, network_name};
use crate::settings::{Fields, Problems};

const HOUR_S: u64 = 3600;
const MOST_SAT: u64 = 21_000_000 * 100_000_000;
/// Derivation indexes are below this (BIP32); leaves room to skip more than once.
const MOST_INDEXES: u32 = 1 << 28;
const SECTIONS: [&str; 9] =
    ["bitcoind", "wallet", "money", "payouts", "admin", "limits", "webhooks", "brand", "fiat_hint"];

struct Top {
    listen: SocketAddr,
    public_url: Option<String>,
    database: Database,
    catalog: PathBuf,
    signing_key_file: PathBuf,
    token_ttl_s: u64,
    gate_max_staleness_s: u64,
}

/// Reads everything.
pub(super) fn config(mut layers: Layers) -> Result<Config, Problems> {
    let base = layers.base.clone();
    let top = top(layers.top(), &base);
    let home = layers.home.clone();
    let bitcoind = bitcoind(layers.section("bitcoind"), &base, home.as_deref());
    let wallet = wallet(layers.section("wallet"), &base);
    let mut policy = money(layers.section("money"));
    let payouts = payouts(layers.section("payouts"), &mut policy);
    let admin = admin(layers.section("admin"), &base);
    let limits = limits(layers.section("limits"));
    let webhooks = webhooks(layers.section("webhooks"));
    let brand = brand(layers.section("brand"), &base);
    let fiat_hint = fiat_hint(layers.section("fiat_hint"), &base);
    layers.finish(&SECTIONS);
    let Layers { file, problems, .. } = layers;
    Problems::none_or(problems)?;
    let Top {
        listen,
        public_url,
        database,
        catalog,
        signing_key_file,
        token_ttl_s,
        gate_max_staleness_s,
    } = top;
    Ok(Config {
        file,
        listen,
        public_url,
        database,
        catalog,
        signing_key_file,
        token_ttl_s,
        gate_max_staleness_s,
        bitcoind,
        wallet,
        policy,
        payouts,
        admin,
        limits,
        webhooks,
        brand,
        fiat_hint,
    })
}

fn top(mut fields: Fields<'_>, base: &Path) -> Top {
    let listen = fields
        .take("listen", "an IP address and a port such as \"127.0.0.1:8080\"", |given| {
            given.text()?.trim().parse().ok()
        })
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let public_url = url(&mut fields, "public_url").filter(|url| {
        // After the scheme's slashes: pages link to each other from the root of their host.
        let whole = url.splitn(4, '/').count() < 4;
        if !whole {
            let message = "allowed: an address without a path; the server has a host of its own";
            fields.wrong("public_url", message);
        }
        whole
    });
    let allowed = "allowed: \"sqlite:FILE\" or \"postgres://USER:PASSWORD@HOST:PORT/NAME\"";
    let default = Database::Sqlite(base.join("leasehold.db"));
    let database = match fields.secret("database", base) {
        None => default,
        Some(text) => Database::parse(text.expose_secret(), base).unwrap_or_else(|| {
            fields.wrong("database", allowed);
            default
        }),
    };
    let catalog = path(&mut fields, "catalog", base).unwrap_or_else(|| base.join("catalog.toml"));
    let signing_key_file = path(&mut fields, "signing_key_file", base)
        .unwrap_or_else(|| base.join("lease-signing.key"));
    let token_ttl_s = fields.seconds("token_ttl").unwrap_or(HOUR_S);
    let allowed = "a duration in whole seconds such as \"5s\", from \"2s\" to \"10m\"";
    let gate_max_staleness_s = fields
        .take("gate_max_staleness", allowed, |given| {
            given.seconds().filter(|seconds| (2..=600).contains(seconds))
        })
        .unwrap_or(5);
    fields.finish();
    Top {
        listen,
        public_url,
        database,
        catalog,
        signing_key_file,
        token_ttl_s,
        gate_max_staleness_s,
    }
}

fn bitcoind(mut fields: Fields<'_>, base: &Path, home: Option<&Path>) -> Bitcoind {
    const NETWORKS: [Network; 4] =
        [Network::Bitcoin, Network::Testnet4, Network::Signet, Network::Regtest];
    let network = fields
        .take("network", "\"bitcoin\", \"testnet4\", \"signet\" or \"regtest\"", |given| {
            let name = given.text()?;
            NETWORKS.into_iter().find(|network| network_name(*network) == name)
        })
        .unwrap_or(Network::Regtest);
    let (port, folder) = match network {
        Network::Bitcoin => (8332, ""),
        Network::Testnet4 => (48332, "testnet4"),
        Network::Signet => (38332, "signet"),
        _ => (18443, "regtest"),
    };
    let rpc_url = url(&mut fields, "rpc_url").unwrap_or_else(|| format!("http://127.0.0.1:{port}"));
    let cookie = home.map(|home| home.join(".bitcoin").join(folder).join(".cookie"));
    let login = login(&mut fields, base, cookie);
    let rest_url = url(&mut fields, "rest_url");
    let zmq = fields
        .take("zmq", "\"\" or an address such as \"tcp://127.0.0.1:28332\"", |given| {
            let text = given.text()?.trim();
            let known = ["tcp://", "ipc://"].iter().any(|scheme| text.starts_with(scheme));
            (known || text.is_empty()).then(|| text.to_owned())
        })
        .filter(|text| !text.is_empty());
    let allowed = "a duration such as \"1s\", from \"10ms\" to \"10m\"";
    let poll_interval = fields
        .take("poll_interval", allowed, |given| {
            let range = Duration::from_millis(10)..=Duration::from_secs(600);
            given.duration().filter(|duration| range.contains(duration))
        })
        .unwrap_or(Duration::from_secs(1));
    let max_tip_age_s = fields.seconds("max_tip_age").unwrap_or(4 * HOUR_S);
    fields.finish();
    // A regtest chain stands still for as long as nobody mines.
    let max_tip_age_s = Some(max_tip_age_s).filter(|_| network != Network::Regtest);
    Bitcoind { network, rpc_url, login, rest_url, zmq, poll_interval, max_tip_age_s }
}

fn login(fields: &mut Fields<'_>, base: &Path, default: Option<PathBuf>) -> Login {
    let cookie = path(fields, "cookie_file", base);
    let user = fields.text("rpc_user");
    let password = fields.secret("rpc_password", base);
    match (cookie, user, password) {
        (None, Some(user), Some(password)) => return Login::Password { user, password },
        (Some(cookie), None, None) => return Login::Cookie(cookie),
        (Some(_), _, _) => {
            fields.wrong("cookie_file", "give either it or rpc_user and rpc_password, not both");
        }
        (None, Some(_), None) => fields.missing("rpc_password", "it or rpc_password_file"),
        (None, None, Some(_)) => fields.missing("rpc_user", "the user of rpc_password"),
        (None, None, None) => {
            if let Some(cookie) = default {
                return Login::Cookie(cookie);
            }
            fields.missing("cookie_file", "bitcoind's .cookie file, or rpc_user and rpc_password");
        }
    }
    Login::Cookie(PathBuf::new())
}

fn wallet(mut fields: Fields<'_>, base: &Path) -> Wallet {
    let descriptor = fields.secret("descriptor", base);
    if descriptor.is_none() && !fields.is_wrong("descriptor") {
        fields.missing("descriptor", "the public descriptor that addresses are derived from");
    }
    let birthday_height = fields
        .take("birthday_height", "a block height", |given| u32::try_from(given.whole()?).ok());
    let recover_lookahead = fields.whole("recover_lookahead", 1..=MOST_INDEXES, 10_000);
    let recover_skip = fields.whole("recover_skip", 0..=MOST_INDEXES, 100_000);
    fields.finish();
    let descriptor = descriptor.unwrap_or_else(|| SecretString::from(""));
    Wallet { descriptor, birthday_height, recover_lookahead, recover_skip }
}

fn money(mut fields: Fields<'_>) -> Policy {
    let default = Policy::default();
    let policy = Policy {
        final_confirmations: fields.whole("final_confirmations", 1..=100_000, 100),
        at_risk_blocks: fields.whole("at_risk_blocks", 1..=10_000, 6),
        price_lock_s: fields.seconds("price_lock").unwrap_or(72 * HOUR_S),
        confirming_hold_s: fields.seconds("confirming_hold").unwrap_or(6 * HOUR_S),
        tolerance_ppm: fields.whole("tolerance_ppm", 0..=500_000, 5000),
        zero_conf_max_exposure_sat: fields.whole("zero_conf_max_exposure_sat", 0..=MOST_SAT, 0),
        zero_conf_min_feerate_msat: 1000
            * fields.whole("zero_conf_min_feerate", 0..=1_000_000_u64, 2),
        ..default
    };
    fields.finish();
    policy
}

fn payouts(mut fields: Fields<'_>, policy: &mut Policy) -> Payouts {
    policy.payout_confirmations = fields.whole("payout_confirmations", 1..=100_000, 6);
    policy.min_payout_sat = fields.whole("min_payout_sat", 1..=MOST_SAT, 1000);
    let fee_policy = fields
        .take("fee_policy", "\"recipient\" or \"sender\"", |given| FeePolicy::parse(given.text()?))
        .unwrap_or(FeePolicy::Recipient);
    let require_approval = fields.flag("require_approval", false);
    let approval_above_sat = fields.whole("approval_above_sat", 0..=MOST_SAT, 0);
    let max_fee_pct = fields.whole("max_fee_pct", 1..=100, 20);
    fields.finish();
    Payouts { fee_policy, require_approval, approval_above_sat, max_fee_pct }
}

fn admin(mut fields: Fields<'_>, base: &Path) -> Admin {
    let bootstrap_key_file =
        path(&mut fields, "bootstrap_key_file", base).unwrap_or_else(|| base.join("admin.key"));
    fields.finish();
    Admin { bootstrap_key_file }
}

fn limits(mut fields: Fields<'_>) -> Limits {
    let trusted_proxy_header = fields
        .take(
            "trusted_proxy_header",
            "\"\" or a header name such as \"x-forwarded-for\"",
            |given| {
                let name = given.text()?.trim().to_ascii_lowercase();
                let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                valid.then_some(name)
            },
        )
        .filter(|name| !name.is_empty());
    let create_per_minute = fields.whole("create_per_minute", 1..=1_000_000, 10);
    let holds_per_source = fields.whole("holds_per_source", 1..=1_000_000, 3);
    let max_open_unpaid = fields.whole("max_open_unpaid", 10..=10_000_000, 1000);
    let shared_source = fields
        .take("shared_source", "a list of IP addresses such as [\"127.0.0.1\"]", |given| {
            given.texts()?.iter().map(|text| text.parse().ok()).collect::<Option<Vec<IpAddr>>>()
        })
        .unwrap_or_default();
    fields.finish();
    Limits {
        trusted_proxy_header,
        create_per_minute,
        holds_per_source,
        max_open_unpaid,
        shared_source,
    }
}

fn webhooks(mut fields: Fields<'_>) -> Webhooks {
    let allow_private = fields.flag("allow_private", false);
    fields.finish();
    Webhooks { allow_private }
}

fn path(fields: &mut Fields<'_>, key: &str, base: &Path) -> Option<PathBuf> {
    fields.text(key).map(|text| base.join(text))
}

/// An http or https address without login, query and fragment; without a slash at the end.
fn url(fields: &mut Fields<'_>, key: &str) -> Option<String> {
    let text = fields.text(key)?;
    let text = text.trim();
    // What was found may hold a password, so it is not repeated.
    let parsed = reqwest::Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let message = match parsed {
        None => "allowed: an address such as \"http://127.0.0.1:8080\"",
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            "allowed: an address without user and password; they have keys of their own"
        }
        Some(url) if url.query().is_some() || url.fragment().is_some() => {
            "allowed: an address without ? and #"
        }
        Some(_) => return Some(text.trim_end_matches('/').to_owned()),
    };
    fields.wrong(key, message);
    None
}
