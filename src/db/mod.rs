//! Everything that is stored, in SQLite or PostgreSQL, with one SQL text for both.
//! [`Db::write`] is the only way to write; [`Db::read`] and [`Db::snapshot`] read.
//! One file a table; each takes `&mut Conn` to read and `&mut Tx` to write.
//! Never in here: rules about money or time (`domain`), use cases (`app`).

use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::any::Any;
use sqlx::pool::Pool;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub mod access;
pub mod action;
pub mod api_key;
pub mod audit_log;
mod backup;
pub mod batch;
pub mod chain;
pub mod claim;
mod conn;
pub mod days;
pub mod delivery;
pub mod entry;
mod error;
pub mod event;
pub mod gate_code;
pub mod idempotency;
mod insert;
pub mod invoice;
mod job;
pub mod keychain;
pub mod lease;
pub mod ledger;
mod list;
mod listen;
pub mod meta;
pub mod migrate;
mod open;
pub mod operator_session;
pub mod payment;
pub mod payout;
mod row;
pub mod running;
pub mod terms;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod tx;
pub mod unit;
pub mod webhook;
pub mod work;
mod write;

pub use conn::Conn;
pub use error::DbError;
pub use event::NewEvent;
pub use insert::{AnyQuery, Insert};
pub use open::OpenOptions;
pub use write::{Tx, WriteItem, Writer};

use job::Job;
use open::Target;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// One file, one node.
    Sqlite,
    /// A server, several nodes.
    Postgres,
}

/// Something that changed without an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// What has this id.
    One(String),
    /// Perhaps anything: some hints were not heard.
    Anything,
}

/// Hints kept for a listener that is busy.
const TOUCHED_KEPT: usize = 256;

/// A handle on the open database; clones are the same database.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<Box<dyn Job>>,
}

/// What the handles and the writer share.
struct Shared {
    target: Target,
    readers: Pool<Any>,
    /// The newest committed event number this node knows.
    seq: watch::Sender<i64>,
    /// What changed without an event.
    touched: broadcast::Sender<Touched>,
    stop: CancellationToken,
    /// Items given to `write` and not yet answered.
    waiting: AtomicUsize,
    writable: bool,
    /// Held until the last handle and the writer are gone.
    _lock: Option<File>,
}

impl Db {
    /// Opens the database for the one program that serves it: takes the lock (SQLite), brings the
    /// schema up to date, connects the writer. `url` is `sqlite:FILE` or `postgres://…`.
    ///
    /// # Errors
    /// [`DbError::Url`], [`DbError::Locked`], [`DbError::Newer`], [`DbError::Unavailable`],
    /// [`DbError::Migrate`] and those of files and statements.
    pub async fn open(url: &str, options: OpenOptions) -> Result<(Db, Writer), DbError> {
        describe_metrics();
        let target = Target::parse(url, options)?;
        let lock = open::lock(&target)?;
        open::prepare_file(&target).await?;
        let mut migrating = open::migrating(&target).await?;
        migrate::run(&mut migrating).await?;
        sqlx::Connection::close(migrating).await?;
        let mut conn = open::writer(&target).await?;
        let last_seq = event::last_seq(&mut conn).await?;
        let (db, queue) = Db::new(target, lock, last_seq, true);
        let writer = Writer::new(Arc::clone(&db.shared), queue, conn);
        Ok((db, writer))
    }

    /// Opens the database beside a running server: no lock, no writing, the file itself opened
    /// read-only. For `check`, `audit`, `backup`.
    ///
    /// # Errors
    /// [`DbError::Url`], [`DbError::Older`], [`DbError::Newer`], [`DbError::Unavailable`] and
    /// those of files and statements.
    pub async fn open_read_only(url: &str, options: OpenOptions) -> Result<Db, DbError> {
        let options = OpenOptions { create: false, ..options };
        let target = Target::parse(url, options)?.read_only()?;
        let mut conn = open::reader(&target).await?;
        migrate::check(&mut conn).await?;
        let last_seq = event::last_seq(&mut conn).await?;
        conn.close().await;
        Ok(Db::new(target, None, last_seq, false).0)
    }

    fn new(
        target: Target,
        lock: Option<File>,
        last_seq: i64,
        writable: bool,
    ) -> (Db, mpsc::UnboundedReceiver<Box<dyn Job>>) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let shared = Shared {
            readers: open::readers(&target),
            target,
            seq: watch::Sender::new(last_seq),
            touched: broadcast::Sender::new(TOUCHED_KEPT),
            stop: CancellationToken::new(),
            waiting: AtomicUsize::new(0),
            writable,
            _lock: lock,
        };
        (Db { shared: Arc::new(shared), queue }, receiver)
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.shared.backend()
    }

    /// Does `item` in a transaction, together with what else waits. The item is in the queue when
    /// this returns; dropping the future does not take it out again.
    ///
    /// # Errors
    /// The item's own. As its `From<DbError>`: [`DbError::Unavailable`] (nothing was done),
    /// [`DbError::OutcomeUnknown`], [`DbError::Panicked`], [`DbError::Stopped`],
    /// [`DbError::Swallowed`], [`DbError::Sql`] from the commit itself.
    pub fn write<I: WriteItem>(
        &self,
        item: I,
    ) -> impl Future<Output = Result<I::Out, I::Error>> + Send + use<I> {
        let answer = self.enqueue(item);
        async move {
            match answer?.await {
                Ok(outcome) => outcome,
                // The writer was dropped in the middle of its work.
                Err(_) => Err(DbError::OutcomeUnknown { why: "the writer is gone".into() }.into()),
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "it is what the channel gives, once")]
    fn enqueue<I: WriteItem>(
        &self,
        item: I,
    ) -> Result<tokio::sync::oneshot::Receiver<Result<I::Out, I::Error>>, I::Error> {
        if !self.shared.writable {
            return Err(DbError::Unsupported {
                what: "writing to a database opened read-only",
                instead: "ask the running server to do it".into(),
            }
            .into());
        }
        if !self.shared.enter_queue() {
            return Err(DbError::Unavailable {
                why: "too many writes are waiting".into(),
                hint: "try again in some seconds",
            }
            .into());
        }
        let (job, answer) = job::Queued::new(item);
        if self.queue.send(job).is_err() {
            self.shared.left_queue(1);
            return Err(DbError::Stopped.into());
        }
        Ok(answer)
    }

    /// A connection for reading what is committed. Statements may see different states; where
    /// they must agree, use [`Db::snapshot`].
    ///
    /// # Errors
    /// [`DbError::Unavailable`] with the reason.
    pub async fn read(&self) -> Result<Conn, DbError> {
        self.shared.reader().await
    }

    /// A connection whose statements all see the same committed state. Do not keep it while
    /// waiting for anything else: PostgreSQL ends it, SQLite's log grows.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] with the reason.
    pub async fn snapshot(&self) -> Result<Conn, DbError> {
        let begin = match self.backend() {
            // The state is that of the first statement.
            Backend::Sqlite => "BEGIN DEFERRED",
            Backend::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        match self.shared.readers.begin_with(begin).await {
            Ok(tx) => Ok(Conn::snapshot(tx, self.shared.target.client_limit())),
            Err(error) => {
                Err(open::explain(&self.shared.target, &self.shared.readers, error).await)
            }
        }
    }

    /// The newest committed event number this node has heard of, and its changes. A hint: read
    /// the log to know.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.shared.seq.subscribe()
    }

    /// What changes without an event from now on, on any node. A hint: read it to know. Whoever
    /// lags behind must take it for [`Touched::Anything`].
    pub fn touched(&self) -> broadcast::Receiver<Touched> {
        self.shared.touched.subscribe()
    }

    /// Copies a SQLite database to the new file `to`, marked with `at` (Unix milliseconds) under
    /// [`meta::BACKUP_AT`]. Works beside a running server.
    ///
    /// # Errors
    /// [`DbError::Unsupported`] on PostgreSQL, with the pg_dump line; [`DbError::File`] when `to`
    /// exists; those of statements.
    pub async fn backup(&self, to: &Path, at: i64) -> Result<(), DbError> {
        backup::run(self, to, at).await
    }

    /// Lets the writer finish what is queued and end; later writes get [`DbError::Stopped`].
    pub fn shut_down(&self) {
        self.shared.stop.cancel();
    }

    /// Closes the readers' connections, waiting for those in use.
    pub async fn close_readers(&self) {
        self.shared.readers.close().await;
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Db").field(&self.backend()).finish()
    }
}

impl Shared {
    fn backend(&self) -> Backend {
        self.target.backend
    }

    async fn reader(&self) -> Result<Conn, DbError> {
        match self.readers.acquire().await {
            Ok(conn) => Ok(Conn::pooled(conn, self.target.client_limit())),
            Err(error) => Err(open::explain(&self.target, &self.readers, error).await),
        }
    }

    /// Never backwards: commits of other nodes are heard of in any order.
    fn publish(&self, seq: i64) {
        self.seq.send_if_modified(|newest| {
            let newer = seq > *newest;
            *newest = seq.max(*newest);
            newer
        });
    }

    fn tell_touched(&self, touched: Touched) {
        // Nobody may be there to hear it.
        let _ = self.touched.send(touched);
    }

    /// False when the queue is full.
    fn enter_queue(&self) -> bool {
        metrics::gauge!("leasehold_write_queue_depth").increment(1);
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let room = before < self.target.options.queue_items;
        if !room {
            self.left_queue(1);
        }
        room
    }

    fn left_queue(&self, items: usize) {
        self.waiting.fetch_sub(items, Ordering::Relaxed);
        metrics::gauge!("leasehold_write_queue_depth")
            .decrement(u32::try_from(items).unwrap_or(u32::MAX));
    }
}

fn describe_metrics() {
    metrics::describe_gauge!("leasehold_write_queue_depth", "Writes not yet answered");
    metrics::describe_histogram!("leasehold_write_group_size", "Writes in one transaction");
    metrics::describe_histogram!(
        "leasehold_write_commit_seconds",
        metrics::Unit::Seconds,
        "Time of a COMMIT"
    );
}
