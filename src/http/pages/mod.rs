//! Plain pages for people: what is for rent, one resource, a checkout, a lease. Server-rendered,
//! complete without JavaScript, live with it. The claim travels in an HttpOnly cookie.

mod act;
pub(crate) mod arrival;
mod calendar;
mod catalogue;
mod checkout;
mod claim;
pub(crate) mod confirm;
mod cookies;
mod field;
mod form;
pub(crate) mod frame;
mod holding;
mod lease;
mod leasing;
mod mistakes;
mod operator;
mod params;
mod paying;
pub(crate) mod problem;
mod receipt;
mod request;

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

/// The routes.
pub fn router() -> Router<HttpState> {
    let policy = HeaderValue::from_static(POLICY);
    let assets = super::look::router();
    Router::new()
        .route("/", get(catalogue::index))
        .route("/resources/{id}", get(catalogue::resource).post(request::request))
        .route("/resources/{id}/price", post(request::price))
        .route("/checkout/{id}", get(checkout::checkout))
        .route("/checkout/{id}/cancel", get(checkout::ask_cancel).post(checkout::cancel))
        .route("/leases/{id}", get(lease::lease))
        .route("/leases/{id}/receipt", get(receipt::receipt))
        .route("/leases/{id}/calendar.ics", get(calendar::calendar))
        .route("/leases/{id}/more", post(act::more))
        .route("/leases/{id}/open", post(act::open))
        .route("/leases/{id}/return", get(act::ask_give_back).post(act::give_back))
        .route("/leases/{id}/refund-address", post(act::set_refund))
        .route("/leases/{id}/params", get(params::ask).post(params::set))
        .route("/leases/{id}/claim", get(claim::save).post(claim::show))
        .route("/leases/{id}/claim-file", post(claim::file))
        .route("/leases/{id}/rotate", get(claim::ask_rotate).post(claim::rotate))
        .route("/claim", get(claim::claims).post(claim::hand_in))
        .route("/claim/keep", post(claim::keep))
        .route("/claim/forget", post(claim::forget))
        .route("/claim/lost", get(claim::lost))
        .merge(assets)
        .merge(operator::router())
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
