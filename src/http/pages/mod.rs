//! Plain pages for people: what is for rent, one resource, a checkout, a lease. Server-rendered,
//! complete without JavaScript, live with it. The claim travels in an HttpOnly cookie.

mod act;
pub(crate) mod frame;
pub(super) mod problem;
mod show;

use askama::Template;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::set_header::SetResponseHeaderLayer;

use super::json::Query;
use super::{HttpState, Problem};
use crate::domain::site::is_destination;
pub(crate) use frame::Frame;

/// Only what is ours: no script or style in the page, nothing from another host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

/// The same for a page with a form that leads on to `site`: browsers hold the redirect after a form
/// to `form-action`, too.
fn policy_with_forms_to(site: &str) -> Result<HeaderValue, Problem> {
    let policy = POLICY.replace("form-action 'self'", &format!("form-action 'self' {site}"));
    HeaderValue::from_str(&policy).map_err(|_| Problem::internal())
}

/// The name of the cookie that keeps the claim token in the browser. With its prefix a browser
/// takes it from this very host only (RFC 6265bis section 4.1.3.2): a sibling host could otherwise
/// set one for the whole domain, and the next lease would join somebody else's claim. The prefix
/// needs https; the plain name is for development.
fn cookie_name(state: &HttpState) -> &'static str {
    if is_https(state) { "__Host-leasehold_claim" } else { "leasehold_claim" }
}

fn is_https(state: &HttpState) -> bool {
    state.shop.public_url.starts_with("https:")
}

/// The routes.
pub fn router() -> Router<HttpState> {
    let policy = HeaderValue::from_static(POLICY);
    let assets = super::look::router();
    Router::new()
        .route("/", get(show::index))
        .route("/resources/{id}", get(show::resource).post(act::request))
        .route("/checkout/{id}", get(show::checkout))
        .route("/leases/{id}", get(show::lease))
        .route("/leases/{id}/more", post(act::more))
        .route("/leases/{id}/open", post(act::open))
        .route("/leases/{id}/return", post(act::give_back))
        .merge(assets)
        .layer(SetResponseHeaderLayer::if_not_present(header::CONTENT_SECURITY_POLICY, policy))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
}

/// Where in a guarded site a visitor wanted to go, before being sent here to pay.
#[derive(serde::Deserialize)]
struct Wanted {
    to: Option<String>,
}

/// What is no path of a site is as if it was not there.
fn destination(to: Option<String>) -> Option<String> {
    to.filter(|to| is_destination(to))
}

impl Wanted {
    fn from_query(Query(wanted): Query<Self>) -> Option<String> {
        destination(wanted.to)
    }
}

pub(crate) fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            Problem::internal().into_response()
        }
    }
}
