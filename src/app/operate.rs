//! What an operator decides about resources and about money that found no lease.

use crate::db::payment::{Loose, PaymentRow};
use crate::db::{self, Tx, WriteItem};
use crate::domain::ids::LeaseId;
use crate::domain::payout::PayoutState;

use super::add_invoice::get_lease;
use super::change_claim::refuse_own_at;
use super::settle::Ground;
use super::settle_due::{book_loose, settle_loose};
use super::{AppError, Code, Refusal};

/// Pauses a resource, or lets it take money again. Doing again what is so already changes nothing.
pub struct PauseResource {
    /// Rules and clock.
    pub ground: Ground,
    /// The resource's id.
    pub resource: String,
    /// True to pause.
    pub pause: bool,
    /// The operator.
    pub actor: String,
}

impl WriteItem for PauseResource {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        let Some(resource) = db::terms::find(tx.conn(), &self.resource).await? else {
            let detail = format!("there is no resource \"{}\"", self.resource);
            return Err(Refusal::new(Code::UnknownResource, detail).into());
        };
        if resource.paused_at.is_some() == self.pause {
            return Ok(());
        }
        let at = self.pause.then_some(self.ground.now);
        db::terms::pause(tx.conn(), &self.resource, at).await?;
        if !self.pause {
            db::lease::call_waiting(tx.conn(), &self.resource, usize::MAX).await?;
        }
        let action = if self.pause { "resource.pause" } else { "resource.resume" };
        let entry = (self.actor.as_str(), action, self.resource.as_str(), "");
        db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        Ok(())
    }
}

/// Gives money that found no lease to one. What this lease has already stays there.
pub struct AssignPayment {
    /// Rules and clock.
    pub ground: Ground,
    /// The payment's id.
    pub payment: String,
    /// The lease that gets it.
    pub lease: LeaseId,
    /// The operator.
    pub actor: String,
}

impl WriteItem for AssignPayment {
    type Out = PaymentRow;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<PaymentRow, AppError> {
        let row = get(tx, &self.payment).await?;
        if row.lease.as_ref() == Some(&self.lease) {
            return Ok(row);
        }
        let row = loose(row)?;
        get_lease(tx, &self.lease).await.map_err(|error| match error {
            AppError::Refused(why) => Refusal::field(why.code, "/lease", why.detail).into(),
            error => error,
        })?;
        if row.refund_address.is_some() {
            let detail = "this payment is to be refunded already";
            return Err(Refusal::new(Code::InvalidRequest, detail).into());
        }
        book_loose(tx, &self.ground, &row, &Loose::default()).await?;
        db::payment::record_loose(tx.conn(), &row.facts.id, &Loose::default(), None).await?;
        db::payment::assign(tx.conn(), &row.facts.id, &self.lease, self.ground.now).await?;
        db::lease::mark_changed(tx.conn(), &self.lease).await?;
        let id = self.payment.as_str();
        let entry = (self.actor.as_str(), "payment.assign", id, self.lease.as_str());
        db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        get(tx, id).await
    }
}

/// Says where money that found no lease goes back to. The same address again changes nothing;
/// another one is a `conflict` while a transaction pays it, or has.
pub struct RefundPayment {
    /// Rules and clock.
    pub ground: Ground,
    /// The payment's id.
    pub payment: String,
    /// An address, checked by the caller.
    pub address: String,
    /// The operator.
    pub actor: String,
}

impl WriteItem for RefundPayment {
    type Out = PaymentRow;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<PaymentRow, AppError> {
        let row = loose(get(tx, &self.payment).await?)?;
        if row.refund_address.as_ref() == Some(&self.address) {
            return Ok(row);
        }
        not_leaving(tx, &self.payment).await?;
        refuse_own_at(tx, "/address", &self.address).await?;
        db::payment::set_refund_address(tx.conn(), &row.facts.id, &self.address).await?;
        let tip = db::chain::tip(tx.conn()).await?.map_or(0, |tip| tip.height);
        let row = get(tx, &self.payment).await?;
        settle_loose(tx, &self.ground, &row, tip).await?;
        let id = self.payment.as_str();
        let entry = (self.actor.as_str(), "payment.refund", id, self.address.as_str());
        db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        get(tx, id).await
    }
}

async fn get(tx: &mut Tx, id: &str) -> Result<PaymentRow, AppError> {
    db::payment::find(tx.conn(), id)
        .await?
        .ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no payment {id}")).into())
}

/// Refuses what a transaction sends elsewhere, or has sent.
async fn not_leaving(tx: &mut Tx, payment: &str) -> Result<(), AppError> {
    for row in db::payout::list_of_subject(tx.conn(), payment).await? {
        let Some((state, paying)) = row.facts.fixed() else { continue };
        let batch = &paying.batch;
        let detail = match state {
            PayoutState::Confirmed => format!("it was paid back by {batch}"),
            _ if paying.batch_state.is_alive() => format!("it is in {batch}; abandon that first"),
            _ => format!("{batch} was given up, but a transaction of it that pays this was sent"),
        };
        return Err(Refusal::new(Code::Conflict, detail).into());
    }
    Ok(())
}

/// Refuses what is not the operator's to give away.
fn loose(row: PaymentRow) -> Result<PaymentRow, Refusal> {
    match &row.lease {
        None if row.branch != 0 => {
            let detail = "this is our own change; it belongs to nobody else";
            Err(Refusal::new(Code::InvalidRequest, detail))
        }
        None => Ok(row),
        Some(lease) => {
            let detail = format!("this payment belongs to {lease}");
            Err(Refusal::new(Code::InvalidRequest, detail))
        }
    }
}
