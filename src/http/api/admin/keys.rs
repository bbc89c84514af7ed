//! API keys for operators.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::api_keys::{CreateKey, RevokeKey};
use crate::app::look;
use crate::app::{Code, Refusal};
use crate::db::api_key::ApiKey;
use crate::domain::bearer::token_hash;
use crate::http::api::page::{Listed, Page};
use crate::http::auth::{Operator, SCOPES, Scope};
use crate::http::create::Renewal;
use crate::http::error::ProblemBody;
use crate::http::json::{Body, Path, Query};
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(one)).routes(routes!(revoke))
}

const KEYS: &str = "/v1/admin/keys";

fn show(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes.split(' ').collect::<Vec<_>>(),
        "created_at": key.created_at,
        "used_at": key.used_at,
        "revoked_at": key.revoked_at,
    })
}

/// Keys, newest first. Scope `admin`.
#[utoipa::path(get, path = "/v1/admin/keys", tag = "admin", params(Page),
    responses((status = 200, description = "A page of keys", body = Listed),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn list(
    State(state): State<HttpState>,
    operator: Operator,
    Query(page): Query<Page>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Admin)?;
    let found = look::keys(&state.db, &page.limit.after(page.cursor)).await?;
    Ok(Listed::new(found, |key| show(&key)))
}

/// One key, revoked or not. Scope `admin`.
#[utoipa::path(get, path = "/v1/admin/keys/{id}", tag = "admin",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, description = "The key", body = Object),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn one(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Admin)?;
    Ok(Json(show(&look::key(&state.db, &id).await?)))
}

/// A new key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// A name for people, 1 to 100 characters.
    name: String,
    /// Some of `read`, `manage`, `payout`, `admin`.
    scopes: Vec<String>,
}

/// Make a key. The token is shown this once. Scope `admin`.
#[utoipa::path(post, path = "/v1/admin/keys", tag = "admin", request_body = NewKey,
    params(("idempotency-key" = Option<String>, Header, description = "Ask twice, create once")),
    responses((status = 201, description = "{key, token}", body = Object),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn create(
    State(state): State<HttpState>,
    operator: Operator,
    headers: HeaderMap,
    body: Body<NewKey>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let NewKey { name, scopes } = body.value;
    let (key, token) = make(&state, &operator, (&headers, &body.bytes), name, &scopes).await?;
    Ok((StatusCode::CREATED, Json(json!({ "key": show(&key), "token": token }))))
}

/// Makes a key; the same again for the same Idempotency-Key and body. Its token comes with it.
pub(in crate::http) async fn make(
    state: &HttpState,
    operator: &Operator,
    (headers, body): (&HeaderMap, &[u8]),
    name: String,
    scopes: &[String],
) -> Result<(ApiKey, String), Problem> {
    operator.may(Scope::Admin)?;
    let known = scopes.iter().all(|scope| SCOPES.contains(&scope.as_str()));
    if scopes.is_empty() || !known {
        let detail = format!("give some of {}", SCOPES.join(", "));
        return Err(Refusal::field(Code::InvalidRequest, "/scopes", detail).into());
    }
    if name.trim().is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        let detail = "give a name of 1 to 100 characters, none of them a control character";
        return Err(Refusal::field(Code::InvalidRequest, "/name", detail).into());
    }
    let secret = &state.keys.claim_secret;
    let made = Renewal::new(headers, KEYS, &operator.0.id, body, |origin, asked| {
        secret.api_key(KEYS, origin, asked)
    })?;
    let token = made.secret;
    let item = CreateKey {
        name,
        scopes: scopes.join(" "),
        token_hash: token_hash(&token),
        key: made.key,
        now: state.clock.now(),
        actor: operator.name(),
    };
    Ok((state.db.write(item).await?, token))
}

/// Revoke a key. Scope `admin`.
#[utoipa::path(post, path = "/v1/admin/keys/{id}/revoke", tag = "admin",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "It is refused from now on"),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn revoke(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    operator.may(Scope::Admin)?;
    let item = RevokeKey { id, now: state.clock.now(), actor: operator.name() };
    state.db.write(item).await?;
    Ok(StatusCode::NO_CONTENT)
}
