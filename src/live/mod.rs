//! The news of a node: one tail of the event log wakes streams and long polls by subject and
//! keeps the gate's map of running leases. Whoever waits here does not ask the database.
//! The daemon runs it ([`Live::run`]); HTTP subscribes and asks the gate.

pub mod gate;
mod tail;
#[cfg(test)]
mod tests;
mod tokens;
mod topics;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::app::readiness::ReadinessReceiver;
use crate::db::Db;

use gate::Gate;
use topics::Topics;
pub use topics::{Subject, Subscription};
pub use wait::{LONGEST_WAIT_S, wait_for};

/// Connections that all woken streams together may use at a time, so that requests find one.
const STREAM_READERS: usize = 2;
/// How long a writer waits for the gate to have heard of its change.
const ECHO: Duration = Duration::from_secs(1);

/// A handle on the news; clones are the same.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    topics: Arc<Topics>,
    gate: Gate,
    /// Number of the newest event that was told on; -1 before the gate's map was filled.
    heard: watch::Sender<i64>,
    /// Height of the tip.
    tip: watch::Sender<u32>,
    readers: Semaphore,
}

impl Live {
    /// News of `db`. Nothing is heard before [`Live::run`]. The gate does not answer without news
    /// for `max_staleness`.
    pub fn new(db: Db, max_staleness: Duration) -> Self {
        let inner = Inner {
            db,
            topics: Arc::default(),
            gate: Gate::new(max_staleness),
            heard: watch::Sender::new(-1),
            tip: watch::Sender::new(0),
            readers: Semaphore::new(STREAM_READERS),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Follows the event log until `shutdown`. A database that fails is asked again; the gate
    /// refuses to answer meanwhile.
    ///
    /// # Errors
    /// None: it ends only when asked to.
    pub async fn run(
        self,
        readiness: ReadinessReceiver,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let follow = tail::Tail::new(self).run(readiness);
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            never = follow => match never {},
        }
    }

    /// Follows `subject` from now on. Subscribe first, then read what is followed, then say
    /// [`Subscription::saw`]: nothing is missed in between.
    pub fn subscribe(&self, subject: Subject) -> Subscription {
        self.inner.topics.subscribe(subject)
    }

    /// The height of the tip, for streams that show confirmations.
    pub fn tip(&self) -> watch::Receiver<u32> {
        self.inner.tip.subscribe()
    }

    /// The running leases of all nodes, as this one has heard of them.
    pub fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    /// How many leases, invoices and resources are followed.
    pub fn followed(&self) -> usize {
        self.inner.topics.len()
    }

    /// Waits until everything that was committed on this node by now is heard here. After that
    /// the gate knows of it. Gives up after a second: the change holds either way.
    pub async fn caught_up(&self) {
        let committed = *self.inner.db.subscribe().borrow();
        let mut heard = self.inner.heard.subscribe();
        let heard = heard.wait_for(|seq| *seq >= committed);
        if tokio::time::timeout(ECHO, heard).await.is_err() {
            tracing::warn!(committed, "the event tail lags behind");
        }
    }

    /// A place among the streams that read at a time. A crowd that is woken at once queues here
    /// and not before the readers that requests need.
    pub async fn reading(&self) -> SemaphorePermit<'_> {
        self.inner.readers.acquire().await.expect("it is never closed")
    }
}
