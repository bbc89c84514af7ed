//! Keychains and the next index of each. An index is taken in the same transaction as the row
//! that uses it, so none is ever issued twice.

use bitcoin::ScriptBuf;

use super::insert::Insert;
use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// Why the chain is searched for what a keychain issued that this database does not know of.
/// Nothing is issued meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It is new here: another program may have issued from it.
    New,
    /// The database was restored: it may have issued more before.
    Restored,
}

impl Recovery {
    fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Restored => "restored",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::New, Self::Restored].into_iter().find(|recovery| recovery.as_str() == text)
    }
}

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
    /// The highest external index that money came to; `None` before the first.
    pub highest_seen: Option<u32>,
    /// Set while the chain is searched for what it issued before.
    pub recovery: Option<Recovery>,
    /// The first internal index that no batch took for its change.
    pub next_internal: u32,
}

impl KeychainRow {
    /// The first external index that nothing is known of: neither issued nor paid.
    pub fn first_unused(&self) -> u32 {
        self.next_index.max(self.highest_seen.map_or(0, |seen| seen + 1))
    }
}

/// All keychains, oldest first.
pub async fn list(conn: &mut Conn) -> Result<Vec<KeychainRow>, DbError> {
    sqlx::query(
        "SELECT id, identity, descriptor, next_index, highest_seen_index, recovery, \
         next_internal FROM keychain ORDER BY id",
    )
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
            highest_seen: u32::try_from(row.i64("highest_seen_index")?).ok(),
            recovery: row.opt_parsed("recovery", Recovery::parse)?,
            next_internal: row.u32("next_internal")?,
        })
    })
    .collect()
}

/// Adds a keychain, if its identity (its scripts, however the descriptor is spelt) is new. It
/// issues nothing before [`end_recovery`].
pub async fn insert(
    conn: &mut Conn,
    identity: &str,
    descriptor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO keychain \
         (id, identity, descriptor, next_index, highest_seen_index, created_at, recovery) \
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2, 0, -1, $3, $4 FROM keychain WHERE true \
         ON CONFLICT (identity) DO NOTHING",
    )
    .bind(identity)
    .bind(descriptor)
    .bind(now.millis())
    .bind(Recovery::New.as_str())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// When the newest keychain was added. What was paid before a first start is in no book.
pub async fn newest_at(conn: &mut Conn) -> Result<Option<Timestamp>, DbError> {
    let row =
        sqlx::query("SELECT MAX(created_at) AS newest FROM keychain").fetch_one(&mut *conn).await?;
    Row::new(&row, "keychain").opt_at("newest")
}

/// Has all keychains issue nothing before [`end_recovery`]: this database was restored.
pub async fn begin_recovery(conn: &mut Conn) -> Result<(), DbError> {
    sqlx::query("UPDATE keychain SET recovery = $1")
        .bind(Recovery::Restored.as_str())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Goes on issuing at `next_index`, if nothing has changed since `row` was read. False if it has.
pub async fn end_recovery(
    conn: &mut Conn,
    row: &KeychainRow,
    next_index: u32,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE keychain SET next_index = $2, recovery = NULL WHERE id = $1 \
         AND recovery IS NOT NULL AND next_index = $3 AND highest_seen_index = $4",
    )
    .bind(int(row.id))
    .bind(int(next_index))
    .bind(int(row.next_index))
    .bind(row.highest_seen.map_or(-1, i64::from))
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
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

/// The first internal index for the change of a batch: no batch took it, and nothing came to it.
pub async fn next_internal(conn: &mut Conn, id: u32) -> Result<u32, DbError> {
    let row = sqlx::query(
        "SELECT next_internal, (SELECT COALESCE(MAX(derivation_index) + 1, 0) FROM payment \
         WHERE keychain = $1 AND branch = 1) AS paid FROM keychain WHERE id = $1",
    )
    .bind(int(id))
    .fetch_one(&mut *conn)
    .await?;
    let row = Row::new(&row, "keychain");
    Ok(row.u32("next_internal")?.max(row.u32("paid")?))
}

/// Takes an internal index for change. False when another batch has taken it.
pub async fn take_internal(conn: &mut Conn, id: u32, index: u32) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE keychain SET next_internal = $2 + 1 WHERE id = $1 AND next_internal <= $2",
    )
    .bind(int(id))
    .bind(int(index))
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether nothing may be issued yet, since the chain is searched first.
pub async fn recovers(conn: &mut Conn, id: u32) -> Result<bool, DbError> {
    let found = sqlx::query("SELECT 1 FROM keychain WHERE id = $1 AND recovery IS NOT NULL")
        .bind(int(id))
        .fetch_optional(&mut *conn)
        .await?;
    Ok(found.is_some())
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

/// A script of the external branch, for the watch set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownScript {
    /// Derivation index.
    pub index: u32,
    /// The script.
    pub script_pubkey: ScriptBuf,
}

/// Scripts at `from` or later that were issued or left out, in order, at most `limit`.
pub async fn scripts(
    conn: &mut Conn,
    keychain: u32,
    from: u32,
    limit: u32,
) -> Result<Vec<KnownScript>, DbError> {
    sqlx::query(
        "SELECT derivation_index, script_pubkey FROM invoice \
         WHERE keychain = $1 AND derivation_index >= $2 \
         UNION ALL SELECT derivation_index, script_pubkey FROM left_out \
         WHERE keychain = $1 AND derivation_index >= $2 ORDER BY derivation_index LIMIT $3",
    )
    .bind(int(keychain))
    .bind(int(from))
    .bind(int(limit))
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "invoice");
        Ok(KnownScript {
            index: row.u32("derivation_index")?,
            script_pubkey: row.parsed("script_pubkey", |text| ScriptBuf::from_hex(text).ok())?,
        })
    })
    .collect()
}

static LEFT_OUT: Insert = Insert::new(
    "INSERT INTO left_out (keychain, derivation_index, script_pubkey) VALUES",
    3,
    "ON CONFLICT (keychain, derivation_index) DO NOTHING",
);

/// Keeps scripts that will never be issued.
pub async fn leave_out(
    conn: &mut Conn,
    keychain: u32,
    scripts: &[KnownScript],
) -> Result<(), DbError> {
    LEFT_OUT
        .run(conn, scripts, |query, script| {
            let hex = script.script_pubkey.to_hex_string();
            query.bind(int(keychain)).bind(int(script.index)).bind(hex)
        })
        .await
        .map(drop)
}

/// The gap limit that a wallet needs to see all money: one more than the longest run of unused
/// indexes below the highest one that got money.
pub async fn gap(conn: &mut Conn, id: u32) -> Result<u32, DbError> {
    let row = sqlx::query(
        "SELECT COALESCE(MAX(derivation_index - paid_before), 1) AS gap FROM (\
         SELECT derivation_index, LAG(derivation_index, 1, CAST(-1 AS BIGINT)) \
         OVER (ORDER BY derivation_index) AS paid_before \
         FROM payment WHERE keychain = $1 AND branch = 0) AS paid",
    )
    .bind(int(id))
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "payment").u32("gap")
}
