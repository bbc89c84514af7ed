//! The tasks that run beside HTTP. Each is a loop around a `step` that tests call by hand.
//! A worker that ends ends the process; a supervisor starts it again.

pub mod deliver;
pub mod follow;
pub mod housekeeping;
pub mod look;
pub mod provision;
pub mod recover;
pub mod rescan;
#[cfg(test)]
pub(crate) mod rig;
pub mod send_again;
#[cfg(test)]
mod tests;
pub mod wallet;
pub mod watch;

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// Runs `step` every `period` until `shutdown`. An error ends the loop and is returned.
///
/// # Errors
/// The step's own, with the worker's name.
pub async fn run_every(
    name: &'static str,
    period: Duration,
    shutdown: CancellationToken,
    mut step: impl FnMut() -> BoxFuture<'static, anyhow::Result<()>> + Send,
) -> anyhow::Result<()> {
    while !shutdown.is_cancelled() {
        if let Err(error) = step().await {
            return Err(error.context(format!("the worker \"{name}\" stopped")));
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(period) => {}
        }
    }
    Ok(())
}
