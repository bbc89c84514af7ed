//! Endpoints of operators that hear of events. A secret is shown when it is made, and never again.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::look;
use crate::app::view_webhook::EndpointView;
use crate::app::webhooks::{Act, ActOnWebhook, By, CreateWebhook, RedeliverSince, RotateWebhook};
use crate::app::{Code, Refusal};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Secret, Types};
use crate::http::api::page::{Listed, Page};
use crate::http::auth::{Operator, Scope};
use crate::http::create::Renewal;
use crate::http::error::ProblemBody;
use crate::http::json::{Body, Path, Query};
use crate::http::{HttpState, Problem};

const WEBHOOKS: &str = "/v1/admin/webhooks";
/// How long both secrets sign when nobody says: a day. The most is a week.
const OVERLAP_S: u64 = 86_400;
const MOST_OVERLAP_S: u64 = 7 * 86_400;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(one, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(rotate))
        .routes(routes!(test))
        .routes(routes!(redeliver))
}

/// Who changes something, now.
pub(super) fn by(state: &HttpState, operator: &Operator) -> By {
    By { actor: operator.name(), now: state.clock.now() }
}

/// A new endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhook {
    /// Where signed messages are sent by POST: https:// or http://, without user and password.
    url: String,
    /// Types of event, or groups of them such as `payment.*`. All when there are none.
    #[serde(default)]
    types: Vec<String>,
}

/// An endpoint with its new secret.
#[derive(Serialize, ToSchema)]
struct WithSecret {
    /// The endpoint.
    webhook: EndpointView,
    /// `whsec_…`: what its messages are signed with (Standard Webhooks). Shown this once.
    secret: String,
}

/// Endpoints, newest first. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/webhooks", tag = "admin", params(Page),
    responses((status = 200, description = "A page of endpoints", body = Listed)))]
async fn list(
    State(state): State<HttpState>,
    operator: Operator,
    Query(page): Query<Page>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let found = look::webhooks(&state.db, &page.limit.after(page.cursor)).await?;
    Ok(Listed::new(found, |row| serde_json::json!(row)))
}

/// Make an endpoint, which gets the events from now on as messages signed as Standard Webhooks
/// says. The secret is shown this once. Scope `admin`.
#[utoipa::path(post, path = "/v1/admin/webhooks", tag = "admin", request_body = NewWebhook,
    params(("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 201, description = "The endpoint and its secret", body = WithSecret),
        (status = 409, description = "conflict: there are enough", body = ProblemBody),
        (status = 422, description = "invalid_request: the URL is not allowed, or no event has \
            such a type; idempotency_key_reused", body = ProblemBody)))]
async fn create(
    State(state): State<HttpState>,
    operator: Operator,
    headers: HeaderMap,
    body: Body<NewWebhook>,
) -> Result<(StatusCode, Json<WithSecret>), Problem> {
    let NewWebhook { url, types } = body.value;
    let asked = (&headers, &*body.bytes);
    let (webhook, secret) = make(&state, &operator, asked, &url, &types).await?;
    Ok((StatusCode::CREATED, Json(WithSecret { webhook, secret })))
}

/// Makes an endpoint; the same again for the same Idempotency-Key and body. Its secret comes with
/// it.
pub(in crate::http) async fn make(
    state: &HttpState,
    operator: &Operator,
    (headers, body): (&HeaderMap, &[u8]),
    url: &str,
    types: &[String],
) -> Result<(EndpointView, String), Problem> {
    operator.may(Scope::Admin)?;
    let wrong = |pointer: &str, error: &dyn std::fmt::Display| {
        Refusal::field(Code::InvalidRequest, pointer, error.to_string())
    };
    let url = state.reach.check_url(url).map_err(|error| wrong("/url", &error))?;
    let types = Types::parse(types).map_err(|error| wrong("/types", &error))?;
    let (key, secret) = new_secret(state, headers, WEBHOOKS, operator, body)?;
    let shown = secret.reveal();
    let by = by(state, operator);
    let item = CreateWebhook { url: url.into(), types, secret, key, by };
    Ok((state.db.write(item).await?, shown))
}

/// The secret that a request makes: the same again for the same Idempotency-Key.
fn new_secret(
    state: &HttpState,
    headers: &HeaderMap,
    endpoint: &str,
    operator: &Operator,
    body: &[u8],
) -> Result<(Option<crate::app::idempotent::Key>, Secret), Problem> {
    let server = &state.keys.claim_secret;
    let made = Renewal::new(headers, endpoint, &operator.0.id, body, |origin, asked| {
        Secret::new(server.webhook_secret(endpoint, origin, asked)).reveal()
    })?;
    let secret = Secret::parse(&made.secret).ok_or_else(Problem::internal)?;
    Ok((made.key, secret))
}

/// One endpoint. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/webhooks/{id}", tag = "admin",
    params(("id" = String, Path, description = "The endpoint's id")),
    responses((status = 200, description = "The endpoint", body = EndpointView)))]
async fn one(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<EndpointView>, Problem> {
    operator.may(Scope::Read)?;
    Ok(Json(look::webhook(&state.db, &id).await?))
}

async fn act(
    state: &HttpState,
    operator: &Operator,
    id: String,
    act: Act,
) -> Result<(EndpointView, Option<String>), Problem> {
    let by = by(state, operator);
    Ok(state.db.write(ActOnWebhook { id, act, by }).await?)
}

/// Delete an endpoint. Its deliveries are shown for 30 days more. Scope `admin`.
#[utoipa::path(delete, path = "/v1/admin/webhooks/{id}", tag = "admin",
    params(("id" = String, Path, description = "The endpoint's id")),
    responses((status = 204, description = "It gets nothing more")))]
async fn delete(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    operator.may(Scope::Admin)?;
    act(&state, &operator, id, Act::Delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let an endpoint's events wait. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/webhooks/{id}/pause", tag = "admin",
    params(("id" = String, Path, description = "The endpoint's id")),
    responses((status = 200, description = "The endpoint", body = EndpointView)))]
async fn pause(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<EndpointView>, Problem> {
    operator.may(Scope::Manage)?;
    Ok(Json(act(&state, &operator, id, Act::Pause).await?.0))
}

/// Let a paused or disabled endpoint get its events again, those that wait at once. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/webhooks/{id}/resume", tag = "admin",
    params(("id" = String, Path, description = "The endpoint's id")),
    responses((status = 200, description = "The endpoint", body = EndpointView)))]
async fn resume(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<EndpointView>, Problem> {
    operator.may(Scope::Manage)?;
    Ok(Json(act(&state, &operator, id, Act::Resume).await?.0))
}

/// How to change a secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// How long messages are signed with the secret so far, too; a day if not given, 0 for not at
    /// all.
    #[schema(maximum = 604_800)]
    overlap_s: Option<u64>,
}

/// Give an endpoint another secret. For a while messages carry a signature by each. Scope `admin`.
#[utoipa::path(post, path = "/v1/admin/webhooks/{id}/rotate", tag = "admin",
    request_body = Rotation,
    params(("id" = String, Path, description = "The endpoint's id"),
        ("idempotency-key" = Option<String>, Header, description = "Ask twice, rotate once")),
    responses((status = 200, description = "The endpoint and its new secret", body = WithSecret)))]
async fn rotate(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<Rotation>,
) -> Result<Json<WithSecret>, Problem> {
    let overlap_s = body.value.overlap_s;
    let (webhook, secret) =
        renew(&state, &operator, (&headers, &body.bytes), id, overlap_s).await?;
    Ok(Json(WithSecret { webhook, secret }))
}

/// Gives an endpoint another secret; the same again for the same Idempotency-Key and body.
pub(in crate::http) async fn renew(
    state: &HttpState,
    operator: &Operator,
    (headers, body): (&HeaderMap, &[u8]),
    id: String,
    overlap_s: Option<u64>,
) -> Result<(EndpointView, String), Problem> {
    operator.may(Scope::Admin)?;
    let overlap_s = overlap_s.unwrap_or(OVERLAP_S);
    if overlap_s > MOST_OVERLAP_S {
        let detail = format!("at most {MOST_OVERLAP_S} seconds, a week");
        return Err(Refusal::field(Code::InvalidRequest, "/overlap_s", detail).into());
    }
    let path = format!("{WEBHOOKS}/{id}/rotate");
    let (key, secret) = new_secret(state, headers, &path, operator, body)?;
    let shown = secret.reveal();
    let by = by(state, operator);
    let webhook = state.db.write(RotateWebhook { id, secret, overlap_s, key, by }).await?;
    Ok((webhook, shown))
}

/// What was made to try an endpoint.
#[derive(Serialize, ToSchema)]
struct Tried {
    /// The endpoint.
    webhook: EndpointView,
    /// The id of the event, of type `webhook.test`; look for its delivery.
    event: String,
}

/// Try an endpoint: it gets an event of type `webhook.test`, and nobody else does. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/webhooks/{id}/test", tag = "admin",
    params(("id" = String, Path, description = "The endpoint's id")),
    responses((status = 202, description = "It is on its way", body = Tried),
        (status = 409, description = "conflict: it is not active", body = ProblemBody)))]
async fn test(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Tried>), Problem> {
    operator.may(Scope::Manage)?;
    let (webhook, event) = act(&state, &operator, id, Act::Test).await?;
    let event = event.ok_or_else(Problem::internal)?;
    Ok((StatusCode::ACCEPTED, Json(Tried { webhook, event })))
}

/// From when on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Since {
    /// Events that happened then or later (RFC 3339) are delivered again.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// Deliver all events since a time again, also those that were delivered or given up. Scope
/// `manage`.
#[utoipa::path(post, path = "/v1/admin/webhooks/{id}/redeliver", tag = "admin",
    request_body = Since,
    params(("id" = String, Path, description = "The endpoint's id")),
    responses((status = 200, description = "The endpoint; looked_at_seq says from where on",
        body = EndpointView)))]
async fn redeliver(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
    body: Body<Since>,
) -> Result<Json<EndpointView>, Problem> {
    operator.may(Scope::Manage)?;
    let (since, by) = (body.value.since, by(&state, &operator));
    Ok(Json(state.db.write(RedeliverSince { id, since, by }).await?))
}
