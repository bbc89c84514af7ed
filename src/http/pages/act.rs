//! The forms of the pages. Each does what the API does, then shows the next page.

use std::collections::HashMap;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value};

use super::show::{ResourcePage, claim_cookie, token_for};
use super::{Wrong, cookie_name, destination, is_https, render};
use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::add_invoice::{AddInvoice, Ask};
use crate::app::request_lease::RequestLease;
use crate::app::{AppError, Code, Refusal, read};
use crate::db;
use crate::db::claim::Claim;
use crate::domain::bearer::token_hash;
use crate::domain::ids::LeaseId;
use crate::domain::site::{escaped, to_query};
use crate::http::api::enter::make_code;
use crate::http::auth::Holder;
use crate::http::create::Creating;
use crate::http::json::{Form, Path};
use crate::http::source::Source;
use crate::http::{HttpState, Problem};

/// What a form sent; a page says what is wrong with it.
pub(super) struct Sent(HashMap<String, String>);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Wrong;

    async fn from_request(request: Request, state: &S) -> Result<Self, Wrong> {
        let Form(fields) = Form::from_request(request, state).await?;
        Ok(Self(fields))
    }
}

fn minutes(form: &HashMap<String, String>) -> Result<u64, Refusal> {
    let text = form.get("minutes").map(String::as_str).unwrap_or_default();
    let wrong = || Refusal::new(Code::InvalidRequest, "give the time in whole minutes");
    text.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(60)).ok_or_else(wrong)
}

/// The claim that this browser has already.
async fn holder(state: &HttpState, headers: &HeaderMap) -> Result<Option<Holder>, Wrong> {
    let Some(token) = claim_cookie(state, headers) else { return Ok(None) };
    let mut conn = state.db.read().await?;
    Ok(db::claim::find_by_hash(&mut conn, &token_hash(&token)).await?.map(Holder))
}

/// Asks for a lease; shows the form again with what is wrong.
pub(super) async fn request(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent,
) -> Result<Response, Wrong> {
    let holder = holder(&state, &headers).await?;
    let creating = Creating::new(&state, &HeaderMap::new(), "/resources", holder.as_ref(), &[])?;
    match ask(&state, source, &id, &form, &creating).await {
        Ok(invoice) => {
            let mut response = to_checkout(&invoice, &form);
            if let Some(token) = creating.token() {
                set_cookie(&state, &mut response, token)?;
            }
            Ok(response)
        }
        Err(AppError::Refused(refusal)) if refusal.code != Code::UnknownResource => {
            let mut page = ResourcePage::load(&state, &id).await?;
            page.to = destination(form.get("to").cloned());
            page.minutes = form.get("minutes").cloned().unwrap_or_default();
            for param in &mut page.params {
                let sent = form.get(&format!("param.{}", param.name));
                param.value = sent.cloned().unwrap_or_default();
            }
            let fields = refusal.errors.iter().map(|field| field.detail.as_str());
            let mut words = vec![refusal.detail.as_str()];
            words.extend(fields.filter(|detail| *detail != refusal.detail));
            page.problem = Some(words.join(" · "));
            Ok(render(&page))
        }
        Err(error) => Err(error.into()),
    }
}

/// The checkout leads on to where the visitor wanted to go.
fn to_checkout(invoice: &str, form: &HashMap<String, String>) -> Response {
    let to = destination(form.get("to").cloned());
    Redirect::to(&format!("/checkout/{invoice}{}", to_query(to.as_deref()))).into_response()
}

async fn ask(
    state: &HttpState,
    source: Source,
    id: &str,
    form: &HashMap<String, String>,
    creating: &Creating,
) -> Result<String, AppError> {
    let params: Map<String, Value> = form
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("param.")?, value.trim())))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    let item = RequestLease {
        shop: state.shop_for(&source),
        now: state.clock.now(),
        resource: id.to_owned(),
        duration_s: minutes(form)?,
        params,
        refund_address: None,
        claim: creating.claim(),
        source: Some(source.name),
        key: None,
    };
    let outcome = state.db.write(item).await?;
    Ok(outcome.body["invoice"]["id"].as_str().unwrap_or_default().to_owned())
}

/// The claim stays in this browser: no script can read it, no other site can send it.
fn set_cookie(state: &HttpState, response: &mut Response, token: &str) -> Result<(), Wrong> {
    let secure = if is_https(state) { "; Secure" } else { "" };
    let name = cookie_name(state);
    let text =
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000{secure}");
    let value = HeaderValue::from_str(&text).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(())
}

fn lease_id(id: &str) -> Result<LeaseId, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, format!("there is no lease {id}"));
    LeaseId::parse(id).ok_or_else(unknown)
}

/// Asks to pay for more of a lease. Anyone may.
pub(super) async fn more(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    Sent(form): Sent,
) -> Result<Response, Wrong> {
    let item = AddInvoice {
        shop: state.shop_for(&source),
        now: state.clock.now(),
        lease: lease_id(&id)?,
        ask: Ask::Duration(minutes(&form)?),
        refund_address: None,
        source: Some(source.name),
        key: None,
    };
    let outcome = state.db.write(item).await?;
    let invoice = outcome.body["invoice"]["id"].as_str().unwrap_or_default();
    Ok(to_checkout(invoice, &form))
}

/// Refuses who does not have the claim in the cookie.
async fn must_hold(state: &HttpState, headers: &HeaderMap, claim: &str) -> Result<Claim, Wrong> {
    if let Some((_, claim)) = token_for(state, headers, claim).await? {
        return Ok(claim);
    }
    let detail = "this browser does not have the claim token of this lease";
    Err(Refusal::new(Code::Forbidden, detail).into())
}

/// Goes into the guarded site, to where the visitor wanted to go; needs the claim in the cookie.
pub(super) async fn open(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let claim = must_hold(&state, &headers, &row.claim).await?;
    let mut url = make_code(&state, &row, &claim).await?.url;
    if let Some(to) = destination(form.get("to").cloned()) {
        url.push_str(&format!("&to={}", escaped(&to)));
    }
    Ok(Redirect::to(&url).into_response())
}

/// Gives a lease back; needs the claim in the cookie.
pub(super) async fn give_back(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    must_hold(&state, &headers, &row.claim).await?;
    let (lease, action) = (lease_id(&id)?, Action::Return);
    state.db.write(ActOnLease { ground: state.ground(), lease, action, actor: None }).await?;
    state.live.caught_up().await;
    Ok(Redirect::to(&format!("/leases/{id}")).into_response())
}
