//! What provisioners have to be told: rows in the order of each subject, claimed for a time and
//! done at least once; and what they answered, which is for the holder only.

use super::list::Newest;
use super::row::{Row, doc, int};
use super::{Conn, DbError};
use crate::domain::fulfil::Action;
use crate::domain::ids::LeaseId;
use crate::domain::time::Timestamp;

/// An action as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRow {
    /// Its id.
    pub id: String,
    /// The lease.
    pub subject: String,
    /// Its place in the subject's order.
    pub ordinal: u64,
    /// The resource.
    pub resource: String,
    /// The unit it is about.
    pub unit: Option<String>,
    /// The generation of the lease.
    pub generation: u32,
    /// What is to be done.
    pub action: Action,
    /// Counts this action of that generation.
    pub n: u32,
    /// When it was caused.
    pub created_at: Timestamp,
    /// When it is tried next; of one that failed for good: when it is given up.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempt: u32,
    /// When it failed for good: an operator has to look.
    pub failed_at: Option<Timestamp>,
    /// What was said the last time it failed.
    pub failure: Option<String>,
    /// When it was done, or given up.
    pub done_at: Option<Timestamp>,
    /// How it ended: `done`, `failed`, `superseded`, `forced`.
    pub outcome: Option<String>,
}

impl ActionRow {
    /// Its name, the same at every attempt (SPEC section 6).
    pub fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.subject, self.generation, self.action.as_str(), self.n)
    }
}

const COLUMNS: &str = "id, subject, ordinal, resource, unit, generation, action, n, created_at, \
     due_at, attempt, failed_at, failure, done_at, outcome";

fn select() -> String {
    format!("SELECT {COLUMNS} FROM action")
}

fn read(row: &sqlx::any::AnyRow) -> Result<ActionRow, DbError> {
    let row = Row::new(row, "action");
    Ok(ActionRow {
        id: row.text("id")?,
        subject: row.text("subject")?,
        ordinal: row.u64("ordinal")?,
        resource: row.text("resource")?,
        unit: row.opt_text("unit")?,
        generation: row.u32("generation")?,
        action: row.parsed("action", Action::parse)?,
        n: row.u32("n")?,
        created_at: row.at("created_at")?,
        due_at: row.at("due_at")?,
        attempt: row.u32("attempt")?,
        failed_at: row.opt_at("failed_at")?,
        failure: row.opt_text("failure")?,
        done_at: row.opt_at("done_at")?,
        outcome: row.opt_text("outcome")?,
    })
}

/// What is to be told.
#[derive(Clone, Copy, Debug)]
pub struct NewAction<'a> {
    /// The lease.
    pub subject: &'a str,
    /// Its resource.
    pub resource: &'a str,
    /// Its unit.
    pub unit: Option<&'a str>,
    /// Its generation.
    pub generation: u32,
    /// What is to be done.
    pub action: Action,
}

/// Adds an action after all others of its subject.
pub async fn insert(
    conn: &mut Conn,
    id: &str,
    new: &NewAction<'_>,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO action (id, subject, ordinal, resource, unit, generation, action, n, \
         created_at, due_at, attempt) \
         SELECT $1, $2, (SELECT COALESCE(MAX(ordinal), 0) + 1 FROM action WHERE subject = $2), \
         $3, $4, $5, $6, (SELECT COUNT(*) + 1 FROM action WHERE subject = $2 \
         AND generation = $5 AND action = $6), $7, $7, 0",
    )
    .bind(id)
    .bind(new.subject)
    .bind(new.resource)
    .bind(new.unit)
    .bind(int(new.generation))
    .bind(new.action.as_str())
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Actions of a generation that were never tried and say nothing any more: the newest extension
/// stands for all, and what is over needs no more.
pub async fn supersede(
    conn: &mut Conn,
    subject: &str,
    generation: u32,
    only: Option<Action>,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE action SET done_at = $4, outcome = 'superseded' WHERE subject = $1 \
         AND generation = $2 AND ($3 = '' OR action = $3) AND action <> 'release' \
         AND done_at IS NULL AND (attempt = 0 OR $3 = '') \
         AND (claimed_until_at IS NULL OR claimed_until_at <= $4)",
    )
    .bind(subject)
    .bind(int(generation))
    .bind(only.map_or("", Action::as_str))
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Whether a generation was ever tried to be made ready.
pub async fn was_tried(conn: &mut Conn, subject: &str, generation: u32) -> Result<bool, DbError> {
    let found = sqlx::query(
        "SELECT 1 FROM action WHERE subject = $1 AND generation = $2 AND attempt > 0 LIMIT 1",
    )
    .bind(subject)
    .bind(int(generation))
    .fetch_optional(&mut *conn)
    .await?;
    Ok(found.is_some())
}

/// Actions that can be tried now: the first that is open of its subject, of resources other than
/// `busy`, those that wait longest first.
pub async fn due(
    conn: &mut Conn,
    busy: &[String],
    now: Timestamp,
    limit: u32,
) -> Result<Vec<ActionRow>, DbError> {
    let names: Vec<String> = (0..busy.len()).map(|n| format!("${}", n + 3)).collect();
    let other = match names.is_empty() {
        true => String::new(),
        false => format!("AND a.resource NOT IN ({})", names.join(", ")),
    };
    let text = sqlx::AssertSqlSafe(format!(
        "{} a WHERE a.done_at IS NULL AND a.due_at <= $1 \
         AND (a.claimed_until_at IS NULL OR a.claimed_until_at <= $1) {other} \
         AND NOT EXISTS (SELECT 1 FROM action b WHERE b.subject = a.subject \
         AND b.done_at IS NULL AND b.ordinal < a.ordinal) ORDER BY a.due_at, a.id LIMIT $2",
        select()
    ));
    let query = sqlx::query(text).bind(now.millis()).bind(int(limit));
    let query = busy.iter().fold(query, |query, name| query.bind(name));
    query.fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// Claims an action for a time; false when somebody else has.
pub async fn claim(conn: &mut Conn, row: &ActionRow, until: Timestamp) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE action SET claimed_until_at = $3, attempt = attempt + 1 \
         WHERE id = $1 AND attempt = $2 AND done_at IS NULL",
    )
    .bind(&row.id)
    .bind(int(row.attempt))
    .bind(until.millis())
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a server that is gone had claimed can be tried again: for a database that only one server
/// at a time has open.
pub async fn forget_claims(conn: &mut Conn) -> Result<(), DbError> {
    sqlx::query("UPDATE action SET claimed_until_at = NULL WHERE done_at IS NULL")
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// It ended. False when it was claimed by another attempt meanwhile.
pub async fn end(
    conn: &mut Conn,
    row: &ActionRow,
    outcome: &str,
    failure: Option<&str>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE action SET done_at = $3, outcome = $4, failure = $5, claimed_until_at = NULL, \
         failed_at = CASE WHEN $4 = 'done' THEN NULL ELSE failed_at END \
         WHERE id = $1 AND attempt = $2 AND done_at IS NULL",
    )
    .bind(&row.id)
    .bind(int(row.attempt))
    .bind(now.millis())
    .bind(outcome)
    .bind(failure)
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// It failed and is tried again at `due_at`; one that failed for good (`failed`) is only given up
/// then. False when it was claimed by another attempt meanwhile.
pub async fn again(
    conn: &mut Conn,
    row: &ActionRow,
    (due_at, failed_at): (Timestamp, Option<Timestamp>),
    failure: &str,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE action SET due_at = $3, failed_at = $4, failure = $5, claimed_until_at = NULL \
         WHERE id = $1 AND attempt = $2 AND done_at IS NULL",
    )
    .bind(&row.id)
    .bind(int(row.attempt))
    .bind(due_at.millis())
    .bind(failed_at.map(Timestamp::millis))
    .bind(failure)
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The first action of a subject that is open.
pub async fn first_open(conn: &mut Conn, subject: &str) -> Result<Option<ActionRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{} WHERE subject = $1 AND done_at IS NULL ORDER BY ordinal LIMIT 1",
        select()
    ));
    sqlx::query(text).bind(subject).fetch_optional(&mut *conn).await?.as_ref().map(read).transpose()
}

/// It is tried again at once, whatever it failed by.
pub async fn retry(conn: &mut Conn, id: &str, now: Timestamp) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE action SET due_at = $2, failed_at = NULL WHERE id = $1 AND done_at IS NULL",
    )
    .bind(id)
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Which actions an operator wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `open`: not done; `failing`: failed at least once and not done; `failed`: for good.
    pub state: Option<String>,
    /// Only of this resource.
    pub resource: Option<String>,
    /// Only of this lease.
    pub lease: Option<String>,
    /// Only older than this (created, id): the cursor.
    pub before: Option<(Timestamp, String)>,
}

/// Actions, newest first.
pub async fn list(conn: &mut Conn, filter: &Filter, limit: u32) -> Result<Vec<ActionRow>, DbError> {
    let newest = Newest {
        select: &select(),
        filter: "($1 = '' OR ($1 = 'open' AND done_at IS NULL) \
                 OR ($1 = 'failing' AND done_at IS NULL AND failure IS NOT NULL) \
                 OR ($1 = 'failed' AND done_at IS NULL AND failed_at IS NOT NULL)) \
                 AND ($2 = '' OR resource = $2) AND ($3 = '' OR subject = $3)",
        values: &[filter.state.as_deref(), filter.resource.as_deref(), filter.lease.as_deref()],
        key: ("created_at", "id"),
        before: filter.before.as_ref(),
    };
    newest.list(conn, limit, read).await
}

/// How many actions wait, and how many of them failed at least once.
pub async fn depth(conn: &mut Conn) -> Result<(u64, u64), DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n, COUNT(failure) AS failing FROM action WHERE done_at IS NULL",
    )
    .fetch_one(&mut *conn)
    .await?;
    let row = Row::new(&row, "action");
    Ok((row.u64("n")?, row.u64("failing")?))
}

/// Keeps what a provisioner answered for the holder of a lease.
pub async fn set_access(
    conn: &mut Conn,
    lease: &LeaseId,
    generation: u32,
    access: &serde_json::Value,
    now: Timestamp,
) -> Result<(), DbError> {
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
    Ok(())
}

/// Forgets what a provisioner answered.
pub async fn remove_access(conn: &mut Conn, lease: &str, generation: u32) -> Result<(), DbError> {
    sqlx::query("DELETE FROM lease_access WHERE lease = $1 AND generation = $2")
        .bind(lease)
        .bind(int(generation))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// What a provisioner answered for this generation of a lease.
pub async fn access(
    conn: &mut Conn,
    lease: &LeaseId,
    generation: u32,
) -> Result<Option<serde_json::Value>, DbError> {
    sqlx::query("SELECT lease, doc FROM lease_access WHERE lease = $1 AND generation = $2")
        .bind(lease.as_str())
        .bind(int(generation))
        .fetch_optional(&mut *conn)
        .await?
        .map(|row| Row::new(&row, "lease_access").json("doc"))
        .transpose()
}
