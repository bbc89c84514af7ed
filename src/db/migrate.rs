//! The schema: the migrations built into the program, run when a server opens its database.
//! Under the file lock (SQLite) or an advisory lock (PostgreSQL), so two starts cannot meet.
//! A database that is newer than the program is refused, never touched.

use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, SqlSafeStr};

use super::{Conn, DbError};

/// Number, name and text of every migration, in order. A released one is never changed.
pub(super) const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "base", include_str!("../../migrations/0001_base.sql")),
    (2, "core", include_str!("../../migrations/0002_core.sql")),
    (3, "recovery", include_str!("../../migrations/0003_recovery.sql")),
    (4, "settling", include_str!("../../migrations/0004_settling.sql")),
    (5, "payouts", include_str!("../../migrations/0005_payouts.sql")),
    (6, "fulfilment", include_str!("../../migrations/0006_fulfilment.sql")),
    (7, "webhooks", include_str!("../../migrations/0007_webhooks.sql")),
    (8, "gate", include_str!("../../migrations/0008_gate.sql")),
    (9, "actions", include_str!("../../migrations/0009_actions.sql")),
    (10, "rotations", include_str!("../../migrations/0010_rotations.sql")),
    (11, "operator", include_str!("../../migrations/0011_operator.sql")),
];

/// The newest schema version this program knows.
pub fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
}

fn migrator() -> Migrator {
    let migration = |&(version, name, text): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

/// Brings the schema up to date.
pub(super) async fn run(conn: &mut AnyConnection) -> Result<(), DbError> {
    migrator().run_direct(None, conn, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) if found > known() => {
            DbError::Newer { found, known: known() }
        }
        MigrateError::Execute(error) => error.into(),
        other => DbError::Migrate(Arc::new(other)),
    })
}

/// Refuses a database that is not exactly as new as this program; changes nothing.
pub(super) async fn check(conn: &mut Conn) -> Result<(), DbError> {
    let found: Result<Option<i64>, sqlx::Error> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(conn).await;
    let found = match found {
        Ok(found) => found.unwrap_or(0),
        Err(error) if no_such_table(&error) => 0,
        Err(error) => return Err(error.into()),
    };
    match found.cmp(&known()) {
        std::cmp::Ordering::Less => Err(DbError::Older { found, known: known() }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(DbError::Newer { found, known: known() }),
    }
}

fn no_such_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        // SQLite has no code of its own for it.
        error.code().is_some_and(|code| code == "42P01")
            || error.message().contains("no such table")
    })
}
