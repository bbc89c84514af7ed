//! The checkout: how to pay, what arrived, what it means. And giving a request up.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::Confirm;
use super::cookies::{must_hold, token_for, was_shown};
use super::form::wait_words;
use super::frame::{Frame, Moment};
use super::paying::{Paying, PaymentWords};
use super::problem::Wrong;
use super::{Wanted, render};
use crate::app::cancel_invoice::CancelInvoice;
use crate::app::view::{self, InvoiceView};
use crate::app::{Code, Refusal, held, read};
use crate::db::invoice::InvoiceRow;
use crate::db::lease::LeaseRow;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::{InvoiceStatus, Purpose};
use crate::domain::site::to_query;
use crate::domain::uri::{btc_text, payment_uri_for_qr, sat_text};
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};
use crate::qr;

#[derive(Template)]
#[template(path = "checkout.html")]
struct Checkout {
    frame: Frame,
    id: String,
    headline: &'static str,
    words: String,
    notes: Vec<&'static str>,
    /// After how many seconds a page without scripts looks again.
    refresh_s: Option<u32>,
    /// True while money that comes still counts.
    counts: bool,
    settled: bool,
    /// Only another request leads on.
    again: bool,
    /// The operator takes no money for it, or does not offer it any more.
    closed: bool,
    /// The code and what stands beside it, while money is asked for.
    pay: Option<Pay>,
    payments: Vec<PaymentWords>,
    wait: String,
    expires: Moment,
    open: bool,
    title: String,
    topup: bool,
    lease: String,
    resource: String,
    /// `?to=…`, or nothing.
    query: String,
    /// The claim token was not shown yet.
    unsaved: bool,
    cancels: bool,
    faucet: bool,
}

struct Pay {
    qr: String,
    due: String,
    due_sat: u64,
    due_btc: String,
    address: String,
    /// In groups of four, which people compare.
    groups: Vec<String>,
    uri: String,
}

fn groups(address: &str) -> Vec<String> {
    let letters: Vec<char> = address.chars().collect();
    letters.chunks(4).map(|four| four.iter().collect()).collect()
}

fn pay(view: &InvoiceView) -> Result<Pay, Problem> {
    let due_sat = view.received.due_sat;
    let due = (due_sat > 0).then_some(due_sat);
    let link = payment_uri_for_qr(&view.address, due, Some(&view.resource));
    Ok(Pay {
        qr: qr::svg(&link).map_err(|_| Problem::internal())?,
        due: sat_text(due_sat),
        due_sat,
        due_btc: btc_text(due_sat),
        groups: groups(&view.address),
        address: view.address.clone(),
        uri: view.uri.clone(),
    })
}

pub(super) async fn checkout(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    wanted: Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let row = read::invoice(&state.db, &id).await?;
    let lease = read::lease(&state.db, row.facts.lease.as_str()).await?;
    let token = token_for(&state, &headers, &lease.claim).await?;
    let resource = held::resource(&state.db, &row.resource).await?;
    let view = view::invoice(&row, &state.scene());
    let paying = Paying::new((&row, &view), &lease, resource.as_ref(), &state.shop.policy);
    let (headline, words) = paying.words();
    let (asks, shut) = (paying.asks(), paying.shut);
    let given_up = view.status == InvoiceStatus::Cancelled;
    let settled = view.status == InvoiceStatus::Settled;
    let frame = Frame::new(&state);
    let open = asks && view.status == InvoiceStatus::Open;
    Ok(render(&Checkout {
        headline,
        words,
        notes: paying.notes(lease.doc.no_hold),
        refresh_s: paying.refresh_s(),
        counts: !settled && !given_up && shut.is_none(),
        settled,
        again: paying.again(),
        closed: paying.closed(),
        pay: asks.then(|| pay(&view)).transpose()?,
        payments: paying.payments(),
        wait: wait_words(view.confirmations_required),
        expires: view.expires_at.into(),
        open,
        title: resource.map_or_else(|| view.resource.clone(), |found| found.terms.terms.title),
        topup: view.purpose == Purpose::Topup,
        unsaved: token.as_ref().is_some_and(|token| !was_shown(&state, &headers, token)),
        cancels: token.is_some() && asks && view.payments.is_empty(),
        lease: view.lease,
        resource: view.resource,
        query: to_query(Wanted::from_query(wanted).as_deref()),
        faucet: state.faucet,
        id,
        frame,
    }))
}

/// A resource's title; its id when it has none any more.
pub(super) async fn title(state: &HttpState, resource: &str) -> Result<String, Wrong> {
    let found = held::terms(&state.db, resource).await?;
    Ok(found.map_or_else(|| resource.to_owned(), |terms| terms.title))
}

async fn cancellable(
    state: &HttpState,
    id: &str,
    headers: &HeaderMap,
) -> Result<(InvoiceRow, LeaseRow), Wrong> {
    let row = read::invoice(&state.db, id).await?;
    let lease = read::lease(&state.db, row.facts.lease.as_str()).await?;
    must_hold(state, headers, &lease.claim).await?;
    Ok((row, lease))
}

/// Asks whether it shall be given up.
pub(super) async fn ask_cancel(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let (row, lease) = cancellable(&state, &id, &headers).await?;
    let ends = match (row.facts.purpose, lease.unit) {
        (Purpose::Topup, _) => {
            "The lease goes on as it is. The address of this request is not yours to pay any more."
        }
        (Purpose::Lease, Some(_)) => {
            "The unit is free for others again, and the address is not yours to pay any more."
        }
        (Purpose::Lease, None) => "The address is not yours to pay any more.",
    };
    Ok(render(&Confirm {
        title: "Give this request up?".into(),
        words: vec![
            ends.into(),
            "If you have sent money already, do not: it will be seen soon, and counts.".into(),
        ],
        action: format!("/checkout/{id}/cancel"),
        button: "Give it up".into(),
        danger: true,
        back: format!("/checkout/{id}"),
        hidden: Vec::new(),
        frame: Frame::new(&state),
    }))
}

/// Gives it up, nothing received.
pub(super) async fn cancel(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    cancellable(&state, &id, &headers).await?;
    let unknown = || Refusal::new(Code::NotFound, "there is no such invoice");
    let invoice = InvoiceId::parse(&id).ok_or_else(unknown)?;
    state.db.write(CancelInvoice { ground: state.ground(), invoice }).await?;
    Ok(Redirect::to(&format!("/checkout/{id}")).into_response())
}
