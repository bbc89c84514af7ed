//! What the holder of a claim reads: its leases, how to get in, what goes back. Called by the API and
//! the pages, which have checked who asks.

use serde_json::Value;

use crate::db::claim::Claim;
use crate::db::lease::LeaseRow;
use crate::db::payout::Filter;
use crate::db::{self, Db, DbError};
use crate::domain::bearer::token_hash;
use crate::domain::lease::fold::Phase;
use crate::domain::resource::Terms;

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
pub async fn terms(db: &Db, resource: &str) -> Result<Option<Terms>, DbError> {
    let found = db::terms::find(&mut db.read().await?, resource).await?;
    Ok(found.map(|found| found.terms.terms))
}
