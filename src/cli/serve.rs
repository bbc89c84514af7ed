//! `leasehold serve`: the server. Ends with SIGINT or SIGTERM, after what is under way.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::{Exit, Global};
use crate::clock::{SharedClock, ShiftedClock, SystemClock};
use crate::config::Config;
use crate::daemon::Daemon;

/// Names the file that shifts the clock in tests.
const TEST_CLOCK: &str = "LEASEHOLD_TEST_CLOCK";

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The database was restored with pg_dump: never issue an index again that it may not know of
    #[arg(long)]
    recovered: bool,
    /// Write the address that is listened on into a file, for `listen = "…:0"`
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let config = global.load()?;
    let clock = clock(&config)?;
    let daemon = Daemon::start(config, clock, args.recovered).await.map_err(Exit::of_server)?;
    tracing::info!(address = %daemon.bound, url = daemon.shop.public_url, "serving");
    if let Some(file) = &args.address_file {
        write_address(file, daemon.bound)?;
    }
    let router = daemon.router(None);
    end_on_signal(daemon.shutdown.clone())?;
    daemon.serve(router).await.map_err(Exit::of_server)
}

/// Whole or not at all: somebody waits for it.
fn write_address(file: &Path, bound: SocketAddr) -> Result<(), Exit> {
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, format!("{bound}\n"))
        .and_then(|()| std::fs::rename(&temporary, file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(())
}

/// The machine's clock; on regtest `LEASEHOLD_TEST_CLOCK` may name a file that shifts it.
pub(super) fn clock(config: &Config) -> Result<SharedClock, Exit> {
    match std::env::var_os(TEST_CLOCK) {
        None => Ok(Arc::new(SystemClock)),
        Some(file) if config.bitcoind.network == bitcoin::Network::Regtest => {
            Ok(Arc::new(ShiftedClock::new(file.into())))
        }
        Some(_) => Err(Exit::Usage(format!("{TEST_CLOCK} is for regtest only; unset it"))),
    }
}

/// Cancels `shutdown` on SIGINT or SIGTERM.
#[expect(clippy::disallowed_methods, reason = "it waits for signals as long as the process lives")]
pub(super) fn end_on_signal(shutdown: tokio_util::sync::CancellationToken) -> Result<(), Exit> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("asked to end");
        shutdown.cancel();
    });
    Ok(())
}
