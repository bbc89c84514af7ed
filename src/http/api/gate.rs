//! The gate: a proxy asks whether a request may pass (nginx `auth_request`, Caddy `forward_auth`,
//! Traefik `forwardAuth`). Answered from memory; only `?deny=402` reads the price, once a second.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::read::{self, PriceView};
use crate::app::{Code, Refusal};
use crate::db;
use crate::domain::bearer::Bearer;
use crate::http::auth::bearer;
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};
use crate::live::gate::{Closed, Pass};

/// How long prices are good for, in milliseconds: a site's every visitor may be refused with one.
const OFFERED_KEPT_MS: i64 = 1000;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(gate))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct GateQuery {
    /// How to refuse: `401`, or `402`, which tells programs what to pay and how.
    deny: Option<u16>,
}

/// Where to get in by paying.
#[derive(Serialize, ToSchema)]
struct PaymentLinks {
    /// A page for people.
    checkout: String,
    /// What a duration costs: `?duration_s=`.
    quote: String,
    /// POST `{resource, duration_s}`: a lease, an invoice to pay, a claim token.
    request: String,
    /// POST with the claim token once the lease is active: the token to come back with.
    token: String,
}

/// What to pay and how: a problem document (RFC 9457) with more.
#[derive(Serialize, ToSchema)]
struct PaymentRequired {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// How to get in.
    detail: &'static str,
    /// `payment_required`.
    code: &'static str,
    /// The resource's id.
    resource: String,
    /// What time costs.
    price: PriceView,
    /// The shortest lease.
    min_duration_s: u64,
    /// The longest that can be used at a time.
    max_duration_s: u64,
    /// Where.
    links: PaymentLinks,
}

/// For proxies: whether the bearer of a lease token may use a resource now.
#[utoipa::path(get, path = "/v1/gate/{resource}", tag = "access",
    security((), ("lease_token" = [])),
    params(("resource" = String, Path, description = "The resource's id"), GateQuery),
    responses((status = 204, description = "May pass", headers(
            ("x-leasehold-lease" = String, description = "The lease"),
            ("x-leasehold-expires" = String, description = "Until when it can be used"))),
        (status = 401, description = "unauthorized: may not", body = ProblemBody, headers(
            ("link" = String, description = "<checkout>; rel=\"payment\""))),
        (status = 402, description = "The same with `?deny=402`: what to pay and how",
            body = PaymentRequired, content_type = "application/problem+json"),
        (status = 404, description = "unknown_resource", body = ProblemBody),
        (status = 422, description = "invalid_request: another `deny`", body = ProblemBody),
        (status = 503, description = "not_ready: changes were not heard of", body = ProblemBody)))]
async fn gate(
    State(state): State<HttpState>,
    Path(resource): Path<String>,
    Query(query): Query<GateQuery>,
    parts: Parts,
) -> Result<Response, Problem> {
    if let Some(other) = query.deny.filter(|deny| !matches!(deny, 401 | 402)) {
        let detail = format!("deny is {other}; allowed are 401 and 402");
        return Err(Refusal::field(Code::InvalidRequest, "/deny", detail).into());
    }
    // What belongs to the guarded site itself, such as Basic, is no lease token.
    let token = match bearer(&parts) {
        Ok(Some(Bearer::LeaseToken(token))) => Some(token),
        _ => None,
    };
    let gate = state.live.gate();
    let checked = match token {
        Some(token) => {
            let now = state.clock.now();
            gate.check(Some(&resource), token, &state.keys.published, now).map(Some)
        }
        None => gate.knows(Some(&resource)).map(|()| None),
    };
    let why = match checked {
        Ok(Some(pass)) => return Ok(may_pass(&pass)),
        Ok(None) => None,
        Err(Closed::Deaf) => {
            return Err(Refusal::new(Code::NotReady, Closed::Deaf.to_string()).into());
        }
        Err(Closed::UnknownResource) => {
            let detail = format!("there is no resource \"{resource}\"");
            return Err(Refusal::new(Code::UnknownResource, detail).into());
        }
        Err(why) => Some(why),
    };
    let mut response = match query.deny {
        Some(402) => payment_required(&state, &resource).await?,
        _ => unauthorized(why),
    };
    let checkout = checkout(&state, &resource);
    if let Ok(link) = HeaderValue::from_str(&format!("<{checkout}>; rel=\"payment\"")) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn may_pass(pass: &Pass) -> Response {
    let headers = [
        ("x-leasehold-lease", pass.claims.sub.to_string()),
        ("x-leasehold-expires", pass.expires_at.to_string()),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn unauthorized(why: Option<Closed>) -> Response {
    let problem = |detail: String| Problem::from(Refusal::new(Code::Unauthorized, detail));
    match why {
        Some(why) => problem(why.to_string()).bad_token(),
        None => problem("send a lease token as Authorization: Bearer …".into()),
    }
    .into_response()
}

fn checkout(state: &HttpState, resource: &str) -> String {
    format!("{}/resources/{resource}", state.shop.public_url)
}

async fn payment_required(state: &HttpState, resource: &str) -> Result<Response, Problem> {
    let list = async { db::terms::list(&mut state.db.read().await?).await };
    let when = (state.clock.now(), OFFERED_KEPT_MS);
    let offered = state.kept.offered.get("", when, |_| true, list).await?;
    let offered = offered.into_iter().filter(|one| one.retired_at.is_none());
    let found = offered.map(|one| one.terms.terms).find(|terms| terms.id == resource);
    let terms = found.ok_or_else(|| read::unknown_resource(resource))?;
    let base = &state.shop.public_url;
    let body = PaymentRequired {
        kind: "/docs#payment_required",
        title: "Payment Required",
        status: 402,
        detail: "ask for a lease, pay its invoice, and come back with the lease's token as \
            Authorization: Bearer",
        code: "payment_required",
        resource: resource.to_owned(),
        price: PriceView { sat: terms.price.sat, per_s: terms.price.per_s },
        min_duration_s: terms.min_duration_s,
        max_duration_s: terms.max_duration_s,
        links: PaymentLinks {
            checkout: checkout(state, resource),
            quote: format!("{base}/v1/resources/{resource}/quote"),
            request: format!("{base}/v1/leases"),
            token: format!("{base}/v1/leases/{{id}}/token"),
        },
    };
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    Ok((StatusCode::PAYMENT_REQUIRED, kind, Json(body)).into_response())
}
