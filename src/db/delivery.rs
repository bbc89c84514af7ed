//! Deliveries of events to endpoints, and what came of each attempt. A delivery is made with the
//! step of its endpoint's cursor over the log, claimed for a time, done at least once.

use super::list::Newest;
use super::row::{Row, int};
use super::{Conn, DbError, Insert};
use crate::domain::ids::{DeliveryId, WebhookId};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{DeliveryStatus, EndpointState};

/// A delivery as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id: `webhook-id` of every attempt.
    pub id: DeliveryId,
    /// To whom.
    pub webhook: WebhookId,
    /// Whether that endpoint was deleted.
    pub deleted: bool,
    /// The event's number.
    pub event: i64,
    /// The event's own id.
    pub event_id: String,
    /// The event's type.
    pub kind: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Attempts ever made.
    pub attempts: u32,
    /// Attempts since it was last asked for.
    pub tries: u32,
    /// When the next attempt is due.
    pub due_at: Timestamp,
    /// What the last attempt was answered, an HTTP status.
    pub response_status: Option<u32>,
    /// How long the last attempt took.
    pub latency_ms: Option<u64>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was delivered or given up.
    pub done_at: Option<Timestamp>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first ever.
    pub n: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub latency_ms: u64,
    /// What was answered, an HTTP status.
    pub response_status: Option<u32>,
    /// The beginning of the answer's body.
    pub response: String,
    /// Why it failed; `None` when it was taken.
    pub failure: Option<String>,
}

/// A delivery that this server has for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its id.
    pub id: DeliveryId,
    /// To whom.
    pub webhook: WebhookId,
    /// The event's number.
    pub event: i64,
    /// Which attempt this is, ever.
    pub attempt: u32,
}

/// Which deliveries an operator wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only to this endpoint.
    pub webhook: Option<String>,
    /// Only of the event with this number.
    pub event: Option<i64>,
    /// Only with this status.
    pub status: Option<DeliveryStatus>,
    /// Only older than this (created, id): the cursor.
    pub before: Option<(Timestamp, String)>,
}

const SELECT: &str = "SELECT delivery.id, webhook, event, event.id AS event_id, event.type, status, \
     attempts, tries, due_at, response_status, latency_ms, failure, created_at, done_at, \
     (SELECT state FROM webhook WHERE webhook.id = delivery.webhook) AS endpoint_state \
     FROM delivery JOIN event ON event.seq = delivery.event";

fn read(row: &sqlx::any::AnyRow) -> Result<Delivery, DbError> {
    let row = Row::new(row, "delivery");
    Ok(Delivery {
        id: row.parsed("id", DeliveryId::parse)?,
        webhook: row.parsed("webhook", WebhookId::parse)?,
        deleted: row.parsed("endpoint_state", EndpointState::parse)? == EndpointState::Deleted,
        event: row.i64("event")?,
        event_id: row.text("event_id")?,
        kind: row.text("type")?,
        status: row.parsed("status", DeliveryStatus::parse)?,
        attempts: row.u32("attempts")?,
        tries: row.u32("tries")?,
        due_at: row.at("due_at")?,
        response_status: row.opt_u32("response_status")?,
        latency_ms: row.opt_u64("latency_ms")?,
        failure: row.opt_text("failure")?,
        created_at: row.at("created_at")?,
        done_at: row.opt_at("done_at")?,
    })
}

// What was done is asked for again when the endpoint's cursor was set back.
static PUT: Insert = Insert::new(
    "INSERT INTO delivery (id, webhook, event, status, attempts, tries, due_at, created_at) VALUES",
    8,
    "ON CONFLICT (webhook, event) DO UPDATE SET status = 'pending', tries = 0, \
     due_at = excluded.due_at, claimed_until_at = NULL, done_at = NULL \
     WHERE delivery.status <> 'pending' OR delivery.claimed_until_at IS NULL \
     OR delivery.claimed_until_at <= excluded.due_at",
);

/// Events that are to be delivered to an endpoint now; each only once, however often it is put.
///
/// # Errors
/// Those of the database.
pub async fn put(
    conn: &mut Conn,
    webhook: &WebhookId,
    events: &[(DeliveryId, i64)],
    now: Timestamp,
) -> Result<(), DbError> {
    PUT.run(conn, events, |query, (id, event)| {
        query
            .bind(id.as_str())
            .bind(webhook.as_str())
            .bind(*event)
            .bind(DeliveryStatus::Pending.as_str())
            .bind(0_i64)
            .bind(0_i64)
            .bind(now.millis())
            .bind(now.millis())
    })
    .await?;
    Ok(())
}

/// How many wait: to one endpoint, or to all.
///
/// # Errors
/// Those of the database.
pub async fn pending(conn: &mut Conn, webhook: Option<&WebhookId>) -> Result<u64, DbError> {
    let row = match webhook {
        Some(webhook) => {
            let text =
                "SELECT COUNT(*) AS n FROM delivery WHERE webhook = $1 AND status = 'pending'";
            sqlx::query(text).bind(webhook.as_str()).fetch_one(&mut *conn).await?
        }
        None => {
            let text = "SELECT COUNT(*) AS n FROM delivery WHERE status = 'pending'";
            sqlx::query(text).fetch_one(&mut *conn).await?
        }
    };
    Row::new(&row, "delivery").u64("n")
}

/// Whether something is due to an endpoint that nobody has claimed.
///
/// # Errors
/// Those of the database.
pub async fn is_due(conn: &mut Conn, webhook: &WebhookId, now: Timestamp) -> Result<bool, DbError> {
    let row = sqlx::query(
        "SELECT id FROM delivery WHERE webhook = $1 AND status = 'pending' AND due_at <= $2 \
         AND (claimed_until_at IS NULL OR claimed_until_at <= $2) LIMIT 1",
    )
    .bind(webhook.as_str())
    .bind(now.millis())
    .fetch_optional(&mut *conn)
    .await?;
    Ok(row.is_some())
}

/// Claims up to `limit` due deliveries to an endpoint until `until`, in order of events; after that
/// anybody may take them again.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn claim(
    conn: &mut Conn,
    webhook: &WebhookId,
    limit: u32,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Claimed>, DbError> {
    let rows = sqlx::query(
        "UPDATE delivery SET claimed_until_at = $4, attempts = attempts + 1 \
         WHERE id IN (SELECT id FROM delivery WHERE webhook = $1 AND status = 'pending' \
          AND due_at <= $2 AND (claimed_until_at IS NULL OR claimed_until_at <= $2) \
          ORDER BY due_at, event LIMIT $3) RETURNING id, webhook, event, attempts",
    )
    .bind(webhook.as_str())
    .bind(now.millis())
    .bind(int(limit))
    .bind(until.millis())
    .fetch_all(&mut *conn)
    .await?;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Row::new(row, "delivery");
        claimed.push(Claimed {
            id: row.parsed("id", DeliveryId::parse)?,
            webhook: row.parsed("webhook", WebhookId::parse)?,
            event: row.i64("event")?,
            attempt: row.u32("attempts")?,
        });
    }
    claimed.sort_by_key(|claimed| claimed.event);
    Ok(claimed)
}

/// Writes what came of an attempt into the log.
///
/// # Errors
/// Those of the database.
pub async fn insert_attempt(
    conn: &mut Conn,
    delivery: &DeliveryId,
    attempt: &Attempt,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO delivery_attempt \
         (delivery, n, started_at, latency_ms, response_status, response, failure) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (delivery, n) DO NOTHING",
    )
    .bind(delivery.as_str())
    .bind(int(attempt.n))
    .bind(attempt.started_at.millis())
    .bind(int(attempt.latency_ms))
    .bind(attempt.response_status.map(int))
    .bind(&attempt.response)
    .bind(attempt.failure.as_deref())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Where a delivery stands after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It was taken.
    Delivered,
    /// It is tried again at this moment.
    Again(Timestamp),
    /// It is given up.
    Failed,
}

/// Records where a delivery stands after `attempt`. One that failed counts only while nobody else
/// has claimed the delivery meanwhile. False when it did not count.
///
/// # Errors
/// Those of the database.
pub async fn record(
    conn: &mut Conn,
    id: &DeliveryId,
    attempt: &Attempt,
    after: After,
    now: Timestamp,
) -> Result<bool, DbError> {
    let (status, due_at, done_at) = match after {
        After::Delivered => (DeliveryStatus::Delivered, now, Some(now.millis())),
        After::Again(at) => (DeliveryStatus::Pending, at, None),
        After::Failed => (DeliveryStatus::Failed, now, Some(now.millis())),
    };
    let done = sqlx::query(
        "UPDATE delivery SET status = $2, due_at = $3, done_at = $4, claimed_until_at = NULL, \
         response_status = $5, latency_ms = $6, failure = $7, tries = tries + 1 \
         WHERE id = $1 AND status = 'pending' AND (attempts = $8 OR $2 = 'delivered')",
    )
    .bind(id.as_str())
    .bind(status.as_str())
    .bind(due_at.millis())
    .bind(done_at)
    .bind(attempt.response_status.map(int))
    .bind(int(attempt.latency_ms))
    .bind(attempt.failure.as_deref())
    .bind(int(attempt.n))
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A delivery is due now, with all its tries before it.
///
/// # Errors
/// Those of the database.
pub async fn redeliver(conn: &mut Conn, id: &DeliveryId, now: Timestamp) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE delivery SET status = 'pending', tries = 0, due_at = $2, done_at = NULL \
         WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// All that waits for an endpoint is due now, with all its tries before it.
///
/// # Errors
/// Those of the database.
pub async fn call_waiting(
    conn: &mut Conn,
    webhook: &WebhookId,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE delivery SET tries = 0, due_at = $2 WHERE webhook = $1 AND status = 'pending'",
    )
    .bind(webhook.as_str())
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// All that waits for an endpoint is given up.
///
/// # Errors
/// Those of the database.
pub async fn give_up(
    conn: &mut Conn,
    webhook: &WebhookId,
    why: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE delivery SET status = 'failed', done_at = $2, failure = $3 \
         WHERE webhook = $1 AND status = 'pending'",
    )
    .bind(webhook.as_str())
    .bind(now.millis())
    .bind(why)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// A delivery by its id.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<Delivery>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE delivery.id = $1"));
    let row = sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?;
    row.as_ref().map(read).transpose()
}

/// Deliveries, newest first.
///
/// # Errors
/// As [`find`].
pub async fn newest(
    conn: &mut Conn,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<Delivery>, DbError> {
    // An event's deliveries are found by endpoint and event, which are unique together.
    let of_event = "webhook IN (SELECT id FROM webhook) AND delivery.event = CAST(? AS BIGINT)";
    let event = filter.event.map(|seq| seq.to_string());
    let newest = Newest {
        select: SELECT,
        filter: &[
            ("webhook = ?", filter.webhook.as_deref()),
            ("status = ?", filter.status.map(DeliveryStatus::as_str)),
            (of_event, event.as_deref()),
        ],
        key: ("created_at", "delivery.id"),
        before: filter.before.as_ref(),
    };
    newest.list(conn, limit, read).await
}

/// The attempts of a delivery, first one first.
///
/// # Errors
/// As [`find`].
pub async fn attempts(conn: &mut Conn, id: &DeliveryId) -> Result<Vec<Attempt>, DbError> {
    let rows = sqlx::query(
        "SELECT delivery, n, started_at, latency_ms, response_status, response, failure \
         FROM delivery_attempt WHERE delivery = $1 ORDER BY n",
    )
    .bind(id.as_str())
    .fetch_all(&mut *conn)
    .await?;
    rows.iter()
        .map(|row| {
            let row = Row::new(row, "delivery_attempt");
            Ok(Attempt {
                n: row.u32("n")?,
                started_at: row.at("started_at")?,
                latency_ms: row.u64("latency_ms")?,
                response_status: row.opt_u32("response_status")?,
                response: row.text("response")?,
                failure: row.opt_text("failure")?,
            })
        })
        .collect()
}

/// Forgets deliveries done before `before` with their attempts, at most `limit`. Returns how many.
///
/// # Errors
/// Those of the database.
pub async fn forget(conn: &mut Conn, before: Timestamp, limit: u32) -> Result<u64, DbError> {
    // Both statements see the same rows: the writer is alone.
    const OLD: &str = "SELECT id FROM delivery WHERE done_at < $1 ORDER BY done_at, id LIMIT $2";
    let mut gone = 0;
    for (table, column) in [("delivery_attempt", "delivery"), ("delivery", "id")] {
        let text = format!("DELETE FROM {table} WHERE {column} IN ({OLD})");
        let done = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(before.millis())
            .bind(int(limit))
            .execute(&mut *conn)
            .await?;
        gone = done.rows_affected();
    }
    Ok(gone)
}
