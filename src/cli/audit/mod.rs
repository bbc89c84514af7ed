//! `leasehold audit`: holds the ledger against the leases, and payments, batches and coins against
//! the node, and tells every difference. Reads only, beside a running server; ends with 1 when
//! something differs.

mod batches;
mod books;
mod coins;
mod payments;

use std::fmt;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{Exit, Global, Output};
use crate::chain::BlockSource as _;
use crate::daemon::connect;
use crate::db::{Db, OpenOptions};

/// Rows that are read at once.
const PAGE: u32 = 500;

/// A running server may be in the middle of a reorganisation, or behind its node by a block: it gets
/// so many seconds.
const LOOKS: usize = 5;

/// Something that is not as it must be.
#[derive(Debug, Serialize)]
struct Difference {
    subject: String,
    detail: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    ledger_entries: u64,
    leases: u64,
    payments: u64,
    /// In blocks that the node has pruned.
    payments_pruned: u64,
    batches: u64,
    /// Unspent ones that the node's watch-only wallet lists.
    coins: u64,
    /// What was not looked at, and why.
    notes: Vec<String>,
    differences: Vec<Difference>,
}

impl Report {
    fn differs(&mut self, subject: impl Into<String>, detail: String) {
        self.differences.push(Difference { subject: subject.into(), detail });
    }
}

/// What `look` finds wrong, if it finds the same once more a moment later.
async fn lasting<T: PartialEq>(
    look: impl AsyncFn() -> Result<Option<T>, Exit>,
) -> Result<Option<T>, Exit> {
    let mut before = None;
    for _ in 0..LOOKS {
        let Some(found) = look().await? else { return Ok(None) };
        if before.as_ref() == Some(&found) {
            break;
        }
        before = Some(found);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(before)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Difference { subject, detail } in &self.differences {
            writeln!(f, "WRONG {subject}: {detail}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let Self { ledger_entries, leases, payments, payments_pruned, batches, coins, .. } = self;
        write!(f, "{ledger_entries} ledger entries, {leases} leases, {batches} batches, ")?;
        write!(f, "{coins} coins, {payments} payments")?;
        if *payments_pruned > 0 {
            write!(f, " ({payments_pruned} in blocks that the node has pruned: not looked for)")?;
        }
        match self.differences.len() {
            0 => write!(f, ": all agree"),
            n => write!(f, ": {n} differ"),
        }
    }
}

pub(super) async fn run(global: &Global, output: &Output) -> Result<(), Exit> {
    let config = global.load()?;
    let node = connect(&config.bitcoind)?;
    let url = config.database.url();
    let db = Db::open_read_only(url.expose_secret(), OpenOptions::default()).await?;
    let mut report = Report::default();
    books::look(&db, &mut report).await?;
    let state = node.node_state().await?;
    state.check_network(config.bitcoind.network)?;
    let pruned_below = state.prune_height.unwrap_or(0);
    payments::look(&db, &node, pruned_below, &mut report).await?;
    batches::look(&db, &node, pruned_below, &mut report).await?;
    coins::look(&db, &node, config.bitcoind.network, &mut report).await?;
    report.ok = report.differences.is_empty();
    output.answer(&report)?;
    if report.ok { Ok(()) } else { Err(Exit::Said) }
}
