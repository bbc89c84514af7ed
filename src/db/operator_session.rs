//! Browsers in which an operator signed in, by the hash of their cookie. One that is over is gone.

use super::api_key::{self, ApiKey};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// Adds a session of a key by the SHA-256 of its token, in hex.
pub async fn insert(
    conn: &mut Conn,
    token_hash: &str,
    key: &str,
    (now, end): (Timestamp, Timestamp),
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO operator_session (token_hash, api_key, created_at, expires_at) \
         VALUES ($1, $2, $3, $4)",
    )
    .bind(token_hash)
    .bind(key)
    .bind(now.millis())
    .bind(end.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// The key of a session that is not over, unless it was revoked.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn find(
    conn: &mut Conn,
    token_hash: &str,
    now: Timestamp,
) -> Result<Option<ApiKey>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{} JOIN operator_session ON operator_session.api_key = api_key.id \
         WHERE operator_session.token_hash = $1 AND operator_session.expires_at > $2 \
         AND api_key.revoked_at IS NULL",
        api_key::SELECT
    ));
    let query = sqlx::query(text).bind(token_hash).bind(now.millis());
    query.fetch_optional(&mut *conn).await?.as_ref().map(api_key::read).transpose()
}

/// Ends one session.
pub async fn remove(conn: &mut Conn, token_hash: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM operator_session WHERE token_hash = $1")
        .bind(token_hash)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Ends all sessions of a key; how many there were.
pub async fn remove_of_key(conn: &mut Conn, key: &str) -> Result<u64, DbError> {
    let done = sqlx::query("DELETE FROM operator_session WHERE api_key = $1")
        .bind(key)
        .execute(&mut *conn)
        .await?;
    Ok(done.rows_affected())
}

/// Forgets sessions that are over.
pub async fn forget(conn: &mut Conn, now: Timestamp) -> Result<(), DbError> {
    sqlx::query("DELETE FROM operator_session WHERE expires_at <= $1")
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}
