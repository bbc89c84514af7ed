//! Opens connections: what the configured `database` means, the session settings of each kind
//! of connection, and the lock that keeps a second server off a SQLite file.
//! The only file that knows about PRAGMAs and session parameters.

use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::{Any, AnyConnectOptions};
use sqlx::pool::{Pool, PoolOptions};
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Executor, Row, SqlSafeStr, SqlStr};

use super::{Backend, Conn, DbError};

/// Sizes and time limits. `Default` is right for a server.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// A missing SQLite file is made.
    pub create: bool,
    /// Connections for reading.
    pub readers: u32,
    /// Writes that may wait; beyond that they are refused as unavailable.
    pub queue_items: usize,
    /// Writes in one transaction at most.
    pub group_items: usize,
    /// After this long a transaction takes no more writes.
    pub group_time: Duration,
    /// How long a group of writes is tried again after a deadlock or a lost connection.
    pub retry_time: Duration,
    /// How long a reader waits for a connection, and a connection for its making.
    pub connect_timeout: Duration,
    /// How long a write waits for the other nodes' (PostgreSQL) or programs' (SQLite).
    pub lock_timeout: Duration,
    /// PostgreSQL ends a session that stands still inside a transaction for this long, so that a
    /// stopped node does not stop the others. Shorter than `lock_timeout`.
    pub idle_timeout: Duration,
    /// PostgreSQL ends a statement that takes this long. Longer than `lock_timeout`.
    pub statement_timeout: Duration,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            create: true,
            readers: 8,
            queue_items: 10_000,
            group_items: 64,
            group_time: Duration::from_millis(20),
            retry_time: Duration::from_secs(6),
            connect_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// What is opened, and how.
#[derive(Debug)]
pub(super) struct Target {
    pub backend: Backend,
    pub options: OpenOptions,
    /// The SQLite file; absolute.
    pub path: Option<PathBuf>,
    url: AnyConnectOptions,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Write,
    Read,
    Migrate,
}

impl Target {
    /// Understands `sqlite:FILE` and `postgres://…`.
    pub(super) fn parse(url: &str, options: OpenOptions) -> Result<Target, DbError> {
        sqlx::any::install_default_drivers();
        if let Some(file) = url.strip_prefix("sqlite:") {
            return Target::sqlite(file, options);
        }
        let allowed = "write sqlite:FILE or postgres://USER:PASSWORD@HOST:PORT/NAME";
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            // It may hold a password in a form that is not recognised.
            let scheme = url.split_once(':').map_or("…", |(scheme, _)| scheme);
            return Err(DbError::Url { url: format!("{scheme}:…"), why: allowed.into() });
        }
        let url: AnyConnectOptions = url.parse().map_err(|error: sqlx::Error| DbError::Url {
            url: "postgres://…".into(),
            why: format!("{error}; {allowed}"),
        })?;
        Ok(Target { backend: Backend::Postgres, options, path: None, url })
    }

    fn sqlite(file: &str, options: OpenOptions) -> Result<Target, DbError> {
        let wrong = |why: &str| DbError::Url { url: format!("sqlite:{file}"), why: why.into() };
        let file_name = file.strip_prefix("//").unwrap_or(file);
        if file_name.is_empty() || file_name.ends_with('/') {
            return Err(wrong("a file name is needed after sqlite:"));
        }
        if file_name.contains(":memory:") || file_name.contains(['?', '#']) {
            return Err(wrong("it must be a plain file: not in memory, without ? or #"));
        }
        let path = absolute(Path::new(file_name))?;
        if !options.create && !path.exists() {
            return Err(DbError::Unavailable {
                why: format!("there is no database at {}", path.display()),
                hint: "check `database` in the configuration; `leasehold serve` makes it",
            });
        }
        let url = sqlite_url(&path, "rw")?;
        Ok(Target { backend: Backend::Sqlite, options, path: Some(path), url })
    }

    /// Opens the file for reading only, even at the level of the file.
    pub(super) fn read_only(mut self) -> Result<Target, DbError> {
        if let Some(path) = &self.path {
            self.url = sqlite_url(path, "ro")?;
        }
        Ok(self)
    }

    /// The client gives up some time after the server would have.
    pub(super) fn client_limit(&self) -> Option<Duration> {
        match self.backend {
            // A file does not vanish without a word.
            Backend::Sqlite => None,
            Backend::Postgres => Some(self.options.statement_timeout + Duration::from_secs(5)),
        }
    }

    /// The URL without its password.
    pub(super) fn shown(&self) -> String {
        let mut url = self.url.database_url.clone();
        if url.password().is_some() {
            // Fails only for URLs without a host.
            let _ = url.set_password(None);
        }
        let secret = |key: &str| key == "password" || key == "sslkey";
        let rest: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| !secret(key))
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if !rest.is_empty() {
            url.query_pairs_mut().extend_pairs(rest);
        }
        url.to_string()
    }

    pub(super) fn url(&self) -> &str {
        self.url.database_url.as_str()
    }

    fn settings(&self, role: Role) -> SqlStr {
        let text = match self.backend {
            Backend::Sqlite => self.pragmas(role),
            Backend::Postgres => self.parameters(role),
        };
        // Only constants and numbers are in it.
        AssertSqlSafe(text).into_sql_str()
    }

    fn pragmas(&self, role: Role) -> String {
        let busy = self.options.lock_timeout.as_millis();
        let mut text = format!("PRAGMA busy_timeout = {busy}; PRAGMA foreign_keys = ON;");
        text.push_str(match role {
            Role::Read => "PRAGMA query_only = ON;",
            Role::Write | Role::Migrate => {
                "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;"
            }
        });
        text
    }

    fn parameters(&self, role: Role) -> String {
        let OpenOptions { lock_timeout, idle_timeout, statement_timeout, .. } = &self.options;
        let mut text = String::new();
        let mut set = |name: &str, limit: Duration| {
            write!(text, "SET {name} = {};", limit.as_millis()).expect("a String takes all");
        };
        set("idle_in_transaction_session_timeout", *idle_timeout);
        // Another node's migration may take as long as it takes.
        let waits = role != Role::Migrate;
        set("lock_timeout", if waits { *lock_timeout } else { Duration::ZERO });
        set("statement_timeout", if waits { *statement_timeout } else { Duration::ZERO });
        text.push_str(match role {
            Role::Read => "SET default_transaction_read_only = on;",
            // A server may be set to report commits that are not on disk.
            Role::Write | Role::Migrate => {
                "SELECT set_config('synchronous_commit', 'on', false)
                 WHERE current_setting('synchronous_commit') = 'off';"
            }
        });
        if !self.url().contains("application_name=") {
            text.push_str("SET application_name = 'leasehold';");
        }
        text
    }
}

/// The connection of the writer.
pub(super) async fn writer(target: &Target) -> Result<Conn, DbError> {
    Ok(Conn::own(connect(target, Role::Write).await?, target.client_limit()))
}

/// A connection for the schema, waiting as long as it takes for other nodes' migrations.
pub(super) async fn migrating(target: &Target) -> Result<AnyConnection, DbError> {
    connect(target, Role::Migrate).await
}

/// One connection for reading, outside the pool, which would try for long before it says why not.
pub(super) async fn reader(target: &Target) -> Result<Conn, DbError> {
    Ok(Conn::own(connect(target, Role::Read).await?, target.client_limit()))
}

async fn connect(target: &Target, role: Role) -> Result<AnyConnection, DbError> {
    let ready = async {
        let mut conn = target.url.connect().await?;
        conn.execute(sqlx::raw_sql(target.settings(role))).await?;
        Ok::<_, sqlx::Error>(conn)
    };
    match tokio::time::timeout(target.options.connect_timeout, ready).await {
        Ok(conn) => Ok(conn?),
        Err(_) => Err(DbError::unreachable("no answer to a new connection")),
    }
}

/// Makes a SQLite file when it is missing and puts it into WAL mode.
pub(super) async fn prepare_file(target: &Target) -> Result<(), DbError> {
    let Some(path) = &target.path else { return Ok(()) };
    if target.options.create && !path.exists() {
        create_private(path)?;
    }
    let mut conn = connect(target, Role::Write).await?;
    let mode: String =
        conn.fetch_one(sqlx::raw_sql("PRAGMA journal_mode = WAL")).await?.try_get(0)?;
    if mode != "wal" {
        return Err(DbError::Unavailable {
            why: format!("the file system of {} does not do what WAL needs", path.display()),
            hint: "put the database on a local disk",
        });
    }
    sqlx::Connection::close(conn).await?;
    Ok(())
}

/// The pool of readers. Connections are made when they are first needed.
pub(super) fn readers(target: &Target) -> Pool<Any> {
    let settings = target.settings(Role::Read);
    let remote = target.backend == Backend::Postgres;
    PoolOptions::<Any>::new()
        .max_connections(target.options.readers.max(1))
        .acquire_timeout(target.options.connect_timeout)
        // A test for every read would cost as much as the read.
        .test_before_acquire(false)
        .before_acquire(move |conn, about| {
            Box::pin(async move {
                let rested = remote && about.idle_for > Duration::from_secs(1);
                Ok(!rested || sqlx::Connection::ping(conn).await.is_ok())
            })
        })
        .after_connect(move |conn, _| {
            let settings = settings.clone();
            Box::pin(async move { conn.execute(sqlx::raw_sql(settings)).await.map(|_| ()) })
        })
        .connect_lazy_with(target.url.clone())
}

/// Why no reader came: the pool's own error does not say.
pub(super) async fn explain(target: &Target, pool: &Pool<Any>, error: sqlx::Error) -> DbError {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error.into();
    }
    if pool.size() >= target.options.readers {
        return DbError::Unavailable {
            why: format!("all {} connections for reading are in use", pool.size()),
            hint: "try again",
        };
    }
    match connect(target, Role::Read).await {
        Err(error) => error,
        Ok(_) => DbError::unreachable("no connection came in time"),
    }
}

/// Takes the lock beside a SQLite file, for as long as the `File` lives.
pub(super) fn lock(target: &Target) -> Result<Option<File>, DbError> {
    let Some(path) = &target.path else { return Ok(None) };
    let mut lock = path.clone().into_os_string();
    lock.push("-lock");
    let lock = PathBuf::from(lock);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(|error| DbError::file("open the lock file", &lock, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(DbError::Locked { path: lock }),
        Err(TryLockError::Error(error)) => Err(DbError::file("lock", &lock, error)),
    }
}

/// Makes an empty file that only its owner can read: a database holds access details.
pub(super) fn create_private(path: &Path) -> Result<(), DbError> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ()).map_err(|error| DbError::file("create", path, error))
}

/// Absolute and without symbolic links, so that one file has one lock.
fn absolute(path: &Path) -> Result<PathBuf, DbError> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or(path.as_os_str());
    match folder.canonicalize() {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) => Err(DbError::file("find the folder of the database,", folder, error)),
    }
}

pub(super) fn sqlite_url(path: &Path, mode: &str) -> Result<AnyConnectOptions, DbError> {
    let wrong = |why: String| DbError::Url { url: format!("sqlite:{}", path.display()), why };
    let text = path.to_str().ok_or_else(|| wrong("the path must be UTF-8".into()))?;
    let mut url = "sqlite:".to_owned();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            url.push(char::from(byte));
        } else {
            write!(url, "%{byte:02X}").expect("a String takes all");
        }
    }
    write!(url, "?mode={mode}").expect("a String takes all");
    url.parse().map_err(|error: sqlx::Error| wrong(error.to_string()))
}
