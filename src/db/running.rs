//! Leases whose time runs, in short: what the gate has to know. Reads the tables of `lease`,
//! `claim` and `entry`, writes nothing.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;

use super::row::{Row, int, parts};
use super::{Conn, DbError};
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::time::Timestamp;

/// A lease that is active, in grace or suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its id.
    pub lease: String,
    /// Its resource.
    pub resource: String,
    /// Its state when it was last settled.
    pub state: LeaseState,
    /// Its generation.
    pub generation: u32,
    /// How often the token of its claim was replaced.
    pub rotations: u32,
    /// The terms that this generation keeps.
    pub terms_version: u32,
    /// Until when it is paid.
    pub paid_until: Timestamp,
}

const SELECT: &str = "SELECT lease.id, lease.resource, lease.state, lease.generation, \
     claim.rotations, started.terms_version, lease.paid_until_at \
     FROM lease JOIN claim ON claim.id = lease.claim JOIN lease_action started ON started.lease = lease.id AND started.kind = 'started' \
     AND started.generation = lease.generation \
     WHERE lease.state IN ('active', 'grace', 'suspended')";

fn read(row: &AnyRow) -> Result<Running, DbError> {
    let row = Row::new(row, "lease");
    Ok(Running {
        lease: row.text("id")?,
        resource: row.text("resource")?,
        state: row.parsed("state", LeaseState::parse)?,
        generation: row.u32("generation")?,
        rotations: row.u32("rotations")?,
        terms_version: row.u32("terms_version")?,
        paid_until: row.at("paid_until_at")?,
    })
}

/// Running leases of all resources with an id after `after`, in the order of their ids.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn list(conn: &mut Conn, after: &str, limit: u32) -> Result<Vec<Running>, DbError> {
    let text =
        sqlx::AssertSqlSafe(format!("{SELECT} AND lease.id > $1 ORDER BY lease.id LIMIT $2"));
    sqlx::query(text)
        .bind(after)
        .bind(int(limit))
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Those of `leases` that run.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn find(conn: &mut Conn, leases: &[String]) -> Result<Vec<Running>, DbError> {
    let mut found = Vec::new();
    for (part, places) in parts(leases) {
        let text = sqlx::AssertSqlSafe(format!("{SELECT} AND lease.id IN ({places})"));
        let query = part.iter().fold(sqlx::query(text), |query, id| query.bind(id.as_str()));
        for row in &query.fetch_all(&mut *conn).await? {
            found.push(read(row)?);
        }
    }
    Ok(found)
}

/// The running leases of a claim, with their resources.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn of_claim(conn: &mut Conn, claim: &str) -> Result<Vec<(String, String)>, DbError> {
    sqlx::query(
        "SELECT id, resource FROM lease WHERE claim = $1 \
         AND state IN ('active', 'grace', 'suspended') ORDER BY id",
    )
    .bind(claim)
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "lease");
        Ok((row.text("id")?, row.text("resource")?))
    })
    .collect()
}

/// Who holds a lease that is active, with what they handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The lease.
    pub lease: String,
    /// Its unit, of an exclusive resource.
    pub unit: Option<String>,
    /// What its holder handed in.
    pub params: BTreeMap<String, String>,
    /// Until when it is paid.
    pub paid_until: Timestamp,
}

/// Active leases of a resource whose time runs beyond `now`, in the order of their ids; only that
/// of `unit`, if it is given.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn active(
    conn: &mut Conn,
    resource: &str,
    unit: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Holding>, DbError> {
    sqlx::query(
        "SELECT id, unit, params, paid_until_at FROM lease WHERE resource = $1 \
         AND state = 'active' AND paid_until_at > $2 AND ($3 = '' OR unit = $3) ORDER BY id",
    )
    .bind(resource)
    .bind(now.millis())
    .bind(unit.unwrap_or_default())
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "lease");
        Ok(Holding {
            lease: row.text("id")?,
            unit: row.opt_text("unit")?,
            params: row.json("params")?,
            paid_until: row.at("paid_until_at")?,
        })
    })
    .collect()
}
