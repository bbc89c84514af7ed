//! Single-use codes of the gate, by their hash. One that was used or is over is gone.

use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::ids::LeaseId;
use crate::domain::time::Timestamp;

/// What a code opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateCode {
    /// The lease.
    pub lease: LeaseId,
    /// Its generation when the code was made.
    pub generation: u32,
    /// How often the token of its claim had been replaced by then.
    pub rotations: u32,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
}

/// Adds a code by the SHA-256 of it, in hex.
pub async fn insert(conn: &mut Conn, code_hash: &str, code: &GateCode) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO gate_code (code_hash, lease, generation, rotations, expires_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(code_hash)
    .bind(code.lease.as_str())
    .bind(int(code.generation))
    .bind(int(code.rotations))
    .bind(code.expires_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

const SELECT: &str = "SELECT gate_code.lease, gate_code.generation, gate_code.rotations, \
     gate_code.expires_at FROM gate_code JOIN lease ON lease.id = gate_code.lease \
     JOIN claim ON claim.id = lease.claim AND claim.rotations = gate_code.rotations \
     WHERE gate_code.code_hash = $1 AND lease.resource = $2";

/// What a code of `resource` opens, used up or not by the next moment.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn find(
    conn: &mut Conn,
    code_hash: &str,
    resource: &str,
) -> Result<Option<GateCode>, DbError> {
    let row = sqlx::query(SELECT).bind(code_hash).bind(resource).fetch_optional(&mut *conn).await?;
    row.as_ref()
        .map(|row| {
            let row = Row::new(row, "gate_code");
            Ok(GateCode {
                lease: row.parsed("lease", LeaseId::parse)?,
                generation: row.u32("generation")?,
                rotations: row.u32("rotations")?,
                expires_at: row.at("expires_at")?,
            })
        })
        .transpose()
}

/// Uses a code up. False when it is gone already.
pub async fn remove(conn: &mut Conn, code_hash: &str) -> Result<bool, DbError> {
    let done = sqlx::query("DELETE FROM gate_code WHERE code_hash = $1")
        .bind(code_hash)
        .execute(&mut *conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets codes that are over.
pub async fn forget(conn: &mut Conn, now: Timestamp) -> Result<(), DbError> {
    sqlx::query("DELETE FROM gate_code WHERE expires_at <= $1")
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}
