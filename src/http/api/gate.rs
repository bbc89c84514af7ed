//! The gate: a proxy asks whether a request may pass (nginx `auth_request`, Caddy `forward_auth`,
//! Traefik `forwardAuth`), by a lease token or a browser's session. Answered from memory; only a
//! refusal with the price reads it, once a second.

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::read::{self, PriceView};
use crate::app::{Code, Refusal};
use crate::db;
use crate::domain::bearer::Bearer;
use crate::domain::ids::LeaseId;
use crate::domain::site::{is_destination, to_query};
use crate::domain::time::Timestamp;
use crate::http::auth::bearer;
use crate::http::cookies;
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};
use crate::live::gate::Closed;

/// How long prices are good for, in milliseconds: a site's every visitor may be refused with one.
const OFFERED_KEPT_MS: i64 = 1000;
/// The cookie with the session of a browser.
pub(super) const COOKIE: &str = "leasehold";
/// So many cookies of that name are looked at: a sibling host may have set one.
const MOST_COOKIES: usize = 4;
/// For proxies that cannot take a `Link` apart.
const CHECKOUT: &str = "x-leasehold-checkout";

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(gate))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct GateQuery {
    /// How to refuse: `401`; `402`, which tells programs what to pay and how; `303`, which sends
    /// browsers to the checkout and answers 402 to programs.
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

/// For proxies: whether whoever has this lease token, or this session cookie, may use a resource
/// now.
#[utoipa::path(get, path = "/v1/gate/{resource}", tag = "access",
    security((), ("lease_token" = []), ("gate_session" = [])),
    params(("resource" = String, Path, description = "The resource's id"), GateQuery,
        ("x-forwarded-uri" = Option<String>, Header,
            description = "Where in the site the visitor wants to go, from the proxy; or \
                x-original-uri")),
    responses((status = 204, description = "May pass", headers(
            ("x-leasehold-lease" = String, description = "The lease"),
            ("x-leasehold-expires" = String, description = "Until when it can be used"))),
        (status = 303, description = "With `?deny=303`, for browsers: to the checkout", headers(
            ("location" = String, description = "The checkout"))),
        (status = 401, description = "unauthorized: may not", body = ProblemBody, headers(
            ("link" = String, description = "<checkout>; rel=\"payment\""),
            ("x-leasehold-checkout" = String, description = "The checkout, which leads back"))),
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
    if let Some(other) = query.deny.filter(|deny| !matches!(deny, 303 | 401 | 402)) {
        let detail = format!("deny is {other}; allowed are 303, 401 and 402");
        return Err(Refusal::field(Code::InvalidRequest, "/deny", detail).into());
    }
    let why = match look(&state, &resource, &parts) {
        Ok((lease, expires_at)) => return Ok(may_pass(&lease, expires_at)),
        Err(Some(why @ (Closed::Deaf | Closed::UnknownResource))) => {
            return Err(refused(why, &resource));
        }
        Err(why) => why,
    };
    let checkout = checkout(&state, &resource, wanted(&parts.headers));
    let mut response = match query.deny {
        Some(303) if is_browser(&parts.headers) => Redirect::to(&checkout).into_response(),
        Some(402 | 303) => payment_required(&state, &resource, &checkout).await?,
        _ => unauthorized(why),
    };
    let link = HeaderValue::from_str(&format!("<{checkout}>; rel=\"payment\""));
    if let (Ok(link), Ok(checkout)) = (link, HeaderValue::from_str(&checkout)) {
        response.headers_mut().insert(header::LINK, link);
        response.headers_mut().insert(CHECKOUT, checkout);
    }
    Ok(response)
}

/// The lease with which a request may pass, and until when; or why not, if it brought anything.
/// A Bearer token may be the guarded site's own: then the cookie counts.
fn look(
    state: &HttpState,
    resource: &str,
    parts: &Parts,
) -> Result<(LeaseId, Timestamp), Option<Closed>> {
    let (gate, keys, now) = (state.live.gate(), &state.keys.published, state.clock.now());
    gate.knows(Some(resource))?;
    // What belongs to the guarded site itself, such as Basic, is no lease token.
    let mut why = None;
    if let Ok(Some(Bearer::LeaseToken(token))) = bearer(parts) {
        match gate.check(Some(resource), token, keys, now) {
            Ok(pass) => return Ok((pass.claims.sub, pass.expires_at)),
            Err(closed) => why = Some(closed),
        }
    }
    for session in cookies::values(&parts.headers, COOKIE).take(MOST_COOKIES) {
        match gate.check_session(resource, session, keys, now) {
            Ok(pass) => return Ok(pass),
            Err(closed) => why = why.or(Some(closed)),
        }
    }
    Err(why)
}

fn may_pass(lease: &LeaseId, expires_at: Timestamp) -> Response {
    let headers =
        [("x-leasehold-lease", lease.to_string()), ("x-leasehold-expires", expires_at.to_string())];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Why the gate has no answer.
pub(super) fn refused(why: Closed, resource: &str) -> Problem {
    match why {
        Closed::UnknownResource => {
            let detail = format!("there is no resource \"{resource}\"");
            Refusal::new(Code::UnknownResource, detail).into()
        }
        other => Refusal::new(Code::NotReady, other.to_string()).into(),
    }
}

fn unauthorized(why: Option<Closed>) -> Response {
    let problem = |detail: String| Problem::from(Refusal::new(Code::Unauthorized, detail));
    match why {
        Some(Closed::Session) => problem(Closed::Session.to_string()),
        Some(why) => problem(why.to_string()).bad_token(),
        None => problem("send a lease token as Authorization: Bearer …".into()),
    }
    .into_response()
}

/// Where the visitor of a guarded site wanted to go, as its proxy says.
fn wanted(headers: &HeaderMap) -> Option<&str> {
    let mut named = ["x-forwarded-uri", "x-original-uri"].into_iter();
    let found = named.find_map(|name| headers.get(name))?.to_str().ok()?;
    Some(found).filter(|to| *to != "/" && is_destination(to))
}

/// Whether somebody looks at a page: a browser says so, a program does not.
fn is_browser(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The page where a resource can be paid, from where `to` is found again.
pub(super) fn checkout(state: &HttpState, resource: &str, to: Option<&str>) -> String {
    format!("{}/resources/{resource}{}", state.shop.public_url, to_query(to))
}

async fn payment_required(
    state: &HttpState,
    resource: &str,
    checkout: &str,
) -> Result<Response, Problem> {
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
        price: terms.price.into(),
        min_duration_s: terms.min_duration_s,
        max_duration_s: terms.max_duration_s,
        links: PaymentLinks {
            checkout: checkout.to_owned(),
            quote: format!("{base}/v1/resources/{resource}/quote"),
            request: format!("{base}/v1/leases"),
            token: format!("{base}/v1/leases/{{id}}/token"),
        },
    };
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    Ok((StatusCode::PAYMENT_REQUIRED, kind, Json(body)).into_response())
}
