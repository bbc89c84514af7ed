//! What pages and the API read: one question each, never a change.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::db::invoice::InvoiceRow;
use crate::db::lease::LeaseRow;
use crate::db::terms::Resource;
use crate::db::{self, Conn, Db, DbError};
use crate::domain::ids::{InvoiceId, LeaseId};
use crate::domain::ledger::Account;
use crate::domain::price::Price;
use crate::domain::resource::{Access, ParamRule, Tier};
use crate::domain::time::{Timestamp, span};

use super::request_lease::check_duration;
use super::shop::Shop;
use super::{AppError, Code, Refusal, issue};

/// A lease that must exist.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn lease(db: &Db, id: &str) -> Result<LeaseRow, AppError> {
    let unknown = || Refusal::new(Code::NotFound, format!("there is no lease {id}"));
    let id = LeaseId::parse(id).ok_or_else(unknown)?;
    let mut conn = db.read().await?;
    Ok(db::lease::find(&mut conn, id.as_str()).await?.ok_or_else(unknown)?)
}

/// An invoice that must exist.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn invoice(db: &Db, id: &str) -> Result<InvoiceRow, AppError> {
    let unknown = || Refusal::new(Code::NotFound, format!("there is no invoice {id}"));
    let id = InvoiceId::parse(id).ok_or_else(unknown)?;
    let mut conn = db.read().await?;
    Ok(db::invoice::find(&mut conn, id.as_str()).await?.ok_or_else(unknown)?)
}

/// The first invoice of a lease, whose address is good for it for ever.
///
/// # Errors
/// Those of the database.
pub async fn first_invoice(db: &Db, lease: &LeaseId) -> Result<Option<InvoiceRow>, AppError> {
    Ok(db::invoice::first_of_lease(&mut db.read().await?, lease).await?)
}

/// A price as the API writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PriceView {
    /// Satoshis for one period.
    pub sat: u64,
    /// Length of the period in seconds.
    pub per_s: u64,
}

impl From<Price> for PriceView {
    fn from(price: Price) -> Self {
        Self { sat: price.sat, per_s: price.per_s }
    }
}

/// What keeps a shared resource running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FundingView {
    /// What it costs to keep it up.
    pub running_cost: PriceView,
}

/// What is free of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Availability {
    /// Whether a request would be taken now.
    pub available: bool,
    /// Units there are; `null` for a shared resource.
    pub units: Option<usize>,
    /// Units that nobody holds.
    pub free: Option<usize>,
    /// When a unit may come free, while none is; `null` when nobody can say.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub available_at: Option<Timestamp>,
}

/// A resource as customers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResourceView {
    /// Its id.
    pub id: String,
    /// A short name.
    pub title: String,
    /// What it is.
    pub description: String,
    /// `exclusive` or `shared`.
    #[schema(value_type = String)]
    pub access: Access,
    /// What time costs.
    pub price: PriceView,
    /// The shortest lease.
    pub min_duration_s: u64,
    /// The horizon: time beyond it is banked.
    pub max_duration_s: u64,
    /// How long unit and data are kept after the time ran out.
    pub grace_s: u64,
    /// How long a quote holds.
    pub quote_ttl_s: u64,
    /// Confirmations by amount.
    #[schema(value_type = Vec<Object>)]
    pub confirmations: Vec<Tier>,
    /// What a request may carry.
    #[schema(value_type = Object)]
    pub params: BTreeMap<String, ParamRule>,
    /// Whether who gives back is paid for unused time.
    pub refund_unused: bool,
    /// True while the operator takes no money for it.
    pub paused: bool,
    /// What is free.
    pub availability: Availability,
    /// What keeps a shared one running; `null` when that is not said.
    pub funding: Option<FundingView>,
    /// The version of these terms.
    pub terms_version: u32,
    /// The rules in words.
    pub rules: Vec<String>,
    /// The site that its gate guards, if it has one.
    pub site: Option<String>,
}

/// All resources that are offered.
///
/// # Errors
/// Those of the database.
pub async fn resources(db: &Db, now: Timestamp) -> Result<Vec<ResourceView>, AppError> {
    let mut conn = db.read().await?;
    let all = db::terms::list(&mut conn).await?;
    let mut views = Vec::new();
    for resource in all.into_iter().filter(|resource| resource.retired_at.is_none()) {
        views.push(view(&mut conn, resource, now).await?);
    }
    Ok(views)
}

/// A resource that is offered.
///
/// # Errors
/// `unknown_resource`; those of the database.
pub async fn resource(db: &Db, id: &str, now: Timestamp) -> Result<ResourceView, AppError> {
    let mut conn = db.read().await?;
    let resource = offered(&mut conn, id).await?;
    view(&mut conn, resource, now).await
}

async fn offered(conn: &mut Conn, id: &str) -> Result<Resource, AppError> {
    let found = db::terms::find(conn, id).await?;
    let found = found.filter(|found| found.retired_at.is_none());
    Ok(found.ok_or_else(|| unknown_resource(id))?)
}

/// There is no such resource.
pub fn unknown_resource(id: &str) -> Refusal {
    let detail = format!("there is no resource \"{id}\"; GET /v1/resources lists them");
    Refusal::new(Code::UnknownResource, detail)
}

async fn view(
    conn: &mut Conn,
    resource: Resource,
    now: Timestamp,
) -> Result<ResourceView, AppError> {
    let availability = availability(conn, &resource, now).await?;
    let paused = resource.paused_at.is_some();
    let terms = resource.terms.terms;
    Ok(ResourceView {
        rules: rules(&terms),
        id: terms.id,
        title: terms.title,
        description: terms.description,
        access: terms.access,
        price: terms.price.into(),
        min_duration_s: terms.min_duration_s,
        max_duration_s: terms.max_duration_s,
        grace_s: terms.grace_s,
        quote_ttl_s: terms.quote_ttl_s,
        confirmations: terms.confirmations,
        params: terms.params.clone(),
        refund_unused: terms.refund_unused,
        paused,
        availability,
        funding: terms.running_cost.map(|cost| FundingView { running_cost: cost.into() }),
        terms_version: resource.terms.version,
        site: terms.site,
    })
}

async fn availability(
    conn: &mut Conn,
    resource: &Resource,
    now: Timestamp,
) -> Result<Availability, DbError> {
    let accepting = resource.accepting();
    let terms = &resource.terms.terms;
    if terms.access == Access::Shared {
        return Ok(Availability {
            available: accepting,
            units: None,
            free: None,
            available_at: None,
        });
    }
    let taken = db::unit::list(conn, &resource.id).await?;
    let free = db::unit::free(&terms.units, &taken).len();
    let available_at = match free {
        0 => first_free_at(conn, terms, now).await?,
        _ => None,
    };
    Ok(Availability {
        available: accepting && free > 0,
        units: Some(terms.units.len()),
        free: Some(free),
        available_at,
    })
}

/// When a unit of `terms` may come free. What was to be so by `now` and is not, as while money is on
/// its way, has no moment.
///
/// # Errors
/// Those of the database.
pub(super) async fn first_free_at(
    conn: &mut Conn,
    terms: &crate::domain::resource::Terms,
    now: Timestamp,
) -> Result<Option<Timestamp>, DbError> {
    let first = db::unit::first_free_at(conn, &terms.id, terms.grace_s).await?;
    Ok(first.filter(|at| *at > now))
}

/// What everybody may want to know before paying.
fn rules(terms: &crate::domain::resource::Terms) -> Vec<String> {
    let [least, most, grace] =
        [terms.min_duration_s, terms.max_duration_s, terms.grace_s].map(span);
    let back = match terms.refund_unused {
        true => "Given back early: the unused time can be refunded.",
        false => "Given back early: unused time is kept by the operator; banked time is refunded.",
    };
    vec![
        "Late: money that comes after the quote has ended still counts, at the price when it is \
         seen."
            .into(),
        format!(
            "Too little: less money buys less time. Less than {least} is kept until more comes, or \
             can be refunded."
        ),
        format!(
            "Too much: more money buys more time. What lies beyond {most} is banked and flows in by \
             itself."
        ),
        "Reorganised: if the block with your payment is replaced, your time goes on. Only a payment \
         that is lost for good takes its unused time with it."
            .into(),
        format!("Run out: access ends. Pay within {grace} to go on where you were."),
        back.into(),
    ]
}

/// A quote: what a duration costs. Creates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuoteView {
    /// The resource's id.
    pub resource: String,
    /// The duration asked for.
    pub duration_s: u64,
    /// What it costs.
    pub amount_sat: u64,
    /// What time costs.
    pub price: PriceView,
    /// Confirmations that this amount needs.
    pub confirmations_required: u32,
    /// Whether a request would be taken now.
    pub available: bool,
    /// When a unit may come free, while none is; `null` when nobody can say.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub available_at: Option<Timestamp>,
}

/// What `duration_s` of a resource costs now.
///
/// # Errors
/// `unknown_resource`, `duration_out_of_range`; those of the database.
pub async fn quote(
    db: &Db,
    (shop, now): (&Shop, Timestamp),
    id: &str,
    duration_s: u64,
) -> Result<QuoteView, AppError> {
    let mut conn = db.read().await?;
    let resource = offered(&mut conn, id).await?;
    let availability = availability(&mut conn, &resource, now).await?;
    let terms = &resource.terms.terms;
    check_duration(terms, duration_s)?;
    let amount_sat = issue::amount_sat(shop, terms.price.cost_sat(duration_s));
    Ok(QuoteView {
        resource: id.to_owned(),
        duration_s,
        amount_sat,
        price: terms.price.into(),
        confirmations_required: terms.confirmations_for(amount_sat),
        available: availability.available,
        available_at: availability.available_at,
    })
}

/// Where the money of a resource, or of all with `None`, is at `now` (SPEC section 8): every place by
/// its name in the API, in satoshis. The first two are what the others sum up to. Asks several times:
/// in a snapshot the answers fit together.
///
/// # Errors
/// Those of the database.
pub async fn money(
    conn: &mut Conn,
    resource: Option<&str>,
    now: Timestamp,
) -> Result<Vec<(&'static str, i64)>, DbError> {
    let sums = db::ledger::sums(conn, resource).await?;
    let sum = |account: Account| {
        let found = sums.iter().find(|(name, _)| *name == account);
        found.map_or(0, |(_, sat)| *sat)
    };
    let (mut accrued_sat, mut after) = (0_i64, String::new());
    loop {
        let rows = db::lease::list_running(conn, resource, &after, 500).await?;
        let Some(last) = rows.last() else { break };
        after = last.facts.id.to_string();
        for row in &rows {
            let prepaid = row.doc.standing.books(now.max(row.doc.standing.last_at)).prepaid_sat;
            let signed = |sat: u64| i64::try_from(sat).unwrap_or(i64::MAX);
            accrued_sat += signed(row.doc.booked.prepaid_sat) - signed(prepaid);
        }
    }
    Ok(vec![
        ("received_sat", sum(Account::Received)),
        ("lost_sat", sum(Account::Lost)),
        ("held_sat", -sum(Account::Held)),
        ("prepaid_sat", -sum(Account::Prepaid) - accrued_sat),
        ("earned_sat", -sum(Account::Earned) + accrued_sat),
        ("fund_sat", 0),
        ("reserved_sat", 0),
        ("owed_investors_sat", 0),
        ("refundable_sat", -sum(Account::Refundable)),
        ("refunded_sat", -sum(Account::Refunded)),
        ("distributed_sat", 0),
        ("dust_sat", -sum(Account::Dust)),
        ("unallocated_sat", -sum(Account::Unallocated)),
    ])
}

/// Sums of a resource's accounts as they are at `now`.
///
/// # Errors
/// Those of the database.
pub async fn accounts(
    db: &Db,
    resource: &str,
    now: Timestamp,
) -> Result<serde_json::Value, AppError> {
    let mut body = serde_json::json!({ "resource": resource, "at": now });
    for (name, sat) in money(&mut db.snapshot().await?, Some(resource), now).await? {
        body[name] = sat.into();
    }
    Ok(body)
}
