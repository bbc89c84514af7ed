//! `leasehold audit`: holds the ledger against the leases and the payments against the node, and
//! tells every difference. Reads only, beside a running server; ends with 1 when something
//! differs.

mod books;
mod payments;

use std::fmt;

use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{Exit, Global, Output};
use crate::daemon::connect;
use crate::db::{Db, OpenOptions};

/// Rows that are read at once.
const PAGE: u32 = 500;

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
    differences: Vec<Difference>,
}

impl Report {
    fn differs(&mut self, subject: impl Into<String>, detail: String) {
        self.differences.push(Difference { subject: subject.into(), detail });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Difference { subject, detail } in &self.differences {
            writeln!(f, "WRONG {subject}: {detail}")?;
        }
        let Self { ledger_entries, leases, payments, payments_pruned, .. } = self;
        write!(f, "{ledger_entries} ledger entries, {leases} leases, {payments} payments")?;
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
    payments::look(&db, &node, config.bitcoind.network, &mut report).await?;
    report.ok = report.differences.is_empty();
    output.answer(&report)?;
    if report.ok { Ok(()) } else { Err(Exit::Said) }
}
