//! How a browser gets in: the holder makes a code that works once within a minute, and takes it to
//! the guarded site, which gets a session as its cookie. Neither is ever logged.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gate::{COOKIE, checkout, refused};
use super::leases::held;
use crate::app::gate_code::{MakeCode, UseCode};
use crate::app::{Code, Refusal, random_128};
use crate::db;
use crate::db::claim::Claim;
use crate::db::lease::LeaseRow;
use crate::domain::bearer::{gate_code, token_hash};
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::session::{Session, Whose, sign};
use crate::domain::site::is_destination;
use crate::http::auth::Holder;
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};

/// How long a browser keeps the cookie, in seconds; whether it lets in is asked at every call.
const KEPT_S: u32 = 31_536_000;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(make)).routes(routes!(enter))
}

/// A way in for a browser.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct GateCodeAnswer {
    /// Works once, within 60 seconds.
    code: String,
    /// Where to go with it; `&to=/path` may be added.
    pub url: String,
}

/// A code with which a browser enters the guarded site.
#[utoipa::path(post, path = "/v1/leases/{id}/gate-code", tag = "leases",
    security(("claim_token" = [])),
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The code", body = GateCodeAnswer),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 409, description = "lease_ended: its time does not run", body = ProblemBody),
        (status = 429, description = "rate_limited", body = ProblemBody),
        (status = 503, description = "not_ready, outcome_unknown", body = ProblemBody)))]
async fn make(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    holder: Holder,
) -> Result<Json<GateCodeAnswer>, Problem> {
    let row = held(&state, &id, &holder).await?;
    Ok(Json(make_code(&state, &row, &holder.0).await?))
}

/// Makes a code for a lease whose time runs, for whoever holds its `claim`.
///
/// # Errors
/// `lease_ended`; those of the database.
pub(in crate::http) async fn make_code(
    state: &HttpState,
    row: &LeaseRow,
    claim: &Claim,
) -> Result<GateCodeAnswer, Problem> {
    let now = state.clock.now();
    let look = row.doc.standing.at(now);
    if look.state != LeaseState::Active {
        let detail = format!("a code is for an active lease; this one is {}", look.state.as_str());
        return Err(Refusal::new(Code::LeaseEnded, detail).into());
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| Problem::internal())?;
    let code = gate_code(&random);
    let (lease, generation) = (row.facts.id.clone(), look.generation);
    let (rotations, code_hash) = (claim.rotations, token_hash(&code));
    let item = MakeCode { lease, generation, rotations, code_hash, now };
    state.db.write(item).await?;
    let resource = &row.facts.resource;
    let site = site(state, resource).await?;
    let url = format!("{site}/v1/gate/{resource}/enter?code={code}");
    Ok(GateCodeAnswer { code, url })
}

/// Where a resource's enter page is reached: its site, or else this server.
async fn site(state: &HttpState, resource: &str) -> Result<String, Problem> {
    let found = db::terms::find(&mut state.db.read().await?, resource).await?;
    let site = found.and_then(|found| found.terms.terms.site);
    Ok(site.unwrap_or_else(|| state.shop.public_url.clone()))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct EnterQuery {
    /// From `POST /v1/leases/{id}/gate-code`.
    code: String,
    /// Where to go in the site: a path, `/` if it is left out.
    to: Option<String>,
}

#[derive(Template)]
#[template(path = "enter.html")]
struct NotLetIn<'a> {
    style: &'a str,
    resource: String,
    checkout: String,
}

/// For browsers, at the guarded site: takes a code, sets the session cookie, goes to `to`.
#[utoipa::path(get, path = "/v1/gate/{resource}/enter", tag = "access",
    security(("gate_code" = [])),
    params(("resource" = String, Path, description = "The resource's id"), EnterQuery),
    responses((status = 303, description = "In", headers(
            ("location" = String, description = "The path asked for"),
            ("set-cookie" = String, description = "The session"))),
        (status = 401, description = "The code was used, is over, or is none: a page",
            body = String, content_type = "text/html"),
        (status = 404, description = "unknown_resource", body = ProblemBody),
        (status = 422, description = "invalid_request: no path of the site", body = ProblemBody),
        (status = 429, description = "rate_limited", body = ProblemBody),
        (status = 503, description = "not_ready, outcome_unknown", body = ProblemBody)))]
async fn enter(
    State(state): State<HttpState>,
    method: Method,
    Path(resource): Path<String>,
    Query(query): Query<EnterQuery>,
) -> Result<Response, Problem> {
    if method != Method::GET {
        let detail = "a code is used up by GET only";
        return Err(Refusal::new(Code::MethodNotAllowed, detail).into());
    }
    let to = query.to.as_deref().unwrap_or("/");
    if !is_destination(to) {
        let detail = "must be a path of the site, such as /inside";
        return Err(Refusal::field(Code::InvalidRequest, "/to", detail).into());
    }
    state.live.gate().knows(Some(&resource)).map_err(|why| refused(why, &resource))?;
    let now = state.clock.now();
    let item = UseCode::new(&query.code, &resource, now);
    let known = item.look(&mut state.db.read().await?).await?;
    let code = if known { state.db.write(item).await? } else { None };
    let Some(code) = code else {
        return not_let_in(&state, checkout(&state, &resource, query.to.as_deref()), resource);
    };
    let whose = Whose { lease: code.lease, generation: code.generation, rotations: code.rotations };
    let session = Session::new(whose, &resource, now, random_128());
    let session = sign(&session, &state.keys.signing);
    let secure = if site(&state, &resource).await?.starts_with("https:") { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax; Max-Age={KEPT_S}{secure}");
    let cookie = HeaderValue::from_str(&cookie).map_err(|_| Problem::internal())?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response())
}

/// No file of ours is reached under the guarded host: the style stands in the page.
fn not_let_in(state: &HttpState, checkout: String, resource: String) -> Result<Response, Problem> {
    let (style, policy) = &state.look.door;
    let page = NotLetIn { style, resource, checkout }.render().map_err(|_| Problem::internal())?;
    let headers = [
        (header::WWW_AUTHENTICATE, "Bearer realm=\"leasehold\""),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    Ok((StatusCode::UNAUTHORIZED, headers, Html(page)).into_response())
}
