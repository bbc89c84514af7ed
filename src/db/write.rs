//! The one writer of a node: takes what waits in the queue, runs it in one transaction, commits
//! once, then answers all. Items are small and re-runnable ([`WriteItem`]).
//! An answer, an event number, a hint never leaves before COMMIT is confirmed.
//! Nothing but the database is awaited inside a transaction.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::{AssertSqlSafe, Executor, Row};
use tokio::sync::mpsc;
// Bounds and measures a group; no stored moment comes from it.
use tokio::time::Instant;

use super::conn::{Conn, Failure};
use super::error::{Fault, plain};
use super::event::{self, NewEvent};
use super::job::{Job, Ran};
use super::{Backend, DbError, Shared, Touched, listen, open};
use crate::domain::ids::LeaseId;

/// One write: a use case that reads, decides, and writes last.
///
/// It may run several times and must do the same each time: keep no state, change nothing outside
/// the transaction, await nothing but the database, never call `Db::write` inside.
///
/// - `Ok`: what it wrote is committed before the caller hears of it.
/// - `Err` without having written a row: a refusal. Its events are dropped, the group goes on.
/// - `Err` after having written: the whole group is rolled back and run again one by one.
/// - A statement that failed counts even when the item swallows the error: the same.
/// - A panic: rolled back, answered with [`DbError::Panicked`], the others run again.
pub trait WriteItem: Send + Sync + 'static {
    /// What the caller gets.
    type Out: Send + 'static;
    /// Refusals of the use case, and failures of the database.
    type Error: From<DbError> + Send + 'static;
    /// Reads, decides, writes.
    fn run(&self, tx: &mut Tx) -> impl Future<Output = Result<Self::Out, Self::Error>> + Send;
}

/// The writer's transaction. Dereferences to [`Conn`], so that table files' readers take it too.
#[derive(Debug)]
pub struct Tx {
    conn: Conn,
    events: Vec<NewEvent>,
    touched: Vec<LeaseId>,
    last_seq: i64,
    wrote: bool,
}

impl Tx {
    /// The connection, for a statement: `query.execute(tx.conn())`.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Reports a fact. It is numbered and inserted when the group ends, after all its items ran;
    /// dropped when this item is refused.
    pub fn event(&mut self, event: NewEvent) {
        self.events.push(event);
    }

    /// Says that a lease changed in a way that the log has no event for: whoever follows it is woken
    /// on every node. A hint: it may be told though this item is refused.
    pub fn touch(&mut self, lease: &LeaseId) {
        self.touched.push(lease.clone());
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

/// Why an attempt to commit a group ended without a confirmed COMMIT. Nothing of it is stored,
/// except perhaps after `Unknown`.
#[derive(Debug)]
enum Stop {
    /// Not the items' fault, and it may pass: a dead connection, a deadlock.
    Again(String),
    /// Not the items' fault: no transaction could be begun.
    All(DbError),
    /// One item's fault: each is to run alone. The error is for an item that thinks it succeeded.
    Apart(DbError),
    /// An item panicked, was answered and left the group: each of the others is to run alone.
    Panicked,
    /// The connection was lost while COMMIT was under way.
    Unknown(String),
}

/// The first pause before a group is tried again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

type Group = Vec<Box<dyn Job>>;

/// The task behind `Db::write`. The daemon spawns [`Writer::run`] and waits for it.
pub struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedReceiver<Box<dyn Job>>,
    tx: Option<Tx>,
    /// The last group found no database: the next one does not wait for it long.
    down: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Writer").field(&self.shared.backend()).finish()
    }
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: mpsc::UnboundedReceiver<Box<dyn Job>>,
        conn: Conn,
    ) -> Writer {
        Writer { shared, queue, tx: Some(Tx::new(conn)), down: false }
    }

    /// Writes until every `Db` is dropped or `Db::shut_down` was called, and what was queued by
    /// then is done. On PostgreSQL it also listens for the other nodes' commits.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let write = async {
            while self.step().await.is_some() {}
            if let Some(tx) = self.tx.take() {
                tx.conn.close().await;
            }
        };
        tokio::select! {
            () = write => {}
            never = listen::follow(&shared) => match never {},
        }
    }

    /// Waits for a write, then does it and those that join it. Returns how many items were
    /// answered; `None` when there will be no more.
    pub async fn step(&mut self) -> Option<usize> {
        let stop = self.shared.stop.clone();
        let first = tokio::select! {
            biased;
            () = stop.cancelled(), if !self.queue.is_closed() => {
                self.queue.close();
                self.queue.recv().await
            }
            first = self.queue.recv() => first,
        }?;
        let mut group = vec![first];
        let stop = self.attempt_with_retries(&mut group, true).await;
        let size = group.len();
        match stop {
            Some(Stop::Panicked) => self.each_alone(group).await,
            Some(Stop::Apart(_)) if size > 1 => self.each_alone(group).await,
            stop => settle(&self.shared, group, stop),
        }
        Some(size)
    }

    async fn each_alone(&mut self, group: Group) {
        for job in group {
            let mut alone = vec![job];
            let stop = self.attempt_with_retries(&mut alone, false).await;
            settle(&self.shared, alone, stop);
        }
    }

    /// `None` when the group is committed.
    async fn attempt_with_retries(&mut self, group: &mut Group, grow: bool) -> Option<Stop> {
        let retry_time = self.shared.target.options.retry_time;
        let until = Instant::now() + if self.down { Duration::ZERO } else { retry_time };
        let mut pause = FIRST_PAUSE;
        let mut grow = grow;
        loop {
            let stop = self.attempt(group, grow).await.err();
            match stop {
                Some(Stop::Again(why)) if Instant::now() + pause < until => {
                    tracing::warn!(why, items = group.len(), "a write group is tried again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    grow = false;
                }
                stop => {
                    self.down = matches!(stop, Some(Stop::Again(_)));
                    return stop;
                }
            }
        }
    }

    /// One transaction over `group`, which takes more from the queue within the bounds.
    async fn attempt(&mut self, group: &mut Group, grow: bool) -> Result<(), Stop> {
        let mut tx = self.begin().await?;
        let result = match self.run_items(&mut tx, group, grow).await {
            Ok(()) if tx.wrote || !tx.events.is_empty() => self.commit(&mut tx).await,
            // Nothing to make durable: spare the disk.
            Ok(()) => self.roll_back(&mut tx).await.map_err(Stop::Again),
            Err(stop) => Err(stop),
        };
        match &result {
            Ok(()) => {
                self.shared.publish(tx.last_seq);
                for lease in tx.touched.drain(..) {
                    self.shared.tell_touched(Touched::One(lease.to_string()));
                }
                self.tx = Some(tx);
            }
            Err(Stop::Apart(_)) if self.roll_back(&mut tx).await.is_ok() => self.tx = Some(tx),
            // In an unknown state: the database rolls back what is open when it is closed.
            Err(_) => tx.conn.close().await,
        }
        result
    }

    async fn begin(&mut self) -> Result<Tx, Stop> {
        let mut tx = match self.tx.take() {
            Some(tx) => tx,
            None => Tx::new(open::writer(&self.shared.target).await.map_err(begin_failed)?),
        };
        let text = match self.shared.backend() {
            Backend::Sqlite => "BEGIN IMMEDIATE; SELECT COALESCE(MAX(seq), 0) FROM event",
            // In READ COMMITTED each statement sees what was committed before it: the number is
            // read after the lock was got.
            Backend::Postgres => {
                "BEGIN ISOLATION LEVEL READ COMMITTED;
                 UPDATE write_lock SET n = n + 1 WHERE id = 1;
                 SELECT COALESCE(MAX(seq), 0) FROM event"
            }
        };
        let last_seq = match tx.conn.fetch_one(sqlx::raw_sql(text)).await {
            Ok(row) => row.try_get(0),
            Err(error) => Err(error),
        };
        match last_seq {
            Ok(last_seq) => {
                tx.conn.take_trace();
                tx.last_seq = last_seq;
                tx.events.clear();
                tx.touched.clear();
                tx.wrote = false;
                Ok(tx)
            }
            Err(error) => {
                tx.conn.close().await;
                Err(match Fault::of(&error) {
                    Fault::Dead | Fault::Deadlock => Stop::Again(plain(&error)),
                    Fault::Busy | Fault::Statement => Stop::All(error.into()),
                })
            }
        }
    }

    async fn run_items(&mut self, tx: &mut Tx, group: &mut Group, grow: bool) -> Result<(), Stop> {
        let bounds = &self.shared.target.options;
        let began = Instant::now();
        let mut at = 0;
        loop {
            if at == group.len() {
                if !grow || at >= bounds.group_items || began.elapsed() >= bounds.group_time {
                    return Ok(());
                }
                match self.queue.try_recv() {
                    Ok(job) => group.push(job),
                    Err(_) => return Ok(()),
                }
            }
            let events = tx.events.len();
            let ran = match AssertUnwindSafe(group[at].run(tx)).catch_unwind().await {
                Ok(ran) => ran,
                Err(panic) => {
                    let job = group.remove(at);
                    let (item, message) = (job.name(), message_of(panic.as_ref()));
                    tracing::error!(item, message, "a write panicked");
                    self.shared.left_queue(1);
                    job.fail(DbError::Panicked { item, message });
                    return Err(Stop::Panicked);
                }
            };
            let trace = tx.conn.take_trace();
            if let Some(failure) = trace.failure {
                return Err(stop_of(failure));
            }
            match ran {
                Ran::Kept => tx.wrote |= trace.wrote,
                Ran::Refused if trace.wrote => {
                    tracing::warn!(item = group[at].name(), "refused after it had written");
                    return Err(Stop::Apart(DbError::Stopped));
                }
                Ran::Refused => tx.events.truncate(events),
            }
            at += 1;
        }
    }

    async fn commit(&mut self, tx: &mut Tx) -> Result<(), Stop> {
        let events = std::mem::take(&mut tx.events);
        match event::insert(&mut tx.conn, tx.last_seq, &events).await {
            Ok(last_seq) => tx.last_seq = last_seq,
            Err(error) => {
                return Err(match tx.conn.take_trace().failure {
                    Some(Failure { fault: Fault::Statement, .. }) | None => Stop::Apart(error),
                    Some(failure) => stop_of(failure),
                });
            }
        }
        let began = Instant::now();
        let done = match self.shared.backend() {
            Backend::Postgres if !events.is_empty() || !tx.touched.is_empty() => {
                // Delivered by the server when, and only when, the COMMIT holds.
                let mut text = format!("NOTIFY {}, '{}'; ", listen::CHANNEL, tx.last_seq);
                for lease in &tx.touched {
                    text.push_str(&format!("NOTIFY {}, '{lease}'; ", listen::CHANNEL));
                }
                text.push_str("COMMIT");
                tx.conn.execute(sqlx::raw_sql(AssertSqlSafe(text))).await
            }
            _ => tx.conn.execute(sqlx::raw_sql("COMMIT")).await,
        };
        match done {
            Ok(_) => {
                tx.conn.take_trace();
                metrics::histogram!("leasehold_write_commit_seconds").record(began.elapsed());
                Ok(())
            }
            Err(error) if !Fault::commit_is_refused(&error) => Err(Stop::Unknown(plain(&error))),
            Err(error) if Fault::of(&error) == Fault::Deadlock => Err(Stop::Again(plain(&error))),
            Err(error) => Err(Stop::Apart(error.into())),
        }
    }

    async fn roll_back(&mut self, tx: &mut Tx) -> Result<(), String> {
        let done = tx.conn.execute(sqlx::raw_sql("ROLLBACK")).await;
        tx.conn.take_trace();
        done.map(|_| ()).map_err(|error| plain(&error))
    }
}

impl Tx {
    fn new(conn: Conn) -> Tx {
        Tx { conn, events: Vec::new(), touched: Vec::new(), last_seq: 0, wrote: false }
    }
}

/// Gives every item of an ended group its answer.
fn settle(shared: &Shared, group: Group, stop: Option<Stop>) {
    if let Some(Stop::Unknown(why)) = &stop {
        tracing::error!(why, items = group.len(), "the outcome of a commit is unknown");
    }
    shared.left_queue(group.len());
    // The size is a small number: exact as a float.
    metrics::histogram!("leasehold_write_group_size")
        .record(u32::try_from(group.len()).map_or(f64::MAX, f64::from));
    for job in group {
        match &stop {
            None => job.answer(),
            Some(Stop::Again(why)) => job.fail(DbError::unreachable(why)),
            Some(Stop::All(error)) => job.fail(error.clone()),
            // Alone in its transaction: a refusal or failure of its own stands.
            Some(Stop::Apart(error)) => match job.ran() {
                Some(Ran::Refused) => job.answer(),
                _ => job.fail(error.clone()),
            },
            Some(Stop::Panicked) => job.fail(DbError::Stopped),
            // A refusal may rest on what an item before it wrote, which may not be there.
            Some(Stop::Unknown(why)) => match job.ran() {
                Some(Ran::Refused) => job.fail(DbError::unreachable(why)),
                _ => job.fail(DbError::OutcomeUnknown { why: why.clone() }),
            },
        }
    }
}

fn begin_failed(error: DbError) -> Stop {
    match error {
        DbError::Unavailable { why, .. } => Stop::Again(why),
        other => Stop::All(other),
    }
}

fn stop_of(failure: Failure) -> Stop {
    match failure.fault {
        Fault::Dead | Fault::Deadlock => Stop::Again(failure.why),
        Fault::Busy | Fault::Statement => Stop::Apart(DbError::Swallowed(failure.why)),
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
