//! One thing, and what is known around it.

use std::collections::HashMap;

use bitcoin::Network;
use serde::Serialize;

use crate::app::submit_batch::Approval;
use crate::app::view_payout::{self, BatchView};
use crate::app::view_webhook::{self, DeliveryLog, EndpointView};
use crate::app::wallet_state::wallet_name;
use crate::app::{AppError, read};
use crate::db::action::ActionRow;
use crate::db::api_key::ApiKey;
use crate::db::event::Event;
use crate::db::invoice::InvoiceRow;
use crate::db::payment::PaymentRow;
use crate::db::payout::PayoutRow;
use crate::db::terms::Resource;
use crate::db::unit::Taken;
use crate::db::{self, Conn, Db, DbError};
use crate::domain::ids::{InvoiceId, LeaseId};
use crate::domain::lease::Entry;
use crate::domain::webhook::EndpointState;

use super::no_such;

/// What happened to a lease, and its invoices.
///
/// # Errors
/// Those of the database.
pub async fn of_lease(db: &Db, id: &LeaseId) -> Result<(Vec<Entry>, Vec<InvoiceRow>), AppError> {
    let mut conn = db.read().await?;
    let entries = db::entry::list(&mut conn, id).await?;
    Ok((entries, db::invoice::list_of_lease(&mut conn, id).await?))
}

/// All payments to a lease.
///
/// # Errors
/// Those of the database.
pub async fn payments_of(db: &Db, id: &LeaseId) -> Result<Vec<PaymentRow>, AppError> {
    Ok(db::payment::list_of_lease(&mut db.read().await?, id).await?)
}

/// All payments to an invoice.
///
/// # Errors
/// Those of the database.
pub async fn payments_to(db: &Db, id: &InvoiceId) -> Result<Vec<PaymentRow>, AppError> {
    Ok(db::payment::list_of_invoice(&mut db.read().await?, id).await?)
}

/// What is owed of a lease or a payment without one.
///
/// # Errors
/// Those of the database.
pub async fn payouts_of(db: &Db, subject: &str) -> Result<Vec<PayoutRow>, AppError> {
    let rows = db::payout::list_of_subject(&mut db.read().await?, subject).await?;
    Ok(rows.into_iter().filter(|row| row.facts.amount_sat > 0).collect())
}

/// What a lease's provisioner was told, newest first.
///
/// # Errors
/// Those of the database.
pub async fn actions_of(db: &Db, lease: &str) -> Result<Vec<ActionRow>, AppError> {
    let filter = db::action::Filter { lease: Some(lease.to_owned()), ..Default::default() };
    Ok(db::action::list(&mut db.read().await?, &filter, 200).await?)
}

/// A payment that must exist.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn payment(db: &Db, id: &str) -> Result<PaymentRow, AppError> {
    let found = db::payment::find(&mut db.read().await?, id).await?;
    Ok(found.ok_or_else(|| no_such("payment", id))?)
}

/// Where a payment's money is: with its lease, our own `change`, or, of what found no lease, where the
/// books have it. `None` for money that is not there.
pub fn disposition(row: &PaymentRow) -> Option<&'static str> {
    let books = &row.loose.books;
    if row.lease.is_some() {
        return Some("lease");
    }
    match row.state.stands() {
        true if row.branch != 0 => Some("change"),
        true if row.refund_address.is_none() => Some("unallocated"),
        true if books.refundable_sat > 0 => Some("refundable"),
        true if books.dust_sat > 0 => Some("dust"),
        true if books.refunded_sat > 0 => Some("refunded"),
        // Not in the chain yet.
        true => Some("refundable"),
        false => (books.lost_sat > 0).then_some("lost"),
    }
}

/// Whether an operator may still say where a payment goes: it found no lease, is there, and has not
/// gone back.
pub fn is_loose(row: &PaymentRow) -> bool {
    matches!(disposition(row), Some("unallocated" | "refundable" | "dust"))
}

/// A payout that must exist.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn payout(db: &Db, id: &str) -> Result<PayoutRow, AppError> {
    let found = db::payout::find(&mut db.read().await?, id).await?;
    Ok(found.ok_or_else(|| no_such("payout", id))?)
}

/// A batch that must exist.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn batch(
    db: &Db,
    id: &str,
    ground: (Network, u32, Approval),
) -> Result<BatchView, AppError> {
    let found = view_payout::batch(&mut db.read().await?, id, ground).await?;
    Ok(found.ok_or_else(|| no_such("batch", id))?)
}

/// A delivery that must exist, with its attempts.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn delivery(db: &Db, id: &str) -> Result<DeliveryLog, AppError> {
    // The delivery and its last attempt as one state.
    let mut conn = db.snapshot().await?;
    let found = db::delivery::find(&mut conn, id).await?;
    let row = found.ok_or_else(|| no_such("delivery", id))?;
    let attempts = db::delivery::attempts(&mut conn, &row.id).await?;
    Ok(view_webhook::log(&row, attempts))
}

/// An endpoint that must exist and not be deleted.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn webhook(db: &Db, id: &str) -> Result<EndpointView, AppError> {
    let mut conn = db.read().await?;
    let found = db::webhook::find(&mut conn, id).await?;
    let alive = found.filter(|row| row.state != EndpointState::Deleted);
    let row = alive.ok_or_else(|| no_such("webhook", id))?;
    Ok(view_webhook::endpoint(&mut conn, &row).await?)
}

/// An event that must exist.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn event(db: &Db, id: &str) -> Result<Event, AppError> {
    let found = db::event::find_by_id(&mut db.read().await?, id).await?;
    Ok(found.ok_or_else(|| no_such("event", id))?)
}

/// An API key that must exist, revoked or not.
///
/// # Errors
/// `not_found`; those of the database.
pub async fn key(db: &Db, id: &str) -> Result<ApiKey, AppError> {
    let all = db::api_key::list(&mut db.read().await?).await?;
    Ok(all.into_iter().find(|key| key.id == id).ok_or_else(|| no_such("API key", id))?)
}

/// The names of all API keys, by their ids.
///
/// # Errors
/// Those of the database.
pub async fn key_names(db: &Db) -> Result<HashMap<String, String>, AppError> {
    let all = db::api_key::list(&mut db.read().await?).await?;
    Ok(all.into_iter().map(|key| (key.id, key.name)).collect())
}

/// A unit of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitView {
    /// Its name.
    pub unit: String,
    /// `free`, or what takes it: `held`, `leased`, …
    pub state: String,
    /// The lease that has it.
    pub lease: Option<String>,
    /// False for one that is still taken but not offered any more.
    pub offered: bool,
}

/// A resource that must exist, retired or not, and its units: those that are offered, then others
/// that are still taken.
///
/// # Errors
/// `unknown_resource`; those of the database.
pub async fn resource(db: &Db, id: &str) -> Result<(Resource, Vec<UnitView>), AppError> {
    let mut conn = db.snapshot().await?;
    let found = db::terms::find(&mut conn, id).await?;
    let resource = found.ok_or_else(|| read::unknown_resource(id))?;
    let mut taken = db::unit::list(&mut conn, id).await?;
    let offered = resource.terms.terms.units.iter().filter(|_| resource.retired_at.is_none());
    let mut units: Vec<UnitView> = offered
        .map(|unit| match taken.iter().position(|taken| taken.name == *unit) {
            Some(place) => UnitView::taken(taken.remove(place), true),
            None => UnitView {
                unit: unit.clone(),
                state: "free".to_owned(),
                lease: None,
                offered: true,
            },
        })
        .collect();
    units.extend(taken.into_iter().map(|taken| UnitView::taken(taken, false)));
    Ok((resource, units))
}

impl UnitView {
    fn taken(taken: Taken, offered: bool) -> Self {
        Self { unit: taken.name, state: taken.state, lease: Some(taken.lease), offered }
    }
}

/// A keychain.
#[derive(Clone, Debug, Serialize)]
pub struct KeychainView {
    /// 1 for the first.
    pub keychain: u32,
    /// Whether new addresses are of it.
    pub issues: bool,
    /// Its public descriptor.
    pub descriptor: String,
    /// The first index never issued.
    pub next_index: u32,
    /// The highest one that money came to.
    pub highest_paid_index: Option<u32>,
    /// What a wallet needs to see all money.
    pub gap_limit: u32,
    /// The first index that nothing is known of.
    #[serde(skip)]
    pub first_unused: u32,
    /// The node's watch-only wallet, if this is the first keychain.
    #[serde(skip)]
    pub wallet: String,
}

/// All keychains, oldest first; `issuing` issues.
///
/// # Errors
/// Those of the database.
pub async fn keychains(conn: &mut Conn, issuing: u32) -> Result<Vec<KeychainView>, DbError> {
    let mut views = Vec::new();
    for row in db::keychain::list(conn).await? {
        views.push(KeychainView {
            keychain: row.id,
            issues: row.id == issuing,
            next_index: row.next_index,
            highest_paid_index: row.highest_seen,
            gap_limit: db::keychain::gap(conn, row.id).await?,
            first_unused: row.first_unused(),
            wallet: wallet_name(&row.identity),
            descriptor: row.descriptor,
        });
    }
    Ok(views)
}
