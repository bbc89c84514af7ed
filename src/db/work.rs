//! The outbox: effects that have to leave. A row is written with its cause, claimed for a time,
//! and done at least once, whatever crashes in between.

use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// One piece of work, claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its id.
    pub id: String,
    /// What has to be done.
    pub kind: String,
    /// For what.
    pub subject: String,
    /// What is needed for it.
    pub payload: String,
    /// 1 for the first try.
    pub attempt: u32,
}

/// Writes work to be done, once for each kind and subject; done work is due again.
pub async fn put(
    conn: &mut Conn,
    id: &str,
    kind: &str,
    subject: &str,
    payload: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO work (id, kind, subject, payload, created_at, due_at, attempt) \
         VALUES ($1, $2, $3, $4, $5, $5, 0) ON CONFLICT (kind, subject) DO UPDATE SET \
         payload = excluded.payload, due_at = excluded.due_at, attempt = 0, done_at = NULL \
         WHERE work.done_at IS NOT NULL",
    )
    .bind(id)
    .bind(kind)
    .bind(subject)
    .bind(payload)
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Whether work of a kind is due that nobody has claimed.
pub async fn is_due(conn: &mut Conn, kind: &str, now: Timestamp) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT id FROM work WHERE kind = $1 AND done_at IS NULL AND due_at <= $2 \
         AND (claimed_until_at IS NULL OR claimed_until_at <= $2) LIMIT 1",
    )
    .bind(kind)
    .bind(now.millis())
    .fetch_optional(&mut *conn)
    .await?;
    Ok(row.is_some())
}

/// Claims one piece of due work until `until`; after that anybody may take it again.
pub async fn claim(
    conn: &mut Conn,
    kind: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Work>, DbError> {
    let row = sqlx::query(
        "UPDATE work SET claimed_until_at = $3, attempt = attempt + 1 WHERE id = \
         (SELECT id FROM work WHERE kind = $1 AND done_at IS NULL AND due_at <= $2 \
          AND (claimed_until_at IS NULL OR claimed_until_at <= $2) ORDER BY due_at, id LIMIT 1) \
         RETURNING id, kind, subject, payload, attempt",
    )
    .bind(kind)
    .bind(now.millis())
    .bind(until.millis())
    .fetch_optional(&mut *conn)
    .await?;
    row.map(|row| {
        let row = Row::new(&row, "work");
        Ok(Work {
            id: row.text("id")?,
            kind: row.text("kind")?,
            subject: row.text("subject")?,
            payload: row.text("payload")?,
            attempt: row.u32("attempt")?,
        })
    })
    .transpose()
}

/// It is done. False when somebody else claimed it meanwhile.
pub async fn done(conn: &mut Conn, work: &Work, now: Timestamp) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE work SET done_at = $3, claimed_until_at = NULL, failure = NULL \
         WHERE id = $1 AND attempt = $2",
    )
    .bind(&work.id)
    .bind(int(work.attempt))
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// It has to be tried again at `due_at`.
pub async fn again(
    conn: &mut Conn,
    work: &Work,
    due_at: Timestamp,
    failure: &str,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE work SET due_at = $3, claimed_until_at = NULL, failure = $4 \
         WHERE id = $1 AND attempt = $2",
    )
    .bind(&work.id)
    .bind(int(work.attempt))
    .bind(due_at.millis())
    .bind(failure)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// How much work waits.
pub async fn depth(conn: &mut Conn) -> Result<u64, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM work WHERE done_at IS NULL")
        .fetch_one(&mut *conn)
        .await?;
    Row::new(&row, "work").u64("n")
}
