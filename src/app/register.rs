//! What a start writes down: the network that this database belongs to, and the keychain.

use std::sync::Arc;

use bitcoin::Network;

use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::keychain::Keychain;
use crate::domain::policy::network_name;
use crate::domain::time::Timestamp;

/// Under which key the network is kept.
const NETWORK: &str = "network";

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The keychain's row number, and whether it is new.
    Keychain {
        /// Its row number.
        id: u32,
        /// True when no start knew it before.
        new: bool,
    },
    /// The database belongs to another network.
    OtherNetwork {
        /// Its network.
        found: String,
    },
}

/// Registers the configured network and keychain.
pub struct Register {
    /// The configured network.
    pub network: Network,
    /// The configured keychain.
    pub keychain: Arc<Keychain>,
    /// True when the operator says that it is; a marked backup says so itself.
    pub recovered: bool,
    /// The clock.
    pub now: Timestamp,
}

impl Register {
    /// A restored database does not know what was issued after it was copied: the chain is
    /// searched for it before anything is issued again.
    async fn recover(&self, tx: &mut Tx) -> Result<(), DbError> {
        if db::meta::remove(tx, db::meta::BACKUP_AT).await? || self.recovered {
            tracing::warn!("a restored database: nothing is sold until the chain was searched");
            db::keychain::begin_recovery(tx.conn()).await?;
            let known = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
            let held = format!("{} {known}", self.now.millis());
            db::meta::record(tx, db::meta::PAYOUTS_HELD, &held).await?;
        }
        Ok(())
    }
}

impl WriteItem for Register {
    type Out = Registered;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Registered, DbError> {
        let configured = network_name(self.network);
        match db::meta::find(tx.conn(), NETWORK).await? {
            Some(found) if found != configured => return Ok(Registered::OtherNetwork { found }),
            Some(_) => {}
            None => db::meta::record(tx, NETWORK, configured).await?,
        }
        self.recover(tx).await?;
        let identity = self.keychain.id();
        let known = db::keychain::list(tx.conn()).await?;
        if let Some(row) = known.iter().find(|row| row.identity == identity) {
            return Ok(Registered::Keychain { id: row.id, new: false });
        }
        db::keychain::insert(tx.conn(), identity, &self.keychain.canonical(), self.now).await?;
        let rows = db::keychain::list(tx.conn()).await?;
        let id = rows.iter().find(|row| row.identity == identity).map_or(1, |row| row.id);
        Ok(Registered::Keychain { id, new: true })
    }
}
