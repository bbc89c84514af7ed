//! Sums over stretches of time, for whoever looks back: what became of money by the day, who came
//! and went by the minute. Days are those of UTC.

use super::row::Row;
use super::{Conn, DbError};
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

/// How many more leases began than ended, by the minute since the epoch. An end counts once,
/// however often it was asked for, and only of what had begun.
pub async fn begun_less_ended(
    conn: &mut Conn,
    since: Timestamp,
) -> Result<Vec<(i64, i64)>, DbError> {
    sqlx::query(
        "SELECT a.moment_at / 60000 AS place, \
         CAST(SUM(CASE WHEN a.kind = 'started' THEN 1 ELSE -1 END) AS BIGINT) AS sum \
         FROM lease_action a WHERE a.moment_at >= $1 AND (a.kind = 'started' \
         OR a.kind IN ('returned', 'revoked', 'failed', 'expired') \
         AND (SELECT b.kind FROM lease_action b WHERE b.lease = a.lease AND b.n < a.n \
         AND b.kind IN ('started', 'returned', 'revoked', 'failed', 'expired') \
         ORDER BY b.n DESC LIMIT 1) = 'started') \
         GROUP BY a.moment_at / 60000 ORDER BY place",
    )
    .bind(since.millis())
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(read)
    .collect()
}

fn read(row: &sqlx::any::AnyRow) -> Result<(i64, i64), DbError> {
    let row = Row::new(row, "ledger_entry");
    Ok((row.i64("place")?, row.i64("sum")?))
}
