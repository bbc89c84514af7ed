//! The tasks that run beside HTTP. Each is a loop around a `step` that tests call by hand.
//! A worker that ends ends the process; a supervisor starts it again.

pub mod deliver;
pub mod follow;
pub mod housekeeping;
pub mod look;
pub mod provision;
pub mod rate;
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

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::db::DbError;

fn passes(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(DbError::is_temporary)
}

/// Runs `step` every `period` until `shutdown`. A database that is away for a moment is waited for;
/// any other error ends the loop and is returned.
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
        match step().await {
            Err(error) if passes(&error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    worker = name,
                    "waits for the database"
                );
            }
            done => done.with_context(|| format!("the worker \"{name}\" stopped"))?,
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(period) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod run_every_tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    /// Runs a worker whose steps answer `errors` in turn, then end it. How many steps it made.
    async fn run(errors: Vec<Option<DbError>>) -> (u32, anyhow::Result<()>) {
        let steps = Arc::new(AtomicU32::new(0));
        let shutdown = CancellationToken::new();
        let (count, end) = (steps.clone(), shutdown.clone());
        let mut errors = errors.into_iter();
        let step = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = match errors.next() {
                Some(Some(error)) => Err(error.into()),
                Some(None) => Ok(()),
                None => {
                    end.cancel();
                    Ok(())
                }
            };
            async move { answer }.boxed()
        };
        let ended = run_every("it", Duration::ZERO, shutdown, step).await;
        (steps.load(Ordering::SeqCst), ended)
    }

    #[tokio::test]
    async fn a_worker_waits_for_a_database_that_is_away_and_ends_by_one_that_is_broken() {
        let away = || DbError::Unavailable { why: "it restarts".into(), hint: "wait" };
        let (steps, ended) = run(vec![Some(away()), None, Some(away())]).await;
        assert_eq!((steps, ended.is_ok()), (4, true));
        let broken = DbError::corrupt("work", "subject", "x");
        let (steps, ended) = run(vec![Some(away()), Some(broken), None]).await;
        assert_eq!(steps, 2);
        assert!(format!("{:#}", ended.unwrap_err()).contains("\"it\" stopped"));
    }
}
