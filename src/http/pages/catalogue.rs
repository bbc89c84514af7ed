//! What is for rent, and one resource with the form that asks for time on it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::cookies::claim_cookie;
use super::field::{Field, Kind, capital};
use super::form::{Time, wait_words};
use super::frame::{Frame, Moment, per, span};
use super::leasing::shown_end;
use super::mistakes::Mistakes;
use super::problem::Wrong;
use super::{destination, render};
use crate::app::read::{self, QuoteView, ResourceView};
use crate::app::{AppError, held};
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::params::DEFAULT_MAX_LENGTH;
use crate::domain::price::Price;
use crate::domain::resource::{Access, ParamFormat, ParamRule};
use crate::domain::site::to_query;
use crate::domain::uri::sat_text;
use crate::http::HttpState;
use crate::http::json::{Path, Query};

/// So many leases of a browser are looked through for one of a resource.
const MOST_MINE: u32 = 100;
const DAY_S: u64 = 86_400;

/// A resource in words.
pub(super) struct Offer {
    pub(super) id: String,
    title: String,
    description: String,
    price: String,
    price_sat: u64,
    /// What it costs to keep it up, in words and in satoshis.
    upkeep: Option<(String, u64)>,
    /// Class and words of its badge.
    free: (&'static str, String),
    /// True while the operator takes no money for it.
    paused: bool,
    /// When a unit may come free.
    free_at: Option<Moment>,
    shared: bool,
    least: String,
    most: String,
    least_s: u64,
    most_s: u64,
    quote_ttl: String,
    /// What a rule is about, and what it says.
    rules: Vec<(String, String)>,
    params: BTreeMap<String, ParamRule>,
}

impl From<ResourceView> for Offer {
    fn from(view: ResourceView) -> Self {
        let stock = &view.availability;
        let free = match (view.paused, stock.free, stock.units) {
            (true, ..) => ("warn", "Paused".to_owned()),
            (_, None, _) => ("good", "Open to everyone who pays".to_owned()),
            (_, Some(0), _) => ("warn", "All taken".to_owned()),
            (_, Some(free), Some(units)) if units > 1 => {
                ("good", format!("{free} of {units} free"))
            }
            _ => ("good", "Free".to_owned()),
        };
        let upkeep = view.funding.map(|funding| funding.running_cost);
        Self {
            upkeep: upkeep
                .map(|cost| (Price { sat: cost.sat, per_s: cost.per_s }.words(), cost.sat)),
            price_sat: view.price.sat,
            price: format!("{} / {}", sat_text(view.price.sat), per(view.price.per_s)),
            free,
            paused: view.paused,
            free_at: stock.available_at.filter(|_| !view.paused).map(Into::into),
            shared: view.access == Access::Shared,
            least: span(view.min_duration_s.max(1)),
            most: span(view.max_duration_s),
            least_s: view.min_duration_s.max(1),
            most_s: view.max_duration_s,
            quote_ttl: span(view.quote_ttl_s),
            id: view.id,
            title: view.title,
            description: view.description,
            rules: view
                .rules
                .iter()
                .map(|rule| rule.split_once(": ").unwrap_or(("", rule)))
                .map(|(about, says)| (about.to_owned(), capital(says)))
                .collect(),
            params: view.params,
        }
    }
}

#[derive(Template)]
#[template(path = "index.html")]
struct Index {
    frame: Frame,
    offers: Vec<Offer>,
}

pub(super) async fn index(State(state): State<HttpState>) -> Result<Response, Wrong> {
    let resources = read::resources(&state.db, state.clock.now()).await?;
    let offers = resources.into_iter().map(Into::into).collect();
    Ok(render(&Index { frame: Frame::new(&state), offers }))
}

/// Fields for what a resource wants to know, empty.
pub(super) fn param_fields(rules: &BTreeMap<String, ParamRule>) -> Vec<Field> {
    rules.iter().map(|(name, rule)| param_field(name, rule)).collect()
}

fn param_field(name: &str, rule: &ParamRule) -> Field {
    let words = name.replace(['_', '-'], " ");
    let label = capital(&words.replace("ssh", "SSH").replace("wireguard", "WireGuard"));
    let hint = match rule.format {
        Some(ParamFormat::SshPublicKey) => {
            "One line of your public key file, such as ~/.ssh/id_ed25519.pub."
        }
        Some(ParamFormat::Hostname) => "Such as box.example.org.",
        Some(ParamFormat::WireguardPublicKey) => "What \u{201c}wg pubkey\u{201d} prints.",
        None => "",
    };
    let most = rule.max_length.unwrap_or(DEFAULT_MAX_LENGTH);
    let long = rule.format == Some(ParamFormat::SshPublicKey)
        || (rule.format.is_none() && rule.pattern.is_none() && most > 200);
    Field {
        kind: if long { Kind::Long } else { Kind::Line },
        required: rule.required,
        most: Some(most),
        param: true,
        ..Field::line(name, &label, hint)
    }
}

/// A price with what it takes.
struct Quote {
    amount: String,
    sat: u64,
    duration: String,
    wait: String,
}

impl From<QuoteView> for Quote {
    fn from(view: QuoteView) -> Self {
        Self {
            amount: sat_text(view.amount_sat),
            sat: view.amount_sat,
            duration: span(view.duration_s),
            wait: wait_words(view.confirmations_required),
        }
    }
}

/// A lease of this browser.
struct Mine {
    id: String,
    /// `?to=…`, or nothing.
    query: String,
    until: Option<Moment>,
}

#[derive(Template)]
#[template(path = "resource.html")]
pub(super) struct ResourcePage {
    frame: Frame,
    pub(super) offer: Offer,
    pub(super) params: Vec<Field>,
    pub(super) time: Time,
    pub(super) mistakes: Mistakes,
    quote: Option<Quote>,
    pub(super) refund: String,
    pub(super) keep: bool,
    /// Makes this form create once, however often it is sent.
    once: String,
    /// Where in its site the visitor wants to go.
    to: Option<String>,
    /// `?to=…`, or nothing.
    query: String,
    mine: Vec<Mine>,
    /// Nothing was typed into it: without scripts it may load itself again.
    fresh: bool,
}

impl ResourcePage {
    pub(super) async fn load(state: &HttpState, id: &str) -> Result<Self, Wrong> {
        let offer = Offer::from(read::resource(&state.db, id, state.clock.now()).await?);
        let params = param_fields(&offer.params);
        let usual = if offer.least_s >= DAY_S { DAY_S } else { 3600 };
        let time = Time::of(usual.clamp(offer.least_s, offer.most_s));
        Ok(Self {
            frame: Frame::new(state),
            params,
            time,
            mistakes: Mistakes::default(),
            quote: None,
            refund: String::new(),
            keep: false,
            once: super::form::nonce(),
            to: None,
            query: String::new(),
            mine: Vec::new(),
            fresh: false,
            offer,
        })
    }

    /// Leads on to where the visitor wants to go.
    pub(super) fn lead_to(&mut self, to: Option<String>) {
        self.query = to_query(to.as_deref());
        self.to = to;
    }

    /// Says what the time costs, or what is wrong with it.
    pub(super) async fn price(&mut self, state: &HttpState) -> Result<(), Wrong> {
        let Some(seconds) = self.time.seconds() else {
            self.mistakes.time.get_or_insert(Time::WRONG.into());
            return Ok(());
        };
        match read::quote(&state.db, (&state.shop, self.frame.now), &self.offer.id, seconds).await {
            Ok(quote) => self.quote = Some(quote.into()),
            Err(AppError::Refused(_)) => self.mistakes.time = Some(self.out_of_range()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What to say to a duration that the terms do not allow.
    pub(super) fn out_of_range(&self) -> String {
        format!("From {} to {}.", self.offer.least, self.offer.most)
    }

    /// Finds the leases of it that this browser has: nobody shall pay twice to come in again.
    pub(super) async fn find_mine(
        &mut self,
        state: &HttpState,
        headers: &HeaderMap,
    ) -> Result<(), Wrong> {
        let Some(token) = claim_cookie(state, headers) else { return Ok(()) };
        let Some(claim) = held::claim(&state.db, &token).await? else { return Ok(()) };
        let paid = |state| !matches!(state, LeaseState::Unfunded | LeaseState::Ended);
        self.mine = held::leases(&state.db, &claim.id, MOST_MINE)
            .await?
            .into_iter()
            .filter(|row| row.facts.resource == self.offer.id)
            .map(|row| (row.doc.standing.at(self.frame.now), row.facts.id.to_string()))
            .filter(|(look, _)| paid(look.state))
            .map(|(look, id)| Mine {
                id,
                query: self.query.clone(),
                until: shown_end(&look).map(Into::into),
            })
            .collect();
        Ok(())
    }
}

/// Where the visitor wanted to go, and a duration to name the price of.
#[derive(Deserialize)]
pub(super) struct Asked {
    to: Option<String>,
    time: Option<String>,
    unit: Option<String>,
}

pub(super) async fn resource(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let mut page = ResourcePage::load(&state, &id).await?;
    page.fresh = true;
    page.lead_to(destination(asked.to));
    if let Some(time) = asked.time {
        page.time = Time { text: time, unit: asked.unit.unwrap_or_default() };
    }
    page.price(&state).await?;
    page.find_mine(&state, &headers).await?;
    Ok(render(&page))
}
