//! Deliveries of events: made from the log by a cursor for each endpoint, claimed, and what came of
//! an attempt. A cursor and what it passes move in one transaction, so no event is missed and none
//! is delivered twice for it, wherever a server is stopped.

use serde_json::json;

use crate::db::delivery::{After, Attempt, Claimed};
use crate::db::webhook::Endpoint;
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::ids::{DeliveryId, WebhookId};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{EndpointState, Types, pause_millis};

use super::{event, random_128};

/// How many events one cursor passes in one transaction, and all cursors together: others wait for
/// it.
pub const STEP: i64 = 100;
const STEP_OF_ALL: i64 = 500;
/// How many deliveries may wait for one endpoint; what comes then waits in the log.
pub const MOST_PENDING: u64 = 1000;
/// The status with which an endpoint says that it wants nothing ever again.
const GONE: u32 = 410;

/// Moves the cursors of active endpoints over new events.
pub struct PassEvents {
    /// The clock.
    pub now: Timestamp,
}

impl WriteItem for PassEvents {
    /// Whether a cursor moved.
    type Out = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let last = db::event::last_seq(tx.conn()).await?;
        let mut passed = 0;
        let mut endpoints = db::webhook::in_state(tx.conn(), EndpointState::Active).await?;
        // Who is furthest behind comes first.
        endpoints.sort_by_key(|endpoint| endpoint.looked_at_seq);
        for endpoint in endpoints.iter_mut().filter(|it| it.looked_at_seq < last) {
            if passed < STEP_OF_ALL {
                passed += pass(tx, endpoint, self.now).await?;
            }
        }
        Ok(passed > 0)
    }
}

/// How many events its cursor passed.
async fn pass(tx: &mut Tx, endpoint: &mut Endpoint, now: Timestamp) -> Result<i64, DbError> {
    let waiting = db::delivery::pending(tx.conn(), Some(&endpoint.id)).await?;
    let room = i64::try_from(MOST_PENDING.saturating_sub(waiting)).unwrap_or(0);
    let events = db::event::list(tx.conn(), endpoint.looked_at_seq, room.min(STEP)).await?;
    let Some(last) = events.last() else { return Ok(0) };
    let passed = last.seq - endpoint.looked_at_seq;
    endpoint.looked_at_seq = last.seq;
    let wanted: Vec<(DeliveryId, i64)> = events
        .iter()
        .filter(|event| wants(&endpoint.id, &endpoint.types, &event.kind, &event.subject))
        .map(|event| (DeliveryId::new(random_128()), event.seq))
        .collect();
    db::delivery::put(tx.conn(), &endpoint.id, &wanted, now).await?;
    db::webhook::record(tx.conn(), endpoint).await?;
    Ok(passed)
}

/// A test is for the endpoint that is tried, whatever its types.
fn wants(id: &WebhookId, types: &Types, kind: &str, subject: &str) -> bool {
    match kind == EventKind::WebhookTest.as_str() {
        true => subject == id.as_str(),
        false => types.want(kind),
    }
}

/// Claims due deliveries.
pub struct ClaimDeliveries {
    /// How many for which endpoint.
    pub room: Vec<(WebhookId, u32)>,
    /// The clock.
    pub now: Timestamp,
    /// When others may take them.
    pub until: Timestamp,
}

impl WriteItem for ClaimDeliveries {
    type Out = Vec<Claimed>;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Vec<Claimed>, DbError> {
        let mut claimed = Vec::new();
        for (id, room) in &self.room {
            let found = db::webhook::find(tx.conn(), id.as_str()).await?;
            if found.is_some_and(|endpoint| endpoint.state == EndpointState::Active) {
                let conn = tx.conn();
                claimed.extend(db::delivery::claim(conn, id, *room, self.now, self.until).await?);
            }
        }
        Ok(claimed)
    }
}

/// Records what came of an attempt.
pub struct RecordAttempt {
    /// What was claimed.
    pub claimed: Claimed,
    /// What came of it.
    pub attempt: Attempt,
    /// What the endpoint asked for with `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// Randomness for the pause.
    pub random: u32,
    /// The clock.
    pub now: Timestamp,
}

impl RecordAttempt {
    /// Where the delivery stands now, and why its endpoint gets nothing more.
    fn after(&self, tries: u32) -> (After, Option<&'static str>) {
        if self.attempt.failure.is_none() {
            return (After::Delivered, None);
        }
        if self.attempt.response_status == Some(GONE) {
            return (After::Failed, Some("it answered 410 Gone"));
        }
        match pause_millis(tries, self.random, self.retry_after_s) {
            Some(pause) => (After::Again(self.now.plus_millis(pause)), None),
            None => (After::Failed, Some("a delivery failed for three days")),
        }
    }
}

impl WriteItem for RecordAttempt {
    /// Where the delivery stands now; `None` when somebody else has it.
    type Out = Option<After>;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Option<After>, DbError> {
        let id = &self.claimed.id;
        // Forgotten meanwhile, at worst.
        let Some(delivery) = db::delivery::find(tx.conn(), id.as_str()).await? else {
            return Ok(None);
        };
        // All of its tries may have been given back meanwhile.
        let (after, disable) = self.after(delivery.tries.saturating_add(1));
        db::delivery::insert_attempt(tx.conn(), id, &self.attempt).await?;
        if !db::delivery::record(tx.conn(), id, &self.attempt, after, self.now).await? {
            return Ok(None);
        }
        if let Some(why) = disable {
            disable_endpoint(tx, &self.claimed.webhook, (id, delivery.event, why), self.now)
                .await?;
        }
        Ok(Some(after))
    }
}

async fn disable_endpoint(
    tx: &mut Tx,
    webhook: &WebhookId,
    (delivery, seq, why): (&DeliveryId, i64, &str),
    now: Timestamp,
) -> Result<(), DbError> {
    let found = db::webhook::find(tx.conn(), webhook.as_str()).await?;
    let Some(mut endpoint) = found.filter(|it| it.state == EndpointState::Active) else {
        return Ok(());
    };
    endpoint.state = EndpointState::Disabled;
    endpoint.why = Some(why.to_owned());
    db::webhook::record(tx.conn(), &endpoint).await?;
    let data = json!({ "why": why, "delivery": delivery.as_str(), "seq": seq });
    tx.event(event(EventKind::WebhookDisabled, now, webhook.as_str(), None, data));
    Ok(())
}
