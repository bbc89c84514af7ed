//! For tests: runs a test body on SQLite and on PostgreSQL, each time with a database of its own.
//! Never called by the program. Used by the tests beside the code and by `tests/it`.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::task::JoinHandle;

use super::{Backend, Db, DbError, OpenOptions, Writer};

/// The URL of a PostgreSQL database in which databases may be made, given by `regtest/test`.
pub const POSTGRES: &str = "LEASEHOLD_TEST_POSTGRES";
/// What may be left out, separated by commas: `postgres`.
pub const SKIP: &str = "LEASEHOLD_TEST_SKIP";

/// Runs `body` with an open, empty database: first SQLite, then PostgreSQL.
///
/// # Panics
/// When `body` does, and when there is no PostgreSQL and nobody said to leave it out.
pub fn each(body: impl AsyncFn(Db)) {
    each_place(async |place| {
        let node = place.open().await;
        body(node.db.clone()).await;
        node.stop().await;
    });
}

/// Runs `body` with a place for a database where there is none yet: first SQLite, then PostgreSQL.
///
/// # Panics
/// As [`each`].
pub fn each_place(body: impl AsyncFn(&Place)) {
    on_sqlite(&body);
    on_postgres(&body);
}

/// Only the SQLite half of [`each_place`].
pub fn on_sqlite(body: impl AsyncFn(&Place)) {
    let folder = std::env::temp_dir().join(unique_name());
    std::fs::create_dir(&folder).expect("the folder for temporary files can be written");
    let url = format!("sqlite:{}", folder.join("leasehold.db").display());
    let place = Place { url, backend: Backend::Sqlite, folder: folder.clone() };
    run(&place, &body, async || {});
    std::fs::remove_dir_all(&folder).expect("the test's folder can be removed");
}

/// Only the PostgreSQL half of [`each_place`].
pub fn on_postgres(body: impl AsyncFn(&Place)) {
    let Ok(server) = std::env::var(POSTGRES) else {
        let skip = std::env::var(SKIP).unwrap_or_default();
        assert!(
            skip.split(',').any(|name| name.trim() == "postgres"),
            "no PostgreSQL to test on: run regtest/test"
        );
        return;
    };
    sqlx::any::install_default_drivers();
    let name = unique_name();
    let mut url: AnyConnectOptions = server.parse().expect("a URL");
    url.database_url.set_path(&name);
    let folder = std::env::temp_dir().join(&name);
    std::fs::create_dir(&folder).expect("the folder for temporary files can be written");
    let place = Place {
        url: url.database_url.to_string(),
        backend: Backend::Postgres,
        folder: folder.clone(),
    };
    let on_server = async |statement: String| {
        let server: AnyConnectOptions = server.parse().expect("a URL");
        let mut server = server.connect().await.expect("the PostgreSQL for tests runs");
        server.execute(AssertSqlSafe(statement)).await.expect("databases can be made and dropped");
        server.close().await.expect("the connection was good");
    };
    let body = async |place: &Place| {
        on_server(format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")).await;
        body(place).await;
    };
    run(&place, body, async || {
        on_server(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    });
    std::fs::remove_dir_all(&folder).expect("the test's folder can be removed");
}

fn run(place: &Place, body: impl AsyncFn(&Place), clean: impl AsyncFn()) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(body(place))));
    if done.is_err() {
        eprintln!("the failure above is the one on {:?}", place.backend);
    }
    runtime.block_on(clean());
    runtime.shutdown_timeout(Duration::from_secs(5));
    if let Err(panic) = done {
        resume_unwind(panic);
    }
}

fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut salt = [0_u8; 4];
    getrandom::fill(&mut salt).expect("the system has random bytes");
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("leasehold_test_{}_{next}_{:08x}", std::process::id(), u32::from_ne_bytes(salt))
}

/// Where one test's database is.
#[derive(Debug)]
pub struct Place {
    url: String,
    backend: Backend,
    folder: PathBuf,
}

impl Place {
    /// For `Db::open`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// An empty folder for the test's files, removed after it. SQLite's database is in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the database and starts its writer; on PostgreSQL as often as wanted.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn open(&self) -> Node {
        self.try_open(Place::options()).await.expect("the test's database opens")
    }

    /// Opens the database as `options` say and starts its writer.
    ///
    /// # Errors
    /// Those of [`Db::open`].
    pub async fn try_open(&self, options: OpenOptions) -> Result<Node, DbError> {
        let (db, writer) = Db::open(&self.url, options).await?;
        Ok(Node::start(db, writer))
    }

    /// Small, so that many tests fit on one server; and what waits is one group, however slow
    /// the machine is.
    pub fn options() -> OpenOptions {
        let group_time = Duration::from_secs(60);
        OpenOptions { readers: 4, group_time, ..OpenOptions::default() }
    }
}

/// An open database whose writer runs.
#[derive(Debug)]
pub struct Node {
    /// The handle; `Node` dereferences to it.
    pub db: Db,
    task: JoinHandle<()>,
}

impl Node {
    /// Starts the writer.
    #[expect(clippy::disallowed_methods, reason = "a test is its own daemon")]
    pub fn start(db: Db, writer: Writer) -> Node {
        Node { db, task: tokio::spawn(writer.run()) }
    }

    /// Ends the writer after what is queued, and closes all connections.
    ///
    /// # Panics
    /// When the writer does not end, or panicked.
    pub async fn stop(self) {
        self.db.shut_down();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.task).await;
        ended.expect("the writer ends when asked").expect("the writer does not panic");
        self.db.close_readers().await;
    }
}

impl Deref for Node {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}
