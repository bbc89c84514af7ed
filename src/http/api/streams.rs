//! Streams of server-sent events: the object now and at each change. They stay open, so they
//! stand outside the time-outs; they end when the server does. A woken stream reads its object,
//! one that is not woken reads nothing.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::stream::unfold;
use tokio::sync::watch;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::view_payout::PayoutView;
use crate::app::{AppError, held, read, view};
use crate::db;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::payment::PaymentState;
use crate::domain::payout::PayoutState;
use crate::http::error::ProblemBody;
use crate::http::json::Path;
use crate::http::source::Source;
use crate::http::streams::Place;
use crate::http::{HttpState, Problem};
use crate::live::{Subject, Subscription};

/// The routes.
pub fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(invoice_events))
        .routes(routes!(lease_events))
        .routes(routes!(resource_events))
        .merge(super::admin::rescan::stream())
}

/// How often a comment tells proxies and clients that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event of a stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is sent")]
pub struct SentEvent {
    /// For `Last-Event-ID`.
    id: Option<String>,
    /// The object as JSON.
    data: String,
}

/// What is shown.
#[derive(Clone, Debug)]
enum Shown {
    Invoice { id: String, lease: String, resource: String },
    Lease { id: String, resource: String },
    Resource { id: String },
}

/// An object at one moment.
struct Picture {
    /// Every event up to this number is in it.
    seq: i64,
    json: String,
    /// The next block changes it: it shows confirmations.
    blocks_matter: bool,
    /// What else decides about it.
    beside: Beside,
}

/// What decides about an invoice and a lease besides them.
#[derive(Debug, Default, Hash)]
struct Beside {
    /// Whether an invoice's lease is over.
    lease: Option<LeaseState>,
    /// What goes back of a lease, and how far it is: its holder sees that.
    refunds: Vec<(u64, PayoutState, Option<String>, Option<String>)>,
    /// Whether the resource takes no money: paused, retired. Changes without an event.
    shut: (bool, bool),
}

impl Beside {
    async fn of(state: &HttpState, lease: Option<LeaseState>, id: &str) -> Result<Self, AppError> {
        let found = held::resource(&state.db, id).await?;
        let shut = found.map(|it| (it.paused_at.is_some(), it.retired_at.is_some()));
        Ok(Self { lease, refunds: Vec::new(), shut: shut.unwrap_or_default() })
    }

    fn is_shut(&self) -> bool {
        self.shut != (false, false)
    }
}

impl Picture {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.json, &self.beside).hash(&mut hasher);
        hasher.finish()
    }
}

impl Shown {
    /// What to follow. An invoice changes only when its lease is settled, and not each of its
    /// changes is an event of its own.
    fn subject(&self) -> Subject {
        match self {
            Self::Invoice { lease, .. } => Subject::id(lease),
            Self::Lease { id, .. } => Subject::id(id),
            Self::Resource { id } => Subject::resource(id),
        }
    }

    /// What else to follow: whether its resource takes money.
    fn offer(&self) -> Option<Subject> {
        match self {
            Self::Invoice { resource, .. } | Self::Lease { resource, .. } => {
                Some(Subject::offer(resource))
            }
            Self::Resource { .. } => None,
        }
    }

    async fn picture(&self, state: &HttpState) -> Result<Picture, Problem> {
        // First the number, then the object: it may be newer than the number says, never older.
        let mut conn = state.db.read().await?;
        let seq = db::event::last_seq(&mut conn).await?;
        drop(conn);
        let (json, blocks_matter, beside) = match self {
            Self::Invoice { id, lease, resource } => {
                let row = read::invoice(&state.db, id).await?;
                let moves = |line: &db::invoice::PaymentLine| {
                    !matches!(line.state, PaymentState::Final | PaymentState::Replaced)
                };
                let blocks_matter = row.doc.payments.iter().any(moves);
                let lease = read::lease(&state.db, lease).await?.doc.announced.state;
                let beside = Beside::of(state, Some(lease), resource).await?;
                (text(&view::invoice(&row, &state.scene())), blocks_matter, beside)
            }
            Self::Lease { id, resource } => {
                let row = read::lease(&state.db, id).await?;
                let mut beside = Beside::of(state, None, resource).await?;
                let refunds = held::refunds(&state.db, id).await?;
                let told = |it: PayoutView| (it.amount_sat, it.state, it.waits_for, it.txid);
                beside.refunds = refunds.into_iter().map(told).collect();
                (text(&view::lease(&row, &state.scene())), false, beside)
            }
            Self::Resource { id } => {
                let found = read::resource(&state.db, id, state.clock.now()).await?;
                (text(&found), false, Beside::default())
            }
        };
        Ok(Picture { seq, json, blocks_matter, beside })
    }

    /// Whether something may have changed since event number `after`.
    async fn changed_since(&self, state: &HttpState, after: i64) -> Result<bool, AppError> {
        let lease = match self {
            Self::Invoice { lease, .. } => lease,
            Self::Lease { id, .. } => id,
            // It changes without events, too.
            Self::Resource { .. } => return Ok(true),
        };
        let mut conn = state.db.read().await?;
        Ok(db::event::newest_of_lease(&mut conn, lease).await? > after)
    }
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("views have string keys only")
}

/// An open stream.
struct Open {
    state: HttpState,
    shown: Shown,
    changes: Subscription,
    offer: Option<Subscription>,
    tip: watch::Receiver<u32>,
    /// What was sent last, in short.
    sent: Option<u64>,
    blocks_matter: bool,
    /// The first picture, read before the answer began.
    first: Option<Picture>,
    _place: Place,
}

async fn open(
    state: HttpState,
    source: Source,
    shown: Shown,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let place = state.streams.open(&source)?;
    // Followed before it is read: nothing falls in between.
    let (changes, tip) = (state.live.subscribe(shown.subject()), state.live.tip());
    let offer = shown.offer().map(|offer| state.live.subscribe(offer));
    let first = shown.picture(&state).await?;
    let known = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let sent = match known {
        // A number that is still to come is from another database. What is shut may not have been.
        Some(after) if after <= first.seq && !first.blocks_matter && !first.beside.is_shut() => {
            let changed = shown.changed_since(&state, after).await?;
            (!changed).then(|| first.hash())
        }
        _ => None,
    };
    let first = Some(first);
    let open = Open {
        state,
        shown,
        changes,
        offer,
        tip,
        sent,
        blocks_matter: false,
        first,
        _place: place,
    };
    let stream = unfold(open, |mut open| async move {
        let shutdown = open.state.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => None,
            event = open.next() => Some((Ok::<_, Infallible>(event?), open)),
        }
    });
    let stream = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // nginx would keep lines back.
    Ok(([("x-accel-buffering", "no")], stream).into_response())
}

impl Open {
    /// Waits for the next picture that differs from the last one sent. `None` when it cannot be
    /// read: the client connects again and says what it saw last.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let picture = match self.first.take() {
                Some(first) => first,
                None => {
                    self.wait().await;
                    let _turn = self.state.live.reading().await;
                    self.shown.picture(&self.state).await.ok()?
                }
            };
            self.changes.saw(picture.seq);
            self.blocks_matter = picture.blocks_matter;
            let hash = picture.hash();
            if self.sent != Some(hash) {
                self.sent = Some(hash);
                // Whoever connects again with no number is shown what is: no event tells that a
                // resource takes money again.
                let seq = (!picture.beside.is_shut()).then_some(picture.seq);
                let id = seq.map_or_else(String::new, |seq| seq.to_string());
                return Some(Event::default().id(id).data(picture.json));
            }
        }
    }

    async fn wait(&mut self) {
        let block = async {
            if !self.blocks_matter || self.tip.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let offer = async {
            match &mut self.offer {
                Some(offer) => offer.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.changes.changed() => {}
            () = offer => {}
            () = block => {}
        }
    }
}

/// An invoice at each change of it, of its lease's state and of whether its resource takes money, as a
/// stream of server-sent events.
#[utoipa::path(get, path = "/v1/invoices/{id}/events", tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id"),
        ("last-event-id" = Option<String>, Header, description = "The id of the last one seen")),
    responses((status = 200, description = "The invoice now and at each change; ids are numbers \
            of the event log, empty while the resource takes no money", content_type = "text/event-stream", body = SentEvent),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 429, description = "rate_limited: too many open streams", body = ProblemBody)))]
async fn invoice_events(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = read::invoice(&state.db, &id).await?;
    let (lease, resource) = (row.facts.lease.to_string(), row.resource);
    open(state, source, Shown::Invoice { id, lease, resource }, &headers).await
}

/// A lease at each change of it, of what goes back of it and of whether its resource takes money, as a
/// stream of server-sent events.
#[utoipa::path(get, path = "/v1/leases/{id}/events", tag = "leases",
    params(("id" = String, Path, description = "The lease's id"),
        ("last-event-id" = Option<String>, Header, description = "The id of the last one seen")),
    responses((status = 200, description = "The lease now and at each change; ids are numbers \
            of the event log, empty while the resource takes no money", content_type = "text/event-stream", body = SentEvent),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 429, description = "rate_limited: too many open streams", body = ProblemBody)))]
async fn lease_events(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let resource = read::lease(&state.db, &id).await?.facts.resource;
    open(state, source, Shown::Lease { id, resource }, &headers).await
}

/// A resource at each change, as a stream of server-sent events. It ends when the resource does.
#[utoipa::path(get, path = "/v1/resources/{id}/events", tag = "resources",
    params(("id" = String, Path, description = "The resource's id"),
        ("last-event-id" = Option<String>, Header, description = "The id of the last one seen")),
    responses((status = 200, description = "The resource now and at each change; ids are numbers \
            of the event log", content_type = "text/event-stream", body = SentEvent),
        (status = 404, description = "unknown_resource", body = ProblemBody),
        (status = 429, description = "rate_limited: too many open streams", body = ProblemBody)))]
async fn resource_events(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    open(state, source, Shown::Resource { id }, &headers).await
}
