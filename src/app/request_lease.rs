//! Someone asks for time on a resource: one transaction takes the next index, makes the lease
//! and its first invoice, and holds a unit while they are unpaid.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::db::invoice::InvoiceRow;
use crate::db::lease::{LeaseDoc, LeaseRow, Next};
use crate::db::terms::Resource;
use crate::db::{self, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::fulfil::Told;
use crate::domain::ids::LeaseId;
use crate::domain::invoice::{Invoice, Purpose};
use crate::domain::lease::Lease;
use crate::domain::lease::books::Books;
use crate::domain::lease::fold::Standing;
use crate::domain::params::check_params;
use crate::domain::resource::{Access, Terms};
use crate::domain::time::Timestamp;

use super::change_claim::{self, refuse_own};
use super::idempotent::{self, Key, Outcome};
use super::issue::{self, Order};
use super::shop::Shop;
use super::{AppError, Code, Refusal, event, random_128, read, view};

/// The claim that a new thing is managed by.
#[derive(Clone, Debug)]
pub enum ClaimFor {
    /// A new claim, by the hash of its token; if there is one with this token, that one.
    New {
        /// SHA-256 of the token, in hex.
        token_hash: String,
    },
    /// The claim of a token that came with the request.
    Join {
        /// Its id.
        claim: String,
    },
}

/// A request for a lease.
pub struct RequestLease {
    /// The shop.
    pub shop: Arc<Shop>,
    /// The clock.
    pub now: Timestamp,
    /// The resource's id.
    pub resource: String,
    /// How long, in seconds.
    pub duration_s: u64,
    /// What the holder hands in.
    pub params: serde_json::Map<String, Value>,
    /// Where refunds go, checked.
    pub refund_address: Option<String>,
    /// Who will manage it.
    pub claim: ClaimFor,
    /// Who asks, for the limits.
    pub source: Option<String>,
    /// The caller's Idempotency-Key.
    pub key: Option<Key>,
}

impl WriteItem for RequestLease {
    type Out = Outcome;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Outcome, AppError> {
        if let Some(outcome) = idempotent::find(tx, self.key.as_ref()).await? {
            return Ok(outcome);
        }
        let resource = open_resource(tx, &self.resource).await?;
        let terms = &resource.terms.terms;
        check_duration(terms, self.duration_s)?;
        let params = check_params(terms, &self.params).map_err(Refusal::params)?;
        issue::check_may_issue(tx, &self.shop, self.source.as_deref(), self.now).await?;
        if let Some(address) = &self.refund_address {
            refuse_own(tx, address).await?;
        }
        let unit = self.find_unit(tx, terms).await?;
        let (lease, invoice) = self.create(tx, &resource, params, unit).await?;
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        let scene = view::Scene { now: self.now, tip, public_url: &self.shop.public_url };
        let body = serde_json::json!({
            "lease": view::lease(&lease, &scene),
            "invoice": view::invoice(&invoice, &scene),
        });
        idempotent::keep(tx, self.key.as_ref(), 201, body, self.now).await
    }
}

/// A resource that takes money now.
pub(super) async fn open_resource(tx: &mut Tx, id: &str) -> Result<Resource, AppError> {
    let found = db::terms::find(tx.conn(), id).await?;
    let Some(resource) = found.filter(|found| found.retired_at.is_none()) else {
        return Err(read::unknown_resource(id).into());
    };
    if resource.paused_at.is_some() {
        let detail = format!("the operator has paused \"{id}\"; try again later");
        return Err(Refusal::new(Code::ResourcePaused, detail).into());
    }
    Ok(resource)
}

/// Refuses a duration that the terms do not allow.
pub fn check_duration(terms: &Terms, duration_s: u64) -> Result<(), Refusal> {
    let (least, most) = (terms.min_duration_s.max(1), terms.max_duration_s);
    if (least..=most).contains(&duration_s) {
        return Ok(());
    }
    let detail = format!("duration_s is {duration_s}; allowed are {least} to {most} seconds");
    Err(Refusal::field(Code::DurationOutOfRange, "/duration_s", detail))
}

impl RequestLease {
    /// The unit to hold: `None` for a shared resource, or when the limits allow no hold.
    async fn find_unit(&self, tx: &mut Tx, terms: &Terms) -> Result<Option<String>, AppError> {
        if terms.access == Access::Shared {
            return Ok(None);
        }
        let taken = db::unit::list(tx.conn(), &terms.id).await?;
        let free = db::unit::free(&terms.units, &taken);
        let Some(unit) = free.first() else {
            let first = read::first_free_at(tx.conn(), terms, self.now).await?;
            let detail = "every unit is taken; see available_at for when one may come free";
            return Err(Refusal::new(Code::SoldOut, detail).until(first).into());
        };
        // What is free belongs to those who have paid and wait.
        let waiting = db::lease::count_waiting(tx.conn(), &terms.id, None).await?;
        if free.len() <= usize::try_from(waiting).unwrap_or(usize::MAX) {
            return Ok(None);
        }
        let held = taken.iter().filter(|taken| taken.state == "held").count();
        if held >= usize::try_from(terms.max_unpaid_holds).unwrap_or(usize::MAX) {
            return Ok(None);
        }
        if let Some(source) = &self.source {
            let own = db::unit::holds_of_source(tx.conn(), &terms.id, source).await?;
            if own >= self.shop.limits.holds_per_source {
                return Ok(None);
            }
        }
        Ok(Some((*unit).clone()))
    }

    async fn create(
        &self,
        tx: &mut Tx,
        resource: &Resource,
        params: BTreeMap<String, String>,
        unit: Option<String>,
    ) -> Result<(LeaseRow, InvoiceRow), AppError> {
        let claim = self.claim(tx).await?;
        let lease = self.lease(resource, params, unit, claim);
        let price = resource.terms.terms.price;
        let facts = Invoice {
            id: issue::invoice_id(),
            purpose: Purpose::Lease,
            lease: lease.facts.id.clone(),
            terms_version: resource.terms.version,
            amount_sat: issue::amount_sat(&self.shop, price.cost_sat(self.duration_s)),
            price,
            created_at: self.now,
            expires_at: self.now.plus_s(resource.terms.terms.quote_ttl_s),
            cancelled_at: None,
        };
        let next = Next {
            change_at: Some(facts.expires_at.plus_millis(1)),
            height: None,
            waits_since: None,
        };
        db::lease::insert(tx.conn(), &lease, self.source.as_deref(), next).await?;
        if let Some(unit) = &lease.unit {
            let id = lease.facts.id.as_str();
            db::unit::take(tx.conn(), &resource.id, unit, id, "held").await?;
        }
        self.tell(tx, &lease);
        let order = Order {
            facts,
            terms: &resource.terms,
            refund_address: self.refund_address.clone(),
            source: self.source.clone(),
        };
        let invoice = issue::issue(tx, &self.shop, order).await?;
        Ok((lease, invoice))
    }

    async fn claim(&self, tx: &mut Tx) -> Result<String, AppError> {
        match &self.claim {
            ClaimFor::Join { claim } => {
                if let Some(address) = self.refund_address.clone() {
                    change_claim::set_refund_address(tx, claim, address).await?;
                }
                Ok(claim.clone())
            }
            ClaimFor::New { token_hash } => {
                // An Idempotency-Key used again after its day gives the same token again.
                if let Some(known) = db::claim::find_by_hash(tx.conn(), token_hash).await? {
                    return Ok(known.id);
                }
                let id = format!("cla_{}", crate::domain::ids::base32(&random_128()));
                let refund = self.refund_address.as_deref();
                db::claim::insert(tx.conn(), &id, token_hash, refund, self.now).await?;
                Ok(id)
            }
        }
    }

    fn lease(
        &self,
        resource: &Resource,
        params: BTreeMap<String, String>,
        unit: Option<String>,
        claim: String,
    ) -> LeaseRow {
        let terms = &resource.terms;
        let standing = Standing::new(self.now, terms.version, &terms.terms);
        LeaseRow {
            facts: Lease {
                id: LeaseId::new(random_128()),
                resource: resource.id.clone(),
                terms_version: terms.version,
                created_at: self.now,
            },
            claim,
            params,
            seq: 1,
            doc: LeaseDoc {
                announced: standing.at(self.now),
                standing,
                credit_states: Vec::new(),
                at_risk: false,
                no_hold: unit.is_none() && terms.terms.access == Access::Exclusive,
                booked: Books::default(),
                accounts: Vec::new(),
                told: Told::default(),
                provisioner_error: false,
            },
            unit,
        }
    }

    fn tell(&self, tx: &mut Tx, lease: &LeaseRow) {
        let data = serde_json::json!({
            "lease": lease.facts.id,
            "resource": lease.facts.resource,
            "duration_s": self.duration_s,
            "unit": lease.unit,
        });
        let subject = lease.facts.id.as_str();
        let resource = Some(lease.facts.resource.as_str());
        tx.event(event(EventKind::LeaseCreated, self.now, subject, resource, data));
    }
}
