//! Visitors who come from another site. A browser leaves SameSite=Strict cookies out of the first
//! request then, so that the holder of a lease would be a stranger, and might pay twice. The answer is a
//! page that goes on to the same address by itself: that request is our own, with the cookies.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::cookies::claim_cookie;
use super::{Frame, render};
use crate::domain::site::is_destination;
use crate::http::HttpState;

/// The pages that know their visitor.
const KNOWING: [&str; 4] = ["/resources/", "/leases/", "/checkout/", "/claim"];
/// In the query of the second request: whatever a browser says then, it is answered.
const HERE: &str = "here=1";

#[derive(Template)]
#[template(path = "arrival.html")]
struct Arrival {
    frame: Frame,
    url: String,
}

/// Lets a visitor from elsewhere ask once more.
pub(crate) async fn arrive(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Response {
    match again(&request) {
        Some(url) if claim_cookie(&state, request.headers()).is_none() => {
            render(&Arrival { frame: Frame::new(&state), url })
        }
        _ => next.run(request).await,
    }
}

/// Where to ask again, if that may help.
fn again(request: &Request) -> Option<String> {
    let is = |headers: &HeaderMap, name: &str, value: &str| {
        headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes())
    };
    let headers = request.headers();
    let from_elsewhere = is(headers, "sec-fetch-site", "cross-site")
        && is(headers, "sec-fetch-mode", "navigate")
        && request.method() == Method::GET;
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let knows = KNOWING.iter().any(|start| path.starts_with(start));
    if !from_elsewhere || !knows || query.split('&').any(|part| part == HERE) {
        return None;
    }
    let and = if query.is_empty() { "" } else { "&" };
    Some(format!("{path}?{query}{and}{HERE}")).filter(|url| is_destination(url))
}
