//! What operators did, for ever.

use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// One thing an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its number.
    pub id: u64,
    /// When.
    pub happened_at: Timestamp,
    /// The API key's id and name.
    pub actor: String,
    /// What, e.g. `lease.revoke`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More, as text.
    pub detail: String,
}

fn read(row: &sqlx::any::AnyRow) -> Result<Action, DbError> {
    let row = Row::new(row, "audit_log");
    Ok(Action {
        id: row.u64("id")?,
        happened_at: row.at("happened_at")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        subject: row.text("subject")?,
        detail: row.text("detail")?,
    })
}

/// Adds an action.
pub async fn insert(
    conn: &mut Conn,
    at: Timestamp,
    (actor, action, subject, detail): (&str, &str, &str, &str),
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO audit_log (id, happened_at, actor, action, subject, detail) \
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5 FROM audit_log",
    )
    .bind(at.millis())
    .bind(actor)
    .bind(action)
    .bind(subject)
    .bind(detail)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Actions before number `before`, newest first; of one thing unless `subject` is empty.
pub async fn newest(
    conn: &mut Conn,
    subject: &str,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Action>, DbError> {
    // Statements of their own: the subject has an index.
    let of_subject = if subject.is_empty() { "$1 = ''" } else { "subject = $1" };
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT id, happened_at, actor, action, subject, detail FROM audit_log \
         WHERE {of_subject} AND id < $2 ORDER BY id DESC LIMIT $3"
    )))
    .bind(subject)
    .bind(before.map_or(i64::MAX, int))
    .bind(int(limit))
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(read)
    .collect()
}
