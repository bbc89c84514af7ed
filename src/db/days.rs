//! Stretches of time, for whoever looks back: what was booked by the day, and which leases there is
//! something to say of. Days are those of UTC.

use super::row::Row;
use super::{Conn, DbError};
use crate::domain::ids::LeaseId;
use crate::domain::lease::Lease;
use crate::domain::ledger::Account;
use crate::domain::time::Timestamp;

/// What was booked on an account, by the day since the epoch; debits are positive.
pub async fn booked(
    conn: &mut Conn,
    account: Account,
    since: Timestamp,
) -> Result<Vec<(i64, i64)>, DbError> {
    sqlx::query(
        "SELECT happened_at / 86400000 AS place, CAST(SUM(amount_sat) AS BIGINT) AS sum \
         FROM ledger_entry JOIN ledger_line ON ledger_line.entry = ledger_entry.id \
         WHERE happened_at >= $1 AND account = $2 \
         GROUP BY happened_at / 86400000 ORDER BY place",
    )
    .bind(since.millis())
    .bind(account.as_str())
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Leases that something may have happened to since then: they run, or something was done or
/// booked. In the order of their ids.
pub async fn moved(conn: &mut Conn, since: Timestamp) -> Result<Vec<Lease>, DbError> {
    sqlx::query(
        "SELECT id, resource, terms_version, created_at FROM lease WHERE id IN (\
         SELECT id FROM lease WHERE state IN ('provisioning', 'active', 'grace', 'suspended') \
         UNION SELECT lease FROM lease_action WHERE moment_at >= $1 \
         UNION SELECT subject FROM ledger_entry WHERE happened_at >= $1) ORDER BY id",
    )
    .bind(since.millis())
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "lease");
        Ok(Lease {
            id: row.parsed("id", LeaseId::parse)?,
            resource: row.text("resource")?,
            terms_version: row.u32("terms_version")?,
            created_at: row.at("created_at")?,
        })
    })
    .collect()
}

fn read(row: &sqlx::any::AnyRow) -> Result<(i64, i64), DbError> {
    let row = Row::new(row, "ledger_entry");
    Ok((row.i64("place")?, row.i64("sum")?))
}
