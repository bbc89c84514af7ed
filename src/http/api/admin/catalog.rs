//! The catalogue and its resources, for operators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::apply_catalog::{ApplyCatalog, Change, Fate};
use crate::app::look;
use crate::app::operate::PauseResource;
use crate::app::{Code, Refusal};
use crate::db::terms::Resource;
use crate::domain::resource::Terms;
use crate::http::api::page::{Listed, Page};
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query, Toml};
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, apply))
        .routes(routes!(difference))
        .routes(routes!(one))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// The terms that hold now, in the catalogue's order, retired resources included. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/catalog", tag = "admin", params(Page),
    responses((status = 200, description = "A page of the catalogue", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn list(
    State(state): State<HttpState>,
    operator: Operator,
    Query(page): Query<Page>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let found = look::catalog(&state.db, &page.limit.after(page.cursor)).await?;
    Ok(Listed::new(found, |resource| in_force(&resource)))
}

fn in_force(resource: &Resource) -> Value {
    json!({
        "id": resource.id,
        "version": resource.terms.version,
        "since_at": resource.terms.created_at,
        "paused_at": resource.paused_at,
        "retired_at": resource.retired_at,
        "terms": resource.terms.terms,
    })
}

/// One resource as in the catalogue, retired or not, with its `units`: the state of each (`free`, or
/// what takes it), the lease that has it, and whether it is still `offered`. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/resources/{id}", tag = "admin",
    params(("id" = String, Path, description = "The resource's id")),
    responses((status = 200, description = "The resource and its units", body = Object),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 404, description = "unknown_resource", body = ProblemBody)))]
async fn one(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Read)?;
    let (resource, units) = look::resource(&state.db, &id).await?;
    let mut shown = in_force(&resource);
    shown["units"] = json!(units);
    Ok(Json(shown))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct HowToApply {
    /// Only tell what would change.
    #[serde(default)]
    dry_run: bool,
    /// Only if it is still what was looked at: `hash` of a dry run or of
    /// `/v1/admin/catalog/difference`.
    expect: Option<String>,
}

fn show(change: &Change) -> Value {
    let (fate, differences) = match (&change.fate, &change.terms) {
        (Fate::Added, _) => ("added", Vec::new()),
        (Fate::Same, _) => ("same", Vec::new()),
        (Fate::Retired, _) => ("retired", Vec::new()),
        (Fate::Changed { old }, Some(new)) => ("changed", Terms::difference(old, new)),
        (Fate::Changed { .. }, None) => ("changed", Vec::new()),
    };
    let differences: Vec<Value> = differences
        .iter()
        .map(|one| json!({ "key": one.key, "old": one.old, "new": one.new }))
        .collect();
    json!({ "resource": change.resource, "fate": fate, "differences": differences })
}

/// What the catalogue file of this server says now.
///
/// # Errors
/// What is wrong with it.
pub(in crate::http) async fn read_file(state: &HttpState) -> Result<Vec<Terms>, Refusal> {
    let wrong = |detail: String| Refusal::new(Code::InvalidRequest, detail);
    let place = state.catalog.display().to_string();
    let text = tokio::fs::read_to_string(&*state.catalog).await;
    let text = text.map_err(|error| wrong(format!("{place}: {error}")))?;
    let catalog = crate::catalog::parse(&place, &text);
    catalog.map_err(|problems| wrong(problems.to_string()))
}

/// What applying the server's own catalogue file would change. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/catalog/difference", tag = "admin",
    responses((status = 200, description = "{changes, hash}", body = Object),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request: what is wrong with the file",
            body = ProblemBody)))]
async fn difference(
    State(state): State<HttpState>,
    operator: Operator,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Read)?;
    let found = look::difference(&state.db, &read_file(&state).await?).await?;
    let changes: Vec<Value> = found.changes.iter().map(show).collect();
    Ok(Json(json!({ "changes": changes, "hash": found.hash })))
}

/// Apply a catalogue, sent as TOML. Scope `admin`.
#[utoipa::path(post, path = "/v1/admin/catalog", tag = "admin", params(HowToApply),
    request_body(content = String, content_type = "application/toml", description = "catalog.toml"),
    responses((status = 200, description = "{changes, hash, dry_run}", body = Object),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 409, description = "conflict: it is not what was looked at any more",
            body = ProblemBody),
        (status = 413, description = "payload_too_large", body = ProblemBody),
        (status = 415, description = "unsupported_media_type", body = ProblemBody),
        (status = 422, description = "invalid_request: what is wrong with it",
            body = ProblemBody)))]
async fn apply(
    State(state): State<HttpState>,
    operator: Operator,
    Query(how): Query<HowToApply>,
    Toml(text): Toml,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Admin)?;
    let catalog = crate::catalog::parse("the catalogue", &text)
        .map_err(|problems| Refusal::new(Code::InvalidRequest, problems.to_string()))?;
    let item = ApplyCatalog {
        catalog,
        now: state.clock.now(),
        actor: Some(operator.name()),
        dry_run: how.dry_run,
        expect: how.expect,
    };
    let found = state.db.write(item).await?;
    let changes: Vec<Value> = found.changes.iter().map(show).collect();
    Ok(Json(json!({ "changes": changes, "hash": found.hash, "dry_run": how.dry_run })))
}

async fn set_paused(
    state: &HttpState,
    operator: &Operator,
    resource: String,
    pause: bool,
) -> Result<StatusCode, Problem> {
    operator.may(Scope::Manage)?;
    let actor = operator.name();
    state.db.write(PauseResource { ground: state.ground(), resource, pause, actor }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take no money for a resource; running leases go on. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/resources/{id}/pause", tag = "admin",
    params(("id" = String, Path, description = "The resource's id")),
    responses((status = 204, description = "It is paused"),
        (status = 404, description = "unknown_resource", body = ProblemBody)))]
async fn pause(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    set_paused(&state, &operator, id, true).await
}

/// Take money for a resource again. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/resources/{id}/resume", tag = "admin",
    params(("id" = String, Path, description = "The resource's id")),
    responses((status = 204, description = "It takes money"),
        (status = 404, description = "unknown_resource", body = ProblemBody)))]
async fn resume(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    set_paused(&state, &operator, id, false).await
}
