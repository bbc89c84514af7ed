//! The ledger: entries are only ever added. Sums by resource are kept beside them.

use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::ledger::{Account, Line};
use crate::domain::time::Timestamp;

/// Adds a balanced entry; nothing when there are no lines.
pub async fn insert(
    conn: &mut Conn,
    at: Timestamp,
    resource: Option<&str>,
    subject: &str,
    lines: &[Line],
) -> Result<(), DbError> {
    if lines.is_empty() {
        return Ok(());
    }
    debug_assert_eq!(lines.iter().map(|line| line.amount_sat).sum::<i64>(), 0);
    let row = sqlx::query(
        "INSERT INTO ledger_entry (id, happened_at, resource, subject) \
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3 FROM ledger_entry RETURNING id",
    )
    .bind(at.millis())
    .bind(resource)
    .bind(subject)
    .fetch_one(&mut *conn)
    .await?;
    let entry = Row::new(&row, "ledger_entry").i64("id")?;
    for line in lines {
        sqlx::query("INSERT INTO ledger_line (entry, account, amount_sat) VALUES ($1, $2, $3)")
            .bind(entry)
            .bind(line.account.as_str())
            .bind(line.amount_sat)
            .execute(&mut *conn)
            .await?;
        sqlx::query(
            "INSERT INTO ledger_sum (resource, account, amount_sat) VALUES ($1, $2, $3) \
             ON CONFLICT (resource, account) \
             DO UPDATE SET amount_sat = ledger_sum.amount_sat + excluded.amount_sat",
        )
        .bind(resource.unwrap_or_default())
        .bind(line.account.as_str())
        .bind(line.amount_sat)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The sums of a resource's accounts, or of all with `None`. Debits are positive.
pub async fn sums(conn: &mut Conn, resource: Option<&str>) -> Result<Vec<(Account, i64)>, DbError> {
    sqlx::query(
        "SELECT account, CAST(SUM(amount_sat) AS BIGINT) AS sum FROM ledger_sum \
         WHERE $1 = '' OR resource = $1 GROUP BY account ORDER BY account",
    )
    .bind(resource.unwrap_or_default())
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "ledger_sum");
        Ok((row.parsed("account", Account::parse)?, row.i64("sum")?))
    })
    .collect()
}

/// The kept sums as they stand: resource (empty for money without one), account, satoshis.
pub async fn kept_sums(conn: &mut Conn) -> Result<Vec<(String, Account, i64)>, DbError> {
    sqlx::query("SELECT resource, account, amount_sat FROM ledger_sum ORDER BY resource, account")
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| {
            let row = Row::new(row, "ledger_sum");
            let account = row.parsed("account", Account::parse)?;
            Ok((row.text("resource")?, account, row.i64("amount_sat")?))
        })
        .collect()
}

/// The number of the newest entry, 0 when there is none.
pub async fn last_entry(conn: &mut Conn) -> Result<u64, DbError> {
    let row = sqlx::query("SELECT COALESCE(MAX(id), 0) AS last FROM ledger_entry")
        .fetch_one(&mut *conn)
        .await?;
    Row::new(&row, "ledger_entry").u64("last")
}

/// One line of the ledger with its entry, for export and audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// The entry's number.
    pub entry: u64,
    /// When it was booked for.
    pub happened_at: Timestamp,
    /// The resource, if it belongs to one.
    pub resource: Option<String>,
    /// The lease or payment it is about.
    pub subject: String,
    /// The account.
    pub account: Account,
    /// Signed satoshis, debits positive.
    pub amount_sat: i64,
}

const SELECT: &str = "SELECT entry, happened_at, resource, subject, account, amount_sat \
     FROM ledger_entry JOIN ledger_line ON ledger_line.entry = ledger_entry.id";

fn read(row: &sqlx::any::AnyRow) -> Result<LedgerRow, DbError> {
    let row = Row::new(row, "ledger_line");
    Ok(LedgerRow {
        entry: row.u64("entry")?,
        happened_at: row.at("happened_at")?,
        resource: row.opt_text("resource")?,
        subject: row.text("subject")?,
        account: row.parsed("account", Account::parse)?,
        amount_sat: row.i64("amount_sat")?,
    })
}

/// Lines of up to `limit` entries after entry number `after`, oldest first.
pub async fn list(conn: &mut Conn, after: u64, limit: u32) -> Result<Vec<LedgerRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE entry > $1 AND entry <= $1 + $2 ORDER BY entry, account"
    ));
    sqlx::query(text)
        .bind(int(after))
        .bind(int(limit))
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Up to `limit` lines, newest entry first, after this (entry, account).
pub async fn newest(
    conn: &mut Conn,
    before: Option<(u64, String)>,
    limit: u32,
) -> Result<Vec<LedgerRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE entry < $1 OR (entry = $1 AND account > $2) \
         ORDER BY entry DESC, account LIMIT $3"
    ));
    let (entry, account) = match before {
        Some((entry, account)) => (int(entry), account),
        None => (i64::MAX, String::new()),
    };
    let query = sqlx::query(text).bind(entry).bind(account).bind(int(limit));
    query.fetch_all(&mut *conn).await?.iter().map(read).collect()
}
