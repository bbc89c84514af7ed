//! Answers to creating requests, by the hash of the caller's key. Kept for a day; claim tokens
//! are never in them.

use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// An answer given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// SHA-256 of endpoint and body it was given to, in hex.
    pub body_hash: String,
    /// HTTP status.
    pub status: u16,
    /// The JSON answered, without secrets.
    pub answer: String,
}

/// The answer given to a key before.
pub async fn find(conn: &mut Conn, key_hash: &str) -> Result<Option<Answer>, DbError> {
    let row = sqlx::query(
        "SELECT key_hash, body_hash, status, answer FROM idempotency WHERE key_hash = $1",
    )
    .bind(key_hash)
    .fetch_optional(&mut *conn)
    .await?;
    row.map(|row| {
        let row = Row::new(&row, "idempotency");
        Ok(Answer {
            body_hash: row.text("body_hash")?,
            status: u16::try_from(row.i64("status")?).unwrap_or(500),
            answer: row.text("answer")?,
        })
    })
    .transpose()
}

/// Keeps an answer.
pub async fn insert(
    conn: &mut Conn,
    key_hash: &str,
    answer: &Answer,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO idempotency (key_hash, body_hash, status, answer, created_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(key_hash)
    .bind(&answer.body_hash)
    .bind(int(answer.status))
    .bind(&answer.answer)
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Forgets answers given before `before`.
pub async fn forget(conn: &mut Conn, before: Timestamp) -> Result<(), DbError> {
    sqlx::query("DELETE FROM idempotency WHERE created_at < $1")
        .bind(before.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}
