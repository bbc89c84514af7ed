//! What operators do with endpoints: make, pause, resume, rotate, try, delete; and what they ask
//! for again. Every change writes the audit log. Nothing is sent here.

use serde_json::json;

use crate::db::webhook::Endpoint;
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::ids::WebhookId;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{EndpointState, Secret, Types};

use super::idempotent::{self, Key};
use super::view_webhook::{self, EndpointView};
use super::{AppError, Code, Refusal, event, random_128};

/// So many endpoints are enough; what a server sends at once follows from it.
pub const MOST_ENDPOINTS: u64 = 50;

/// Who changes something, and when.
#[derive(Clone, Debug)]
pub struct By {
    /// The operator, as the audit log names it.
    pub actor: String,
    /// The clock.
    pub now: Timestamp,
}

impl By {
    async fn note(&self, tx: &mut Tx, what: &str, id: &str, detail: &str) -> Result<(), DbError> {
        let entry = (self.actor.as_str(), what, id, detail);
        db::audit_log::insert(tx.conn(), self.now, entry).await
    }
}

/// The endpoint with this id, which must not be deleted.
async fn get(tx: &mut Tx, id: &str) -> Result<Endpoint, AppError> {
    let found = db::webhook::find(tx.conn(), id).await?;
    let alive = found.filter(|endpoint| endpoint.state != EndpointState::Deleted);
    let unknown = || Refusal::new(Code::NotFound, format!("there is no webhook {id}"));
    Ok(alive.ok_or_else(unknown)?)
}

fn reused(what: &str) -> AppError {
    let detail = format!("this Idempotency-Key {what}; use a fresh one");
    Refusal::new(Code::IdempotencyKeyReused, detail).into()
}

/// Makes an endpoint, which gets the events from now on.
pub struct CreateWebhook {
    /// Where its messages go, checked by the caller.
    pub url: String,
    /// Which events it wants.
    pub types: Types,
    /// What its messages are signed with.
    pub secret: Secret,
    /// The caller's Idempotency-Key.
    pub key: Option<Key>,
    /// Who and when.
    pub by: By,
}

impl WriteItem for CreateWebhook {
    type Out = EndpointView;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<EndpointView, AppError> {
        if let Some(before) = idempotent::find(tx, self.key.as_ref()).await? {
            let id = before.body["id"].as_str().unwrap_or_default();
            let made = get(tx, id).await.map_err(|error| match error.refusal() {
                Some(_) => reused("made an endpoint that was deleted"),
                None => error,
            })?;
            return Ok(view_webhook::endpoint(tx.conn(), &made).await?);
        }
        if db::webhook::count(tx.conn()).await? >= MOST_ENDPOINTS {
            let detail = format!("there are {MOST_ENDPOINTS} endpoints; delete one first");
            return Err(Refusal::new(Code::Conflict, detail).into());
        }
        let after = db::event::last_seq(tx.conn()).await?;
        let id = WebhookId::new(random_128());
        let mut endpoint = Endpoint::new(id, &self.url, self.types.clone(), &self.secret, after);
        endpoint.created_at = self.by.now;
        let shown = view_webhook::endpoint(tx.conn(), &endpoint).await?;
        db::webhook::insert(tx.conn(), &endpoint).await?;
        self.by.note(tx, "webhook.create", &shown.id, &self.types.to_stored()).await?;
        let body = json!({ "id": shown.id });
        idempotent::keep(tx, self.key.as_ref(), 201, body, self.by.now).await?;
        Ok(shown)
    }
}

/// What can be done with an endpoint without more words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its events wait.
    Pause,
    /// It gets them again, those that wait at once.
    Resume,
    /// It is no more.
    Delete,
    /// It gets an event that nobody else gets.
    Test,
}

impl Act {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "webhook.pause",
            Self::Resume => "webhook.resume",
            Self::Delete => "webhook.delete",
            Self::Test => "webhook.test",
        }
    }
}

/// Does something with an endpoint.
pub struct ActOnWebhook {
    /// Its id.
    pub id: String,
    /// What.
    pub act: Act,
    /// Who and when.
    pub by: By,
}

impl WriteItem for ActOnWebhook {
    /// The endpoint, and the event that was made for it.
    type Out = (EndpointView, Option<String>);
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Self::Out, AppError> {
        let mut endpoint = get(tx, &self.id).await?;
        let now = self.by.now;
        let mut made = None;
        match self.act {
            Act::Pause => (endpoint.state, endpoint.why) = (EndpointState::Paused, None),
            Act::Resume => {
                (endpoint.state, endpoint.why) = (EndpointState::Active, None);
                db::delivery::call_waiting(tx.conn(), &endpoint.id, now).await?;
            }
            Act::Delete => {
                endpoint.delete();
                let why = "the endpoint was deleted";
                db::delivery::give_up(tx.conn(), &endpoint.id, why, now).await?;
            }
            Act::Test => {
                if endpoint.state != EndpointState::Active {
                    let state = endpoint.state.as_str();
                    let detail = format!("this endpoint is {state}; resume it first");
                    return Err(Refusal::new(Code::Conflict, detail).into());
                }
                let data = json!({ "webhook": self.id });
                let event = event(EventKind::WebhookTest, now, &self.id, None, data);
                made = Some(event.id.clone());
                tx.event(event);
            }
        }
        db::webhook::record(tx.conn(), &endpoint).await?;
        self.by.note(tx, self.act.as_str(), &self.id, "").await?;
        Ok((view_webhook::endpoint(tx.conn(), &endpoint).await?, made))
    }
}

/// Gives an endpoint another secret; the one so far signs beside it for a while.
pub struct RotateWebhook {
    /// Its id.
    pub id: String,
    /// The new secret.
    pub secret: Secret,
    /// How long both sign, seconds.
    pub overlap_s: u64,
    /// The caller's Idempotency-Key.
    pub key: Option<Key>,
    /// Who and when.
    pub by: By,
}

impl WriteItem for RotateWebhook {
    type Out = EndpointView;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<EndpointView, AppError> {
        let before = idempotent::find(tx, self.key.as_ref()).await?;
        let mut endpoint = get(tx, &self.id).await?;
        if before.is_some() {
            // The same secret again, unless another has taken its place since.
            if endpoint.secrets(self.by.now)?.first() != Some(&self.secret) {
                return Err(reused("made a secret that was rotated since"));
            }
            return Ok(view_webhook::endpoint(tx.conn(), &endpoint).await?);
        }
        endpoint.rotate(&self.secret, self.by.now, self.overlap_s);
        db::webhook::record(tx.conn(), &endpoint).await?;
        let detail = format!("overlap_s {}", self.overlap_s);
        self.by.note(tx, "webhook.rotate", &self.id, &detail).await?;
        let body = json!({ "id": self.id });
        idempotent::keep(tx, self.key.as_ref(), 200, body, self.by.now).await?;
        Ok(view_webhook::endpoint(tx.conn(), &endpoint).await?)
    }
}

/// Asks for everything since a time again: the log is looked at from there once more.
pub struct RedeliverSince {
    /// The endpoint's id.
    pub id: String,
    /// The moment; of each event its `at` counts.
    pub since: Timestamp,
    /// Who and when.
    pub by: By,
}

impl WriteItem for RedeliverSince {
    type Out = EndpointView;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<EndpointView, AppError> {
        let mut endpoint = get(tx, &self.id).await?;
        if let Some(first) = db::event::first_since(tx.conn(), self.since).await? {
            endpoint.looked_at_seq = endpoint.looked_at_seq.min(first - 1);
        }
        db::webhook::record(tx.conn(), &endpoint).await?;
        let detail = format!("since {}", self.since);
        self.by.note(tx, "webhook.redeliver", &self.id, &detail).await?;
        Ok(view_webhook::endpoint(tx.conn(), &endpoint).await?)
    }
}

/// Asks for one delivery again, with the same `webhook-id`.
pub struct Redeliver {
    /// Its id.
    pub id: String,
    /// Who and when.
    pub by: By,
}

impl WriteItem for Redeliver {
    type Out = db::delivery::Delivery;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Self::Out, AppError> {
        let unknown = || Refusal::new(Code::NotFound, format!("there is no delivery {}", self.id));
        let found = db::delivery::find(tx.conn(), &self.id).await?.ok_or_else(unknown)?;
        let to = get(tx, found.webhook.as_str()).await.map_err(|error| match error.refusal() {
            Some(_) => Refusal::new(Code::Conflict, "its endpoint was deleted").into(),
            None => error,
        })?;
        db::delivery::redeliver(tx.conn(), &found.id, self.by.now).await?;
        self.by.note(tx, "delivery.redeliver", &self.id, to.id.as_str()).await?;
        db::delivery::find(tx.conn(), &self.id).await?.ok_or_else(|| unknown().into())
    }
}
