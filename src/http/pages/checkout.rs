//! The checkout: how to pay, what arrived, what it means. And giving a request up.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::Confirm;
use super::cookies::{must_hold, token_for, was_shown};
use super::form::wait_words;
use super::frame::{Frame, Moment};
use super::problem::Wrong;
use super::{Wanted, render};
use crate::app::cancel_invoice::CancelInvoice;
use crate::app::view::{self, InvoiceView, PaymentView};
use crate::app::{Code, Refusal, held, read};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::{InvoiceFlag, InvoiceStatus, Purpose};
use crate::domain::lease::snapshot::LeaseFlag;
use crate::domain::payment::PaymentState;
use crate::domain::site::to_query;
use crate::domain::uri::{btc_text, payment_uri_for_qr, sat_text};
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};
use crate::qr;

/// So near its end a quote is counted down, in seconds.
const NEAR_S: u64 = 600;

/// A payment in words.
struct PaymentWords {
    amount: String,
    badge: (&'static str, &'static str),
    words: &'static str,
    txid: String,
    /// Confirmations that it has and needs, while that matters.
    bar: Option<(u32, u32)>,
}

impl PaymentWords {
    fn new(payment: &PaymentView, needed: u32) -> Self {
        let (class, name, words) = match payment.state {
            PaymentState::Mempool => ("", "Seen", "In no block yet."),
            PaymentState::Confirming => ("", "Confirming", ""),
            PaymentState::Credited => ("good", "Counts", ""),
            PaymentState::Final => ("good", "Counts", "Buried deep in the chain."),
            PaymentState::Gone => (
                "warn",
                "Out of sight",
                "The network has lost it. If it is mined after all, it counts; your wallet may send \
                 it again.",
            ),
            PaymentState::Conflicted => (
                "warn",
                "In conflict",
                "Another transaction spends the same coins. The one that is mined counts, if it \
                 pays this address.",
            ),
            PaymentState::Replaced => (
                "alarm",
                "Replaced",
                "Another transaction has spent its coins, as after a fee bump. This one never \
                 counts; if the other pays this address, it is listed, too.",
            ),
            PaymentState::Reversed => (
                "alarm",
                "Lost",
                "It counted, then the chain dropped it for another. Its unused time was taken back.",
            ),
        };
        let matters = matches!(payment.state, PaymentState::Mempool | PaymentState::Confirming);
        Self {
            amount: sat_text(payment.amount_sat),
            badge: (class, name),
            words,
            txid: payment.txid.clone(),
            bar: matters.then_some((payment.confirmations.min(needed), needed)),
        }
    }
}

#[derive(Template)]
#[template(path = "checkout.html")]
struct Checkout {
    frame: Frame,
    id: String,
    seq: u64,
    headline: &'static str,
    words: String,
    notes: Vec<&'static str>,
    /// True while the page will change by itself.
    waiting: bool,
    settled: bool,
    /// The code and what stands beside it, while money is asked for.
    pay: Option<Pay>,
    payments: Vec<PaymentWords>,
    wait: String,
    expires: Moment,
    open: bool,
    near: bool,
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

/// What there is to say, in a few words and a sentence.
fn words(view: &InvoiceView) -> (&'static str, String) {
    let some = view.received.credited_sat + view.received.unconfirmed_sat > 0;
    let rest = sat_text(view.received.due_sat);
    match view.status {
        InvoiceStatus::Settled => ("Paid", "Your money counts; the lease has its time.".into()),
        InvoiceStatus::Confirming => (
            "On its way",
            "Your payment is seen. You can close this page: it counts by itself.".into(),
        ),
        InvoiceStatus::Cancelled => (
            "Given up",
            "This request was given up. Do not pay it; money that comes all the same is not lost."
                .into(),
        ),
        InvoiceStatus::Open | InvoiceStatus::Expired if some => (
            "Some of it came",
            format!("{rest} are missing. Pay the rest, or use the time that it buys."),
        ),
        InvoiceStatus::Open => {
            ("Pay with bitcoin", "Send the amount to this address, which is yours alone.".into())
        }
        InvoiceStatus::Expired => (
            "The quote has ended",
            "You can still pay: late money counts, at the price when it is seen.".into(),
        ),
    }
}

/// What its flags mean.
fn notes(view: &InvoiceView, no_hold: bool) -> Vec<&'static str> {
    let mut notes: Vec<&'static str> = view
        .flags
        .iter()
        .filter_map(|flag| match flag {
            // The headline says so.
            InvoiceFlag::Partial => None,
            InvoiceFlag::Over => Some("You paid more than was asked for: it buys more time."),
            InvoiceFlag::Late => {
                Some("A payment came after the quote: it counts at the price when it was seen.")
            }
            InvoiceFlag::Duplicate => {
                Some("It was paid once more: that buys more time, or can be refunded.")
            }
            InvoiceFlag::Replaced => {
                Some("A payment was replaced by another transaction, as wallets do to raise a fee.")
            }
            InvoiceFlag::AtRisk => Some(
                "The block with your payment was replaced, or is still to come. Your time goes on \
                 meanwhile.",
            ),
            InvoiceFlag::Reversed => {
                Some("A payment was lost after it had counted; its unused time was taken back.")
            }
            InvoiceFlag::Held => Some(
                "Money waits: for more, if it is less than the shortest lease, or for a free unit.",
            ),
        })
        .collect();
    if no_hold && view.received.credited_sat == 0 {
        notes.push(
            "No unit is held for you: whoever pays first gets one. Money that finds none waits.",
        );
    }
    notes
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
    let view = view::invoice(&row, &state.scene());
    let no_hold = view::lease(&lease, &state.scene()).flags.contains(&LeaseFlag::NoHold);
    let (headline, words) = words(&view);
    let settled = view.status == InvoiceStatus::Settled;
    let asks = view.received.due_sat > 0
        && !matches!(view.status, InvoiceStatus::Settled | InvoiceStatus::Cancelled);
    let needed = view.confirmations_required.max(1);
    let frame = Frame::new(&state);
    let left_s = frame.now.seconds_until(view.expires_at);
    let open = view.status == InvoiceStatus::Open;
    Ok(render(&Checkout {
        headline,
        words,
        notes: notes(&view, no_hold),
        waiting: !settled && view.status != InvoiceStatus::Cancelled,
        settled,
        pay: asks.then(|| pay(&view)).transpose()?,
        payments: view.payments.iter().map(|line| PaymentWords::new(line, needed)).collect(),
        wait: wait_words(view.confirmations_required),
        expires: view.expires_at.into(),
        open,
        near: open && left_s <= NEAR_S,
        title: title(&state, &view.resource).await?,
        topup: view.purpose == Purpose::Topup,
        unsaved: token.as_ref().is_some_and(|token| !was_shown(&state, &headers, token)),
        cancels: token.is_some() && asks && view.payments.is_empty(),
        seq: view.seq,
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

async fn cancellable(state: &HttpState, id: &str, headers: &HeaderMap) -> Result<String, Wrong> {
    let row = read::invoice(&state.db, id).await?;
    let lease = read::lease(&state.db, row.facts.lease.as_str()).await?;
    must_hold(state, headers, &lease.claim).await?;
    Ok(lease.facts.resource)
}

/// Asks whether it shall be given up.
pub(super) async fn ask_cancel(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    cancellable(&state, &id, &headers).await?;
    Ok(render(&Confirm {
        title: "Give this request up?".into(),
        words: vec![
            "The unit is free for others again, and the address is not yours to pay any more."
                .into(),
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
