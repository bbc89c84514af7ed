//! Units that are not free. A row is a unit taken; its key makes sure that nobody else has it.

use rustc_hash::FxHashSet;

use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// A unit that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its name.
    pub name: String,
    /// By which lease.
    pub lease: String,
    /// `held`, `leased` or `stuck`.
    pub state: String,
}

/// The units of a resource that are taken.
pub async fn list(conn: &mut Conn, resource: &str) -> Result<Vec<Taken>, DbError> {
    sqlx::query("SELECT name, lease, state FROM unit WHERE resource = $1 ORDER BY name")
        .bind(resource)
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| {
            let row = Row::new(row, "unit");
            Ok(Taken {
                name: row.text("name")?,
                lease: row.text("lease")?,
                state: row.text("state")?,
            })
        })
        .collect()
}

/// Those of `units` that nobody has.
pub fn free<'a>(units: &'a [String], taken: &[Taken]) -> Vec<&'a String> {
    let taken: FxHashSet<&str> = taken.iter().map(|taken| taken.name.as_str()).collect();
    units.iter().filter(|unit| !taken.contains(unit.as_str())).collect()
}

/// Takes a unit. The caller has seen that it is free, in the same transaction.
pub async fn take(
    conn: &mut Conn,
    resource: &str,
    name: &str,
    lease: &str,
    state: &str,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO unit (resource, name, lease, state) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (resource, name) DO UPDATE SET state = excluded.state \
         WHERE unit.lease = excluded.lease",
    )
    .bind(resource)
    .bind(name)
    .bind(lease)
    .bind(state)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Gives back a unit that a lease has.
pub async fn release(
    conn: &mut Conn,
    resource: &str,
    lease: &str,
    name: &str,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM unit WHERE resource = $1 AND lease = $2 AND name = $3")
        .bind(resource)
        .bind(lease)
        .bind(name)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// A unit could not be taken back: it stays out of stock.
pub async fn mark_stuck(
    conn: &mut Conn,
    resource: &str,
    lease: &str,
    name: &str,
) -> Result<(), DbError> {
    sqlx::query("UPDATE unit SET state = 'stuck' WHERE resource = $1 AND lease = $2 AND name = $3")
        .bind(resource)
        .bind(lease)
        .bind(name)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// When the first unit of a resource comes free, as things stand: an unpaid request's when its
/// quote ends, a lease's after its grace. Nobody knows when a suspended one goes on.
pub async fn first_free_at(
    conn: &mut Conn,
    resource: &str,
    grace_s: u64,
) -> Result<Option<Timestamp>, DbError> {
    let row = sqlx::query(
        "SELECT MIN(CASE WHEN unit.state = 'held' THEN invoice.expires_at \
         WHEN lease.state IN ('active', 'grace') THEN lease.paid_until_at + $2 END) AS first \
         FROM unit JOIN lease ON lease.id = unit.lease \
         JOIN invoice ON invoice.lease = lease.id AND invoice.purpose = 'lease' \
         WHERE unit.resource = $1",
    )
    .bind(resource)
    .bind(int(grace_s.saturating_mul(1000)))
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "unit").opt_at("first")
}

/// Units of `resource` that requests of `source` hold without having paid.
pub async fn holds_of_source(
    conn: &mut Conn,
    resource: &str,
    source: &str,
) -> Result<u64, DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM unit JOIN lease ON lease.id = unit.lease \
         WHERE unit.resource = $1 AND unit.state = 'held' AND lease.source = $2",
    )
    .bind(resource)
    .bind(source)
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "unit").u64("n")
}

/// Units that unpaid requests hold, of all resources.
pub async fn count_held(conn: &mut Conn) -> Result<u64, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM unit WHERE state = 'held'")
        .fetch_one(&mut *conn)
        .await?;
    Row::new(&row, "unit").u64("n")
}
