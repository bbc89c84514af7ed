//! The form that asks for time on a resource. It is shown again with what is wrong beside each
//! field; sent twice, it creates once.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::catalogue::ResourcePage;
use super::cookies::{claim_cookie, set_claim};
use super::form::{Sent, Time};
use super::problem::Wrong;
use super::render;
use crate::app::request_lease::RequestLease;
use crate::app::{AppError, Code, Refusal, held};
use crate::domain::address::check_address;
use crate::domain::params::check_params;
use crate::domain::site::to_query;
use crate::http::auth::Holder;
use crate::http::create::Creating;
use crate::http::json::Path;
use crate::http::source::Source;
use crate::http::{HttpState, Problem};

/// Asks for a lease.
pub(super) async fn request(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    let cookie = claim_cookie(&state, &headers);
    let holder = match &cookie {
        Some(token) => held::claim(&state.db, token).await?.map(Holder),
        None => None,
    };
    let (once, body) = sent.once();
    let creating =
        |holder| Creating::new(&state, &once, &format!("/resources/{id}"), holder, &body);
    let mut asking = creating(holder.as_ref())?;
    let mut asked = ask(&state, &source, &id, &sent, &asking).await;
    let reused = |error: &AppError| {
        error.refusal().is_some_and(|why| why.code == Code::IdempotencyKeyReused)
    };
    if holder.is_some() && asked.as_ref().is_err_and(reused) {
        // Sent again when the answer had brought the cookie: the first time there was no claim.
        asking = creating(None)?;
        asked = ask(&state, &source, &id, &sent, &asking).await;
    }
    match asked {
        Ok(invoice) => {
            let mut response = to_checkout(&invoice, &sent);
            let keep = sent.some("keep").is_some();
            match (asking.token(), cookie) {
                (Some(token), _) => set_claim(&state, &mut response, token, keep)?,
                (None, Some(token)) if keep => set_claim(&state, &mut response, &token, keep)?,
                _ => {}
            }
            Ok(response)
        }
        Err(AppError::Refused(refusal)) if refusal.code != Code::UnknownResource => {
            again(&state, &id, &headers, &sent, Some(refusal)).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Names the price for what was typed. Creates nothing.
pub(super) async fn price(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    again(&state, &id, &headers, &sent, None).await
}

/// The form as it was sent.
async fn again(
    state: &HttpState,
    id: &str,
    headers: &HeaderMap,
    sent: &Sent,
    refusal: Option<Refusal>,
) -> Result<Response, Wrong> {
    let mut page = ResourcePage::load(state, id).await?;
    page.lead_to(sent.destination());
    page.time = sent.time();
    page.refund = sent.text("refund_address").to_owned();
    page.keep = sent.some("keep").is_some();
    for param in &mut page.params {
        param.take(sent);
    }
    page.price(state).await?;
    let problem = refusal.clone().map(Problem::from);
    if let Some(refusal) = refusal {
        check_all(state, &mut page, sent).await?;
        tell(&mut page, refusal);
        page.mistakes.mark_first(&mut page.params);
    }
    page.find_mine(state, headers).await?;
    let mut response = render(&page);
    if let Some(problem) = problem {
        problem.mark(&mut response);
    }
    Ok(response)
}

/// The request was refused for the first mistake that was found; people want to see all.
async fn check_all(state: &HttpState, page: &mut ResourcePage, sent: &Sent) -> Result<(), Wrong> {
    if let Err(refusal) = refund_address(state, sent) {
        tell(page, refusal);
    }
    if let Some(terms) = held::terms(&state.db, &page.offer.id).await?
        && let Err(errors) = check_params(&terms, &sent.params())
    {
        tell(page, Refusal::params(errors));
    }
    Ok(())
}

/// Puts what is wrong beside its field.
fn tell(page: &mut ResourcePage, refusal: Refusal) {
    let range = page.out_of_range();
    page.mistakes.add(refusal, &mut page.params, &range);
}

/// The checkout leads on to where the visitor wanted to go.
pub(super) fn to_checkout(invoice: &str, sent: &Sent) -> Response {
    Redirect::to(&format!("/checkout/{invoice}{}", to_query(sent.destination().as_deref())))
        .into_response()
}

/// A duration that was typed.
pub(super) fn seconds(sent: &Sent) -> Result<u64, Refusal> {
    let wrong = || Refusal::field(Code::InvalidRequest, "/time", Time::WRONG);
    sent.time().seconds().ok_or_else(wrong)
}

/// An address that was typed; nothing is none.
pub(super) fn refund_address(state: &HttpState, sent: &Sent) -> Result<Option<String>, Refusal> {
    let Some(text) = sent.some("refund_address") else { return Ok(None) };
    let wrong = |why| Refusal::field(Code::InvalidRequest, "/refund_address", why);
    let address = check_address(text, state.shop.keychain.network()).map_err(wrong)?;
    Ok(Some(address.to_string()))
}

async fn ask(
    state: &HttpState,
    source: &Source,
    id: &str,
    sent: &Sent,
    creating: &Creating,
) -> Result<String, AppError> {
    let item = RequestLease {
        shop: state.shop_for(source),
        now: state.clock.now(),
        resource: id.to_owned(),
        duration_s: seconds(sent)?,
        params: sent.params(),
        refund_address: refund_address(state, sent)?,
        claim: creating.claim(),
        source: Some(source.name.clone()),
        key: creating.key.clone(),
    };
    let outcome = state.db.write(item).await?;
    Ok(outcome.body["invoice"]["id"].as_str().unwrap_or_default().to_owned())
}
