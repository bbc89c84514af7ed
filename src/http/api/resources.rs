//! What is offered, what it costs, and where its money is. For anybody.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::app::AppError;
use crate::app::read::{self, QuoteView, ResourceView};
use crate::db;
use crate::http::error::ProblemBody;
use crate::http::fresh::Accounts;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};

/// How long accounts are good for while nothing is booked, in milliseconds.
const ACCOUNTS_KEPT_MS: i64 = 1000;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(quote))
        .routes(routes!(accounts))
}

/// A page of what is offered.
#[derive(Serialize, ToSchema)]
struct ResourceList {
    items: Vec<ResourceView>,
    /// Ask with it for what follows; `null` at the end.
    next_cursor: Option<String>,
}

/// What is offered, in the catalogue's order.
#[utoipa::path(get, path = "/v1/resources", tag = "resources", params(Page),
    responses((status = 200, description = "Every resource that is offered", body = ResourceList),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn list(
    State(state): State<HttpState>,
    Query(page): Query<Page>,
) -> Result<Json<ResourceList>, Problem> {
    let resources = read::resources(&state.db, state.clock.now()).await?;
    let part = page.limit.after(page.cursor);
    let listing = part.named(resources, |resource| &resource.id)?;
    Ok(Json(ResourceList { items: listing.rows, next_cursor: listing.next }))
}

/// One resource.
#[utoipa::path(get, path = "/v1/resources/{id}", tag = "resources",
    params(("id" = String, Path, description = "The resource's id")),
    responses((status = 200, description = "The resource", body = ResourceView),
        (status = 404, description = "unknown_resource", body = ProblemBody)))]
async fn one(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<ResourceView>, Problem> {
    Ok(Json(read::resource(&state.db, &id, state.clock.now()).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct QuoteQuery {
    /// How long, in seconds.
    duration_s: u64,
}

/// What a duration costs. Creates nothing.
#[utoipa::path(get, path = "/v1/resources/{id}/quote", tag = "resources",
    params(("id" = String, Path, description = "The resource's id"), QuoteQuery),
    responses((status = 200, description = "The quote", body = QuoteView),
        (status = 404, description = "unknown_resource", body = ProblemBody),
        (status = 422, description = "duration_out_of_range", body = ProblemBody)))]
async fn quote(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<QuoteQuery>,
) -> Result<Json<QuoteView>, Problem> {
    Ok(Json(read::quote(&state.db, (&state.shop, state.clock.now()), &id, query.duration_s).await?))
}

/// Where a resource's money is: received + lost = the sum of all other places.
#[utoipa::path(get, path = "/v1/resources/{id}/accounts", tag = "resources",
    params(("id" = String, Path, description = "The resource's id")),
    responses((status = 200, description = "Satoshis by place", body = Object),
        (status = 404, description = "unknown_resource", body = ProblemBody)))]
async fn accounts(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut conn = state.db.read().await?;
    // A retired one, too: its running leases go on, and anyone can check the books.
    if db::terms::find(&mut conn, &id).await?.is_none() {
        return Err(read::unknown_resource(&id).into());
    }
    let sums = db::ledger::sums(&mut conn, Some(&id)).await?;
    drop(conn);
    // How much of the prepaid time elapsed is asked of every running lease.
    let now = state.clock.now();
    let compute = async {
        let answer = read::accounts(&state.db, &id, now).await?;
        Ok::<_, AppError>((sums.clone(), answer))
    };
    let same = |kept: &Accounts| kept.0 == sums;
    let kept = state.kept.accounts.get(&id, (now, ACCOUNTS_KEPT_MS), same, compute).await?;
    Ok(Json(kept.1))
}
