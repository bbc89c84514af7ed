//! Delivers events to operators' endpoints: moves their cursors over the log, claims what is due,
//! sends it, records what came of it. An endpoint has a few messages under way at most, so that one
//! that is dead or slow delays no other. No transaction is held while anything is sent.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::app::deliver::{ClaimDeliveries, PassEvents, RecordAttempt};
use crate::app::view_event::EventView;
use crate::clock::SharedClock;
use crate::db::delivery::{After, Attempt, Claimed};
use crate::db::event::Event;
use crate::db::webhook::Endpoint;
use crate::db::{self, Db, DbError};
use crate::domain::ids::WebhookId;
use crate::domain::time::Timestamp;
use crate::domain::webhook::EndpointState;
use crate::webhook::{Client, Exchange, Message};

/// Messages under way to one endpoint. All of a server are at most this for each endpoint, of which
/// there is a most, too.
const AT_ONCE: u32 = 4;
/// How long a claim holds: longer than an attempt and what is written after it.
const CLAIM_S: u64 = 30;
/// How often it is asked what is due when nothing is heard.
const POLL: Duration = Duration::from_millis(500);
/// How many steps of the cursors are made before anything is sent.
const STEPS: usize = 10;
/// How often what waits is counted, seconds.
const COUNT_EVERY_S: u64 = 5;

/// The one of a server that delivers.
pub struct Deliver {
    db: Db,
    clock: SharedClock,
    client: Arc<Client>,
    under_way: FuturesUnordered<BoxFuture<'static, (WebhookId, Result<(), DbError>)>>,
    to: HashMap<WebhookId, u32>,
    counted_at: Option<Timestamp>,
    fails: bool,
}

impl Deliver {
    /// One that has nothing under way.
    pub fn new(db: Db, clock: SharedClock, client: Client) -> Self {
        describe_metrics();
        Self {
            db,
            clock,
            client: Arc::new(client),
            under_way: FuturesUnordered::new(),
            to: HashMap::new(),
            counted_at: None,
            fails: false,
        }
    }

    /// Delivers until `shutdown`, then lets what is under way end.
    ///
    /// # Errors
    /// What cannot pass by itself: a broken database.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut hint = self.db.subscribe();
        while !shutdown.is_cancelled() {
            hint.mark_unchanged();
            let begun = self.begin().await;
            let failed = begun.is_err();
            self.pass_or_fail(begun)?;
            tokio::select! {
                () = shutdown.cancelled() => {}
                Some(ended) = self.under_way.next() => self.ended(ended)?,
                Ok(()) = hint.changed(), if !failed => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        while let Some(ended) = self.under_way.next().await {
            self.ended(ended)?;
        }
        Ok(())
    }

    /// Moves the cursors and takes up what is due and has room.
    ///
    /// # Errors
    /// Those of the database.
    async fn begin(&mut self) -> Result<(), DbError> {
        let now = self.clock.now();
        let mut conn = self.db.read().await?;
        let endpoints = db::webhook::in_state(&mut conn, EndpointState::Active).await?;
        let last = db::event::last_seq(&mut conn).await?;
        self.count(&mut conn, now).await?;
        drop(conn);
        // Questions first: moving and claiming are writes.
        if endpoints.iter().any(|endpoint| endpoint.looked_at_seq < last) {
            for _ in 0..STEPS {
                if !self.db.write(PassEvents { now }).await? {
                    break;
                }
            }
        }
        let mut room = Vec::new();
        let mut conn = self.db.read().await?;
        for endpoint in endpoints {
            let free = AT_ONCE.saturating_sub(self.to.get(&endpoint.id).copied().unwrap_or(0));
            if free > 0 && db::delivery::is_due(&mut conn, &endpoint.id, now).await? {
                room.push((endpoint.id, free));
            }
        }
        drop(conn);
        if room.is_empty() {
            return Ok(());
        }
        let until = now.plus_s(CLAIM_S);
        let claimed = self.db.write(ClaimDeliveries { room, now, until }).await?;
        let mut conn = self.db.read().await?;
        // What is under way is not polled while this waits, so it must hold no connection: all that
        // it needs is read here.
        for claimed in claimed {
            let endpoint = db::webhook::find(&mut conn, claimed.webhook.as_str()).await?;
            let event = db::event::find(&mut conn, claimed.event).await?;
            let active = endpoint.filter(|endpoint| endpoint.state == EndpointState::Active);
            // Paused meanwhile: the claim runs out.
            let (Some(endpoint), Some(event)) = (active, event) else { continue };
            *self.to.entry(claimed.webhook.clone()).or_default() += 1;
            let (db, clock, client) = (self.db.clone(), self.clock.clone(), self.client.clone());
            let attempt = async move {
                let webhook = claimed.webhook.clone();
                let part = (claimed, endpoint, event);
                (webhook, attempt(&db, &clock, &client, part).await)
            };
            self.under_way.push(attempt.boxed());
        }
        Ok(())
    }

    /// Does everything that is due, until nothing is: for tests.
    #[cfg(test)]
    pub(super) async fn settle(&mut self) {
        loop {
            self.begin().await.unwrap();
            match self.under_way.next().await {
                Some(ended) => self.ended(ended).unwrap(),
                None => return,
            }
        }
    }

    fn ended(&mut self, (to, result): (WebhookId, Result<(), DbError>)) -> anyhow::Result<()> {
        if let Some(under_way) = self.to.get_mut(&to) {
            *under_way = under_way.saturating_sub(1);
        }
        self.to.retain(|_, under_way| *under_way > 0);
        self.pass_or_fail(result)
    }

    /// A database that is away for a while is waited for; claims run out meanwhile.
    fn pass_or_fail(&mut self, result: Result<(), DbError>) -> anyhow::Result<()> {
        match result {
            Err(error) if error.is_temporary() => {
                if !std::mem::replace(&mut self.fails, true) {
                    tracing::warn!(error = %error, "deliveries wait for the database");
                }
                Ok(())
            }
            Err(error) => Err(error).context("deliveries stopped"),
            Ok(()) => {
                self.fails = false;
                Ok(())
            }
        }
    }

    async fn count(&mut self, conn: &mut db::Conn, now: Timestamp) -> Result<(), DbError> {
        if self.counted_at.is_some_and(|at| at.seconds_until(now) < COUNT_EVERY_S && at <= now) {
            return Ok(());
        }
        self.counted_at = Some(now);
        let pending = db::delivery::pending(conn, None).await?;
        metrics::gauge!("leasehold_webhook_pending")
            .set(u32::try_from(pending).map_or(f64::MAX, f64::from));
        Ok(())
    }
}

/// Sends what was claimed and records what came of it.
async fn attempt(
    db: &Db,
    clock: &SharedClock,
    client: &Client,
    (claimed, endpoint, event): (Claimed, Endpoint, Event),
) -> Result<(), DbError> {
    let body = serde_json::to_vec(&EventView::from(event)).expect("events have string keys only");
    let message = Message { id: claimed.id.to_string(), body };
    let started_at = clock.now();
    let secrets = endpoint.secrets(started_at)?;
    let done = client.send(&endpoint.url, message, &secrets, started_at).await;
    record(db, clock, claimed, started_at, done).await
}

async fn record(
    db: &Db,
    clock: &SharedClock,
    claimed: Claimed,
    started_at: Timestamp,
    done: Exchange,
) -> Result<(), DbError> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).expect("the operating system gives randomness");
    let attempt = Attempt {
        n: claimed.attempt,
        started_at,
        latency_ms: done.latency_ms,
        response_status: done.status.map(u32::from),
        response: done.response,
        failure: done.failure,
    };
    let (webhook, failure) = (claimed.webhook.clone(), attempt.failure.clone());
    let (delivery, attempt_n) = (claimed.id.clone(), claimed.attempt);
    let item = RecordAttempt {
        claimed,
        attempt,
        retry_after_s: done.retry_after_s,
        random: u32::from_le_bytes(random),
        now: clock.now(),
    };
    let after = db.write(item).await?;
    let failure = failure.unwrap_or_default();
    let result = match after {
        Some(After::Delivered) => "delivered",
        Some(After::Again(at)) => {
            tracing::info!(%webhook, %delivery, attempt = attempt_n, failure, again_at = %at, "not delivered");
            "retried"
        }
        Some(After::Failed) => {
            tracing::warn!(%webhook, %delivery, failure, "given up; the endpoint is disabled");
            "failed"
        }
        None => "overtaken",
    };
    metrics::counter!("leasehold_webhook_deliveries_total", "result" => result).increment(1);
    Ok(())
}

fn describe_metrics() {
    metrics::describe_counter!(
        "leasehold_webhook_deliveries_total",
        "Attempts to deliver an event, by result"
    );
    metrics::describe_gauge!("leasehold_webhook_pending", "Deliveries that wait");
}
