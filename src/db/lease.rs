//! Leases: the request, and a projection of where it stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use super::list::Filter;
use super::list::Newest;
use super::row::{Row, doc, int};
use super::{Conn, DbError};
use crate::domain::fulfil::Told;
use crate::domain::ids::LeaseId;
use crate::domain::lease::Lease;
use crate::domain::lease::books::Books;
use crate::domain::lease::fold::Standing;
use crate::domain::lease::snapshot::{LeaseState, Snapshot};
use crate::domain::payment::PaymentState;
use crate::domain::payout::Account;
use crate::domain::time::Timestamp;

/// The projection of a lease: its standing, and what was last told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseDoc {
    /// The fold over its entries.
    pub standing: Standing,
    /// The state of the payment behind each credit, in the order of `standing.credits`.
    pub credit_states: Vec<PaymentState>,
    /// True when a credit has no block at the moment.
    pub at_risk: bool,
    /// True when no unit is held for it and it has not started.
    pub no_hold: bool,
    /// What was last announced.
    pub announced: Snapshot,
    /// What was last booked.
    pub booked: Books,
    /// What is owed of it to whom, and what was paid.
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// What its provisioner knows once it has done all that it was told.
    #[serde(default)]
    pub told: Told,
    /// True while its provisioner fails.
    #[serde(default)]
    pub provisioner_error: bool,
}

impl LeaseDoc {
    /// Where its money is at `at`.
    pub fn books(&self, at: Timestamp) -> Books {
        self.standing.books(at).with_accounts(&self.accounts)
    }
}

/// A lease as stored.
#[derive(Clone, Debug)]
pub struct LeaseRow {
    /// The facts.
    pub facts: Lease,
    /// The claim it is managed by.
    pub claim: String,
    /// What its holder handed in.
    pub params: BTreeMap<String, String>,
    /// The unit held for it or leased.
    pub unit: Option<String>,
    /// Counts its changes.
    pub seq: u64,
    /// The projection.
    pub doc: LeaseDoc,
}

const SELECT: &str = "SELECT id, resource, terms_version, claim, params, created_at, unit, seq, \
     doc FROM lease";

fn read(row: &sqlx::any::AnyRow) -> Result<LeaseRow, DbError> {
    let row = Row::new(row, "lease");
    Ok(LeaseRow {
        facts: Lease {
            id: row.parsed("id", LeaseId::parse)?,
            resource: row.text("resource")?,
            terms_version: row.u32("terms_version")?,
            created_at: row.at("created_at")?,
        },
        claim: row.text("claim")?,
        params: row.json("params")?,
        unit: row.opt_text("unit")?,
        seq: row.u64("seq")?,
        doc: row.json("doc")?,
    })
}

/// When a lease has to be looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// By the clock.
    pub change_at: Option<Timestamp>,
    /// By the chain.
    pub height: Option<u32>,
    /// Since when it has had enough money and no unit.
    pub waits_since: Option<Timestamp>,
}

/// Adds a lease. `source` is who asked, for the limits on holds.
pub async fn insert(
    conn: &mut Conn,
    row: &LeaseRow,
    source: Option<&str>,
    next: Next,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO lease (id, resource, terms_version, claim, params, source, created_at, \
         state, generation, unit, next_change_at, next_height, seq, doc) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'unfunded', 0, $8, $9, $10, $11, $12)",
    )
    .bind(row.facts.id.as_str())
    .bind(&row.facts.resource)
    .bind(int(row.facts.terms_version))
    .bind(&row.claim)
    .bind(doc(&row.params))
    .bind(source)
    .bind(row.facts.created_at.millis())
    .bind(row.unit.as_deref())
    .bind(next.change_at.map(Timestamp::millis))
    .bind(next.height.map(int))
    .bind(int(row.seq))
    .bind(doc(&row.doc))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// One lease.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<LeaseRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE id = $1"));
    sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?.as_ref().map(read).transpose()
}

/// Marks the leases of a claim as changed that owe something back.
pub async fn mark_owing(conn: &mut Conn, claim: &str) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE lease SET next_height = 0 WHERE id IN \
         (SELECT subject FROM payout WHERE claim = $1)",
    )
    .bind(claim)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Leases of a claim, newest first, only those older than this (created, id).
pub async fn list_of_claim(
    conn: &mut Conn,
    claim: &str,
    before: Option<(Timestamp, String)>,
    limit: u32,
) -> Result<Vec<LeaseRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE claim = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) \
         ORDER BY created_at DESC, id DESC LIMIT $4"
    ));
    let (at, id) = before.unwrap_or((Timestamp::from_millis(i64::MAX), String::new()));
    sqlx::query(text)
        .bind(claim)
        .bind(at.millis())
        .bind(id)
        .bind(int(limit))
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Leases of a claim that money ever came for, by id, only those after `after`: the others add
/// nothing to its sums, and asking for them costs nothing.
pub async fn list_paid_of_claim(
    conn: &mut Conn,
    claim: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<LeaseRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE claim = $1 AND id > $2 \
         AND id IN (SELECT payment.lease FROM payment WHERE payment.lease = lease.id) \
         ORDER BY id LIMIT $3"
    ));
    sqlx::query(text)
        .bind(claim)
        .bind(after)
        .bind(int(limit))
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Leases, newest first.
pub async fn list(conn: &mut Conn, filter: &Filter, limit: u32) -> Result<Vec<LeaseRow>, DbError> {
    // Most leases were never paid, or are over.
    let (of_state, of_resource) = match filter.state.as_deref() {
        Some("unfunded" | "ended") | None => ("state || '' = ?", "resource || '' = ?"),
        Some(_) => ("state = ?", "resource = ?"),
    };
    let newest = Newest {
        select: SELECT,
        filter: &[(of_state, filter.state.as_deref()), (of_resource, filter.resource.as_deref())],
        key: ("created_at", "id"),
        before: filter.before.as_ref(),
    };
    newest.list(conn, limit, read).await
}

/// Leases whose time is running: for the gate's map and the accounts.
pub async fn list_running(
    conn: &mut Conn,
    resource: Option<&str>,
    after: &str,
    limit: u32,
) -> Result<Vec<LeaseRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE state IN ('active', 'grace', 'suspended') \
         AND ($1 = '' OR resource = $1) AND id > $2 ORDER BY id LIMIT $3"
    ));
    sqlx::query(text)
        .bind(resource.unwrap_or_default())
        .bind(after)
        .bind(int(limit))
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Leases whose time runs and ends first, by what is paid for now.
pub async fn list_ending(
    conn: &mut Conn,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<LeaseRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE state = 'active' AND paid_until_at <= $1 ORDER BY paid_until_at, id LIMIT $2"
    ));
    let query = sqlx::query(text).bind(until.millis()).bind(int(limit));
    query.fetch_all(&mut *conn).await?.iter().map(read).collect()
}

fn ids(rows: &[sqlx::any::AnyRow]) -> Result<Vec<LeaseId>, DbError> {
    rows.iter().map(|row| Row::new(row, "lease").parsed("id", LeaseId::parse)).collect()
}

/// Leases that a changed fact or the height of the tip concerns.
pub async fn due_by_height(conn: &mut Conn, tip: u32, limit: u32) -> Result<Vec<LeaseId>, DbError> {
    let rows = sqlx::query(
        "SELECT id FROM lease WHERE next_height <= $1 ORDER BY next_height, id LIMIT $2",
    )
    .bind(int(tip))
    .bind(int(limit))
    .fetch_all(&mut *conn)
    .await?;
    ids(&rows)
}

/// Leases that the clock concerns.
pub async fn due_by_clock(
    conn: &mut Conn,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<LeaseId>, DbError> {
    let rows = sqlx::query(
        "SELECT id FROM lease WHERE next_change_at <= $1 ORDER BY next_change_at, id LIMIT $2",
    )
    .bind(now.millis())
    .bind(int(limit))
    .fetch_all(&mut *conn)
    .await?;
    ids(&rows)
}

/// How many leases wait for a unit of a resource; with `before`, those that wait longer than it.
pub async fn count_waiting(
    conn: &mut Conn,
    resource: &str,
    before: Option<(Timestamp, &LeaseId)>,
) -> Result<u64, DbError> {
    let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at.millis(), id.as_str()));
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM lease WHERE resource = $1 AND id <> $3 \
         AND waits_since_at <= $2 AND (waits_since_at < $2 OR id < $3)",
    )
    .bind(resource)
    .bind(at)
    .bind(id)
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "lease").u64("n")
}

/// Marks the leases that have waited longest for a unit, to be settled at the next step.
pub async fn call_waiting(conn: &mut Conn, resource: &str, most: usize) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE lease SET next_height = 0 WHERE id IN (SELECT id FROM lease \
         WHERE resource = $1 AND waits_since_at IS NOT NULL \
         ORDER BY waits_since_at, id LIMIT $2)",
    )
    .bind(resource)
    .bind(int(most))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Marks leases to be settled at the next step.
pub async fn mark_changed(conn: &mut Conn, id: &LeaseId) -> Result<(), DbError> {
    sqlx::query("UPDATE lease SET next_height = 0 WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Writes where a lease stands.
pub async fn record(
    conn: &mut Conn,
    id: &LeaseId,
    unit: Option<&str>,
    seq: u64,
    projection: &LeaseDoc,
    next: Next,
) -> Result<(), DbError> {
    let standing = &projection.standing;
    sqlx::query(
        "UPDATE lease SET state = $2, generation = $3, unit = $4, paid_until_at = $5, \
         next_change_at = $6, next_height = $7, waits_since_at = $8, seq = $9, doc = $10 \
         WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(projection.announced.state.as_str())
    .bind(int(standing.generation))
    .bind(unit)
    .bind(standing.paid_until.map(Timestamp::millis))
    .bind(next.change_at.map(Timestamp::millis))
    .bind(next.height.map(int))
    .bind(next.waits_since.map(Timestamp::millis))
    .bind(int(seq))
    .bind(doc(projection))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Notes whether its provisioner fails.
pub async fn set_provisioner_error(
    conn: &mut Conn,
    row: &LeaseRow,
    fails: bool,
) -> Result<(), DbError> {
    let projection = LeaseDoc { provisioner_error: fails, ..row.doc.clone() };
    sqlx::query("UPDATE lease SET doc = $2, seq = $3 WHERE id = $1")
        .bind(row.facts.id.as_str())
        .bind(doc(&projection))
        .bind(int(row.seq + 1))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Its holder sees something else.
pub async fn advance_seq(conn: &mut Conn, id: &LeaseId) -> Result<(), DbError> {
    sqlx::query("UPDATE lease SET seq = seq + 1 WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Changes what a holder handed in.
pub async fn set_params(
    conn: &mut Conn,
    id: &LeaseId,
    params: &BTreeMap<String, String>,
) -> Result<(), DbError> {
    sqlx::query("UPDATE lease SET params = $2, seq = seq + 1 WHERE id = $1")
        .bind(id.as_str())
        .bind(doc(params))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// How many leases are in each state.
pub async fn count_by_state(conn: &mut Conn) -> Result<Vec<(LeaseState, u64)>, DbError> {
    sqlx::query("SELECT state, COUNT(*) AS n FROM lease GROUP BY state")
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| {
            let row = Row::new(row, "lease");
            Ok((row.parsed("state", LeaseState::parse)?, row.u64("n")?))
        })
        .collect()
}
