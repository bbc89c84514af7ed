//! The event tail of a node: one reader of the log wakes whoever waits for a subject. A hint and
//! no more; whoever is woken reads what is stored. Ten thousand waiting streams cost one read.

pub mod gate;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::db::event::{self, Event};
use crate::db::{Db, DbError};

pub use gate::GateMap;

/// Events read at a time.
const PAGE: i64 = 500;
/// How often the log is read when no hint comes.
const POLL: Duration = Duration::from_secs(1);
/// Groups of events that a slow listener may lag behind; after that it is woken anyway.
const BACKLOG: usize = 256;

/// What a group of events is about.
type Woken = Arc<HashSet<String>>;

/// Wakes whoever waits for a subject.
#[derive(Clone)]
pub struct Live {
    sender: broadcast::Sender<Woken>,
    /// Leases that are running, for the gate.
    pub gate: GateMap,
}

/// Waits for one subject.
pub struct Subscription {
    receiver: broadcast::Receiver<Woken>,
    subject: String,
}

impl Default for Live {
    fn default() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0, gate: GateMap::default() }
    }
}

impl Live {
    /// Hears of every event about `subject` (a lease, an invoice, a payment, a resource) from
    /// now on.
    pub fn subscribe(&self, subject: &str) -> Subscription {
        Subscription { receiver: self.sender.subscribe(), subject: subject.to_owned() }
    }

    /// Follows the log until `shutdown`.
    ///
    /// # Errors
    /// Those of the database that do not pass.
    pub async fn run(
        self,
        db: Db,
        clock: SharedClock,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut hint = db.subscribe();
        let mut last = self.start(&db, &clock).await?;
        while !shutdown.is_cancelled() {
            match self.read(&db, &mut last).await {
                Ok(()) => self.gate.heard(clock.now()),
                Err(error) if error.is_temporary() => {
                    tracing::warn!(%error, "the event log cannot be read");
                }
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                changed = hint.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(POLL) => {}
            }
        }
        Ok(())
    }

    async fn start(&self, db: &Db, clock: &SharedClock) -> Result<i64, DbError> {
        let mut conn = db.read().await?;
        let last = event::last_seq(&mut conn).await?;
        self.gate.fill(&mut conn).await?;
        self.gate.heard(clock.now());
        Ok(last)
    }

    async fn read(&self, db: &Db, last: &mut i64) -> Result<(), DbError> {
        loop {
            let mut conn = db.read().await?;
            let events = event::list(&mut conn, *last, PAGE).await?;
            let Some(newest) = events.last() else { return Ok(()) };
            *last = newest.seq;
            let subjects: HashSet<String> = events.iter().flat_map(subjects).collect();
            for lease in subjects.iter().filter(|id| id.starts_with("lse_")) {
                self.gate.refresh(&mut conn, lease).await?;
            }
            // Nobody listening is no failure.
            let _ = self.sender.send(Arc::new(subjects));
        }
    }
}

/// Everything that an event is about.
fn subjects(event: &Event) -> Vec<String> {
    let named = ["lease", "invoice", "payment"].into_iter();
    let from_data = named.filter_map(|name| event.data.get(name)?.as_str().map(str::to_owned));
    let mut all: Vec<String> = from_data.collect();
    all.push(event.subject.clone());
    all.extend(event.resource.clone());
    all
}

impl Subscription {
    /// Returns when something about the subject happened, or may have.
    pub async fn changed(&mut self) {
        loop {
            match self.receiver.recv().await {
                Ok(woken) if woken.contains(&self.subject) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
