//! API keys of operators: only hashes are stored.

use super::list::Newest;
use super::row::Row;
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// An API key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id, to list and revoke it by.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// What it may do, separated by spaces.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

pub(super) const SELECT: &str = "SELECT api_key.id, api_key.name, api_key.scopes, \
     api_key.created_at, api_key.used_at, api_key.revoked_at FROM api_key";

pub(super) fn read(row: &sqlx::any::AnyRow) -> Result<ApiKey, DbError> {
    let row = Row::new(row, "api_key");
    Ok(ApiKey {
        id: row.text("id")?,
        name: row.text("name")?,
        scopes: row.text("scopes")?,
        created_at: row.at("created_at")?,
        used_at: row.opt_at("used_at")?,
        revoked_at: row.opt_at("revoked_at")?,
    })
}

/// The key with this SHA-256, in hex, revoked or not.
pub async fn find_by_hash(conn: &mut Conn, token_hash: &str) -> Result<Option<ApiKey>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE token_hash = $1"));
    sqlx::query(text)
        .bind(token_hash)
        .fetch_optional(&mut *conn)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// All keys, oldest first.
pub async fn list(conn: &mut Conn) -> Result<Vec<ApiKey>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY created_at, id"));
    sqlx::query(text).fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// Keys, newest first, older than this (created, id).
pub async fn newest(
    conn: &mut Conn,
    before: Option<&(Timestamp, String)>,
    limit: u32,
) -> Result<Vec<ApiKey>, DbError> {
    let newest = Newest { select: SELECT, filter: &[], key: ("created_at", "id"), before };
    newest.list(conn, limit, read).await
}

/// Adds a key.
pub async fn insert(conn: &mut Conn, key: &ApiKey, token_hash: &str) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO api_key (id, name, token_hash, scopes, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&key.id)
    .bind(&key.name)
    .bind(token_hash)
    .bind(&key.scopes)
    .bind(key.created_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Revokes a key. False when there is none or it was revoked before.
pub async fn revoke(conn: &mut Conn, id: &str, now: Timestamp) -> Result<bool, DbError> {
    let done =
        sqlx::query("UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id)
            .bind(now.millis())
            .execute(&mut *conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a key was used.
pub async fn used(conn: &mut Conn, id: &str, now: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE api_key SET used_at = $2 WHERE id = $1")
        .bind(id)
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}
