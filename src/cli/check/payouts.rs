//! The node's watch-only wallet, by which payouts are made. A start makes or loads it: that it is
//! not there is no fault, that it is not ours is one.

use secrecy::ExposeSecret as _;

use super::{Line, right, wrong_line};
use crate::app::wallet_state::wallet_name;
use crate::chain::bitcoind::Bitcoind;
use crate::chain::wallet::{Standing, WalletError, WatchOnly};
use crate::config::Config;
use crate::db::keychain::KeychainRow;
use crate::domain::keychain::{Branch, Keychain, KeychainError};

const SUBJECT: &str = "payouts";

/// `stored` are the keychains of the database.
pub(super) async fn look(config: &Config, node: &Bitcoind, stored: &[KeychainRow]) -> Line {
    let (name, keychains) = match keychains(config, stored) {
        Ok(found) => found,
        Err(error) => return wrong_line(SUBJECT, format!("a descriptor cannot be read: {error}")),
    };
    let wallet = WatchOnly::new(node, name);
    let at_start = |what| {
        right(SUBJECT, format!("wallet {} of the node: will be {what} at the start", wallet.name()))
    };
    let singles: Vec<String> = keychains
        .iter()
        .flat_map(|keychain| [Branch::External, Branch::Internal].map(|it| keychain.single(it)))
        .collect();
    let looked = match wallet.standing().await {
        Ok(Standing::Missing) => return at_start("made"),
        Ok(Standing::Unloaded) => return at_start("loaded"),
        Ok(Standing::Loaded) => wallet.check(singles.iter().map(String::as_str)).await,
        Err(error) => Err(error),
    };
    match looked {
        Ok(()) => right(SUBJECT, format!("watch-only wallet {} of the node", wallet.name())),
        Err(error @ WalletError::Scanning { .. }) => right(SUBJECT, error.to_string()),
        Err(error) => wrong_line(SUBJECT, error.to_string()),
    }
}

/// The wallet's name and what it may hold: the keychains that are stored, and the configured one.
fn keychains(
    config: &Config,
    stored: &[KeychainRow],
) -> Result<(String, Vec<Keychain>), KeychainError> {
    let network = config.bitcoind.network;
    let read = |row: &KeychainRow| Keychain::parse(&row.descriptor, network);
    let mut keychains = stored.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let configured = Keychain::parse(config.wallet.descriptor.expose_secret(), network)?;
    // In another spelling it is the stored one that the wallet holds.
    if !keychains.iter().any(|keychain| keychain.id() == configured.id()) {
        keychains.push(configured);
    }
    let name = keychains.first().map(|first| wallet_name(first.id())).unwrap_or_default();
    Ok((name, keychains))
}
