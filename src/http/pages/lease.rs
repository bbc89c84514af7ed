//! A lease as anybody sees it, with more for its holder.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde_json::Value;

use super::cookies::{token_for, was_shown};
use super::form::Time;
use super::frame::{Frame, Moment, span};
use super::paying::{is_over, money_waits};
use super::problem::Wrong;
use super::{Wanted, render};
use crate::app::view::{self, LeaseView};
use crate::app::view_payout::PayoutView;
use crate::app::{held, read};
use crate::db::lease::LeaseRow;
use crate::db::terms::Resource;
use crate::domain::ids::LeaseId;
use crate::domain::invoice::InvoiceStatus;
use crate::domain::lease::EndReason;
use crate::domain::lease::advance::least_s;
use crate::domain::lease::fold::{CreditLine, Home, Standing};
use crate::domain::lease::snapshot::{LeaseFlag, LeaseState};
use crate::domain::payment::{Counted, PaymentState};
use crate::domain::site::to_query;
use crate::domain::time::Timestamp;
use crate::domain::uri::sat_text;
use crate::http::HttpState;
use crate::http::json::{Path, Query};

/// So many refunds of a claim are looked through for those of a lease.
const MOST_PAYOUTS: u32 = 200;

/// A credit in words.
pub(super) struct CreditWords {
    pub(super) amount: String,
    /// What it bought; nothing while that is no time.
    pub(super) time: String,
    pub(super) state: &'static str,
    pub(super) txid: String,
    pub(super) vout: u32,
}

impl CreditWords {
    fn new(standing: &Standing, line: &CreditLine, payment: PaymentState) -> Self {
        let waits =
            || money_waits(standing) && standing.lots.iter().any(|lot| lot.payment == line.payment);
        let state = match (line.counted, payment) {
            (Counted::Reversed, PaymentState::Confirming) => "lost, on its way again",
            (Counted::Reversed, _) => "lost again",
            _ if line.home == Home::Dead => "buys nothing, can be refunded",
            _ if waits() => "waits",
            _ => "counts",
        };
        Self {
            amount: sat_text(line.amount_sat),
            time: match line.home {
                Home::Dead => "no time".into(),
                _ => span(line.seconds),
            },
            state,
            txid: line.outpoint.txid.to_string(),
            vout: line.outpoint.vout,
        }
    }

    /// Of all credits of a lease, oldest first.
    pub(super) fn all(row: &LeaseRow) -> Vec<Self> {
        let standing = &row.doc.standing;
        let lines = standing.credits.iter().zip(&row.doc.credit_states);
        let counted = lines.filter(|(line, _)| line.counted != Counted::Never);
        counted.map(|(line, state)| Self::new(standing, line, *state)).collect()
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
    /// By the operator.
    stopped: bool,
    unit: Option<String>,
    starts: Option<Moment>,
    until: Option<Moment>,
    /// The end of what is paid, in Unix milliseconds.
    ends: i64,
    /// Until when unit and data are kept, and how long that is.
    kept_until: Option<(Moment, String)>,
    /// Of the time bought: all of it and what is left, in seconds.
    bar: Option<(u64, u64)>,
    left: String,
    banked: Option<String>,
    paid: String,
    /// Money that bought no time yet.
    waits: Option<String>,
    refundable: Option<String>,
    credits: Vec<CreditWords>,
    /// More time can be paid for.
    more: bool,
    /// The least that starts it anew, when it is over.
    least: Option<String>,
    /// Its first invoice, while it waits for payment.
    first: Option<String>,
    /// The same once it is paid.
    paid_by: Option<String>,
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

/// What there is to say, in a few words and a sentence; and how it looks. `waits` says what its money
/// waits for.
pub(super) fn words(view: &LeaseView, waits: &str) -> (&'static str, &'static str, String) {
    let refund = match view.refundable_sat {
        0 => String::new(),
        sat => format!(" {} can go back.", sat_text(sat)),
    };
    match view.state {
        LeaseState::Unfunded if view.paid_sat > 0 => ("Money waits", "warn", waits.into()),
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
            let space = if waits.is_empty() { "" } else { " " };
            ("Over", "", format!("{why}{refund}{space}{waits}"))
        }
    }
}

fn notes(view: &LeaseView, takes_money: bool) -> Vec<&'static str> {
    let note = |flag: &LeaseFlag| match flag {
        LeaseFlag::ExpiringSoon if !takes_money => Some("It ends soon."),
        LeaseFlag::ExpiringSoon => Some("It ends soon. Pay for more to go on."),
        LeaseFlag::AtRisk => Some(
            "The block with a payment was replaced, or is still to come. The time goes on meanwhile.",
        ),
        LeaseFlag::Reversed => {
            Some("A payment was lost after it had counted; its unused time was taken back.")
        }
        LeaseFlag::NoHold => None,
        LeaseFlag::ProvisionerError if view.state == LeaseState::Provisioning => Some(
            "Something at the operator's side does not work. They know; no time is lost while it is \
             not ready.",
        ),
        LeaseFlag::ProvisionerError => {
            Some("Something at the operator's side does not work. They know.")
        }
    };
    view.flags.iter().filter_map(note).collect()
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

/// A lease with what decides about it.
struct Seen {
    row: LeaseRow,
    view: LeaseView,
    resource: Option<Resource>,
    /// Money that waits, while it has no time.
    held_sat: u64,
    /// The least that starts it, in seconds.
    least_s: u64,
}

impl Seen {
    async fn new(state: &HttpState, id: &str) -> Result<Self, Wrong> {
        let row = read::lease(&state.db, id).await?;
        let resource = held::resource(&state.db, &row.facts.resource).await?;
        let policy = &state.shop.policy;
        Ok(Self {
            view: view::lease(&row, &state.scene()),
            held_sat: held_sat(&row, state.clock.now()),
            least_s: resource.as_ref().map_or(0, |found| least_s(&found.terms.terms, policy)),
            resource,
            row,
        })
    }

    fn takes_money(&self) -> bool {
        self.resource.as_ref().is_some_and(Resource::accepting)
    }

    fn is_enough(&self) -> bool {
        self.row.doc.standing.pending_s >= self.least_s
    }

    /// What its money waits for.
    fn waits_for(&self) -> String {
        let what = match (self.held_sat, self.takes_money(), self.is_enough()) {
            (0, ..) => return String::new(),
            (_, false, _) => "wait until the operator, who has stopped this, lets it go on",
            (_, true, true) => "wait for a unit: none is free",
            (_, true, false) => "wait for more: that is less than the shortest lease",
        };
        format!("{} {what}.", sat_text(self.held_sat))
    }

    fn returns(&self) -> bool {
        self.view.state != LeaseState::Ended || self.held_sat > 0
    }

    /// Whether more time can be paid for here; the first payment has a page of its own.
    fn sells_more(&self) -> bool {
        !is_over(&self.row.doc.standing)
            && self.takes_money()
            && self.view.state != LeaseState::Unfunded
    }
}

/// The money of a lease that has no time and waits for some.
pub(super) fn held_sat(row: &LeaseRow, now: Timestamp) -> u64 {
    if money_waits(&row.doc.standing) { row.doc.books(now).held_sat } else { 0 }
}

async fn held(state: &HttpState, headers: &HeaderMap, seen: &Seen) -> Result<Option<Held>, Wrong> {
    let (row, view) = (&seen.row, &seen.view);
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
        returns: seen.returns(),
    }))
}

/// The end of what is paid; of a lease that is over, its end.
pub(super) fn paid_end(view: &LeaseView) -> Option<Timestamp> {
    view.paid_until.or(view.expires_at)
}

impl LeasePage {
    fn new(frame: Frame, seen: Seen, to: Option<String>) -> Self {
        let waits = seen.waits_for();
        let (headline, class, mut words) = words(&seen.view, &waits);
        let (more, held_sat) = (seen.sells_more(), seen.held_sat);
        let closed = !seen.takes_money();
        let Seen { row, view, resource, .. } = seen;
        let terms = resource.map(|found| found.terms.terms);
        let active = view.state == LeaseState::Active;
        let running = matches!(view.state, LeaseState::Active | LeaseState::Grace);
        let stopped = view.state == LeaseState::Suspended;
        let end = paid_end(&view);
        let left_s = row.doc.standing.left_s(frame.now);
        let whole_s = view.starts_at.zip(end).map(|(start, end)| start.seconds_until(end));
        let shortest_s = terms.as_ref().map_or(0, |terms| terms.min_duration_s);
        let kept = view.grace_until.filter(|_| view.state == LeaseState::Grace);
        let mut notes = notes(&view, !closed);
        if closed && running {
            if view.state == LeaseState::Grace {
                words = "Access has ended.".into();
            }
            notes.push("The operator takes no money for this now: there is no more time to buy.");
        }
        Self {
            bar: whole_s.filter(|_| active).map(|all| (all.max(1), left_s)),
            kept_until: kept.map(|at| (at.into(), span(frame.now.seconds_until(at)))),
            ends: end.map_or(0, Timestamp::millis),
            until: end.filter(|_| view.state != LeaseState::Grace && !stopped).map(Into::into),
            starts: view.starts_at.map(Into::into),
            left: span(left_s),
            banked: (view.paid_until.is_some() && view.banked_s > 0).then(|| span(view.banked_s)),
            paid: sat_text(view.paid_sat),
            waits: (held_sat > 0).then(|| sat_text(held_sat)),
            refundable: (view.refundable_sat > 0).then(|| sat_text(view.refundable_sat)),
            credits: CreditWords::all(&row),
            more,
            least: (view.state == LeaseState::Ended).then(|| span(shortest_s)),
            first: None,
            paid_by: None,
            query: to_query(to.as_deref()),
            waiting: matches!(view.state, LeaseState::Unfunded | LeaseState::Provisioning),
            notes,
            link: view.links.checkout,
            time: Time::of(shortest_s.max(3600)),
            once: String::new(),
            unit: view.unit.filter(|_| running || stopped),
            held: None,
            site: None,
            seq: view.seq,
            title: terms.map_or_else(|| view.resource.clone(), |found| found.title),
            resource: view.resource,
            id: view.id,
            active,
            stopped,
            headline,
            words,
            class,
            to,
            frame,
        }
    }

    /// Its first invoice: to be paid, or to be looked at.
    async fn add_first(&mut self, state: &HttpState, lease: &LeaseId) -> Result<(), Wrong> {
        let Some(row) = read::first_invoice(&state.db, lease).await? else { return Ok(()) };
        let id = Some(row.facts.id.to_string());
        let asks = matches!(
            row.doc.standing.status(self.frame.now),
            InvoiceStatus::Open | InvoiceStatus::Expired
        );
        *(if asks { &mut self.first } else { &mut self.paid_by }) = id;
        Ok(())
    }
}

pub(super) async fn lease(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    wanted: Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let seen = Seen::new(&state, &id).await?;
    let site = seen.resource.as_ref().and_then(|found| found.terms.terms.site.clone());
    // Of every state: the page changes while it is open, its policy does not.
    let policy = site.as_deref().map(super::policy_with_forms_to);
    let held = held(&state, &headers, &seen).await?;
    let unfunded = (seen.view.state == LeaseState::Unfunded).then(|| seen.row.facts.id.clone());
    // Enough came, at a price that has risen: the rest is asked for anew.
    let short = seen.held_sat > 0 && seen.takes_money() && !seen.is_enough();
    let asks = seen.takes_money();
    let mut page = LeasePage::new(Frame::new(&state), seen, Wanted::from_query(wanted));
    page.site = site.filter(|_| held.is_some() && page.active);
    page.held = held;
    page.once = super::form::nonce();
    if let Some(lease) = unfunded {
        page.add_first(&state, &lease).await?;
        page.more = short && page.first.is_none();
        page.first = page.first.filter(|_| asks);
    }
    let mut response = render(&page);
    if let Some(policy) = policy {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy?);
    }
    Ok(response)
}
