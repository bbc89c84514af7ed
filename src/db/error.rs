//! What can go wrong between this program and its database, and how each failure is classed.
//! Every `sqlx::Error` becomes a [`DbError`] here and nowhere else.
//! A message says what to do when somebody can do something; it never holds a URL or a password.

use std::path::PathBuf;
use std::sync::Arc;

/// A failure of the database or of what is stored in it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// A stored value that this program could not have written.
    #[error("table {table}, row {id}: column {column} holds a value that cannot be read")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key as text.
        id: String,
    },

    /// A statement failed: a constraint, a full disk, a mistake in the statement.
    #[error("a database statement failed")]
    Sql(#[source] Arc<sqlx::Error>),

    /// A statement failed earlier in the same transaction and its error was not passed on.
    #[error("a statement failed and the transaction went on regardless: {0}")]
    Swallowed(String),

    /// Nothing was done; the same call may work later.
    #[error("the database is not available: {why}; {hint}")]
    Unavailable {
        /// What was found.
        why: String,
        /// What to do about it.
        hint: &'static str,
    },

    /// The connection broke during COMMIT: what was to be written is there whole or not at all.
    #[error("the connection to the database broke during a commit, its outcome is unknown ({why})")]
    OutcomeUnknown {
        /// What was found.
        why: String,
    },

    /// Another process holds the lock beside the SQLite file.
    #[error(
        "{} is locked by another process; only one may serve it: stop the other `leasehold serve` \
         or `leasehold dev`, or configure another database",
        .path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },

    /// The database was written by a newer program.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: \
         start the newer program, or restore the backup made before the upgrade"
    )]
    Newer {
        /// The newest migration found.
        found: i64,
        /// The newest migration this program has.
        known: i64,
    },

    /// The database was written by an older program and is opened read-only.
    #[error(
        "the database has schema version {found}, this program needs {known}: \
         start `leasehold serve` once, it upgrades the database"
    )]
    Older {
        /// The newest migration found; 0 when there is none.
        found: i64,
        /// The newest migration this program has.
        known: i64,
    },

    /// The schema could not be brought up to date.
    #[error("the database schema could not be brought up to date")]
    Migrate(#[source] Arc<sqlx::migrate::MigrateError>),

    /// The configured `database` cannot be used as written.
    #[error("database = \"{url}\": {why}")]
    Url {
        /// The value without its password.
        url: String,
        /// What is wrong with it and what is allowed.
        why: String,
    },

    /// This kind of database cannot do that.
    #[error("{what} is not possible here; {instead}")]
    Unsupported {
        /// What was asked.
        what: &'static str,
        /// What to do instead.
        instead: String,
    },

    /// A file beside the database could not be used.
    #[error("cannot {what} {}", .path.display())]
    File {
        /// What was tried, an infinitive.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Arc<std::io::Error>,
    },

    /// The write panicked; it was rolled back.
    #[error("{item} panicked: {message}")]
    Panicked {
        /// The type of the write item.
        item: &'static str,
        /// The panic's message.
        message: String,
    },

    /// The writer has been shut down; nothing was done.
    #[error("the database writer has been shut down")]
    Stopped,
}

impl DbError {
    /// A stored value that does not parse.
    pub fn corrupt(table: &'static str, column: &'static str, id: impl ToString) -> DbError {
        DbError::Corrupt { table, column, id: id.to_string() }
    }

    /// True when a unique or primary key was violated, on either database.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, DbError::Sql(error)
            if error.as_database_error().is_some_and(|e| e.is_unique_violation()))
    }

    /// True when the same call may work later: answer 503, exit 75.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            DbError::Unavailable { .. } | DbError::OutcomeUnknown { .. } | DbError::Stopped
        )
    }

    pub(super) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
        source: std::io::Error,
    ) -> DbError {
        DbError::File { what, path: path.into(), source: Arc::new(source) }
    }

    pub(super) fn unreachable(why: impl ToString) -> DbError {
        DbError::Unavailable {
            why: why.to_string(),
            hint: "check that the database server runs and accepts connections",
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> DbError {
        match (Fault::of(&error), code(&error).as_deref()) {
            (Fault::Busy, Some(LOCK_NOT_AVAILABLE)) => DbError::Unavailable {
                why: "another node holds the write lock for too long".into(),
                hint: "the server ends its connection; try again",
            },
            (Fault::Busy, Some(code)) if code.len() < 5 => DbError::Unavailable {
                why: "another program is writing to the database file".into(),
                hint: "close it; only `leasehold serve` may write there",
            },
            (Fault::Dead | Fault::Busy, _) => DbError::unreachable(plain(&error)),
            (Fault::Deadlock | Fault::Statement, _) => DbError::Sql(Arc::new(error)),
        }
    }
}

const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What a failed statement means for the transaction it was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is gone; so is an open transaction.
    Dead,
    /// PostgreSQL chose this transaction to end a deadlock (40P01) or a conflict (40001).
    Deadlock,
    /// Somebody else holds what is needed.
    Busy,
    /// The statement itself.
    Statement,
}

impl Fault {
    pub(super) fn of(error: &sqlx::Error) -> Fault {
        use sqlx::Error as E;
        match error {
            E::Io(_)
            | E::Tls(_)
            | E::Protocol(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed => Fault::Dead,
            E::Database(_) => Fault::of_code(code(error).as_deref().unwrap_or_default()),
            _ => Fault::Statement,
        }
    }

    fn of_code(code: &str) -> Fault {
        match code {
            "40P01" | "40001" => Fault::Deadlock,
            // SQLITE_BUSY and its extended codes, after busy_timeout.
            "5" | "261" | "517" | "773" | LOCK_NOT_AVAILABLE | "53300" => Fault::Busy,
            // The database takes no connections for now (ALLOW_CONNECTIONS false).
            "55000" => Fault::Dead,
            // The server ends the session with these: shutdown, crash, start, idle time-out.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" => Fault::Dead,
            _ if code.len() == 5 && code.starts_with("08") => Fault::Dead,
            _ => Fault::Statement,
        }
    }

    /// True when a failed COMMIT with this error surely did not commit.
    pub(super) fn commit_is_refused(error: &sqlx::Error) -> bool {
        let Some(code) = code(error) else { return false };
        match code.parse::<i64>() {
            // SQLite reports its numbers. After an I/O error the frames may be on disk or not.
            Ok(number) if code.len() < 5 => matches!(number & 0xff, 5 | 13 | 19),
            _ => Fault::of_code(&code) != Fault::Dead,
        }
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// The innermost reason, without sqlx's own preface.
pub(super) fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
