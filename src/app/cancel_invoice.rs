//! Its holder gives an invoice up before anything came. The address stays watched for ever.

use crate::db::invoice::InvoiceRow;
use crate::db::{self, Tx, WriteItem};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::{InvoiceStatus, Purpose};
use crate::domain::lease::What;
use crate::domain::lease::fold::Phase;

use super::settle::{Ground, settle};
use super::{AppError, Code, Refusal};

/// Gives an invoice up. The first invoice of a lease takes the unpaid lease with it.
pub struct CancelInvoice {
    /// Rules and clock.
    pub ground: Ground,
    /// The invoice.
    pub invoice: InvoiceId,
}

impl WriteItem for CancelInvoice {
    type Out = InvoiceRow;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<InvoiceRow, AppError> {
        let row = self.get(tx).await?;
        if row.facts.cancelled_at.is_some() {
            return Ok(row);
        }
        let lease = &row.facts.lease;
        let payments = db::payment::list_of_lease(tx.conn(), lease).await?;
        let paid = payments.iter().any(|p| p.facts.invoice.as_ref() == Some(&row.facts.id));
        if paid || row.status == InvoiceStatus::Settled {
            let detail = "money came for this invoice already; give the lease back instead";
            return Err(Refusal::new(Code::NotCancellable, detail).into());
        }
        let unpaid = db::lease::find(tx.conn(), lease.as_str())
            .await?
            .is_some_and(|lease| lease.doc.standing.phase == Phase::Unfunded);
        let takes_lease = row.facts.purpose == Purpose::Lease && unpaid && payments.is_empty();
        db::invoice::cancel(tx.conn(), &row.facts.id, self.ground.now).await?;
        settle(tx, &self.ground, lease, takes_lease.then_some(What::Returned)).await?;
        self.get(tx).await
    }
}

impl CancelInvoice {
    async fn get(&self, tx: &mut Tx) -> Result<InvoiceRow, AppError> {
        let found = db::invoice::find(tx.conn(), self.invoice.as_str()).await?;
        found.ok_or_else(|| {
            Refusal::new(Code::NotFound, format!("there is no invoice {}", self.invoice)).into()
        })
    }
}
