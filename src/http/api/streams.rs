//! Streams of server-sent events: the object at each change. They stay open, so they stand
//! outside the time-outs; they end when the server does.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{read, view};
use crate::db;
use crate::http::error::ProblemBody;
use crate::http::json::Path;
use crate::http::{HttpState, Problem};
use crate::live::Subscription;

/// The routes.
pub fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(invoice_events))
        .routes(routes!(lease_events))
        .routes(routes!(resource_events))
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

/// An invoice at each change, as a stream of server-sent events.
#[utoipa::path(get, path = "/v1/invoices/{id}/events", tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id"),
        ("last-event-id" = Option<String>, Header, description = "The last id that was seen")),
    responses((status = 200, description = "The object now and at each change, its seq as id",
            content_type = "text/event-stream", body = String),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn invoice_events(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    open(state, Kind::Invoice, id, headers).await
}

/// A lease at each change, as a stream of server-sent events.
#[utoipa::path(get, path = "/v1/leases/{id}/events", tag = "leases",
    params(("id" = String, Path, description = "The lease's id"),
        ("last-event-id" = Option<String>, Header, description = "The last id that was seen")),
    responses((status = 200, description = "The object now and at each change, its seq as id",
            content_type = "text/event-stream", body = String),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn lease_events(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    open(state, Kind::Lease, id, headers).await
}

/// A resource at each change, as a stream of server-sent events.
#[utoipa::path(get, path = "/v1/resources/{id}/events", tag = "resources",
    params(("id" = String, Path, description = "The resource's id"),
        ("last-event-id" = Option<String>, Header, description = "The last id that was seen")),
    responses((status = 200, description = "The object now and at each change, its seq as id",
            content_type = "text/event-stream", body = String),
        (status = 404, description = "unknown_resource", body = ProblemBody)))]
async fn resource_events(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    open(state, Kind::Resource, id, headers).await
}
