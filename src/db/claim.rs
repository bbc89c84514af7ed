//! Claims: whoever has the token manages what was made under it. Only its hash is stored.

use super::row::Row;
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// A claim as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its internal id.
    pub id: String,
    /// Where refunds go.
    pub refund_address: Option<String>,
    /// Where payouts go.
    pub payout_address: Option<String>,
    /// How often its token was replaced.
    pub rotations: u32,
}

const SELECT: &str = "SELECT id, refund_address, payout_address, rotations FROM claim";

fn read(row: &sqlx::any::AnyRow) -> Result<Claim, DbError> {
    let row = Row::new(row, "claim");
    Ok(Claim {
        id: row.text("id")?,
        refund_address: row.opt_text("refund_address")?,
        payout_address: row.opt_text("payout_address")?,
        rotations: row.u32("rotations")?,
    })
}

/// The claim whose token has this SHA-256, in hex.
pub async fn find_by_hash(conn: &mut Conn, token_hash: &str) -> Result<Option<Claim>, DbError> {
    sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE token_hash = $1")))
        .bind(token_hash)
        .fetch_optional(&mut *conn)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// One claim.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<Claim>, DbError> {
    sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE id = $1")))
        .bind(id)
        .fetch_optional(&mut *conn)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Adds a claim.
pub async fn insert(
    conn: &mut Conn,
    id: &str,
    token_hash: &str,
    refund_address: Option<&str>,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO claim (id, token_hash, refund_address, created_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(id)
    .bind(token_hash)
    .bind(refund_address)
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Replaces a claim's token: the old one is worth nothing from now on, nor is what was made with it
/// for the gate.
pub async fn rotate(conn: &mut Conn, id: &str, token_hash: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE claim SET token_hash = $2, rotations = rotations + 1 WHERE id = $1")
        .bind(id)
        .bind(token_hash)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Sets where money goes.
pub async fn set_addresses(
    conn: &mut Conn,
    id: &str,
    refund_address: Option<&str>,
    payout_address: Option<&str>,
) -> Result<(), DbError> {
    sqlx::query("UPDATE claim SET refund_address = $2, payout_address = $3 WHERE id = $1")
        .bind(id)
        .bind(refund_address)
        .bind(payout_address)
        .execute(&mut *conn)
        .await?;
    Ok(())
}
