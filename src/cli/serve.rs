//! `leasehold serve`: the server. Ends with SIGINT or SIGTERM, after what is under way.

use std::sync::Arc;

use super::{Exit, Global};
use crate::clock::SystemClock;
use crate::daemon::Daemon;

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) async fn run(_: Args, global: &Global) -> Result<(), Exit> {
    let config = global.load()?;
    let daemon = Daemon::start(config, Arc::new(SystemClock)).await.map_err(temporary)?;
    tracing::info!(address = %daemon.bound, url = daemon.shop.public_url, "serving");
    let router = daemon.router(axum::Router::new());
    end_on_signal(daemon.shutdown.clone())?;
    daemon.serve(router).await?;
    Ok(())
}

/// What may work later ends with 75, so that a supervisor starts again.
fn temporary(error: anyhow::Error) -> Exit {
    let database = error.downcast_ref::<crate::db::DbError>();
    match database.is_some_and(crate::db::DbError::is_temporary) {
        true => Exit::TryAgain(error),
        false => Exit::Failed(error),
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
