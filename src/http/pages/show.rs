//! The pages that only show.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;

use super::{Wanted, Wrong, cookie_name, render};
use crate::app::read::{self, ResourceView};
use crate::app::view::{self, CreditView};
use crate::db;
use crate::db::claim::Claim;
use crate::domain::bearer::token_hash;
use crate::domain::invoice::InvoiceStatus;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::resource::ParamRule;
use crate::domain::site::to_query;
use crate::domain::uri::{btc_text, payment_uri_for_qr, sat_text};
use crate::http::cookies;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};
use crate::qr;

/// So many leases of a browser are looked through for one of a resource.
const MOST_MINE: u32 = 100;

/// A resource in words.
pub(super) struct ResourceWords {
    id: String,
    title: String,
    description: String,
    price: String,
    free: String,
    rules: Vec<String>,
    least_minutes: u64,
    most_minutes: u64,
}

impl From<ResourceView> for ResourceWords {
    fn from(view: ResourceView) -> Self {
        let free = match (view.paused, view.availability.free, view.availability.available_at) {
            (true, ..) => "paused".into(),
            (_, None, _) => "for everybody at a time".into(),
            (_, Some(0), Some(at)) => format!("taken; perhaps free at {at}"),
            (_, Some(0), None) => "taken at the moment".into(),
            (_, Some(free), _) => format!("{free} free"),
        };
        Self {
            price: format!("{} for {}", sat_text(view.price.sat), span(view.price.per_s)),
            free,
            least_minutes: view.min_duration_s.div_ceil(60),
            most_minutes: view.max_duration_s / 60,
            id: view.id,
            title: view.title,
            description: view.description,
            rules: view.rules,
        }
    }
}

/// A duration in words, in its largest units.
pub(super) fn span(seconds: u64) -> String {
    let duration = std::time::Duration::from_secs(seconds);
    humantime::format_duration(duration).to_string()
}

#[derive(Template)]
#[template(path = "index.html")]
struct Index {
    resources: Vec<ResourceWords>,
}

pub(super) async fn index(State(state): State<HttpState>) -> Result<Response, Wrong> {
    let resources = read::resources(&state.db, None).await?;
    Ok(render(&Index { resources: resources.into_iter().map(Into::into).collect() }))
}

/// A field of a form.
pub(super) struct Param {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) value: String,
}

#[derive(Template)]
#[template(path = "resource.html")]
pub(super) struct ResourcePage {
    pub(super) resource: ResourceWords,
    pub(super) params: Vec<Param>,
    pub(super) minutes: String,
    pub(super) problem: Option<String>,
    /// Where in its site the visitor wants to go.
    pub(super) to: Option<String>,
    /// Leases of it that this browser has, with `?to=` for a link.
    mine: Vec<(String, String)>,
}

impl ResourcePage {
    pub(super) async fn load(state: &HttpState, id: &str) -> Result<Self, Wrong> {
        let view = read::resources(&state.db, Some(id)).await?.pop();
        let view = view.ok_or_else(Problem::internal)?;
        let rules: std::collections::BTreeMap<String, ParamRule> =
            serde_json::from_value(view.params.clone()).unwrap_or_default();
        let params = rules
            .into_iter()
            .map(|(name, rule)| Param { name, required: rule.required, value: String::new() })
            .collect();
        let resource = ResourceWords::from(view);
        let minutes = resource.least_minutes.max(60).min(resource.most_minutes).to_string();
        Ok(Self { resource, params, minutes, problem: None, to: None, mine: Vec::new() })
    }

    /// Finds the leases of it that this browser has: nobody shall pay twice to come in again.
    async fn find_mine(&mut self, state: &HttpState, headers: &HeaderMap) -> Result<(), Wrong> {
        let Some(token) = claim_cookie(state, headers) else { return Ok(()) };
        let mut conn = state.db.read().await?;
        let claim = db::claim::find_by_hash(&mut conn, &token_hash(&token)).await?;
        let Some(claim) = claim else { return Ok(()) };
        let all = db::lease::list_of_claim(&mut conn, &claim.id, None, MOST_MINE).await?;
        let now = state.clock.now();
        let query = to_query(self.to.as_deref());
        self.mine = all
            .into_iter()
            .filter(|row| row.facts.resource == self.resource.id)
            .map(|row| (row.doc.standing.at(now).state, row.facts.id.to_string()))
            .filter(|(state, _)| matches!(state, LeaseState::Active | LeaseState::Grace))
            .map(|(_, id)| (id, query.clone()))
            .collect();
        Ok(())
    }
}

pub(super) async fn resource(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    wanted: Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let mut page = ResourcePage::load(&state, &id).await?;
    page.to = Wanted::from_query(wanted);
    page.find_mine(&state, &headers).await?;
    Ok(render(&page))
}

struct PaymentWords {
    amount: String,
    state: &'static str,
    txid: String,
    confirmations: u32,
    needed: u32,
}

#[derive(Template)]
#[template(path = "checkout.html")]
struct Checkout {
    id: String,
    seq: u64,
    headline: String,
    words: String,
    waiting: bool,
    asks: bool,
    qr: String,
    due: String,
    due_btc: String,
    address: String,
    uri: String,
    payments: Vec<PaymentWords>,
    expires: String,
    lease: String,
    /// `?to=…`, or nothing.
    query: String,
    faucet: bool,
}

pub(super) async fn checkout(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    wanted: Query<Wanted>,
) -> Result<Response, Wrong> {
    let row = read::invoice(&state.db, &id).await?;
    let view = view::invoice(&row, &state.scene());
    let due_sat = view.received.due_sat;
    let (headline, words) = match view.status {
        InvoiceStatus::Settled => ("Paid", "Your money counts; the lease has its time."),
        InvoiceStatus::Confirming => {
            ("Seen", "Your payment is on its way; it counts when it is confirmed.")
        }
        InvoiceStatus::Cancelled => ("Given up", "This request was given up."),
        InvoiceStatus::Open if due_sat < view.amount_sat => {
            ("Some of it came", "Pay the rest, or use the time it bought.")
        }
        InvoiceStatus::Open => ("Pay with bitcoin", "Send the amount to this address of your own."),
        InvoiceStatus::Expired => {
            ("The price has ended", "Money that comes now still counts, at the price of then.")
        }
    };
    let due = (due_sat > 0).then_some(due_sat);
    let link = payment_uri_for_qr(&row.address, due, Some(&row.resource));
    let svg = qr::svg(&link).map_err(|_| Problem::internal())?;
    let needed = view.confirmations_required.max(1);
    let payments = view.payments.iter().map(|payment| PaymentWords {
        amount: sat_text(payment.amount_sat),
        state: payment.state.as_str(),
        txid: payment.txid.clone(),
        confirmations: payment.confirmations.min(needed),
        needed,
    });
    Ok(render(&Checkout {
        headline: headline.into(),
        words: words.into(),
        waiting: view.status != InvoiceStatus::Settled,
        asks: due_sat > 0 && view.status != InvoiceStatus::Settled,
        qr: svg,
        due: sat_text(due_sat),
        due_btc: btc_text(due_sat),
        payments: payments.collect(),
        seq: view.seq,
        address: view.address,
        uri: view.uri,
        expires: view.expires_at.to_string(),
        lease: view.lease,
        query: to_query(Wanted::from_query(wanted).as_deref()),
        faucet: state.faucet,
        id,
    }))
}

#[derive(Template)]
#[template(path = "lease.html")]
struct LeasePage {
    id: String,
    seq: u64,
    resource: String,
    headline: String,
    unit: Option<String>,
    until: Option<String>,
    left: String,
    banked_s: u64,
    paid: String,
    refundable_sat: u64,
    credits: Vec<CreditWords>,
    extends: bool,
    holds: bool,
    /// The guarded site, when the holder may go in.
    site: Option<String>,
    /// Where in it the visitor wants to go.
    to: Option<String>,
    claim: Option<String>,
}

struct CreditWords {
    amount_sat: u64,
    seconds: u64,
    state: &'static str,
    txid: String,
    vout: u32,
}

impl From<&CreditView> for CreditWords {
    fn from(credit: &CreditView) -> Self {
        Self {
            amount_sat: credit.amount_sat,
            seconds: credit.seconds,
            state: credit.state.as_str(),
            txid: credit.txid.clone(),
            vout: credit.vout,
        }
    }
}

/// The claim token in the browser's cookie.
pub(super) fn claim_cookie(state: &HttpState, headers: &HeaderMap) -> Option<String> {
    cookies::values(headers, cookie_name(state)).next().map(str::to_owned)
}

/// The cookie's token, and the claim, if it manages `claim`.
pub(super) async fn token_for(
    state: &HttpState,
    headers: &HeaderMap,
    claim: &str,
) -> Result<Option<(String, Claim)>, Wrong> {
    let Some(token) = claim_cookie(state, headers) else { return Ok(None) };
    let mut conn = state.db.read().await?;
    let found = db::claim::find_by_hash(&mut conn, &token_hash(&token)).await?;
    Ok(found.filter(|found| found.id == claim).map(|found| (token, found)))
}

pub(super) async fn lease(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    wanted: Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let claim = token_for(&state, &headers, &row.claim).await?.map(|(token, _)| token);
    let site = site(&state, &row.facts.resource).await?;
    let view = view::lease(&row, &state.scene());
    let headline = match view.state {
        LeaseState::Unfunded => "Waits for payment",
        LeaseState::Provisioning => "Being made ready",
        LeaseState::Active => "Yours to use",
        LeaseState::Grace => "Time is over: pay for more to keep it",
        LeaseState::Ended => "Over",
        LeaseState::Suspended => "Stopped by the operator; time stands still",
    };
    // Of every state: the page changes while it is open, its policy does not.
    let policy = site.as_deref().map(super::policy_with_forms_to);
    let site = site.filter(|_| claim.is_some() && view.state == LeaseState::Active);
    let mut response = render(&LeasePage {
        seq: view.seq,
        resource: view.resource,
        headline: headline.into(),
        unit: view.unit,
        until: view.expires_at.map(|at| at.to_string()),
        left: format!("{} left", span(view.remaining_s)),
        banked_s: view.banked_s,
        paid: sat_text(view.paid_sat),
        refundable_sat: view.refundable_sat,
        credits: view.credits.iter().map(Into::into).collect(),
        extends: view.end_reason.is_none_or(crate::domain::lease::EndReason::may_start_again),
        holds: claim.is_some(),
        site,
        to: Wanted::from_query(wanted),
        claim,
        id,
    });
    if let Some(policy) = policy {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy?);
    }
    Ok(response)
}

/// The site that a resource's gate guards.
async fn site(state: &HttpState, resource: &str) -> Result<Option<String>, Wrong> {
    let found = db::terms::find(&mut state.db.read().await?, resource).await?;
    Ok(found.and_then(|found| found.terms.terms.site))
}
