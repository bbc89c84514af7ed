//! Endpoints and deliveries as the API shows them to operators. Never a secret.

use serde::Serialize;
use utoipa::ToSchema;

use crate::db::delivery::{Attempt, Delivery};
use crate::db::webhook::Endpoint;
use crate::db::{self, Conn, DbError};
use crate::domain::time::Timestamp;
use crate::domain::webhook::DeliveryStatus;

/// An endpoint that hears of events.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EndpointView {
    /// Its id, `whk_…`.
    pub id: String,
    /// Where its messages go.
    pub url: String,
    /// Which types of event it gets; none for all.
    pub types: Vec<String>,
    /// `active`, `paused`, `disabled` (it failed for too long, or is gone) or `deleted`.
    pub state: String,
    /// Why it is disabled.
    pub why: Option<String>,
    /// Deliveries that wait for their first or next try.
    pub pending: u64,
    /// The last event that was looked at for it; the log goes on after it.
    pub looked_at_seq: i64,
    /// Until when the secret before this one signs, too.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub old_secret_until: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Shows an endpoint.
///
/// # Errors
/// Those of the database.
pub async fn endpoint(conn: &mut Conn, row: &Endpoint) -> Result<EndpointView, DbError> {
    Ok(EndpointView {
        id: row.id.to_string(),
        url: row.url.clone(),
        types: row.types.names().to_vec(),
        state: row.state.as_str().to_owned(),
        why: row.why.clone(),
        pending: db::delivery::pending(conn, Some(&row.id)).await?,
        looked_at_seq: row.looked_at_seq,
        old_secret_until: row.old_secret_until,
        created_at: row.created_at,
    })
}

/// One event for one endpoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// Its id, `dlv_…`: the `webhook-id` of each attempt.
    pub id: String,
    /// The endpoint.
    pub webhook: String,
    /// Whether that was deleted: then it gets nothing more.
    pub webhook_deleted: bool,
    /// The event's id.
    pub event: String,
    /// The event's number.
    pub seq: i64,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `pending`, `delivered` or `failed`.
    pub status: String,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the next attempt is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// The HTTP status that the last attempt was answered with.
    pub response_status: Option<u32>,
    /// How long the last attempt took.
    pub latency_ms: Option<u64>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was delivered or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub done_at: Option<Timestamp>,
}

/// Shows a delivery.
pub fn delivery(row: &Delivery) -> DeliveryView {
    DeliveryView {
        id: row.id.to_string(),
        webhook: row.webhook.to_string(),
        webhook_deleted: row.deleted,
        event: row.event_id.clone(),
        seq: row.event,
        kind: row.kind.clone(),
        status: row.status.as_str().to_owned(),
        attempts: row.attempts,
        due_at: (row.status == DeliveryStatus::Pending).then_some(row.due_at),
        response_status: row.response_status,
        latency_ms: row.latency_ms,
        failure: row.failure.clone(),
        created_at: row.created_at,
        done_at: row.done_at,
    }
}

/// What came of one attempt.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttemptView {
    /// 1 for the first. A number that is missing was not finished: the server was stopped.
    pub n: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long it took.
    pub latency_ms: u64,
    /// The HTTP status that was answered.
    pub response_status: Option<u32>,
    /// The beginning of the answer's body.
    pub response: String,
    /// Why it failed; `null` when it was taken.
    pub failure: Option<String>,
}

/// A delivery with its attempts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeliveryLog {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// Its attempts, first one first.
    pub log: Vec<AttemptView>,
}

/// Shows a delivery with its attempts.
pub fn log(row: &Delivery, attempts: Vec<Attempt>) -> DeliveryLog {
    let show = |attempt: Attempt| AttemptView {
        n: attempt.n,
        started_at: attempt.started_at,
        latency_ms: attempt.latency_ms,
        response_status: attempt.response_status,
        response: attempt.response,
        failure: attempt.failure,
    };
    DeliveryLog { delivery: delivery(row), log: attempts.into_iter().map(show).collect() }
}
