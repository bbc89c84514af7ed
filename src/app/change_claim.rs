//! The holder of a claim changes where money goes, or replaces the token.

use bitcoin::Address;
use serde_json::json;

use crate::db::claim::Claim;
use crate::db::{self, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::time::Timestamp;

use super::idempotent::{self, Key};
use super::{AppError, Code, Refusal, event};

/// Changes where refunds and payouts of a claim go. The addresses are checked by the caller.
pub struct ChangeClaim {
    /// The claim.
    pub claim: String,
    /// `Some(None)` takes it away, `None` leaves it.
    pub refund_address: Option<Option<String>>,
    /// The same for payouts.
    pub payout_address: Option<Option<String>>,
}

impl WriteItem for ChangeClaim {
    type Out = Claim;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Claim, AppError> {
        let mut claim = get(tx, &self.claim).await?;
        let refund = ("/refund_address", &self.refund_address);
        for (pointer, address) in [refund, ("/payout_address", &self.payout_address)] {
            if let Some(Some(text)) = address {
                refuse_own_at(tx, pointer, text).await?;
            }
        }
        if let Some(address) = &self.refund_address {
            claim.refund_address.clone_from(address);
        }
        if let Some(address) = &self.payout_address {
            claim.payout_address.clone_from(address);
        }
        record(tx, &claim).await?;
        Ok(claim)
    }
}

/// Writes the addresses; what is owed and in no batch yet goes to the new ones.
async fn record(tx: &mut Tx, claim: &Claim) -> Result<(), AppError> {
    let refund = claim.refund_address.as_deref();
    let payout = claim.payout_address.as_deref();
    db::claim::set_addresses(tx.conn(), &claim.id, refund, payout).await?;
    db::lease::mark_owing(tx.conn(), &claim.id).await?;
    Ok(())
}

/// The holder asks for one more thing under a claim and says where refunds go.
pub(super) async fn set_refund_address(
    tx: &mut Tx,
    claim: &str,
    address: String,
) -> Result<(), AppError> {
    let mut claim = get(tx, claim).await?;
    claim.refund_address = Some(address);
    record(tx, &claim).await
}

/// Refuses an address that we issued ourselves: a refund to it would come back as a payment.
pub async fn refuse_own(tx: &mut Tx, address: &str) -> Result<(), AppError> {
    refuse_own_at(tx, "/refund_address", address).await
}

/// The same for another field.
pub(super) async fn refuse_own_at(
    tx: &mut Tx,
    pointer: &str,
    address: &str,
) -> Result<(), AppError> {
    let script = address.parse::<Address<_>>().ok().map(|it| it.assume_checked().script_pubkey());
    let change = match script {
        Some(script) => db::batch::is_change(tx.conn(), &script).await?,
        None => false,
    };
    if !change && db::invoice::find_by_address(tx.conn(), address).await?.is_none() {
        return Ok(());
    }
    let detail = "this is an address of this shop; give one of your own wallet";
    Err(Refusal::field(Code::InvalidRequest, pointer, detail).into())
}

/// Replaces a claim's token. Whoever asks has the old one; asked again with the same
/// Idempotency-Key it is done already, though the old token is worth nothing any more. So are the
/// codes and sessions of the gate that were made with it.
pub struct RotateClaim {
    /// The claim.
    pub claim: String,
    /// SHA-256 of the token that came with the request, in hex.
    pub old_hash: String,
    /// SHA-256 of the new token, in hex.
    pub token_hash: String,
    /// The caller's Idempotency-Key, held to the old token.
    pub key: Option<Key>,
    /// The clock.
    pub now: Timestamp,
}

impl WriteItem for RotateClaim {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        if idempotent::find(tx, self.key.as_ref()).await?.is_some() {
            return Ok(());
        }
        let unknown = || Refusal::new(Code::Unauthorized, "this claim token is not known");
        let held = db::claim::find_by_hash(tx.conn(), &self.old_hash).await?.ok_or_else(unknown)?;
        if held.id != self.claim {
            let detail = "this claim token is of something else";
            return Err(Refusal::new(Code::Forbidden, detail).into());
        }
        db::claim::rotate(tx.conn(), &self.claim, &self.token_hash).await?;
        // The gate of every server hears of it by these.
        for (lease, resource) in db::running::of_claim(tx.conn(), &self.claim).await? {
            let (kind, data) = (EventKind::LeaseClaimRotated, json!({ "lease": lease }));
            tx.event(event(kind, self.now, &lease, Some(&resource), data));
        }
        // The token itself is never kept: it is computed again.
        idempotent::keep(tx, self.key.as_ref(), 200, serde_json::Value::Null, self.now).await?;
        Ok(())
    }
}

async fn get(tx: &mut Tx, claim: &str) -> Result<Claim, AppError> {
    db::claim::find(tx.conn(), claim)
        .await?
        .ok_or_else(|| Refusal::new(Code::Unauthorized, "this claim does not exist").into())
}
