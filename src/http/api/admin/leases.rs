//! Leases and invoices for operators.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::look::{self, Filter};
use crate::app::view::{self, LeaseView};
use crate::app::{Code, Refusal, read};
use crate::domain::ids::LeaseId;
use crate::domain::invoice::InvoiceStatus;
use crate::domain::lease::snapshot::LeaseState;
use crate::http::api::page::{Limit, Listed};
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(leases))
        .routes(routes!(lease))
        .routes(routes!(suspend))
        .routes(routes!(resume))
        .routes(routes!(revoke))
        .routes(routes!(invoices))
        .routes(routes!(invoice))
}

/// Which leases.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct LeaseQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Only in this state: `unfunded`, `provisioning`, `active`, `grace`, `ended`, `suspended`.
    #[param(value_type = Option<String>)]
    state: Option<LeaseState>,
    /// Only of this resource.
    resource: Option<String>,
}

/// Leases, newest first. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/leases", tag = "admin", params(LeaseQuery),
    responses((status = 200, description = "A page of leases", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn leases(
    State(state): State<HttpState>,
    operator: Operator,
    Query(query): Query<LeaseQuery>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let filter = Filter {
        state: query.state.map(|state| state.as_str().to_owned()),
        resource: query.resource,
        before: None,
    };
    let part = query.limit.after(query.cursor);
    let found = look::leases(&state.db, filter, &part).await?;
    let scene = state.scene();
    Ok(Listed::new(found, |row| json!(view::lease(&row, &scene))))
}

/// A lease with its parameters, its invoices and everything that happened. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/leases/{id}", tag = "admin",
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = Object),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn lease(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Read)?;
    let row = read::lease(&state.db, &id).await?;
    let (entries, invoices) = look::of_lease(&state.db, &row.facts.id).await?;
    let scene = state.scene();
    let mut body = json!(view::lease(&row, &scene));
    body["params"] = json!(row.params);
    body["invoices"] =
        invoices.iter().map(|invoice| json!(view::invoice(invoice, &scene))).collect();
    body["entries"] = entries.iter().map(|entry| json!(view::entry(entry))).collect();
    Ok(Json(body))
}

async fn act(
    state: &HttpState,
    operator: &Operator,
    id: &str,
    action: Action,
) -> Result<Json<LeaseView>, Problem> {
    operator.may(Scope::Manage)?;
    let unknown = || Refusal::new(Code::NotFound, format!("there is no lease {id}"));
    let lease = LeaseId::parse(id).ok_or_else(unknown)?;
    let actor = Some(operator.name());
    let row = state.db.write(ActOnLease { ground: state.ground(), lease, action, actor }).await?;
    state.live.caught_up().await;
    Ok(Json(view::lease(&row, &state.scene())))
}

/// Stop a lease; its time stands still. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/leases/{id}/suspend", tag = "admin",
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = LeaseView),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "lease_ended", body = ProblemBody)))]
async fn suspend(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<LeaseView>, Problem> {
    act(&state, &operator, &id, Action::Suspend).await
}

/// Let a suspended lease go on. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/leases/{id}/resume", tag = "admin",
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = LeaseView),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "lease_ended", body = ProblemBody)))]
async fn resume(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<LeaseView>, Problem> {
    act(&state, &operator, &id, Action::Resume).await
}

/// End a lease; what is unused can be refunded. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/leases/{id}/revoke", tag = "admin",
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = LeaseView),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn revoke(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<LeaseView>, Problem> {
    act(&state, &operator, &id, Action::Revoke).await
}

/// Which invoices.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct InvoiceQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Only with this status: `open`, `confirming`, `settled`, `expired`, `cancelled`.
    #[param(value_type = Option<String>)]
    state: Option<InvoiceStatus>,
    /// Only of this resource.
    resource: Option<String>,
}

/// Invoices, newest first. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/invoices", tag = "admin", params(InvoiceQuery),
    responses((status = 200, description = "A page of invoices", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn invoices(
    State(state): State<HttpState>,
    operator: Operator,
    Query(query): Query<InvoiceQuery>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let filter = Filter {
        state: query.state.map(|state| state.as_str().to_owned()),
        resource: query.resource,
        before: None,
    };
    let part = query.limit.after(query.cursor);
    let found = look::invoices(&state.db, filter, &part).await?;
    let scene = state.scene();
    Ok(Listed::new(found, |row| json!(view::invoice(&row, &scene))))
}

/// One invoice. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/invoices/{id}", tag = "admin",
    params(("id" = String, Path, description = "The invoice's id")),
    responses((status = 200, description = "The invoice", body = view::InvoiceView),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn invoice(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Read)?;
    let row = read::invoice(&state.db, &id).await?;
    let mut body = json!(view::invoice(&row, &state.scene()));
    body["refund_address"] = json!(row.refund_address);
    Ok(Json(body))
}
