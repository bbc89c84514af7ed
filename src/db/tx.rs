//! Transactions that pay us: their bytes, their inputs, and where they are. Kept for ever.

use bitcoin::{OutPoint, Txid};

use super::row::{Row, hex, int, unhex};
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// A transaction when it is found first.
#[derive(Clone, Debug)]
pub struct NewTx {
    /// Its txid.
    pub txid: Txid,
    /// Its bytes, witness included.
    pub raw: Vec<u8>,
    /// True for a coinbase transaction.
    pub coinbase: bool,
    /// What it spends.
    pub inputs: Vec<OutPoint>,
    /// Now.
    pub first_seen_at: Timestamp,
    /// The complete look at the mempool before.
    pub prior_look_at: Option<Timestamp>,
}

/// A transaction in a block.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Block height.
    pub height: u32,
    /// Index in the block.
    pub position: u32,
    /// The block's median time past.
    pub mtp_at: Timestamp,
    /// The block's moment.
    pub moment_at: Timestamp,
}

/// Adds a transaction with its inputs, if it is new. True when it was.
pub async fn insert(conn: &mut Conn, tx: &NewTx) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO tx (txid, raw, coinbase, first_seen_at, prior_look_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (txid) DO NOTHING",
    )
    .bind(tx.txid.to_string())
    .bind(hex(&tx.raw))
    .bind(i64::from(tx.coinbase))
    .bind(tx.first_seen_at.millis())
    .bind(tx.prior_look_at.map(Timestamp::millis))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        keep_bytes(conn, &tx.txid, &tx.raw).await?;
        return Ok(false);
    }
    for input in &tx.inputs {
        sqlx::query("INSERT INTO tx_input (prev_txid, prev_vout, txid) VALUES ($1, $2, $3)")
            .bind(input.txid.to_string())
            .bind(int(input.vout))
            .bind(tx.txid.to_string())
            .execute(&mut *conn)
            .await?;
    }
    Ok(true)
}

/// Keeps the bytes of a transaction that was known before it was signed.
pub async fn keep_bytes(conn: &mut Conn, txid: &Txid, raw: &[u8]) -> Result<(), DbError> {
    sqlx::query("UPDATE tx SET raw = $2 WHERE txid = $1 AND raw = ''")
        .bind(txid.to_string())
        .bind(hex(raw))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Whether it is known.
pub async fn is_known(conn: &mut Conn, txid: &Txid) -> Result<bool, DbError> {
    let row = sqlx::query("SELECT 1 FROM tx WHERE txid = $1 LIMIT 1")
        .bind(txid.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    Ok(row.is_some())
}

/// The height at which it is mined, if it is known and is.
pub async fn mined_height(conn: &mut Conn, txid: &Txid) -> Result<Option<u32>, DbError> {
    let row = sqlx::query("SELECT height FROM tx WHERE txid = $1")
        .bind(txid.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    row.map_or(Ok(None), |row| Row::new(&row, "tx").opt_u32("height"))
}

/// What a transaction spends.
pub async fn inputs(conn: &mut Conn, txid: &Txid) -> Result<Vec<OutPoint>, DbError> {
    sqlx::query(
        "SELECT prev_txid, prev_vout FROM tx_input WHERE txid = $1 ORDER BY prev_txid, prev_vout",
    )
    .bind(txid.to_string())
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(read_outpoint)
    .collect()
}

pub(super) fn read_outpoint(row: &sqlx::any::AnyRow) -> Result<OutPoint, DbError> {
    let row = Row::new(row, "tx_input");
    Ok(OutPoint {
        txid: row.parsed("prev_txid", |text| text.parse().ok())?,
        vout: row.u32("prev_vout")?,
    })
}

/// It is in the mempool of a server's node, as seen at `at`.
pub async fn entered_mempool(
    conn: &mut Conn,
    txid: &Txid,
    at: Timestamp,
    entry: Option<(u64, bool)>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE tx SET mempool_at = $2, absent_since_height = NULL, \
         conflict_txid = CASE WHEN conflict_height IS NULL THEN NULL ELSE conflict_txid END, \
         feerate_msat = COALESCE($3, feerate_msat), \
         unconfirmed_inputs = COALESCE($4, unconfirmed_inputs) WHERE txid = $1",
    )
    .bind(txid.to_string())
    .bind(at.millis())
    .bind(entry.map(|(feerate, _)| int(feerate)))
    .bind(entry.map(|(_, confirmed)| i64::from(!confirmed)))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// It is still in the mempool of a server's node.
pub async fn still_in_mempool(conn: &mut Conn, txid: &Txid, at: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE tx SET mempool_at = $2 WHERE txid = $1 AND mempool_at IS NOT NULL")
        .bind(txid.to_string())
        .bind(at.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// It left the mempool and is in no block, as seen with the tip at `tip`.
pub async fn left_mempool(conn: &mut Conn, txid: &Txid, tip: u32) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE tx SET mempool_at = NULL, absent_since_height = \
         CASE WHEN height IS NULL THEN COALESCE(absent_since_height, $2) ELSE NULL END \
         WHERE txid = $1",
    )
    .bind(txid.to_string())
    .bind(int(tip))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// It is in a block.
pub async fn mined(conn: &mut Conn, txid: &Txid, place: &Place) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE tx SET height = $2, position = $3, mtp_at = $4, moment_at = $5, \
         mempool_at = NULL, absent_since_height = NULL, \
         conflict_txid = NULL, conflict_height = NULL WHERE txid = $1",
    )
    .bind(txid.to_string())
    .bind(int(place.height))
    .bind(int(place.position))
    .bind(place.mtp_at.millis())
    .bind(place.moment_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Whether it is known to be in the block at `height`.
pub async fn is_mined_at(conn: &mut Conn, txid: &Txid, height: u32) -> Result<bool, DbError> {
    let row = sqlx::query("SELECT 1 FROM tx WHERE txid = $1 AND height = $2 LIMIT 1")
        .bind(txid.to_string())
        .bind(int(height))
        .fetch_optional(&mut *conn)
        .await?;
    Ok(row.is_some())
}

/// Another transaction, in the block at `height` or in the mempool, spends an input of `txid`. Beside
/// one in a block it is in no mempool any more.
pub async fn conflict(
    conn: &mut Conn,
    txid: &Txid,
    by: &Txid,
    height: Option<u32>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE tx SET conflict_txid = $2, conflict_height = $3 \
         WHERE txid = $1 AND height IS NULL \
         AND (conflict_height IS NULL OR conflict_height <= COALESCE($3, -1))",
    )
    .bind(txid.to_string())
    .bind(by.to_string())
    .bind(height.map(int))
    .execute(&mut *conn)
    .await?;
    let Some(height) = height else { return Ok(()) };
    left_mempool(conn, txid, height).await
}

/// Everything that was in the block at `height` is in none, and conflicts mined there are mere
/// mempool conflicts again. `height - 1` is the new tip.
pub async fn rewind(conn: &mut Conn, height: u32) -> Result<(), DbError> {
    let tip = int(height.saturating_sub(1));
    sqlx::query(
        "UPDATE tx SET height = NULL, position = NULL, mtp_at = NULL, moment_at = NULL, \
         absent_since_height = $2, left_chain_height = $2 WHERE height = $1",
    )
    .bind(int(height))
    .bind(tip)
    .execute(&mut *conn)
    .await?;
    sqlx::query("UPDATE tx SET conflict_height = NULL WHERE conflict_height = $1")
        .bind(int(height))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Transactions of ours that spend `outpoint`.
pub async fn spenders(conn: &mut Conn, outpoint: &OutPoint) -> Result<Vec<Txid>, DbError> {
    sqlx::query("SELECT txid FROM tx_input WHERE prev_txid = $1 AND prev_vout = $2")
        .bind(outpoint.txid.to_string())
        .bind(int(outpoint.vout))
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| Row::new(row, "tx_input").parsed("txid", |text| text.parse().ok()))
        .collect()
}

/// The inputs of transactions that are not deeper than `final_height` in the chain: spending
/// one of them elsewhere is a conflict to notice.
pub async fn open_inputs(conn: &mut Conn, final_height: u32) -> Result<Vec<OutPoint>, DbError> {
    sqlx::query(
        "SELECT prev_txid, prev_vout FROM tx_input JOIN tx ON tx.txid = tx_input.txid \
         WHERE tx.height IS NULL OR tx.height > $1",
    )
    .bind(int(final_height))
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(read_outpoint)
    .collect()
}

/// A transaction that is in no block, as the mempool watcher wants to know it.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its txid.
    pub txid: Txid,
    /// When a server last said that it is in its node's mempool; `None` when it is in none.
    pub mempool_at: Option<Timestamp>,
    /// A transaction that conflicts with it.
    pub conflict: Option<Txid>,
    /// What it spends.
    pub inputs: Vec<OutPoint>,
}

/// Transactions in no block, without a conflict in the chain, and not away since height `given_up`.
pub async fn pending(conn: &mut Conn, given_up: u32) -> Result<Vec<Pending>, DbError> {
    let rows = sqlx::query(
        "SELECT tx.txid, mempool_at, conflict_txid, prev_txid, prev_vout FROM tx \
         JOIN tx_input ON tx_input.txid = tx.txid \
         WHERE tx.height IS NULL AND conflict_height IS NULL AND coinbase = 0 \
         AND (mempool_at IS NOT NULL OR absent_since_height IS NULL OR absent_since_height > $1) \
         ORDER BY tx.txid",
    )
    .bind(int(given_up))
    .fetch_all(&mut *conn)
    .await?;
    let mut list: Vec<Pending> = Vec::new();
    for row in &rows {
        let row = Row::new(row, "tx");
        let txid: Txid = row.parsed("txid", |text| text.parse().ok())?;
        let input = OutPoint {
            txid: row.parsed("prev_txid", |text| text.parse().ok())?,
            vout: row.u32("prev_vout")?,
        };
        match list.last_mut().filter(|last| last.txid == txid) {
            Some(last) => last.inputs.push(input),
            None => list.push(Pending {
                txid,
                mempool_at: row.opt_at("mempool_at")?,
                conflict: row.opt_parsed("conflict_txid", |text| text.parse().ok())?,
                inputs: vec![input],
            }),
        }
    }
    Ok(list)
}

/// A transaction's bytes, if they are known.
pub async fn raw(conn: &mut Conn, txid: &Txid) -> Result<Option<Vec<u8>>, DbError> {
    sqlx::query("SELECT txid, raw FROM tx WHERE txid = $1 AND raw <> ''")
        .bind(txid.to_string())
        .fetch_optional(&mut *conn)
        .await?
        .map(|row| Row::new(&row, "tx").parsed("raw", unhex))
        .transpose()
}
