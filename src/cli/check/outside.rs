//! The node and the database as they are now, for `leasehold check`: beside a running server or
//! before the first start.

use secrecy::ExposeSecret as _;

use super::{Line, payouts, right, wrong_line as wrong};
use crate::chain::{BlockSource as _, ChainError};
use crate::cli::serve;
use crate::config::{Config, Database};
use crate::daemon::connect;
use crate::db::keychain::KeychainRow;
use crate::db::{self, Db, DbError, OpenOptions};

pub(super) async fn look(config: &Config) -> Vec<Line> {
    let (database, stored) = database(config).await;
    let mut lines = match node(config, &stored).await {
        Ok(lines) => lines,
        Err(error) => vec![wrong("node", format!("{error:#}"))],
    };
    lines.push(database);
    lines
}

/// What the database has.
#[derive(Default)]
struct Stored {
    /// The height of the tip.
    tip: Option<u32>,
    keychains: Vec<KeychainRow>,
}

async fn node(config: &Config, stored: &Stored) -> anyhow::Result<Vec<Line>> {
    let node = connect(&config.bitcoind)?;
    let state = node.node_state().await?;
    state.check_network(config.bitcoind.network)?;
    let pruned = match (state.pruned, state.prune_height) {
        (false, _) => "not pruned".to_owned(),
        (true, height) => format!("pruned below block {}", height.unwrap_or(0)),
    };
    let mut lines = vec![right(
        "node",
        format!("{}; {} at block {}; {pruned}", state.subversion, state.chain, state.tip.height),
    )];
    // What is to be read next may be gone already.
    if let (Some(tip), Some(lowest)) = (stored.tip, state.prune_height)
        && tip + 1 < lowest
    {
        let gone = format!("it has pruned block {} that is to be read next", tip + 1);
        lines.push(wrong("node", gone));
    }
    let now =
        serve::clock(config).map(|clock| clock.now()).map_err(|exit| anyhow::anyhow!("{exit}"))?;
    let max_age_s = config.bitcoind.max_tip_age_s.unwrap_or(u64::MAX);
    if let Some(doubt) = state.doubt(stored.tip, now, max_age_s) {
        lines.push(wrong("node", format!("{doubt}: nothing is credited until that has passed")));
    }
    lines.extend(node.probe_rest().await.map(rest));
    lines.push(payouts::look(config, &node, &stored.keychains).await);
    Ok(lines)
}

fn rest(answer: Result<(), ChainError>) -> Line {
    match answer {
        Ok(()) => right("node", "blocks come over REST".into()),
        Err(error) => {
            wrong("node", format!("bitcoind.rest_url: {error}; start bitcoind with rest=1"))
        }
    }
}

async fn database(config: &Config) -> (Line, Stored) {
    const SUBJECT: &str = "database";
    if let Database::Sqlite(file) = &config.database
        && !file.exists()
    {
        return (
            right(SUBJECT, format!("{}: made on the first start", file.display())),
            Stored::default(),
        );
    }
    match read(config).await {
        Ok(stored) => {
            let tip =
                stored.tip.map_or("no block yet".into(), |height| format!("at block {height}"));
            let schema = db::migrate::known();
            (right(SUBJECT, format!("schema version {schema}, {tip}")), stored)
        }
        Err(error) => (wrong(SUBJECT, error.to_string()), Stored::default()),
    }
}

async fn read(config: &Config) -> Result<Stored, DbError> {
    let url = config.database.url();
    let db = Db::open_read_only(url.expose_secret(), OpenOptions::default()).await?;
    let mut conn = db.read().await?;
    let tip = db::chain::tip(&mut conn).await?.map(|tip| tip.height);
    Ok(Stored { tip, keychains: db::keychain::list(&mut conn).await? })
}
