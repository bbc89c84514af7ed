//! `leasehold backup`: a copy of the database beside a running server, into a new file. Never
//! overwrites one. PostgreSQL has pg_dump for that; then it says how.

use std::fmt;
use std::path::PathBuf;

use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{Exit, Global, Output, serve};
use crate::db::{Db, OpenOptions};
use crate::domain::time::Timestamp;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; it must not exist
    file: PathBuf,
}

/// A copy that was made.
#[derive(Debug, Serialize)]
struct Made {
    file: PathBuf,
    backup_at: Timestamp,
    bytes: u64,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, bytes, .. } = self;
        write!(f, "{}: {bytes} bytes; the keys are not in it, keep them too", file.display())
    }
}

pub(super) async fn run(args: Args, global: &Global, output: &Output) -> Result<(), Exit> {
    let config = global.load()?;
    let backup_at = serve::clock(&config)?.now();
    let url = config.database.url();
    let db = Db::open_read_only(url.expose_secret(), OpenOptions::default()).await?;
    db.backup(&args.file, backup_at.millis()).await?;
    let bytes = std::fs::metadata(&args.file).map_err(anyhow::Error::from)?.len();
    output.answer(&Made { file: args.file, backup_at, bytes })
}
