//! The payments of a lease while it is settled: their states, and what is told of them once.

use crate::app::{event, random_128};
use crate::db::payment::{Announced, PaymentRow};
use crate::db::{self, DbError, Tx};
use crate::domain::event::EventKind;
use crate::domain::ids::{PaymentId, base32};
use crate::domain::lease::{Entry, What};
use crate::domain::payment::{Counted, PaymentState};

use super::Settling;

/// The kind of work that sends a transaction again.
pub const SEND_AGAIN: &str = "send_again";

impl Settling<'_> {
    /// The event of a credit, a reversal or a restoration.
    pub(super) fn payment_event(&mut self, entry: &Entry) {
        let (kind, payment, seconds) = match &entry.what {
            What::Credit(credit) => (EventKind::PaymentCredited, &credit.payment, credit.seconds),
            What::Reversal { payment, seconds } => (EventKind::PaymentReversed, payment, *seconds),
            What::Restoration { payment, seconds } => {
                (EventKind::PaymentRestored, payment, *seconds)
            }
            _ => return,
        };
        self.say(kind, payment.clone(), seconds);
    }

    fn say(&mut self, kind: EventKind, payment: PaymentId, seconds: u64) {
        let Some(row) = self.payments.iter().find(|row| row.facts.id == payment) else { return };
        let data = serde_json::json!({
            "payment": payment,
            "txid": row.facts.outpoint.txid,
            "vout": row.facts.outpoint.vout,
            "amount_sat": row.facts.amount_sat,
            "invoice": row.facts.invoice,
            "lease": self.row.facts.id,
            "height": row.facts.mined.as_ref().map(|mined| mined.height),
            "seconds": seconds,
        });
        let resource = Some(self.row.facts.resource.as_str());
        let subject = self.row.facts.id.as_str();
        self.events.push(event(kind, self.ground.now, subject, resource, data));
    }

    /// Whether each payment counts, in their order.
    fn counted(&self) -> Vec<Counted> {
        let lines = self.standing.lines();
        let counted = |row: &PaymentRow| lines.get(&row.facts.id).map(|line| line.counted);
        self.payments.iter().map(|row| counted(row).unwrap_or(Counted::Never)).collect()
    }

    /// Tells what became of the payments in the chain, before what follows from it.
    pub(super) async fn announce_payments(&mut self, tx: &mut Tx) -> Result<(), DbError> {
        for (place, counted) in self.counted().into_iter().enumerate() {
            let row = self.payments[place].clone();
            self.payments[place].announced = self.announce_payment(tx, &row, counted).await?;
        }
        Ok(())
    }

    /// Writes what was announced and the state of each payment, where it is not stored so.
    pub(super) async fn write_payments(&mut self, tx: &mut Tx) -> Result<(), DbError> {
        self.announce_payments(tx).await?;
        let counted = self.counted();
        let rows = self.payments.iter_mut().zip(&self.stored).zip(counted);
        for ((row, (state, announced)), counted) in rows {
            row.state = row.facts.state(counted, self.tip, &self.ground.policy);
            if row.state != *state || row.announced != *announced {
                let id = &row.facts.id;
                db::payment::record_state(tx.conn(), id, row.state, &row.announced).await?;
            }
        }
        Ok(())
    }

    /// The block at a height; each is asked for once.
    async fn block_hash(&mut self, tx: &mut Tx, height: u32) -> Result<Option<String>, DbError> {
        if let Some(known) = self.hashes.get(&height) {
            return Ok(known.clone());
        }
        let block = db::chain::find(tx.conn(), height).await?;
        let hash = block.map(|block| block.hash.to_string());
        self.hashes.insert(height, hash.clone());
        Ok(hash)
    }

    async fn announce_payment(
        &mut self,
        tx: &mut Tx,
        row: &PaymentRow,
        counted: Counted,
    ) -> Result<Announced, DbError> {
        let state = row.facts.state(counted, self.tip, &self.ground.policy);
        let mut announced = row.announced.clone();
        let id = row.facts.id.clone();
        if let Some(mined) = &row.facts.mined {
            let hash = self.block_hash(tx, mined.height).await?;
            if hash != announced.confirmed_block {
                self.say(EventKind::PaymentConfirmed, id, 0);
                announced.confirmed_block = hash;
            }
        } else if row.facts.at_risk(counted) {
            let lost = announced.confirmed_block.clone().unwrap_or_else(|| "unmined".into());
            if announced.at_risk_block.as_ref() != Some(&lost) {
                self.say(EventKind::PaymentAtRisk, id, 0);
                announced.at_risk_block = Some(lost);
            }
            self.send_again(tx, row).await?;
        } else if state == PaymentState::Replaced {
            let by = row.facts.conflict.as_ref().map(|conflict| conflict.txid.to_string());
            if announced.replaced_by != by {
                self.say(EventKind::PaymentReplaced, id, 0);
                announced.replaced_by = by;
            }
        }
        Ok(announced)
    }

    /// A credit that has lost its block is offered to the network again.
    async fn send_again(&self, tx: &mut Tx, row: &PaymentRow) -> Result<(), DbError> {
        if row.facts.in_mempool {
            return Ok(());
        }
        let txid = row.facts.outpoint.txid.to_string();
        let id = format!("wrk_{}", base32(&random_128()));
        db::work::put(tx.conn(), &id, SEND_AGAIN, &txid, "", self.ground.now).await
    }
}
