//! The forms on a lease's page: more time, going in, giving back, where refunds go.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::Confirm;
use super::form::Sent;
use super::frame::Frame;
use super::holding::Holding;
use super::lease::{Typed, lease_page};
use super::leasing::held_sat;
use super::problem::Wrong;
use super::render;
use super::request::{refund_address, seconds, to_checkout};
use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::add_invoice::{AddInvoice, Ask};
use crate::app::change_claim::ChangeClaim;
use crate::app::held::GoesBack;
use crate::app::idempotent::Key;
use crate::app::request_lease::check_duration;
use crate::app::{AppError, Code, held, read};
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::payout::fee::FeePolicy;
use crate::domain::site::{escaped, to_query};
use crate::domain::uri::sat_text;
use crate::http::api::enter::make_code;
use crate::http::create::idempotency;
use crate::http::json::Path;
use crate::http::source::Source;
use crate::http::{HttpState, Problem};

/// Asks to pay for more of a lease. Anyone may.
pub(super) async fn more(
    State(state): State<HttpState>,
    source: Source,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    let (once, body) = sent.once();
    let key = idempotency(&once, &format!("/leases/{id}/more"), "", &body)?;
    match add(&state, source, &id, &sent, key).await {
        Ok(invoice) => Ok(to_checkout(&invoice, &sent)),
        Err(AppError::Refused(refusal))
            if !refusal.errors.is_empty() || refusal.code == Code::IdempotencyKeyReused =>
        {
            let typed = Typed { time: Some(sent.time()), refund: None, refused: Some(refusal) };
            lease_page(&state, &id, &headers, sent.destination(), typed).await
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
    let (lease, now, seconds) =
        (read::lease(&state.db, id).await?, state.clock.now(), seconds(sent)?);
    if lease.doc.standing.at(now).state == LeaseState::Ended
        && let Some(terms) = held::terms(&state.db, &lease.facts.resource).await?
    {
        // Less starts nothing: it would wait.
        check_duration(&terms, seconds)?;
    }
    let item = AddInvoice {
        shop: state.shop_for(&source),
        now,
        lease: lease.facts.id,
        ask: Ask::Duration(seconds),
        refund_address: None,
        source: Some(source.name),
        key,
    };
    let outcome = state.db.write(item).await?;
    Ok(outcome.body["invoice"]["id"].as_str().unwrap_or_default().to_owned())
}

/// Goes into the guarded site, to where the visitor wanted to go.
pub(super) async fn open(
    State(state): State<HttpState>,
    mine: Holding,
    sent: Sent,
) -> Result<Response, Wrong> {
    let claim = held::claim(&state.db, &mine.token).await?.ok_or_else(Problem::internal)?;
    let mut url = match make_code(&state, &mine.lease, &claim).await {
        Ok(code) => code.url,
        // It may only stand still: its page says how it is.
        Err(problem) if problem.code() == Code::LeaseEnded => {
            let query = to_query(sent.destination().as_deref());
            return Ok(Redirect::to(&format!("{}{query}", mine.page())).into_response());
        }
        Err(problem) => return Err(problem.into()),
    };
    if let Some(to) = sent.destination() {
        url.push_str(&format!("&to={}", escaped(&to)));
    }
    Ok(Redirect::to(&url).into_response())
}

/// Says what would go back, and asks.
pub(super) async fn ask_give_back(
    State(state): State<HttpState>,
    mine: Holding,
) -> Result<Response, Wrong> {
    let (frame, back) = (Frame::new(&state), mine.page());
    let row = &mine.lease;
    let now_state = row.doc.standing.at(frame.now).state;
    if now_state == LeaseState::Ended && held_sat(row, frame.now) == 0 {
        return Ok(Redirect::to(&back).into_response());
    }
    let goes_back = held::goes_back(&state.db, row, frame.now).await?;
    let claim = held::claim(&state.db, &mine.token).await?;
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

/// Gives a lease back.
pub(super) async fn give_back(
    State(state): State<HttpState>,
    mine: Holding,
) -> Result<Response, Wrong> {
    let (lease, action) = (mine.lease.facts.id.clone(), Action::Return);
    state.db.write(ActOnLease { ground: state.ground(), lease, action, actor: None }).await?;
    state.live.caught_up().await;
    Ok(Redirect::to(&mine.page()).into_response())
}

/// Says where refunds go. An empty field takes the address away.
pub(super) async fn set_refund(
    State(state): State<HttpState>,
    mine: Holding,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    let change = async {
        let refund_address = Some(refund_address(&state, &sent)?);
        let claim = mine.lease.claim.clone();
        state.db.write(ChangeClaim { claim, refund_address, payout_address: None }).await
    };
    match change.await {
        Ok(_) => Ok(Redirect::to(&format!("{}#refund", mine.page())).into_response()),
        Err(AppError::Refused(refusal)) if !refusal.errors.is_empty() => {
            let refund = Some(sent.text("refund_address").to_owned());
            let typed = Typed { time: None, refund, refused: Some(refusal) };
            lease_page(&state, mine.id(), &headers, sent.destination(), typed).await
        }
        Err(error) => Err(error.into()),
    }
}
