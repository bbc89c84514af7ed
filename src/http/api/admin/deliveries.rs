//! Deliveries of events to endpoints: what came of them, and asking for one again.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::webhooks::by;
use crate::app::look::{self, DeliveryFilter};
use crate::app::view_webhook::{self, DeliveryLog, DeliveryView};
use crate::app::webhooks::Redeliver;
use crate::domain::webhook::DeliveryStatus;
use crate::http::api::page::{Limit, Listed};
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one)).routes(routes!(redeliver))
}

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct DeliveryQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Only to this endpoint.
    webhook: Option<String>,
    /// Only of this event: its id.
    event: Option<String>,
    /// Only with this status: `pending`, `delivered`, `failed`.
    #[param(value_type = Option<String>)]
    status: Option<DeliveryStatus>,
}

/// Deliveries, newest first; those that are done are kept for 30 days. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/deliveries", tag = "admin", params(DeliveryQuery),
    responses((status = 200, description = "A page of deliveries", body = Listed)))]
async fn list(
    State(state): State<HttpState>,
    operator: Operator,
    Query(query): Query<DeliveryQuery>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let DeliveryQuery { webhook, event, status, .. } = query;
    let filter = DeliveryFilter { webhook, status, ..DeliveryFilter::default() };
    let part = query.limit.after(query.cursor);
    let found = look::deliveries(&state.db, filter, event.as_deref(), &part).await?;
    Ok(Listed::new(found, |row| serde_json::json!(view_webhook::delivery(&row))))
}

/// One delivery with its attempts. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/deliveries/{id}", tag = "admin",
    params(("id" = String, Path, description = "The delivery's id")),
    responses((status = 200, description = "The delivery and its attempts", body = DeliveryLog)))]
async fn one(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<DeliveryLog>, Problem> {
    operator.may(Scope::Read)?;
    Ok(Json(look::delivery(&state.db, &id).await?))
}

/// Deliver one event again, with the same `webhook-id`. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/deliveries/{id}/redeliver", tag = "admin",
    params(("id" = String, Path, description = "The delivery's id")),
    responses((status = 200, description = "It is due; it waits while its endpoint is paused or \
            disabled", body = DeliveryView),
        (status = 409, description = "conflict: its endpoint was deleted", body = ProblemBody)))]
async fn redeliver(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<DeliveryView>, Problem> {
    operator.may(Scope::Manage)?;
    let row = state.db.write(Redeliver { id, by: by(&state, &operator) }).await?;
    Ok(Json(view_webhook::delivery(&row)))
}
