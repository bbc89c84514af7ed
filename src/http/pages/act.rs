//! The forms on a lease's page: more time, going in, giving back, where refunds go.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::Confirm;
use super::cookies::must_hold;
use super::form::{Sent, nonce};
use super::frame::{Frame, span};
use super::lease::held_sat;
use super::mend::Mend;
use super::problem::Wrong;
use super::request::{refund_address, seconds, to_checkout};
use super::{destination, render};
use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::add_invoice::{AddInvoice, Ask};
use crate::app::change_claim::ChangeClaim;
use crate::app::held::GoesBack;
use crate::app::idempotent::Key;
use crate::app::{AppError, Code, Refusal, held, read};
use crate::domain::ids::LeaseId;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::payout::fee::FeePolicy;
use crate::domain::site::escaped;
use crate::domain::uri::sat_text;
use crate::http::api::enter::make_code;
use crate::http::create::idempotency;
use crate::http::json::Path;
use crate::http::source::Source;
use crate::http::{HttpState, Problem};

fn lease_id(id: &str) -> Result<LeaseId, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, format!("there is no lease {id}"));
    LeaseId::parse(id).ok_or_else(unknown)
}

/// Asks to pay for more of a lease. Anyone may.
pub(super) async fn more(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, Wrong> {
    let (once, body) = sent.once();
    let key = idempotency(&once, &format!("/leases/{id}/more"), "", &body)?;
    match add(&state, source, &id, &sent, key).await {
        Ok(invoice) => Ok(to_checkout(&invoice, &sent)),
        Err(AppError::Refused(refusal))
            if !refusal.errors.is_empty() || refusal.code == Code::IdempotencyKeyReused =>
        {
            more_again(&state, &id, &sent, refusal).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn add(
    state: &HttpState,
    source: Source,
    id: &str,
    sent: &Sent,
    key: Option<Key>,
) -> Result<String, AppError> {
    let item = AddInvoice {
        shop: state.shop_for(&source),
        now: state.clock.now(),
        lease: lease_id(id)?,
        ask: Ask::Duration(seconds(sent)?),
        refund_address: refund_address(state, sent)?,
        source: Some(source.name),
        key,
    };
    let outcome = state.db.write(item).await?;
    Ok(outcome.body["invoice"]["id"].as_str().unwrap_or_default().to_owned())
}

/// The form for more time as it was sent, with what is wrong.
async fn more_again(
    state: &HttpState,
    id: &str,
    sent: &Sent,
    refusal: Refusal,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, id).await?;
    let most = held::terms(&state.db, &row.facts.resource).await?;
    let most = most.map_or_else(String::new, |terms| span(terms.max_duration_s));
    let mut page = Mend::new(state, id, "more");
    page.title = "More time";
    page.button = "Pay for more";
    page.time = Some(sent.time());
    page.refund = sent.some("refund_address").map(str::to_owned);
    page.hidden.push(("once", nonce()));
    let to = destination(sent.some("to").map(str::to_owned));
    page.hidden.extend(to.map(|to| ("to", to)));
    page.tell(refusal, &format!("More than nothing, at most {most}."));
    Ok(render(&page))
}

/// Goes into the guarded site, to where the visitor wanted to go; needs the claim in the cookie.
pub(super) async fn open(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let token = must_hold(&state, &headers, &row.claim).await?;
    let claim = held::claim(&state.db, &token).await?.ok_or_else(Problem::internal)?;
    let mut url = make_code(&state, &row, &claim).await?.url;
    if let Some(to) = destination(sent.some("to").map(str::to_owned)) {
        url.push_str(&format!("&to={}", escaped(&to)));
    }
    Ok(Redirect::to(&url).into_response())
}

/// Says what would go back, and asks.
pub(super) async fn ask_give_back(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let token = must_hold(&state, &headers, &row.claim).await?;
    let frame = Frame::new(&state);
    let back = format!("/leases/{id}");
    let now_state = row.doc.standing.at(frame.now).state;
    if now_state == LeaseState::Ended && held_sat(&row, frame.now) == 0 {
        return Ok(Redirect::to(&back).into_response());
    }
    let goes_back = held::goes_back(&state.db, &row, frame.now).await?;
    let claim = held::claim(&state.db, &token).await?;
    let first = match (now_state, &row.unit) {
        (LeaseState::Ended, _) => "The lease does not start again.",
        (LeaseState::Unfunded, Some(_)) => "The lease does not begin; the unit is free for others.",
        (LeaseState::Unfunded, None) => "The lease does not begin.",
        (_, Some(_)) => "Access ends at once, and the unit is free for others.",
        (_, None) => "Access ends at once.",
    };
    let mut words = vec![first.to_owned()];
    words.extend(promise(&state, &goes_back, claim.and_then(|claim| claim.refund_address)));
    words.push("This cannot be undone.".into());
    Ok(render(&Confirm {
        title: "Give the lease back?".into(),
        words,
        action: format!("{back}/return"),
        button: "Give it back".into(),
        danger: true,
        hidden: Vec::new(),
        back,
        frame,
    }))
}

/// What goes back to whom, in sentences.
fn promise(state: &HttpState, back: &GoesBack, address: Option<String>) -> Vec<String> {
    let by_recipient = state.batcher.rules.fee_policy == FeePolicy::Recipient;
    let fee = if by_recipient { ", less the fee of the network" } else { "" };
    let least_sat = state.shop.policy.min_payout_sat;
    let own = sat_text(back.own_sat);
    let mut words = vec![match (back.own_sat, address) {
        (0, _) => "Nothing would go back to you.".into(),
        (_, Some(address)) => format!("{own} would go back to you, to {address}{fee}."),
        (_, None) => format!(
            "{own} would go back to you{fee}, once you name a refund address on the page of the \
             lease."
        ),
    }];
    if back.own_sat > 0 && back.owed_sat < least_sat {
        words.push(format!(
            "Less than {} is not sent by itself: it waits until more goes to the same address.",
            sat_text(least_sat)
        ));
    }
    if back.others_sat > 0 {
        words.push(format!(
            "{} would go back to others who paid for more, to the addresses that they named.",
            sat_text(back.others_sat)
        ));
    }
    if back.coming_sat > 0 {
        words.push(format!(
            "{} on the way would buy no time any more; it can be refunded once it is deep enough \
             in the chain.",
            sat_text(back.coming_sat)
        ));
    }
    words
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

/// Says where refunds go; needs the claim in the cookie. An empty field takes the
/// address away.
pub(super) async fn set_refund(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    must_hold(&state, &headers, &row.claim).await?;
    let change = async {
        let refund_address = Some(refund_address(&state, &sent)?);
        let item = ChangeClaim { claim: row.claim, refund_address, payout_address: None };
        state.db.write(item).await
    };
    match change.await {
        Ok(_) => Ok(Redirect::to(&format!("/leases/{id}#refund")).into_response()),
        Err(AppError::Refused(refusal)) if !refusal.errors.is_empty() => {
            let mut page = Mend::new(&state, &id, "refund-address");
            page.title = "Refund address";
            page.button = "Refund to this address";
            page.refund = Some(sent.text("refund_address").to_owned());
            page.tell(refusal, "");
            Ok(render(&page))
        }
        Err(error) => Err(error.into()),
    }
}
