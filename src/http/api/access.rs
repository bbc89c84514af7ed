//! Who may come in: the gate for proxies, token introspection, the published keys.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{Code, Refusal, read};
use crate::domain::bearer::Bearer;
use crate::domain::jwk::key_set;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, Expected, verify};
use crate::http::auth::{Operator, Scope, bearer};
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query, too_large};
use crate::http::{HttpState, Problem};
use crate::live::gate::Pass;

/// A node that has not heard of changes for so long does not let anybody in.
const MOST_STALE_S: u64 = 5;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(gate))
        .routes(routes!(introspect))
        .routes(routes!(published_keys))
}

/// The token's lease, if the token is right and the lease's time runs.
fn admitted(state: &HttpState, token: &str, resource: Option<&str>) -> Option<(Claims, Pass)> {
    let now = state.clock.now();
    let expected = Expected { issuer: None, resource };
    let claims = verify(token, &state.keys.published, expected, now).ok()?;
    let pass = state.live.gate.find(claims.sub.as_str(), now)?;
    let same = pass.generation == claims.generation && pass.resource == claims.aud;
    same.then_some((claims, pass))
}

#[derive(Deserialize, IntoParams)]
struct GateQuery {
    /// `402` tells a program what to pay and how, instead of 401.
    deny: Option<String>,
}

/// For proxies: 204 lets a request in.
#[utoipa::path(get, path = "/v1/gate/{resource}", tag = "access",
    params(("resource" = String, Path, description = "The resource's id"), GateQuery),
    responses((status = 204, description = "Let in; x-leasehold-lease, x-leasehold-expires"),
        (status = 401, description = "No right; Link: <checkout>; rel=\"payment\"",
            body = ProblemBody),
        (status = 402, description = "The same for programs: what to pay and how", body = Object),
        (status = 503, description = "not_ready: changes were not heard of", body = ProblemBody)))]
async fn gate(
    State(state): State<HttpState>,
    Path(resource): Path<String>,
    Query(query): Query<GateQuery>,
    parts: Parts,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let heard = state.live.gate.heard_at();
    if heard.is_none_or(|at| at.seconds_until(now) > MOST_STALE_S) {
        let detail = "this node has not heard of changes lately; try again";
        return Err(Refusal::new(Code::NotReady, detail).into());
    }
    let token = match bearer(&parts) {
        Ok(Some(Bearer::LeaseToken(token))) => Some(token),
        _ => None,
    };
    if let Some((claims, pass)) = token.and_then(|t| admitted(&state, t, Some(&resource))) {
        return Ok(let_in(&claims, &pass, now));
    }
    if query.deny.as_deref() == Some("402") {
        return payment_required(&state, &resource).await;
    }
    let detail = "present a lease token of this resource as Authorization: Bearer …";
    let mut response = Problem::from(Refusal::new(Code::Unauthorized, detail)).into_response();
    let checkout = checkout(&state, &resource);
    if let Ok(link) = HeaderValue::from_str(&format!("<{checkout}>; rel=\"payment\"")) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn checkout(state: &HttpState, resource: &str) -> String {
    format!("{}/resources/{resource}", state.shop.public_url)
}

fn let_in(claims: &Claims, pass: &Pass, now: Timestamp) -> Response {
    let expires = pass.paid_until.min(now.plus_s(pass.max_duration_s)).to_string();
    let headers = [("x-leasehold-lease", claims.sub.to_string()), ("x-leasehold-expires", expires)];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn payment_required(state: &HttpState, resource: &str) -> Result<Response, Problem> {
    let found = read::resources(&state.db, Some(resource)).await?.pop();
    let view = found.ok_or_else(Problem::internal)?;
    let base = &state.shop.public_url;
    let body = json!({
        "type": "/docs#payment_required",
        "title": "Payment Required",
        "status": 402,
        "detail": "ask for a lease, pay its invoice, present its token as Authorization: Bearer",
        "code": "payment_required",
        "price": view.price,
        "min_duration_s": view.min_duration_s,
        "links": {
            "quote": format!("{base}/v1/resources/{resource}/quote"),
            "request": format!("{base}/v1/leases"),
            "token": format!("{base}/v1/leases/{{id}}/token"),
            "checkout": checkout(state, resource),
        },
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    Ok((StatusCode::PAYMENT_REQUIRED, kind, body.to_string()).into_response())
}

/// What introspection answers (RFC 7662).
#[derive(Serialize, ToSchema)]
struct Introspection {
    /// Whether the token lets in now.
    active: bool,
    /// The claims of an active token.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    claims: Option<Value>,
}

/// What a lease token is worth now (RFC 7662). Needs an API key with scope `read`.
#[utoipa::path(post, path = "/v1/introspect", tag = "access",
    request_body(content = String, content_type = "application/x-www-form-urlencoded",
        description = "token=…"),
    responses((status = 200, description = "Active or not", body = Introspection),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody)))]
async fn introspect(
    State(state): State<HttpState>,
    operator: Operator,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Introspection>, Problem> {
    operator.may(Scope::Read)?;
    let body = body.map_err(too_large)?;
    let body = String::from_utf8_lossy(&body);
    let token = body.split('&').find_map(|pair| pair.strip_prefix("token="));
    let Some(token) = token else {
        let detail = "send token=… as application/x-www-form-urlencoded";
        return Err(Refusal::new(Code::InvalidRequest, detail).into());
    };
    let claims = admitted(&state, token, None).map(|(claims, _)| json!(claims));
    Ok(Json(Introspection { active: claims.is_some(), claims }))
}

/// The keys that lease tokens are verified with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "access",
    responses((status = 200, description = "A JWK set", body = Object)))]
async fn published_keys(State(state): State<HttpState>) -> Json<Value> {
    Json(key_set(&state.keys.published))
}
