//! What provisioners answered: access details, for the holder of a lease only.

use serde_json::Value;

use super::row::{Row, doc, int};
use super::{Conn, DbError};
use crate::domain::ids::LeaseId;
use crate::domain::time::Timestamp;

/// Keeps what a provisioner answered for the holder of a lease. False when it is known.
pub async fn set(
    conn: &mut Conn,
    lease: &LeaseId,
    generation: u32,
    access: &Value,
    now: Timestamp,
) -> Result<bool, DbError> {
    if find(conn, lease, generation).await?.as_ref() == Some(access) {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO lease_access (lease, generation, doc, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (lease) DO UPDATE SET generation = excluded.generation, doc = excluded.doc, \
         created_at = excluded.created_at",
    )
    .bind(lease.as_str())
    .bind(int(generation))
    .bind(doc(access))
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(true)
}

/// Forgets what a provisioner answered.
pub async fn remove(conn: &mut Conn, lease: &str, generation: u32) -> Result<(), DbError> {
    sqlx::query("DELETE FROM lease_access WHERE lease = $1 AND generation = $2")
        .bind(lease)
        .bind(int(generation))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// What a provisioner answered for this generation of a lease.
pub async fn find(
    conn: &mut Conn,
    lease: &LeaseId,
    generation: u32,
) -> Result<Option<Value>, DbError> {
    sqlx::query("SELECT lease, doc FROM lease_access WHERE lease = $1 AND generation = $2")
        .bind(lease.as_str())
        .bind(int(generation))
        .fetch_optional(&mut *conn)
        .await?
        .map(|row| Row::new(&row, "lease_access").json("doc"))
        .transpose()
}
