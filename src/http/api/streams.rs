//! Streams of server-sent events: the object at each change. They stay open, so they stand
//! outside the time-outs; they end when the server does.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::get;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::{Value, json};

use crate::app::{read, view};
use crate::db;
use crate::http::json::Path;
use crate::http::{HttpState, Problem};
use crate::live::Subscription;

/// The routes.
pub fn router() -> Router<HttpState> {
    Router::new()
        .route("/v1/invoices/{id}/events", get(invoice))
        .route("/v1/leases/{id}/events", get(lease))
        .route("/v1/resources/{id}/events", get(resource))
}

/// What is shown.
#[derive(Clone, Copy)]
enum Kind {
    Invoice,
    Lease,
    Resource,
}

/// An open stream.
struct Open {
    state: HttpState,
    kind: Kind,
    id: String,
    changes: Subscription,
    shown: Option<u64>,
}

/// An object with the number of its last change.
async fn object(state: &HttpState, kind: Kind, id: &str) -> Result<(u64, Value), Problem> {
    match kind {
        Kind::Invoice => {
            let row = read::invoice(&state.db, id).await?;
            Ok((row.seq, json!(view::invoice(&row, &state.scene()))))
        }
        Kind::Lease => {
            let row = read::lease(&state.db, id).await?;
            Ok((row.seq, json!(view::lease(&row, &state.scene()))))
        }
        Kind::Resource => {
            let mut conn = state.db.read().await?;
            let seq = db::event::last_seq(&mut conn).await?;
            drop(conn);
            let found = read::resources(&state.db, Some(id)).await?;
            Ok((u64::try_from(seq).unwrap_or(0), json!(found.first())))
        }
    }
}

async fn open(
    state: HttpState,
    kind: Kind,
    id: String,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    // Subscribed before it is read: nothing falls in between.
    let changes = state.live.subscribe(&id);
    object(&state, kind, &id).await?;
    let shown = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let shutdown = state.shutdown.clone();
    let stream = unfold(Open { state, kind, id, changes, shown }, move |open| {
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                () = shutdown.cancelled() => None,
                next = next(open) => next,
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// Waits for the next state that was not shown.
async fn next(mut open: Open) -> Option<(Result<Event, Infallible>, Open)> {
    loop {
        let (seq, value) = object(&open.state, open.kind, &open.id).await.ok()?;
        if open.shown != Some(seq) {
            open.shown = Some(seq);
            let event = Event::default().id(seq.to_string()).data(value.to_string());
            return Some((Ok(event), open));
        }
        open.changes.changed().await;
    }
}

async fn invoice(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    open(state, Kind::Invoice, id, headers).await
}

async fn lease(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    open(state, Kind::Lease, id, headers).await
}

async fn resource(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    open(state, Kind::Resource, id, headers).await
}
