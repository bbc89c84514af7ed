//! The configuration: `leasehold.toml` and `LEASEHOLD_…` variables as validated types.
//! Never prints a secret: the database address, the node's password and the descriptor text
//! (which may turn out to hold a private key) are kept in [`SecretString`].
//! Called by the command line; `daemon` gets the result.

mod brand;
mod database;
mod fiat;
mod layers;
mod sections;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::Network;
use secrecy::SecretString;

use crate::domain::payout::fee::FeePolicy;
use crate::domain::policy::Policy;
pub use crate::settings::{Problem, Problems};
pub use brand::{Brand, Logo};
pub use database::Database;
pub use fiat::FiatHint;

/// The file that is read when `--config` is not given and it exists.
pub const DEFAULT_FILE: &str = "leasehold.toml";

/// Everything an operator can set, with the defaults filled in. Paths are absolute or relative to
/// the working folder of the process; those in the file were relative to the file's folder.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from; `None` when only the environment was there.
    pub file: Option<PathBuf>,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// How the server is reached from outside, without a slash at the end; see
    /// [`Config::public_url`].
    pub public_url: Option<String>,
    /// The database.
    pub database: Database,
    /// The catalogue file.
    pub catalog: PathBuf,
    /// The file of the keys that sign lease tokens.
    pub signing_key_file: PathBuf,
    /// The longest life of a lease token.
    pub token_ttl_s: u64,
    /// Without a word from the database for so long the gate does not answer.
    pub gate_max_staleness_s: u64,
    /// `[bitcoind]`
    pub bitcoind: Bitcoind,
    /// `[wallet]`
    pub wallet: Wallet,
    /// `[money]`, and `payout_confirmations` of `[payouts]`.
    pub policy: Policy,
    /// `[payouts]`
    pub payouts: Payouts,
    /// `[admin]`
    pub admin: Admin,
    /// `[limits]`
    pub limits: Limits,
    /// `[webhooks]`
    pub webhooks: Webhooks,
    /// `[brand]`
    pub brand: Brand,
    /// `[fiat_hint]`
    pub fiat_hint: Option<FiatHint>,
}

/// `[bitcoind]`: the node that is followed.
#[derive(Clone, Debug)]
pub struct Bitcoind {
    /// The network that the node must be on.
    pub network: Network,
    /// Its JSON-RPC address, without a slash at the end.
    pub rpc_url: String,
    /// How to log in there.
    pub login: Login,
    /// Its REST address, without a slash at the end, when blocks are to be read from there.
    pub rest_url: Option<String>,
    /// Where it publishes hints over ZMQ.
    pub zmq: Option<String>,
    /// How often its tip is looked at when no hint comes.
    pub poll_interval: Duration,
    /// A tip older than this stops crediting and ending; `None` on regtest.
    pub max_tip_age_s: Option<u64>,
}

/// How to log in to the node.
#[derive(Clone, Debug)]
pub enum Login {
    /// The cookie file that bitcoind writes at each start.
    Cookie(PathBuf),
    /// A user of its `rpcauth`.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: SecretString,
    },
}

/// `[wallet]`: where addresses come from.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// The descriptor's text, not parsed yet. A secret until the keychain has accepted it: an
    /// operator may have pasted one with private keys.
    pub descriptor: SecretString,
    /// Where the first start scans from; `None`: the tip.
    pub birthday_height: Option<u32>,
    /// Unused indexes that a recovery scans ahead.
    pub recover_lookahead: u32,
    /// Indexes left out after a recovery.
    pub recover_skip: u32,
}

/// `[payouts]` without `payout_confirmations` and `min_payout_sat`, which are in [`Policy`].
#[derive(Clone, Debug)]
pub struct Payouts {
    /// Who pays the miners.
    pub fee_policy: FeePolicy,
    /// True when a batch above `approval_above_sat` needs a second API key before it is sent.
    pub require_approval: bool,
    /// The largest total of a batch, in satoshis, that one API key may send alone. Counts only
    /// with `require_approval`.
    pub approval_above_sat: u64,
    /// A payout waits when its share of the fee would be more than so many percent of it, 1 to 100.
    pub max_fee_pct: u64,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where the first start writes an API key of scope `admin`.
    pub bootstrap_key_file: PathBuf,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// The header that carries the client's address behind a proxy, in lower case.
    pub trusted_proxy_header: Option<String>,
    /// Requests that create something, a minute and source.
    pub create_per_minute: u32,
    /// Units that one source may hold unpaid.
    pub holds_per_source: u32,
    /// Invoices that may be unexpired and unpaid at a time.
    pub max_open_unpaid: u32,
    /// Addresses that many people share, with limits of their own.
    pub shared_source: Vec<IpAddr>,
}

/// `[webhooks]`
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// True when targets in private networks are allowed.
    pub allow_private: bool,
}

impl Config {
    /// Reads `file`, or [`DEFAULT_FILE`] when it is there, and the environment over it.
    ///
    /// # Errors
    /// All mistakes at once: the file or variable, the key, what was found, what is allowed.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Problems> {
        let layers = layers::Layers::read(file, environment)?;
        sections::config(layers)
    }

    /// The address that links begin with: `public_url`, or else `http://` and what the server
    /// listens on.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.clone(),
            None => url_of(bound),
        }
    }

    /// Where this machine itself reaches the server: `http://` and what it listens on.
    pub fn local_url(&self) -> String {
        url_of(self.listen)
    }

    /// The secret that claim tokens are made with: beside the signing key.
    pub fn claim_secret_file(&self) -> PathBuf {
        self.signing_key_file.with_extension("claim-secret")
    }
}

/// No one can connect to an unspecified address; it listens on loopback, too.
fn url_of(mut listen: SocketAddr) -> String {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{listen}")
}
