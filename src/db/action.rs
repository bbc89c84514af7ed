//! What provisioners have to be told: rows in the order of each subject, claimed for a time and
//! done at least once.

use super::list::Newest;
use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::fulfil::Action;
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
    /// When it was tried first.
    pub tried_at: Option<Timestamp>,
    /// Until when the lease was said to be paid then.
    pub told_until: Option<Timestamp>,
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
     due_at, attempt, tried_at, told_until_at, failed_at, failure, done_at, outcome";

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
        tried_at: row.opt_at("tried_at")?,
        told_until: row.opt_at("told_until_at")?,
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
         $3, $4, $5, $6, (SELECT COALESCE(MAX(n), 0) + 1 FROM action WHERE subject = $2 \
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

/// What is open of a generation that is over, and not under way, says nothing any more.
pub async fn supersede(
    conn: &mut Conn,
    subject: &str,
    generation: u32,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE action SET done_at = $3, outcome = 'superseded' WHERE subject = $1 \
         AND generation = $2 AND action <> 'release' AND done_at IS NULL \
         AND (claimed_until_at IS NULL OR claimed_until_at <= $3)",
    )
    .bind(subject)
    .bind(int(generation))
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// What failed of a generation, and what `action` stands for now, needs nobody any more.
pub async fn make_up(
    conn: &mut Conn,
    subject: &str,
    generation: u32,
    action: Action,
) -> Result<(), DbError> {
    for old in action.makes_up_for() {
        sqlx::query(
            "UPDATE action SET outcome = 'superseded' WHERE subject = $1 AND generation = $2 \
             AND action = $3 AND outcome = 'failed'",
        )
        .bind(subject)
        .bind(int(generation))
        .bind(old.as_str())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// What failed for good of a generation and was left aside, in order.
pub async fn left_aside(
    conn: &mut Conn,
    subject: &str,
    generation: u32,
) -> Result<Vec<ActionRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{} WHERE subject = $1 AND generation = $2 AND outcome = 'failed' \
         AND action <> 'provision' ORDER BY ordinal",
        select()
    ));
    let rows = sqlx::query(text).bind(subject).bind(int(generation)).fetch_all(&mut *conn).await?;
    rows.iter().map(read).collect()
}

/// Whether such an action is open: of a generation, or (0) of any; tried before, or not.
pub async fn is_open(
    conn: &mut Conn,
    subject: &str,
    (generation, action): (u32, Action),
    untried: bool,
) -> Result<bool, DbError> {
    let found = sqlx::query(
        "SELECT 1 FROM action WHERE subject = $1 AND done_at IS NULL AND action = $2 \
         AND ($3 = 0 OR generation = $3) AND ($4 = 0 OR attempt = 0) LIMIT 1",
    )
    .bind(subject)
    .bind(action.as_str())
    .bind(int(generation))
    .bind(i64::from(untried))
    .fetch_optional(&mut *conn)
    .await?;
    Ok(found.is_some())
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

/// Claims an action for a time, to say that the lease is paid until `told_until`; false when somebody
/// else has.
pub async fn claim(
    conn: &mut Conn,
    row: &ActionRow,
    (now, until): (Timestamp, Timestamp),
    told_until: Option<Timestamp>,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE action SET claimed_until_at = $3, attempt = attempt + 1, \
         tried_at = COALESCE(tried_at, $4), told_until_at = COALESCE(told_until_at, $5) \
         WHERE id = $1 AND attempt = $2 AND done_at IS NULL",
    )
    .bind(&row.id)
    .bind(int(row.attempt))
    .bind(until.millis())
    .bind(now.millis())
    .bind(told_until.map(Timestamp::millis))
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Resources of which actions are claimed.
pub async fn claimed_resources(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    let rows = sqlx::query(
        "SELECT DISTINCT resource FROM action WHERE done_at IS NULL \
         AND claimed_until_at IS NOT NULL",
    )
    .fetch_all(&mut *conn)
    .await?;
    rows.iter().map(|row| Row::new(row, "action").text("resource")).collect()
}

/// Claims on actions of a resource end at `until` at the latest.
pub async fn shorten_claims(
    conn: &mut Conn,
    resource: &str,
    until: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE action SET claimed_until_at = $2 WHERE resource = $1 AND done_at IS NULL \
         AND claimed_until_at > $2",
    )
    .bind(resource)
    .bind(until.millis())
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
         failed_at = CASE $4 WHEN 'done' THEN NULL WHEN 'failed' THEN $3 ELSE failed_at END \
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

/// The release of a generation that waits is due at `due_at` at the earliest.
pub async fn delay_release(
    conn: &mut Conn,
    subject: &str,
    generation: u32,
    due_at: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE action SET due_at = $3 WHERE subject = $1 AND generation = $2 \
         AND action = 'release' AND done_at IS NULL AND due_at < $3",
    )
    .bind(subject)
    .bind(int(generation))
    .bind(due_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// It failed before, nobody is at it, and an operator says that it is done.
pub async fn force(conn: &mut Conn, row: &ActionRow, now: Timestamp) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE action SET done_at = $2, outcome = 'forced', claimed_until_at = NULL \
         WHERE id = $1 AND done_at IS NULL AND failure IS NOT NULL \
         AND (claimed_until_at IS NULL OR claimed_until_at <= $2)",
    )
    .bind(&row.id)
    .bind(now.millis())
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

/// An action by its id.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<ActionRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{} WHERE id = $1", select()));
    sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?.as_ref().map(read).transpose()
}

/// Which actions an operator wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `open`: not done; `failing`: failed at least once and not done; `failed`: for good, and
    /// nothing has made up for it; `stuck`: a unit that could not be taken back.
    pub state: Option<String>,
    /// Only of this resource.
    pub resource: Option<String>,
    /// Only of this lease.
    pub lease: Option<String>,
    /// Only older than this (created, id): the cursor.
    pub before: Option<(Timestamp, String)>,
}

/// What failed, is over, and nothing has made up for. `failed_at > 0` is said for the index.
const LEFT: &str =
    "SELECT id FROM action WHERE failed_at > 0 AND outcome = 'failed' AND action <> 'provision'";
/// What failed for good, is not over, and waits for an operator.
const STOPPED: &str = "SELECT id FROM action WHERE failed_at > 0 AND done_at IS NULL";

/// Actions, newest first.
pub async fn list(conn: &mut Conn, filter: &Filter, limit: u32) -> Result<Vec<ActionRow>, DbError> {
    let of_state = match filter.state.as_deref() {
        Some("open") => "done_at IS NULL".to_owned(),
        Some("failing") => format!(
            "id IN (SELECT id FROM action WHERE done_at IS NULL AND failure IS NOT NULL UNION {LEFT})"
        ),
        Some("failed") => format!("id IN ({STOPPED} UNION {LEFT})"),
        Some("stuck") => format!("id IN ({STOPPED} AND action = 'release')"),
        _ => "1 = 1".to_owned(),
    };
    let newest = Newest {
        select: &select(),
        filter: &[
            (&of_state, None),
            ("resource = ?", filter.resource.as_deref()),
            ("subject = ?", filter.lease.as_deref()),
        ],
        key: ("created_at", "id"),
        before: filter.before.as_ref(),
    };
    newest.list(conn, limit, read).await
}

/// How many failed for good and wait for an operator.
pub async fn count_failed(conn: &mut Conn) -> Result<u64, DbError> {
    let text = format!("SELECT COUNT(*) AS n FROM ({STOPPED} UNION {LEFT}) AS waiting");
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(&mut *conn).await?;
    Row::new(&row, "action").u64("n")
}

/// How many actions wait, and how many of them failed at least once.
pub async fn depth(conn: &mut Conn) -> Result<(u64, u64), DbError> {
    let text = format!(
        "SELECT COUNT(CASE WHEN done_at IS NULL THEN 1 END) AS n, COUNT(failure) AS failing \
         FROM action WHERE id IN (SELECT id FROM action WHERE done_at IS NULL UNION {LEFT})"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(&mut *conn).await?;
    let row = Row::new(&row, "action");
    Ok((row.u64("n")?, row.u64("failing")?))
}
