//! Single facts about the database itself, one row each: key and text.
//! Not for anything that a table of its own would describe.

use super::{Conn, DbError, Tx};
use crate::domain::time::Timestamp;

/// Present in a file made by [`super::Db::backup`]: when the backup was made, Unix milliseconds.
/// The first start on such a file scans the chain ahead, then removes the mark.
pub const BACKUP_AT: &str = "backup_at";

/// Present after a restore until the operator has looked what left since: when it was restored in
/// Unix milliseconds, a blank, and the height that it knows the chain to.
pub const PAYOUTS_HELD: &str = "payouts_held";

/// The value under `key`.
///
/// # Errors
/// Those of the database.
pub async fn find(conn: &mut Conn, key: &str) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar("SELECT value FROM meta WHERE key = $1")
        .bind(key)
        .fetch_optional(&mut *conn)
        .await?)
}

/// When this database was copied, if it is a backup that has not been started yet.
///
/// # Errors
/// [`DbError::Corrupt`] when the mark is not a number; those of the database.
pub async fn find_backup_mark(conn: &mut Conn) -> Result<Option<i64>, DbError> {
    match find(conn, BACKUP_AT).await? {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(at) => Ok(Some(at)),
            Err(_) => Err(DbError::corrupt("meta", "value", BACKUP_AT)),
        },
    }
}

/// What [`PAYOUTS_HELD`] says.
///
/// # Errors
/// [`DbError::Corrupt`] when it cannot be read; those of the database.
pub async fn payouts_held(conn: &mut Conn) -> Result<Option<(Timestamp, u32)>, DbError> {
    let Some(text) = find(conn, PAYOUTS_HELD).await? else { return Ok(None) };
    let parts = text.split_once(' ');
    let parsed = parts.and_then(|(at, height)| Some((at.parse().ok()?, height.parse().ok()?)));
    let corrupt = || DbError::corrupt("meta", "value", PAYOUTS_HELD);
    let (millis, height) = parsed.ok_or_else(corrupt)?;
    Ok(Some((Timestamp::from_millis(millis), height)))
}

/// Writes `value` under `key`, over what was there.
///
/// # Errors
/// Those of the database.
pub async fn record(tx: &mut Tx, key: &str, value: &str) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(key)
    .bind(value)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes `key`; tells whether it was there.
///
/// # Errors
/// Those of the database.
pub async fn remove(tx: &mut Tx, key: &str) -> Result<bool, DbError> {
    let done = sqlx::query("DELETE FROM meta WHERE key = $1").bind(key).execute(tx.conn()).await?;
    Ok(done.rows_affected() == 1)
}
