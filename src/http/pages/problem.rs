//! What went wrong, as a page that says what to do. Every problem that a browser would get on a
//! page, whichever layer refused, comes through here; calls of the API keep their JSON.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Frame, POLICY, render};
use crate::app::Code;
use crate::domain::site::is_destination;
use crate::http::{HttpState, Problem};

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    title: &'a str,
    detail: &'a str,
    advice: &'a str,
    /// The page to try again, when that may help.
    again: Option<String>,
    /// Whether an operator was at work.
    operator: bool,
}

/// A problem of a page: shown as one to whatever asked.
pub(crate) struct Wrong(Problem);

impl<E: Into<Problem>> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Marks the answer of a page.
#[derive(Clone, Copy)]
struct OfPage;

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        response.extensions_mut().insert(OfPage);
        response
    }
}

/// Shows problems as pages to people.
pub(crate) async fn for_people(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let machine = path.starts_with("/v1/") || path.starts_with("/.well-known/");
    let person = !machine && wants_html(request.headers());
    let operator = path.starts_with("/operator");
    let reads = request.method().is_safe();
    let again = request.uri().path_and_query().map(ToString::to_string);
    // `//host/path` would lead elsewhere.
    let again = again.filter(|again| reads && is_destination(again));
    let mut response = next.run(request).await;
    let of_page = response.extensions_mut().remove::<OfPage>().is_some();
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) if person || of_page => {
            page(&state, response, &problem, (again, operator, reads))
        }
        _ => response,
    }
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The same answer with another body: status, Retry-After and what layers left stay.
fn page(
    state: &HttpState,
    response: Response,
    problem: &Problem,
    (again, operator, reads): (Option<String>, bool, bool),
) -> Response {
    let (title, advice) = match problem.code() {
        Code::InvalidRequest if operator && reads => {
            ("This cannot be shown", "Correct what is said above, then ask again.")
        }
        code if operator => words_for_operators(code),
        code => words(code),
    };
    let (mut parts, _) = response.into_parts();
    let worth = matches!(
        problem.code(),
        Code::RateLimited | Code::Internal | Code::NotReady | Code::OutcomeUnknown
    );
    let shown = render(&ProblemPage {
        frame: Frame::new(state),
        title,
        // These speak of calls.
        detail: match problem.code() {
            Code::NotFound
            | Code::UnknownResource
            | Code::MethodNotAllowed
            | Code::IdempotencyKeyReused
            | Code::SoldOut
            | Code::ResourcePaused
            | Code::LeaseEnded
            | Code::TooManyUnpaid => "",
            _ => &problem.body().detail,
        },
        advice,
        again: again.filter(|_| worth),
        operator,
    });
    let (fresh, body) = shown.into_parts();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(&name);
    }
    parts.headers.extend(fresh.headers);
    parts.headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response::from_parts(parts, body)
}

/// The same for operators.
fn words_for_operators(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::NotFound | Code::UnknownResource => (
            "There is nothing here",
            "Look for it by its id, address or txid on any page for operators.",
        ),
        Code::Forbidden => (
            "Not allowed",
            "Nothing was changed. Sign in with a key that has this scope; if you came from another \
             site, start here instead.",
        ),
        Code::LeaseEnded | Code::Conflict => {
            ("Not as it is now", "Nothing was changed. Go back and look at it again.")
        }
        Code::InvalidRequest => ("This could not be done", "Nothing was changed."),
        other => words(other),
    }
}

/// A title, and what to do.
pub(super) fn words(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::NotFound => (
            "There is nothing here",
            "The address may be cut off or mistyped: compare it with the one you were given. Leases \
             and requests stay where they are, old ones too.",
        ),
        Code::UnknownResource => (
            "This is not for rent",
            "It may have been taken off the list. Leases of it that run go on, on their own pages.",
        ),
        Code::Forbidden | Code::Unauthorized => (
            "Not yours to do, as far as this browser shows",
            "Hand in the claim token under \u{201c}Your leases\u{201d}, then try again. If you came \
             from another site, start here instead.",
        ),
        Code::RateLimited => (
            "Too many at once",
            "Wait a minute, then try again. Money that is on its way is not touched by this.",
        ),
        Code::SoldOut => ("All taken", "Look again later, or choose something else."),
        Code::ResourcePaused => (
            "Paused",
            "The operator takes no new money for this at the moment. What was paid stays paid.",
        ),
        Code::LeaseEnded => ("This lease is over", "Ask for a new one."),
        Code::NotCancellable => (
            "This cannot be given up any more",
            "Money is there already; give the lease back on its page instead.",
        ),
        Code::MethodNotAllowed => (
            "This address takes forms only",
            "Go back to the page with the form; nothing was changed.",
        ),
        Code::IdempotencyKeyReused => (
            "This form was sent before, with something else in it",
            "If you want this, too, send it once more from a fresh page.",
        ),
        Code::TooManyUnpaid => {
            ("Not just now", "Too many requests wait for payment. Try again in some minutes.")
        }
        Code::NotReady => (
            "Not just now",
            "Nothing was lost: payments are read from the chain, later if need be.",
        ),
        Code::OutcomeUnknown => (
            "It is not known whether this was done",
            "Look at the page that you came from: it shows what there is now.",
        ),
        Code::Internal => (
            "Something broke on our side",
            "Nothing was lost: payments are read from the chain. Try again in a minute.",
        ),
        _ => ("This could not be done", "Go back, change what is wrong and send it again."),
    }
}
