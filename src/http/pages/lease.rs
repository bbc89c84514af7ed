//! A lease as anybody sees it, with more for its holder; and its receipt, for print.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde_json::Value;

use super::cookies::{token_for, was_shown};
use super::form::Time;
use super::frame::{Frame, Moment, span};
use super::problem::Wrong;
use super::{Wanted, render};
use crate::app::view::{self, CreditView, LeaseView};
use crate::app::view_payout::PayoutView;
use crate::app::{held, read};
use crate::db::lease::LeaseRow;
use crate::domain::lease::EndReason;
use crate::domain::lease::snapshot::{LeaseFlag, LeaseState};
use crate::domain::payment::PaymentState;
use crate::domain::resource::Terms;
use crate::domain::site::to_query;
use crate::domain::time::Timestamp;
use crate::domain::uri::sat_text;
use crate::http::HttpState;
use crate::http::json::{Path, Query};

/// So many refunds of a claim are looked through for those of a lease.
const MOST_PAYOUTS: u32 = 200;

/// A credit in words.
struct CreditWords {
    amount: String,
    time: String,
    state: &'static str,
    txid: String,
    vout: u32,
}

impl From<&CreditView> for CreditWords {
    fn from(credit: &CreditView) -> Self {
        Self {
            amount: sat_text(credit.amount_sat),
            time: span(credit.seconds),
            state: match credit.state {
                PaymentState::Credited | PaymentState::Final => "counts",
                PaymentState::Reversed => "lost again",
                _ => "counts, unsettled",
            },
            txid: credit.txid.clone(),
            vout: credit.vout,
        }
    }
}

/// A refund in words.
struct RefundWords {
    amount: String,
    state: &'static str,
    address: Option<String>,
    txid: Option<String>,
}

impl From<&PayoutView> for RefundWords {
    fn from(payout: &PayoutView) -> Self {
        use crate::domain::payout::PayoutState;
        let state = match (payout.state, payout.waits_for.as_deref()) {
            (PayoutState::Waiting, Some("address")) => "waits for your refund address",
            (PayoutState::Waiting, Some("confirmations")) => {
                "waits until the payment behind it is deep enough in the chain"
            }
            (PayoutState::Waiting, _) => "waits: too little to send yet",
            (PayoutState::Due, Some("dust")) => "too little for the network to carry",
            (PayoutState::Due, _) => "will be sent with the operator's next batch",
            (PayoutState::Prepared, _) => "is being signed",
            (PayoutState::Broadcast, _) => "is sent, in no block yet",
            (PayoutState::Confirmed, _) => "was sent",
        };
        Self {
            amount: sat_text(payout.amount_sat),
            state,
            address: payout.address.clone(),
            txid: payout.txid.clone(),
        }
    }
}

/// What only its holder sees.
struct Held {
    access: Vec<(String, String)>,
    refund_address: Option<String>,
    refunds: Vec<RefundWords>,
    /// The claim token was not shown yet.
    unsaved: bool,
    returns: bool,
}

#[derive(Template)]
#[template(path = "lease.html")]
struct LeasePage {
    frame: Frame,
    id: String,
    seq: u64,
    title: String,
    resource: String,
    headline: &'static str,
    words: String,
    class: &'static str,
    notes: Vec<&'static str>,
    /// True while the page will change by itself soon.
    waiting: bool,
    active: bool,
    unfunded: bool,
    unit: Option<String>,
    starts: Option<Moment>,
    until: Option<Moment>,
    /// The same in Unix milliseconds.
    ends: i64,
    kept_until: Option<Moment>,
    /// Of the time bought: all of it and what is left, in seconds.
    bar: Option<(u64, u64)>,
    left: String,
    banked: Option<String>,
    paid: String,
    refundable: Option<String>,
    credits: Vec<CreditWords>,
    extends: bool,
    /// Its first invoice, while it waits for payment.
    first: Option<String>,
    /// `?to=…`, or nothing.
    query: String,
    time: Time,
    /// Makes the form create once.
    once: String,
    link: String,
    held: Option<Held>,
    /// The guarded site, when the holder may go in.
    site: Option<String>,
    /// Where in it the visitor wants to go.
    to: Option<String>,
}

/// What there is to say, in a few words and a sentence; and how it looks.
fn words(view: &LeaseView) -> (&'static str, &'static str, String) {
    let refund = match view.refundable_sat {
        0 => String::new(),
        sat => format!(" {} can go back.", sat_text(sat)),
    };
    match view.state {
        LeaseState::Unfunded if view.paid_sat > 0 => (
            "Money waits",
            "warn",
            "It is less than the shortest lease, or no unit is free. It \
             counts as soon as more comes, or a unit does."
                .into(),
        ),
        LeaseState::Unfunded => {
            ("Waits for payment", "", "It starts by itself when money counts.".into())
        }
        LeaseState::Provisioning => {
            ("Being made ready", "", "It is paid. Its time begins when it is ready.".into())
        }
        LeaseState::Active => ("Running", "good", String::new()),
        LeaseState::Grace => (
            "Time has run out",
            "warn",
            "Access has ended. Pay for more now and it goes on where it was.".into(),
        ),
        LeaseState::Suspended => {
            ("Stopped by the operator", "warn", "Its time stands still meanwhile.".into())
        }
        LeaseState::Ended => {
            let why = match view.end_reason {
                Some(EndReason::Returned) => "It was given back.",
                Some(EndReason::Revoked) => "The operator has ended it.",
                Some(EndReason::Failed) => "It could not be made ready.",
                Some(EndReason::Reversed) => "Its payment was lost from the chain.",
                Some(EndReason::Expired) | None => "Its time was used up.",
            };
            ("Over", "", format!("{why}{refund}"))
        }
    }
}

fn notes(flags: &[LeaseFlag]) -> Vec<&'static str> {
    let note = |flag: &LeaseFlag| match flag {
        LeaseFlag::ExpiringSoon => Some("It ends soon. Pay for more to go on."),
        LeaseFlag::AtRisk => Some(
            "The block with a payment was replaced, or is still to come. The time goes on meanwhile.",
        ),
        LeaseFlag::Reversed => {
            Some("A payment was lost after it had counted; its unused time was taken back.")
        }
        LeaseFlag::NoHold => None,
        LeaseFlag::ProvisionerError => Some(
            "Something at the operator's side does not work. They know; no time is lost while it is \
             not ready.",
        ),
    };
    flags.iter().filter_map(note).collect()
}

/// Access details as names and values, whatever the provisioner answered.
fn lines(access: Option<Value>) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match access {
        Some(Value::Object(fields)) => {
            fields.iter().map(|(name, value)| (name.replace('_', " "), text(value))).collect()
        }
        Some(Value::Null) | None => Vec::new(),
        Some(other) => vec![("access".into(), text(&other))],
    }
}

async fn held(
    state: &HttpState,
    headers: &HeaderMap,
    row: &LeaseRow,
    view: &LeaseView,
) -> Result<Option<Held>, Wrong> {
    let Some(token) = token_for(state, headers, &row.claim).await? else { return Ok(None) };
    let claim = held::claim(&state.db, &token).await?;
    let payouts = held::payouts(&state.db, &row.claim, MOST_PAYOUTS).await?;
    let of_this = payouts.iter().filter(|payout| payout.subject == view.id);
    Ok(Some(Held {
        access: match view.state {
            LeaseState::Active => lines(held::access(&state.db, row).await?),
            _ => Vec::new(),
        },
        refund_address: claim.and_then(|claim| claim.refund_address),
        refunds: of_this.map(Into::into).collect(),
        unsaved: !was_shown(state, headers, &token),
        returns: view.state != LeaseState::Ended,
    }))
}

impl LeasePage {
    fn new(frame: Frame, view: LeaseView, terms: Option<Terms>, to: Option<String>) -> Self {
        let (headline, class, words) = words(&view);
        let active = view.state == LeaseState::Active;
        let running = matches!(view.state, LeaseState::Active | LeaseState::Grace);
        let whole_s = view.starts_at.zip(view.expires_at);
        let whole_s = whole_s.map(|(start, end)| start.seconds_until(end));
        let usual = terms.as_ref().map_or(3600, |terms| terms.min_duration_s.max(3600));
        let title =
            terms.as_ref().map_or_else(|| view.resource.clone(), |found| found.title.clone());
        Self {
            bar: whole_s.filter(|_| active).map(|all| (all.max(1), view.remaining_s)),
            kept_until: view
                .grace_until
                .filter(|_| view.state == LeaseState::Grace)
                .map(Into::into),
            ends: view.expires_at.map_or(0, Timestamp::millis),
            until: view.expires_at.filter(|_| view.state != LeaseState::Grace).map(Into::into),
            starts: view.starts_at.map(Into::into),
            left: span(view.remaining_s),
            banked: (view.banked_s > 0).then(|| span(view.banked_s)),
            paid: sat_text(view.paid_sat),
            refundable: (view.refundable_sat > 0).then(|| sat_text(view.refundable_sat)),
            credits: view.credits.iter().map(Into::into).collect(),
            extends: view.end_reason.is_none_or(EndReason::may_start_again),
            first: None,
            query: to_query(to.as_deref()),
            waiting: matches!(view.state, LeaseState::Unfunded | LeaseState::Provisioning),
            notes: notes(&view.flags),
            link: view.links.checkout,
            time: Time::of(usual),
            once: String::new(),
            unit: view.unit.filter(|_| running || view.state == LeaseState::Suspended),
            held: None,
            site: None,
            seq: view.seq,
            unfunded: view.state == LeaseState::Unfunded,
            resource: view.resource,
            id: view.id,
            active,
            title,
            headline,
            words,
            class,
            to,
            frame,
        }
    }
}

pub(super) async fn lease(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    wanted: Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let terms = held::terms(&state.db, &row.facts.resource).await?;
    let site = terms.as_ref().and_then(|terms| terms.site.clone());
    // Of every state: the page changes while it is open, its policy does not.
    let policy = site.as_deref().map(super::policy_with_forms_to);
    let view = view::lease(&row, &state.scene());
    let held = held(&state, &headers, &row, &view).await?;
    let mut page = LeasePage::new(Frame::new(&state), view, terms, Wanted::from_query(wanted));
    page.site = site.filter(|_| held.is_some() && page.active);
    page.held = held;
    page.once = super::form::nonce()?;
    if page.unfunded {
        let first = read::first_invoice(&state.db, &row.facts.id).await?;
        page.first = first.map(|invoice| invoice.facts.id.to_string());
    }
    let mut response = render(&page);
    if let Some(policy) = policy {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy?);
    }
    Ok(response)
}

#[derive(Template)]
#[template(path = "receipt.html")]
struct Receipt {
    frame: Frame,
    id: String,
    title: String,
    unit: Option<String>,
    asked: Moment,
    starts: Option<Moment>,
    until: Option<Moment>,
    state: &'static str,
    credits: Vec<CreditWords>,
    paid: String,
    seconds: String,
    made: Moment,
}

/// What was paid for, for print. Says nothing that the page does not.
pub(super) async fn receipt(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let terms = held::terms(&state.db, &row.facts.resource).await?;
    let view = view::lease(&row, &state.scene());
    let frame = Frame::new(&state);
    let bought_s: u64 = view.credits.iter().map(|credit| credit.seconds).sum();
    Ok(render(&Receipt {
        title: terms.map_or_else(|| view.resource.clone(), |terms| terms.title),
        state: words(&view).0,
        unit: view.unit,
        asked: view.created_at.into(),
        starts: view.starts_at.map(Into::into),
        until: view.expires_at.map(Into::into),
        credits: view.credits.iter().map(Into::into).collect(),
        paid: sat_text(view.paid_sat),
        seconds: span(bought_s),
        made: frame.now.into(),
        id: view.id,
        frame,
    }))
}
