//! Calls provisioners: claims actions, calls several at a time, writes how each went. One that is
//! slow or dead keeps its own resource waiting and nobody else's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::app::claim_actions::{ClaimActions, Claimed};
use crate::app::readiness::ReadinessReceiver;
use crate::app::record_action::{RecordAction, Went};
use crate::app::settle::Ground;
use crate::clock::SharedClock;
use crate::db::{self, Db, DbError};
use crate::domain::policy::Policy;
use crate::provision::{Input, Outcome, Provisioners};

/// Calls that are under way at a time, of one resource and of all. When all of these are taken, a
/// resource that has none may still have one.
const OF_ONE: usize = 8;
const OF_ALL: usize = 64;
/// How often it is asked whether something is due.
const PERIOD: Duration = Duration::from_millis(200);

/// Calls provisioners.
#[derive(Clone)]
pub struct Caller {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: SharedClock,
    /// The operator's rules.
    pub policy: Arc<Policy>,
    /// How following the chain is doing.
    pub readiness: ReadinessReceiver,
    /// How they are called.
    pub provisioners: Provisioners,
}

impl Caller {
    /// Calls until `shutdown`. What is under way then is ended, and done again later.
    ///
    /// # Errors
    /// Those of the database that do not pass.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut calls = FuturesUnordered::new();
        let mut under_way: HashMap<String, usize> = HashMap::new();
        loop {
            let claimed = self.claim(&under_way, calls.len()).await?;
            let found = !claimed.is_empty();
            for claimed in claimed {
                *under_way.entry(claimed.row.resource.clone()).or_default() += 1;
                calls.push(self.call(claimed));
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = calls.next(), if !calls.is_empty() => {
                    let resource: String = ended?;
                    if let Some(count) = under_way.get_mut(&resource) {
                        *count -= 1;
                    }
                }
                () = tokio::time::sleep(if found { Duration::ZERO } else { PERIOD }) => {}
            }
        }
    }

    async fn claim(
        &self,
        under_way: &HashMap<String, usize>,
        count: usize,
    ) -> anyhow::Result<Vec<Claimed>> {
        let now = self.clock.now();
        let (each, most) = match OF_ALL.saturating_sub(count) {
            0 => (1, OF_ONE),
            left => (OF_ONE, left),
        };
        let room = |(name, count): (&String, &usize)| (name.clone(), each.saturating_sub(*count));
        let room: HashMap<String, usize> = under_way.iter().map(room).collect();
        let busy: Vec<String> =
            room.iter().filter(|(_, left)| **left == 0).map(|(name, _)| name.clone()).collect();
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        // A question first: claiming is a write.
        let asked = async {
            let mut conn = self.db.read().await?;
            let due = db::action::due(&mut conn, &busy, now, 1).await?;
            drop(conn);
            if due.is_empty() {
                return Ok(Vec::new());
            }
            self.db.write(ClaimActions { busy, room, each, most, now }).await
        };
        pass(asked.await, Vec::new())
    }

    /// Calls one, and writes how it went. Returns its resource.
    async fn call(&self, claimed: Claimed) -> anyhow::Result<String> {
        let now = self.clock.now();
        let resource = claimed.row.resource.clone();
        let input = input(&claimed);
        let went = match claimed.row.failed_at {
            // It failed for good, and nobody has retried it: it is only claimed to be given up.
            Some(_) => Went::GivenUp,
            None => went(self.provisioners.call(&claimed.provisioner, &input, now).await),
        };
        let result = match &went {
            Went::Done { .. } => "done",
            Went::Again { .. } => "again",
            Went::Failed { .. } | Went::GivenUp => "failed",
        };
        let labels =
            [("action", claimed.row.action.as_str().to_owned()), ("result", result.to_owned())];
        metrics::counter!("leasehold_provisioner_calls_total", &labels).increment(1);
        let ground = Ground {
            policy: (*self.policy).clone(),
            now: self.clock.now(),
            trusted: self.readiness.borrow().trusted(),
        };
        let item = RecordAction { ground, row: claimed.row, went };
        // Not written: its claim runs out, and it is done again.
        pass(self.db.write(item).await, ())?;
        Ok(resource)
    }
}

/// A database that is away for a moment ends nothing.
fn pass<T>(result: Result<T, DbError>, instead: T) -> anyhow::Result<T> {
    match result {
        Err(error) if error.is_temporary() => {
            tracing::warn!(%error, "provisioners wait for the database");
            Ok(instead)
        }
        other => Ok(other?),
    }
}

fn input(claimed: &Claimed) -> Input {
    Input {
        key: claimed.row.key(),
        action: claimed.row.action,
        resource: claimed.row.resource.clone(),
        lease: claimed.row.subject.clone(),
        generation: claimed.row.generation,
        unit: claimed.row.unit.clone(),
        paid_until: claimed.paid_until,
        params: claimed.lease.params.clone(),
    }
}

fn went(outcome: Outcome) -> Went {
    match outcome {
        Outcome::Done { access } => Went::Done { access },
        Outcome::Failed { why } => Went::Failed { why },
        Outcome::Again { why, after, in_doubt } => {
            let mut random = [0];
            // Without randomness those that failed together return together.
            let _ = getrandom::fill(&mut random);
            let (after_s, random) = (after.map(|after| after.as_secs()), random[0]);
            Went::Again { why, after_s, random, in_doubt }
        }
    }
}
