//! Blocks and the tip. Every block hash since the first is kept; the tip is one row that is
//! compared and swapped, so that two nodes never apply the same block twice.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::BlockHash;

use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// A block as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Height.
    pub height: u32,
    /// Hash.
    pub hash: BlockHash,
    /// Time in its header.
    pub header_at: Timestamp,
    /// Median time past (BIP113).
    pub mtp_at: Timestamp,
    /// The moment of everything that happens by it (SPEC section 2, principle 2).
    pub moment_at: Timestamp,
}

/// The tip, and when the mempool was last looked at whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Height.
    pub height: u32,
    /// Hash.
    pub hash: BlockHash,
    /// The last complete look at the mempool.
    pub look_at: Option<Timestamp>,
}

/// The tip, if the chain was ever followed.
pub async fn tip(conn: &mut Conn) -> Result<Option<Tip>, DbError> {
    let row = sqlx::query("SELECT hash, height, look_at FROM tip WHERE id = 1")
        .fetch_optional(&mut *conn)
        .await?;
    row.map(|row| {
        let row = Row::new(&row, "tip");
        Ok(Tip {
            height: row.u32("height")?,
            hash: row.parsed("hash", |text| text.parse().ok())?,
            look_at: row.opt_at("look_at")?,
        })
    })
    .transpose()
}

/// Sets the first tip. False when there is one already.
pub async fn start(conn: &mut Conn, block: &Block) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO tip (id, height, hash) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING",
    )
    .bind(int(block.height))
    .bind(block.hash.to_string())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 1 {
        insert(conn, block).await?;
    }
    Ok(done.rows_affected() == 1)
}

/// Moves the tip from `from` to `to`. False when somebody else moved it first.
pub async fn swap_tip(
    conn: &mut Conn,
    from: BlockHash,
    height: u32,
    to: BlockHash,
) -> Result<bool, DbError> {
    let done = sqlx::query("UPDATE tip SET height = $1, hash = $2 WHERE id = 1 AND hash = $3")
        .bind(int(height))
        .bind(to.to_string())
        .bind(from.to_string())
        .execute(&mut *conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes a complete look at the mempool.
pub async fn looked(conn: &mut Conn, at: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE tip SET look_at = $1 WHERE id = 1")
        .bind(at.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Adds a block.
pub async fn insert(conn: &mut Conn, block: &Block) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO block (height, hash, header_at, mtp_at, moment_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(int(block.height))
    .bind(block.hash.to_string())
    .bind(block.header_at.millis())
    .bind(block.mtp_at.millis())
    .bind(block.moment_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Removes the block at `height` when it is rewound.
pub async fn remove(conn: &mut Conn, height: u32) -> Result<(), DbError> {
    sqlx::query("DELETE FROM block WHERE height = $1")
        .bind(int(height))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// The block at `height`, if it was applied.
pub async fn find(conn: &mut Conn, height: u32) -> Result<Option<Block>, DbError> {
    let row = sqlx::query(
        "SELECT hash, height, header_at, mtp_at, moment_at FROM block WHERE height = $1",
    )
    .bind(int(height))
    .fetch_optional(&mut *conn)
    .await?;
    row.map(|row| {
        let row = Row::new(&row, "block");
        Ok(Block {
            height: row.u32("height")?,
            hash: row.parsed("hash", |text| text.parse().ok())?,
            header_at: row.at("header_at")?,
            mtp_at: row.at("mtp_at")?,
            moment_at: row.at("moment_at")?,
        })
    })
    .transpose()
}

/// The lowest height that was applied.
pub async fn first_height(conn: &mut Conn) -> Result<Option<u32>, DbError> {
    let row = sqlx::query("SELECT height FROM block ORDER BY height LIMIT 1")
        .fetch_optional(&mut *conn)
        .await?;
    row.map(|row| Row::new(&row, "block").u32("height")).transpose()
}

/// The height of the first block that is stored.
pub async fn lowest(conn: &mut Conn) -> Result<Option<u32>, DbError> {
    let row = sqlx::query("SELECT MIN(height) AS lowest FROM block").fetch_one(&mut *conn).await?;
    Row::new(&row, "block").opt_u32("lowest")
}

/// The moments of the blocks at some heights, as far as they are stored.
pub async fn moments(
    conn: &mut Conn,
    heights: BTreeSet<u32>,
) -> Result<BTreeMap<u32, Timestamp>, DbError> {
    let mut moments = BTreeMap::new();
    for height in heights {
        if let Some(block) = find(conn, height).await? {
            moments.insert(height, block.moment_at);
        }
    }
    Ok(moments)
}
