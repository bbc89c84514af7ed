//! Settles a batch: where its versions are decides where it stands, and whether it is sent again.
//! The subjects of its payouts are marked; settling them writes what became of each payout.

use crate::db::{self, DbError, Tx};
use crate::domain::ids::{BatchId, LeaseId, base32};
use crate::domain::payout::Account;

use super::random_128;
use super::settle::{Ground, SEND_AGAIN, settle};
use super::settle_due::settle_loose;

/// Settles one batch.
pub(super) async fn settle_batch(
    tx: &mut Tx,
    ground: &Ground,
    id: &BatchId,
    tip: u32,
) -> Result<(), DbError> {
    let Some(row) = db::batch::find(tx.conn(), id.as_str()).await? else { return Ok(()) };
    let facts = row.facts();
    let state = facts.state();
    if state != row.state {
        tracing::info!(
            batch = id.as_str(),
            from = row.state.as_str(),
            to = state.as_str(),
            "batch"
        );
    }
    if let Some(version) = facts.to_send() {
        let work = format!("wrk_{}", base32(&random_128()));
        let txid = version.txid.to_string();
        db::work::put(tx.conn(), &work, SEND_AGAIN, &txid, "", ground.now).await?;
    }
    let next = facts.next_height(tip, ground.policy.final_confirmations);
    let places = row.places_now();
    db::batch::record(tx.conn(), id, (state, &places), next).await?;
    // A look at the mempool may have no news for it.
    if state != row.state || places != row.places {
        mark_subjects(tx, id).await?;
    }
    Ok(())
}

/// Settles what a payout comes from; returns its accounts.
pub(super) async fn settle_subject(
    tx: &mut Tx,
    ground: &Ground,
    subject: &str,
) -> Result<Vec<Account>, DbError> {
    if let Some(lease) = LeaseId::parse(subject) {
        let row = settle(tx, ground, &lease, None).await?;
        return Ok(row.map_or_else(Vec::new, |row| row.doc.accounts));
    }
    let Some(row) = db::payment::find(tx.conn(), subject).await? else { return Ok(Vec::new()) };
    let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
    settle_loose(tx, ground, &row, tip).await
}

/// Has everything settled that a batch ever paid.
pub(super) async fn mark_subjects(tx: &mut Tx, id: &BatchId) -> Result<(), DbError> {
    for subject in db::batch::subjects(tx.conn(), id).await? {
        match LeaseId::parse(&subject) {
            Some(lease) => db::lease::mark_changed(tx.conn(), &lease).await?,
            None => db::payment::mark_loose(tx.conn(), &subject).await?,
        }
    }
    Ok(())
}
