//! What the holder of a claim reads: its leases, how to get in, what goes back. Called by the API and
//! the pages, which have checked who asks.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::db::claim::Claim;
use crate::db::lease::LeaseRow;
use crate::db::payout::Filter;
use crate::db::terms::Resource;
use crate::db::{self, Db, DbError};
use crate::domain::bearer::token_hash;
use crate::domain::ids::{InvoiceId, PaymentId};
use crate::domain::invoice::Purpose;
use crate::domain::lease::fold::{Phase, Standing};
use crate::domain::lease::refunds::Behind;
use crate::domain::resource::Terms;
use crate::domain::time::Timestamp;

use super::view_payout::{self, PayoutView};

/// The claim that a token manages.
///
/// # Errors
/// Those of the database.
pub async fn claim(db: &Db, token: &str) -> Result<Option<Claim>, DbError> {
    db::claim::find_by_hash(&mut db.read().await?, &token_hash(token)).await
}

/// Its newest leases.
///
/// # Errors
/// Those of the database.
pub async fn leases(db: &Db, claim: &str, most: u32) -> Result<Vec<LeaseRow>, DbError> {
    db::lease::list_of_claim(&mut db.read().await?, claim, None, most).await
}

/// What the provisioner answered for the lease as it is now.
///
/// # Errors
/// Those of the database.
pub async fn access(db: &Db, row: &LeaseRow) -> Result<Option<Value>, DbError> {
    let standing = &row.doc.standing;
    match standing.phase {
        Phase::Provisioning | Phase::Live => {
            let mut conn = db.read().await?;
            db::access::find(&mut conn, &row.facts.id, standing.generation).await
        }
        Phase::Unfunded | Phase::Ended => Ok(None),
    }
}

/// What goes back under a claim, newest first.
///
/// # Errors
/// Those of the database.
pub async fn payouts(db: &Db, claim: &str, most: u32) -> Result<Vec<PayoutView>, DbError> {
    let filter = Filter { claim: Some(claim.to_owned()), ..Filter::default() };
    let rows = db::payout::list(&mut db.read().await?, &filter, most).await?;
    Ok(rows.iter().map(view_payout::payout).collect())
}

/// What goes back of a lease, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn refunds(db: &Db, lease: &str) -> Result<Vec<PayoutView>, DbError> {
    let rows = db::payout::list_of_subject(&mut db.read().await?, lease).await?;
    Ok(rows.iter().map(view_payout::payout).collect())
}

/// A resource with its newest terms, a retired one, too.
///
/// # Errors
/// Those of the database.
pub async fn resource(db: &Db, id: &str) -> Result<Option<Resource>, DbError> {
    db::terms::find(&mut db.read().await?, id).await
}

/// The terms that a lease keeps.
///
/// # Errors
/// Those of the database.
pub async fn terms_of(db: &Db, row: &LeaseRow) -> Result<Terms, DbError> {
    let history = db::terms::history(&mut db.read().await?, &row.facts.resource).await?;
    let found = history.version(row.doc.standing.terms_version);
    let found = found.ok_or_else(|| DbError::corrupt("lease", "terms_version", &row.facts.id))?;
    Ok(found.terms.clone())
}

/// The newest terms of a resource, a retired one, too.
///
/// # Errors
/// Those of the database.
pub async fn terms(db: &Db, id: &str) -> Result<Option<Terms>, DbError> {
    Ok(resource(db, id).await?.map(|found| found.terms.terms))
}

/// What a lease's end by its holder would bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoesBack {
    /// To its holder, besides what can go back already.
    pub own_sat: u64,
    /// To its holder, with what can go back already and is in no transaction.
    pub owed_sat: u64,
    /// To those who paid for more of it and named an address of their own.
    pub others_sat: u64,
    /// On its way to it, and not counted.
    pub coming_sat: u64,
}

/// What would go back, and to whom, if its holder gave a lease back at `now`.
///
/// # Errors
/// Those of the database.
pub async fn goes_back(db: &Db, row: &LeaseRow, now: Timestamp) -> Result<GoesBack, DbError> {
    let mut conn = db.read().await?;
    let lease = &row.facts.id;
    let payments = db::payment::list_of_lease(&mut conn, lease).await?;
    let invoices = db::invoice::list_to_settle(&mut conn, lease).await?;
    drop(conn);
    let topups = invoices.iter().filter(|invoice| invoice.facts.purpose == Purpose::Topup);
    let named = topups.filter(|invoice| invoice.refund_address.is_some());
    let own_addresses: HashSet<&InvoiceId> = named.map(|invoice| &invoice.facts.id).collect();
    let paid: HashMap<&PaymentId, &InvoiceId> = payments
        .iter()
        .filter_map(|row| Some((&row.facts.id, row.facts.invoice.as_ref()?)))
        .collect();
    let recipient = |payment: &PaymentId| {
        let invoice = *paid.get(payment)?;
        own_addresses.contains(invoice).then(|| invoice.clone())
    };
    let owed = |standing: &Standing| {
        let all = standing.owed(&Behind { recipient: &recipient, settled: &|_| true });
        all.iter().fold((0, 0), |(own, others), owed| match owed.recipient {
            None => (own + owed.sat, others),
            Some(_) => (own, others + owed.sat),
        })
    };
    let standing = &row.doc.standing;
    let (before, after) = (owed(standing), owed(&standing.returned(now)));
    let own = row.doc.accounts.iter().filter(|account| account.recipient.is_none());
    let fixed_sat: u64 = own.map(|account| account.fixed_sat).sum();
    Ok(GoesBack {
        own_sat: after.0.saturating_sub(before.0),
        owed_sat: after.0.saturating_sub(fixed_sat),
        others_sat: after.1.saturating_sub(before.1),
        coming_sat: invoices.iter().map(|row| row.doc.standing.unconfirmed_sat).sum(),
    })
}
