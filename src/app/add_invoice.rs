//! Anyone asks to pay for more time of a lease: another invoice for it.

use std::sync::Arc;

use crate::db::lease::LeaseRow;
use crate::db::{self, Tx, WriteItem};
use crate::domain::ids::LeaseId;
use crate::domain::invoice::{Invoice, Purpose};
use crate::domain::lease::EndReason;
use crate::domain::resource::Terms;
use crate::domain::time::Timestamp;

use super::change_claim::refuse_own;
use super::idempotent::{self, Key, Outcome};
use super::issue::{self, Order};
use super::request_lease::open_resource;
use super::shop::Shop;
use super::{AppError, Code, Refusal, view};

/// All the satoshis that there will be.
const MOST_SAT: u64 = 2_100_000_000_000_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// So many seconds.
    Duration(u64),
    /// As much time as so many satoshis buy.
    Amount(u64),
}

/// A request for a top-up invoice.
pub struct AddInvoice {
    /// The shop.
    pub shop: Arc<Shop>,
    /// The clock.
    pub now: Timestamp,
    /// The lease to pay for.
    pub lease: LeaseId,
    /// How much.
    pub ask: Ask,
    /// Where refunds of it go, checked.
    pub refund_address: Option<String>,
    /// Who asks, for the limits.
    pub source: Option<String>,
    /// The caller's Idempotency-Key.
    pub key: Option<Key>,
}

impl WriteItem for AddInvoice {
    type Out = Outcome;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Outcome, AppError> {
        if let Some(outcome) = idempotent::find(tx, self.key.as_ref()).await? {
            return Ok(outcome);
        }
        let lease = get_lease(tx, &self.lease).await?;
        if let Some(reason) = lease.doc.standing.end_reason.filter(|r| !r.may_start_again()) {
            return Err(over(reason).into());
        }
        let resource = open_resource(tx, &lease.facts.resource).await?;
        let amount_sat = self.amount_sat(&resource.terms.terms)?;
        issue::check_may_issue(tx, &self.shop, self.source.as_deref(), self.now).await?;
        if let Some(address) = &self.refund_address {
            refuse_own(tx, address).await?;
        }
        let facts = Invoice {
            id: issue::invoice_id(),
            purpose: Purpose::Topup,
            lease: self.lease.clone(),
            terms_version: resource.terms.version,
            amount_sat,
            price: resource.terms.terms.price,
            created_at: self.now,
            expires_at: self.now.plus_s(resource.terms.terms.quote_ttl_s),
            cancelled_at: None,
        };
        let order = Order {
            facts,
            terms: &resource.terms,
            refund_address: self.refund_address.clone(),
            source: self.source.clone(),
        };
        let invoice = issue::issue(tx, &self.shop, order).await?;
        // Its quote's end is one more moment at which the lease has to be looked at.
        db::lease::mark_changed(tx.conn(), &self.lease).await?;
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        let scene = view::Scene { now: self.now, tip, public_url: &self.shop.public_url };
        let body = serde_json::json!({ "invoice": view::invoice(&invoice, &scene) });
        idempotent::keep(tx, self.key.as_ref(), 201, body, self.now).await
    }
}

impl AddInvoice {
    fn amount_sat(&self, terms: &Terms) -> Result<u64, Refusal> {
        match self.ask {
            Ask::Duration(seconds) if (1..=terms.max_duration_s).contains(&seconds) => {
                Ok(issue::amount_sat(&self.shop, terms.price.cost_sat(seconds)))
            }
            Ask::Duration(seconds) => {
                let most = terms.max_duration_s;
                let detail = format!("duration_s is {seconds}; allowed are 1 to {most} seconds");
                Err(Refusal::field(Code::DurationOutOfRange, "/duration_s", detail))
            }
            Ask::Amount(sat) if sat > MOST_SAT => {
                let detail = format!("amount_sat is {sat}; there are no more than {MOST_SAT}");
                Err(Refusal::field(Code::InvalidRequest, "/amount_sat", detail))
            }
            Ask::Amount(sat) => {
                let least = issue::amount_sat(&self.shop, terms.price.cost_sat(1));
                if sat >= least {
                    return Ok(sat);
                }
                let detail = format!("amount_sat is {sat}; at least {least} satoshis are needed");
                Err(Refusal::field(Code::AmountTooSmall, "/amount_sat", detail))
            }
        }
    }
}

/// A lease that must exist.
pub(super) async fn get_lease(tx: &mut Tx, id: &LeaseId) -> Result<LeaseRow, AppError> {
    let found = db::lease::find(tx.conn(), id.as_str()).await?;
    found.ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no lease {id}")).into())
}

/// The refusal for a lease that takes no more.
pub(super) fn over(reason: EndReason) -> Refusal {
    let detail = format!("the lease is over ({}); ask for a new one", reason.as_str());
    Refusal::new(Code::LeaseEnded, detail)
}
