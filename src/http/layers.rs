//! What holds for all calls: a time limit, headers, counting, panics. Called by the router.

use std::any::Any;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
// Measures an answer; no stored moment comes from it.
use tokio::time::Instant;
use tower_http::cors::{Any as AnyOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use super::error::RetryAt;
use super::{HttpState, Problem};
use crate::app::{Code, Refusal};

/// How long an answer may take; longer than the longest long poll.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// JSON needs nothing and is no part of anybody's page.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Answers with a problem document when it takes too long.
pub(super) async fn time_limit(request: Request, next: Next) -> Response {
    let reads = request.method().is_safe();
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::timed_out(reads).into_response(),
    }
}

/// Turns the moment at which it may work into `Retry-After`, at least a second.
pub(super) async fn retry_after(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if let Some(RetryAt(at)) = response.extensions().get().copied() {
        let seconds = state.clock.now().seconds_until(at).saturating_add(1);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Counts requests by route and status. Paths hold ids and queries hold codes, so only the
/// route's pattern is named; names that a caller can invent are not.
pub(super) async fn measure(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let method = method(request.method());
    let began = Instant::now();
    let response = next.run(request).await;
    let took = began.elapsed();
    let status = response.status().as_u16();
    tracing::debug!(method, route, status, ms = took.as_millis(), "request");
    metrics::histogram!("leasehold_http_request_seconds", "route" => route.clone()).record(took);
    metrics::counter!(
        "leasehold_http_requests_total",
        "route" => route, "method" => method, "status" => status.to_string()
    )
    .increment(1);
    response
}

fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// A header that an answer gets unless it has it.
pub(super) fn fixed(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// The policy of everything that is not a page.
pub(super) fn api_policy() -> SetResponseHeaderLayer<HeaderValue> {
    fixed(header::CONTENT_SECURITY_POLICY, API_POLICY)
}

/// Answers hold secrets and times.
pub(super) fn not_stored() -> SetResponseHeaderLayer<HeaderValue> {
    fixed(header::CACHE_CONTROL, "no-store")
}

/// Any page may read. It may not create: every visitor of a page would be another source, and
/// the limits by source would be worth nothing.
pub(super) fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AnyOrigin)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([
            header::AUTHORIZATION,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(Duration::from_secs(3600))
}

/// Refuses forms that another origin sends: its visitors would ask for leases, or give theirs back,
/// without knowing. A sibling host may be a rented unit, and gets SameSite cookies sent along.
pub(super) async fn own_forms(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Response {
    if !request.method().is_safe() && !is_own_form(request.headers(), &state.shop.public_url) {
        let detail = "this form was sent by another site; open the page here and send it again";
        return Problem::from(Refusal::new(Code::Forbidden, detail)).into_response();
    }
    next.run(request).await
}

fn is_own_form(headers: &HeaderMap, public_url: &str) -> bool {
    let value = |name| headers.get(name).map(HeaderValue::as_bytes);
    if let Some(site) = value("sec-fetch-site") {
        return site == b"same-origin" || site == b"none";
    }
    // No browser: these send it with every form.
    let Some(origin) = value("origin") else { return true };
    // Over plain http the server may be reached by other names, too.
    let host = value("host").filter(|_| public_url.starts_with("http:"));
    if host.is_some_and(|host| origin.strip_prefix(b"http://") == Some(host)) {
        return true;
    }
    // Never `null`: a page of anybody can send that, and hand in a claim token of its own.
    reqwest::Url::parse(public_url)
        .is_ok_and(|url| url.origin().ascii_serialization().as_bytes() == origin)
}

/// Who hears from where a visitor comes: nobody. But to a host that browsers do not trust they send
/// no Sec-Fetch-Site, and with a form hide even our own origin then; there we must hear of it
/// ourselves.
pub(super) fn referrer_policy(public_url: &str) -> SetResponseHeaderLayer<HeaderValue> {
    let policy = if is_trustworthy(public_url) { "no-referrer" } else { "same-origin" };
    fixed(header::REFERRER_POLICY, policy)
}

/// Whether browsers hold the origin of a URL for potentially trustworthy (W3C Secure Contexts section
/// 3.1): https, this very machine, and for Tor Browser an onion.
fn is_trustworthy(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return true };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" || here || host.ends_with(".onion")
}

/// The answer after a panic. Its message was printed by the panic hook; nothing of it is told.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::internal().into_response()
}

/// For paths that are no route.
pub(super) async fn no_such_page(request: Request) -> Problem {
    let detail = format!("there is nothing at {}; /docs lists every call", request.uri().path());
    Refusal::new(Code::NotFound, detail).into()
}

/// For methods that a route does not take; axum adds `Allow`.
pub(super) async fn no_such_method(request: Request) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Refusal::new(Code::MethodNotAllowed, detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_browsers_hide_our_own_origin_do_we_ask_for_it() {
        for (url, trusted) in [
            ("https://shop.test", true),
            ("http://127.0.0.1:8080", true),
            ("http://localhost:8080", true),
            ("http://[::1]:8080", true),
            ("http://abc.onion", true),
            ("http://10.0.0.5:8080", false),
            ("http://shop.test", false),
            ("http://127.shop.test", false),
        ] {
            assert_eq!(is_trustworthy(url), trusted, "{url}");
        }
    }

    #[test]
    fn a_form_is_our_own_by_sec_fetch_site_or_else_by_its_origin() {
        let https = "https://shop.test/";
        for (public_url, name, value, own) in [
            (https, "sec-fetch-site", "same-origin", true),
            (https, "sec-fetch-site", "none", true),
            (https, "sec-fetch-site", "same-site", false),
            (https, "sec-fetch-site", "cross-site", false),
            (https, "origin", "https://shop.test", true),
            ("https://shop.test:443", "origin", "https://shop.test", true),
            (https, "origin", "https://unit.shop.test", false),
            (https, "origin", "http://shop.test", false),
            (https, "origin", "https://shop.test:8443", false),
            (https, "origin", "https://shop.test.evil.test", false),
            (https, "origin", "null", false),
            ("http://shop.test", "origin", "null", false),
            ("http://shop.test", "origin", "http://shop.test", true),
            ("http://shop.test", "origin", "http://unit.shop.test", false),
            (https, "accept", "text/html", true),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]);
            assert_eq!(is_own_form(&headers, public_url), own, "{public_url} {name}: {value}");
        }
        let mut both = HeaderMap::new();
        both.insert("sec-fetch-site", HeaderValue::from_static("same-site"));
        both.insert("origin", HeaderValue::from_static("https://shop.test"));
        assert!(!is_own_form(&both, https));
        for (public_url, own) in [("http://127.0.0.1:8080", true), (https, false)] {
            let mut named = HeaderMap::new();
            named.insert("host", HeaderValue::from_static("10.0.0.5:8080"));
            named.insert("origin", HeaderValue::from_static("http://10.0.0.5:8080"));
            assert_eq!(is_own_form(&named, public_url), own, "{public_url}");
        }
    }
}
