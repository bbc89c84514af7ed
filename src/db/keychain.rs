//! Keychains and the next index of each. An index is taken in the same transaction as the row
//! that uses it, so none is ever issued twice.

use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// A keychain as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeychainRow {
    /// 1 for the first.
    pub id: u32,
    /// What its scripts are, however its descriptor is spelt.
    pub identity: String,
    /// Its descriptor.
    pub descriptor: String,
    /// The first external index never issued.
    pub next_index: u32,
}

/// All keychains, oldest first.
pub async fn list(conn: &mut Conn) -> Result<Vec<KeychainRow>, DbError> {
    sqlx::query("SELECT id, identity, descriptor, next_index FROM keychain ORDER BY id")
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| {
            let row = Row::new(row, "keychain");
            Ok(KeychainRow {
                id: row.u32("id")?,
                identity: row.text("identity")?,
                descriptor: row.text("descriptor")?,
                next_index: row.u32("next_index")?,
            })
        })
        .collect()
}

/// Adds a keychain, if its identity (its scripts, however the descriptor is spelt) is new.
pub async fn insert(
    conn: &mut Conn,
    identity: &str,
    descriptor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO keychain (id, identity, descriptor, next_index, highest_seen_index, created_at) \
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2, 0, -1, $3 FROM keychain WHERE true \
         ON CONFLICT (identity) DO NOTHING",
    )
    .bind(identity)
    .bind(descriptor)
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Takes the next external index: never one that money came to already.
pub async fn take_index(conn: &mut Conn, id: u32) -> Result<u32, DbError> {
    let row = sqlx::query(
        "UPDATE keychain SET next_index = CASE WHEN highest_seen_index >= next_index \
         THEN highest_seen_index + 2 ELSE next_index + 1 END WHERE id = $1 \
         RETURNING next_index - 1 AS taken",
    )
    .bind(int(id))
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "keychain").u32("taken")
}

/// Never issues an index below `at_least` again.
pub async fn skip_to(conn: &mut Conn, id: u32, at_least: u32) -> Result<(), DbError> {
    sqlx::query("UPDATE keychain SET next_index = $2 WHERE id = $1 AND next_index < $2")
        .bind(int(id))
        .bind(int(at_least))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Notes that money came to `index`.
pub async fn seen(conn: &mut Conn, id: u32, index: u32) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE keychain SET highest_seen_index = $2 WHERE id = $1 AND highest_seen_index < $2",
    )
    .bind(int(id))
    .bind(int(index))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// The highest external index that money came to; `None` before the first.
pub async fn highest_seen(conn: &mut Conn, id: u32) -> Result<Option<u32>, DbError> {
    let row = sqlx::query("SELECT highest_seen_index FROM keychain WHERE id = $1")
        .bind(int(id))
        .fetch_one(&mut *conn)
        .await?;
    Ok(u32::try_from(Row::new(&row, "keychain").i64("highest_seen_index")?).ok())
}

/// The gap limit that a wallet needs to see all money: one more than the longest run of unused
/// indexes below the highest one that got money.
pub async fn gap(conn: &mut Conn, id: u32) -> Result<u32, DbError> {
    let rows = sqlx::query(
        "SELECT DISTINCT derivation_index FROM payment WHERE keychain = $1 AND branch = 0 \
         ORDER BY derivation_index",
    )
    .bind(int(id))
    .fetch_all(&mut *conn)
    .await?;
    let (mut expected, mut longest) = (0, 0);
    for row in &rows {
        let index = Row::new(row, "payment").u32("derivation_index")?;
        longest = longest.max(index - expected);
        expected = index + 1;
    }
    Ok(longest + 1)
}
