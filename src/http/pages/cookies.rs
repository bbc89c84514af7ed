//! The cookies of pages: the claim token, which no script can read and no other site can send, and
//! a mark that it was shown. It ends with the browser unless its holder wants it kept.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use super::problem::Wrong;
use crate::app::{Code, Refusal, held};
use crate::domain::bearer::token_hash;
use crate::http::{HttpState, Problem, cookies};

const YEAR_S: u32 = 31_536_000;

/// With its prefix a browser takes a cookie from this very host only (RFC 6265bis section 4.1.3.2):
/// a sibling host could otherwise set one for the whole domain, and the next lease would join
/// somebody else's claim. The prefix needs https; the plain name is for development.
pub(super) fn name(state: &HttpState, plain: &str) -> String {
    let https = state.shop.public_url.starts_with("https:");
    if https { format!("__Host-{plain}") } else { plain.to_owned() }
}

const CLAIM: &str = "leasehold_claim";
const SHOWN: &str = "leasehold_shown";
/// Ends the value of a claim's cookie that is kept for a year: browsers do not tell how long they
/// keep one, and what is set beside it, or in its place, shall stay as long.
const KEPT: &str = ".kept";

/// Sets a cookie that no script can read and no other site can send.
pub(super) fn set(
    state: &HttpState,
    response: &mut Response,
    plain: &str,
    value: &str,
    kept_s: Option<u32>,
) -> Result<(), Wrong> {
    let name = name(state, plain);
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    let kept = kept_s.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{kept}{secure}");
    let value = HeaderValue::from_str(&text).map_err(|_| Problem::internal())?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}

/// Puts the claim token into the browser; for a year if its holder wants that.
pub(super) fn set_claim(
    state: &HttpState,
    response: &mut Response,
    token: &str,
    keep: bool,
) -> Result<(), Wrong> {
    let value = format!("{token}{}", if keep { KEPT } else { "" });
    set(state, response, CLAIM, &value, keep.then_some(YEAR_S))
}

/// Takes the claim token out of the browser.
pub(super) fn forget_claim(state: &HttpState, response: &mut Response) -> Result<(), Wrong> {
    set(state, response, CLAIM, "", Some(0))?;
    set(state, response, SHOWN, "", Some(0))
}

/// Remembers that this token was shown, as long as the token itself is kept.
pub(super) fn set_shown(
    state: &HttpState,
    response: &mut Response,
    token: &str,
    keep: bool,
) -> Result<(), Wrong> {
    set(state, response, SHOWN, &mark(token), keep.then_some(YEAR_S))
}

/// True when this token was shown in this browser, or handed in by it.
pub(super) fn was_shown(state: &HttpState, headers: &HeaderMap, token: &str) -> bool {
    let mark = mark(token);
    cookies::values(headers, &name(state, SHOWN)).any(|found| found == mark)
}

/// Tells tokens apart and says nothing of them.
fn mark(token: &str) -> String {
    token_hash(token)[..16].to_owned()
}

/// The value of the claim's cookie.
fn claim_value(state: &HttpState, headers: &HeaderMap) -> Option<String> {
    cookies::values(headers, &name(state, CLAIM)).next().map(str::to_owned)
}

/// The claim token in the browser's cookie.
pub(super) fn claim_cookie(state: &HttpState, headers: &HeaderMap) -> Option<String> {
    let value = claim_value(state, headers)?;
    Some(value.strip_suffix(KEPT).unwrap_or(&value).to_owned())
}

/// True when the browser keeps the claim's cookie for a year.
pub(super) fn is_kept(state: &HttpState, headers: &HeaderMap) -> bool {
    claim_value(state, headers).is_some_and(|value| value.ends_with(KEPT))
}

/// The token of a claim in the browser's cookie that was never shown here: nobody else has it.
pub(super) async fn unsaved(
    state: &HttpState,
    headers: &HeaderMap,
) -> Result<Option<String>, Wrong> {
    let Some(token) = claim_cookie(state, headers) else { return Ok(None) };
    if was_shown(state, headers, &token) || held::claim(&state.db, &token).await?.is_none() {
        return Ok(None);
    }
    Ok(Some(token))
}

/// The cookie's token, if it manages `claim`.
pub(super) async fn token_for(
    state: &HttpState,
    headers: &HeaderMap,
    claim: &str,
) -> Result<Option<String>, Wrong> {
    let Some(token) = claim_cookie(state, headers) else { return Ok(None) };
    let found = held::claim(&state.db, &token).await?;
    Ok(found.filter(|found| found.id == claim).map(|_| token))
}

/// Refuses who does not have the claim in the cookie.
pub(super) async fn must_hold(
    state: &HttpState,
    headers: &HeaderMap,
    claim: &str,
) -> Result<String, Wrong> {
    Ok(token_for(state, headers, claim).await?.ok_or_else(not_held)?)
}

/// The refusal for who does not have it.
pub(super) fn not_held() -> Refusal {
    Refusal::new(Code::Forbidden, "this browser does not have the claim token of this lease")
}
