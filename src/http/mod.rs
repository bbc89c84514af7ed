//! HTTP: requests become use cases, their results become JSON or problem documents.
//! Decides nothing about money or time. Called by the daemon.

pub mod api;
pub mod auth;
pub mod create;
pub mod error;
pub mod json;
pub mod limits;
pub mod openapi;
pub mod pages;
pub mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::app::readiness::ReadinessReceiver;
use crate::app::settle::Ground;
use crate::app::shop::Shop;
use crate::app::view::Scene;
use crate::app::{Code, Refusal};
use crate::clock::SharedClock;
use crate::db::Db;
use crate::keys::Keys;
use crate::live::Live;

pub use error::Problem;

/// The largest body taken, in bytes.
pub const BODY_LIMIT: usize = 64 * 1024;

/// What every handler works with.
#[derive(Clone)]
pub struct HttpState {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: SharedClock,
    /// What is sold, and how.
    pub shop: Arc<Shop>,
    /// What signs.
    pub keys: Arc<Keys>,
    /// What is known of the chain now.
    pub readiness: ReadinessReceiver,
    /// The longest life of a lease token.
    pub token_ttl_s: u64,
    /// How the source of a request is found.
    pub sources: Arc<source::Sources>,
    /// Requests by source.
    pub limits: Arc<limits::Limits>,
    /// Wakes whoever waits for a change.
    pub live: Live,
    /// Whether a faucet pays invoices: on the private network of `leasehold dev` only.
    pub faucet: bool,
    /// Ends open streams.
    pub shutdown: CancellationToken,
    /// Renders the metrics; `None` when nothing was installed.
    pub metrics: Option<metrics_exporter_prometheus::PrometheusHandle>,
}

impl HttpState {
    /// What views depend on.
    pub fn scene(&self) -> Scene<'_> {
        Scene {
            now: self.clock.now(),
            tip: self.readiness.borrow().height(),
            public_url: &self.shop.public_url,
        }
    }

    /// What settling depends on.
    pub fn ground(&self) -> Ground {
        Ground {
            policy: self.shop.policy.clone(),
            now: self.clock.now(),
            trusted: self.readiness.borrow().trusted(),
        }
    }
}

/// The routes, with everything that holds for all of them, and `more`.
pub fn router(state: HttpState, more: Router<HttpState>) -> Router {
    let quick = openapi::router()
        .merge(pages::router())
        .merge(more)
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            Duration::from_secs(90),
        ))
        .layer(middleware::from_fn_with_state(state.clone(), limits::limit));
    quick
        .merge(api::streams::router())
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(measure))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(cors())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .with_state(state)
}

fn fixed(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// The public read API may be called from any page; secrets travel in a header, never a cookie.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PATCH])
        .allow_headers(Any)
        .expose_headers([header::ETAG, header::RETRY_AFTER])
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::internal().into_response()
}

async fn no_such_page(request: Request) -> Problem {
    let detail = format!("there is nothing at {}; /docs lists every call", request.uri().path());
    Refusal::new(Code::NotFound, detail).into()
}

async fn no_such_method(request: Request) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Refusal::new(Code::MethodNotAllowed, detail).into()
}

/// Counts requests by route and status. Paths hold ids, so only the route's pattern is named.
async fn measure(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<axum::extract::MatchedPath>()
        .map_or("none", axum::extract::MatchedPath::as_str)
        .to_owned();
    let method = request.method().to_string();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    tracing::debug!(method, route, status, "request");
    metrics::counter!(
        "leasehold_http_requests_total", "route" => route, "method" => method, "status" => status
    )
    .increment(1);
    response
}

/// Shared by handlers: the state.
pub type Shared = State<HttpState>;
