//! A lease as anybody sees it, with more for its holder.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;

use super::cookies::{token_for, was_shown};
use super::form::Time;
use super::frame::{Frame, Moment, span};
use super::leasing::{
    CreditWords, RefundWords, held_sat, lines, notes, paid_end, shown_end, words,
};
use super::mistakes::Mistakes;
use super::paying::{Shut, is_over};
use super::problem::Wrong;
use super::{Wanted, render};
use crate::app::view::{self, LeaseView};
use crate::app::{Refusal, held, read};
use crate::db::lease::LeaseRow;
use crate::db::terms::Resource;
use crate::domain::ids::LeaseId;
use crate::domain::invoice::InvoiceStatus;
use crate::domain::lease::advance::least_s;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::site::to_query;
use crate::domain::time::Timestamp;
use crate::domain::uri::sat_text;
use crate::http::HttpState;
use crate::http::json::{Path, Query};

/// So many refunds of a claim are looked through for those of a lease.
const MOST_PAYOUTS: u32 = 200;

/// What only its holder sees.
struct Held {
    access: Vec<(String, String)>,
    refund_address: Option<String>,
    refunds: Vec<RefundWords>,
    /// The claim token was not shown yet.
    unsaved: bool,
    returns: bool,
    /// Something can be handed in with it.
    params: bool,
}

/// A form of the page as it was sent, and why it was refused.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) time: Option<Time>,
    pub(super) refund: Option<String>,
    pub(super) refused: Option<Refusal>,
}

#[derive(Template)]
#[template(path = "lease.html")]
struct LeasePage {
    frame: Frame,
    id: String,
    title: String,
    resource: String,
    /// It is on the list.
    offered: bool,
    headline: &'static str,
    words: String,
    class: &'static str,
    notes: Vec<&'static str>,
    /// True while the page will change by itself soon.
    waiting: bool,
    /// Nothing was typed into it: without scripts it may load itself again.
    fresh: bool,
    active: bool,
    /// By the operator.
    stopped: bool,
    unit: Option<String>,
    starts: Option<Moment>,
    until: Option<Moment>,
    /// The end of what is paid, in Unix milliseconds.
    ends: i64,
    /// Until when unit and data are kept.
    kept_until: Option<Moment>,
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
    /// What is wrong with the form that was sent.
    mistakes: Mistakes,
    /// The refund address as it was typed.
    refund: Option<String>,
    /// Makes the form create once.
    once: String,
    link: String,
    held: Option<Held>,
    /// The guarded site, when the holder may go in.
    site: Option<String>,
    /// Where in it the visitor wants to go.
    to: Option<String>,
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

    fn shut(&self) -> Option<Shut> {
        Shut::of_resource(self.resource.as_ref())
    }

    fn takes_money(&self) -> bool {
        self.shut().is_none()
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
        params: !held::terms_of(&state.db, row).await?.params.is_empty(),
    }))
}

impl LeasePage {
    fn new(frame: Frame, seen: Seen, to: Option<String>) -> Self {
        let waits = seen.waits_for();
        let (headline, class, mut words) = words(&seen.view, &waits, seen.shut());
        let (more, held_sat) = (seen.sells_more(), seen.held_sat);
        let (closed, offered) = (!seen.takes_money(), seen.shut() != Some(Shut::Retired));
        let Seen { row, view, resource, .. } = seen;
        let terms = resource.map(|found| found.terms.terms);
        let active = view.state == LeaseState::Active;
        let running = matches!(view.state, LeaseState::Active | LeaseState::Grace);
        let stopped = view.state == LeaseState::Suspended;
        let end = paid_end(&view);
        let left_s = row.doc.standing.left_s(frame.now);
        let whole_s = view.starts_at.zip(end).map(|(start, end)| start.seconds_until(end));
        let (shortest_s, longest_s) =
            terms.as_ref().map_or((0, 0), |terms| (terms.min_duration_s, terms.max_duration_s));
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
            kept_until: kept.map(Into::into),
            ends: end.map_or(0, Timestamp::millis),
            until: shown_end(&row.doc.standing.at(frame.now)).map(Into::into),
            starts: view.starts_at.map(Into::into),
            left: span(left_s),
            banked: (view.paid_until.is_some() && view.banked_s > 0).then(|| span(view.banked_s)),
            paid: sat_text(view.paid_sat),
            waits: (held_sat > 0).then(|| sat_text(held_sat)),
            refundable: (view.refundable_sat > 0).then(|| sat_text(view.refundable_sat)),
            credits: CreditWords::all(&row),
            more,
            least: (view.state == LeaseState::Ended).then(|| span(shortest_s)),
            fresh: true,
            first: None,
            paid_by: None,
            query: to_query(to.as_deref()),
            waiting: matches!(view.state, LeaseState::Unfunded | LeaseState::Provisioning),
            notes,
            link: view.links.checkout,
            time: Time::of(shortest_s.max(3600).min(longest_s)),
            mistakes: Mistakes::default(),
            refund: None,
            once: String::new(),
            unit: view.unit.filter(|_| running || stopped),
            held: None,
            site: None,
            title: terms.map_or_else(|| view.resource.clone(), |found| found.title),
            resource: view.resource,
            offered,
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

    /// Shows a form as it was sent, with what is wrong beside its field.
    fn keep(&mut self, typed: Typed, most_s: u64) {
        if let Some(refusal) = typed.refused {
            let most = span(most_s);
            let range = match &self.least {
                Some(least) => format!("From {least} to {most}."),
                None => format!("More than nothing, at most {most}."),
            };
            self.mistakes.add(refusal, &mut [], &range);
        }
        self.fresh = typed.time.is_none() && typed.refund.is_none();
        if let Some(time) = typed.time {
            self.time = time;
        }
        self.refund = typed.refund;
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
    lease_page(&state, &id, &headers, Wanted::from_query(wanted), Typed::default()).await
}

/// The page of a lease, with a form that was refused.
pub(super) async fn lease_page(
    state: &HttpState,
    id: &str,
    headers: &HeaderMap,
    to: Option<String>,
    typed: Typed,
) -> Result<Response, Wrong> {
    let seen = Seen::new(state, id).await?;
    let site = seen.resource.as_ref().and_then(|found| found.terms.terms.site.clone());
    // Of every state: the page changes while it is open, its policy does not.
    let policy = site.as_deref().map(super::policy_with_forms_to);
    let held = held(state, headers, &seen).await?;
    let unfunded = (seen.view.state == LeaseState::Unfunded).then(|| seen.row.facts.id.clone());
    // Enough came, at a price that has risen: the rest is asked for anew.
    let short = seen.held_sat > 0 && seen.takes_money() && !seen.is_enough();
    let asks = seen.takes_money();
    let most_s = seen.resource.as_ref().map_or(0, |found| found.terms.terms.max_duration_s);
    let mut page = LeasePage::new(Frame::new(state), seen, to);
    page.keep(typed, most_s);
    page.site = site.filter(|_| held.is_some() && page.active);
    page.held = held;
    page.once = super::form::nonce();
    if let Some(lease) = unfunded {
        page.add_first(state, &lease).await?;
        page.more = short && page.first.is_none();
        page.first = page.first.filter(|_| asks);
    }
    let mut response = render(&page);
    if let Some(policy) = policy {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy?);
    }
    Ok(response)
}
