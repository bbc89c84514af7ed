//! Reading blocks again, for operators: ask for it, watch it.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::stream::unfold;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::rescan::{AskRescan, Progress};
use crate::http::api::streams::SentEvent;
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::Body;
use crate::http::source::Source;
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(progress, start))
}

/// The part that stays open.
pub fn stream() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(events))
}

/// From where on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRescan {
    /// The first block to read again.
    from_height: u32,
}

/// Read blocks again, up to the tip, for payments that were missed. Scope `admin`.
#[utoipa::path(post, path = "/v1/admin/rescan", tag = "admin", request_body = NewRescan,
    responses((status = 202, description = "It will begin", body = Progress),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 422, description = "invalid_request: from_height is above the tip",
            body = ProblemBody),
        (status = 503, description = "not_ready: one is under way", body = ProblemBody)))]
async fn start(
    State(state): State<HttpState>,
    operator: Operator,
    body: Body<NewRescan>,
) -> Result<(StatusCode, Json<Progress>), Problem> {
    operator.may(Scope::Admin)?;
    let from_height = body.value.from_height;
    let turn = state.rescan.reserve()?;
    let item = AskRescan { from_height, now: state.clock.now(), actor: operator.name() };
    let to_height = state.db.write(item).await?;
    turn.start(from_height, to_height);
    Ok((StatusCode::ACCEPTED, Json(state.rescan.progress().borrow().clone())))
}

/// How far the last rescan of this node is. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/rescan", tag = "admin",
    responses((status = 200, description = "How far it is", body = Progress),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody)))]
async fn progress(
    State(state): State<HttpState>,
    operator: Operator,
) -> Result<Json<Progress>, Problem> {
    operator.may(Scope::Read)?;
    Ok(Json(state.rescan.progress().borrow().clone()))
}

/// The progress of a rescan as server-sent events. Ends with it. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/rescan/events", tag = "admin",
    responses((status = 200, description = "How far it is, now and at each step",
            content_type = "text/event-stream", body = SentEvent),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 429, description = "rate_limited: too many open streams", body = ProblemBody)))]
async fn events(
    State(state): State<HttpState>,
    operator: Operator,
    source: Source,
) -> Result<Response, Problem> {
    operator.may(Scope::Read)?;
    let place = state.streams.open(&source)?;
    let mut progress = state.rescan.progress();
    progress.mark_changed();
    let shutdown = state.shutdown.clone();
    let stream = unfold(Some((progress, place)), move |open| {
        let shutdown = shutdown.clone();
        async move {
            let (mut progress, place) = open?;
            tokio::select! {
                () = shutdown.cancelled() => return None,
                changed = progress.changed() => changed.ok()?,
            }
            let now = progress.borrow_and_update().clone();
            let text = serde_json::to_string(&now).expect("names and numbers serialize");
            let next = (!now.is_over()).then_some((progress, place));
            Some((Ok::<_, Infallible>(Event::default().data(text)), next))
        }
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    let stream = Sse::new(stream).keep_alive(keep_alive);
    Ok(([("x-accel-buffering", "no")], stream).into_response())
}
