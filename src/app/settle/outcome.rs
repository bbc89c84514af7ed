//! The projections of a lease and its invoices, and whether they changed.

use std::collections::{HashMap, HashSet};

use crate::app::event;
use crate::db::invoice::{InvoiceDoc, InvoiceRow, PaymentLine};
use crate::db::lease::LeaseDoc;
use crate::db::payment::PaymentRow;
use crate::db::{self, DbError, Tx};
use crate::domain::event::EventKind;
use crate::domain::ids::{InvoiceId, PaymentId};
use crate::domain::invoice::{InvoiceStanding, InvoiceStatus, Received};
use crate::domain::lease::books::Books;
use crate::domain::lease::fold::{CreditLine, Home, Phase};
use crate::domain::payment::{Counted, PaymentState, tier_sum};
use crate::domain::payout::Account;

use super::Settling;

/// Whether a holder would see a difference that is not the clock's.
pub(super) fn changed(old: &LeaseDoc, new: &LeaseDoc) -> bool {
    old.standing != new.standing
        || old.credit_states != new.credit_states
        || old.at_risk != new.at_risk
        || old.no_hold != new.no_hold
        || old.accounts != new.accounts
        || old.provisioner_error != new.provisioner_error
        || old.announced.state != new.announced.state
        || old.announced.expiring_soon != new.announced.expiring_soon
}

impl Settling<'_> {
    /// The lease's projection. Payments must have been written before.
    pub(super) fn projection(
        &self,
        booked: Books,
        accounts: Vec<Account>,
        has_unit: bool,
    ) -> LeaseDoc {
        let states: HashMap<&PaymentId, PaymentState> =
            self.payments.iter().map(|row| (&row.facts.id, row.state)).collect();
        let state_of =
            |line: &CreditLine| states.get(&line.payment).copied().unwrap_or(PaymentState::Gone);
        let lines = self.standing.lines();
        let counted =
            |row: &PaymentRow| lines.get(&row.facts.id).map_or(Counted::Never, |line| line.counted);
        let exclusive = !self.resource.terms.terms.units.is_empty();
        LeaseDoc {
            credit_states: self.standing.credits.iter().map(state_of).collect(),
            at_risk: self.payments.iter().any(|row| row.facts.at_risk(counted(row))),
            no_hold: self.standing.phase == Phase::Unfunded && exclusive && !has_unit,
            announced: self.look.clone(),
            standing: self.standing.clone(),
            booked,
            accounts,
            told: self.told,
            provisioner_error: self.row.doc.provisioner_error,
        }
    }

    /// Writes the invoices whose standing or status changed, with their events.
    pub(super) async fn write_invoices(&mut self, tx: &mut Tx) -> Result<bool, DbError> {
        let mut changed = false;
        for (place, doc) in self.invoice_docs().into_iter().enumerate() {
            let row = self.invoices[place].clone();
            let status = doc.standing.status(self.ground.now);
            if status == row.status && doc == row.doc {
                continue;
            }
            for kind in status_events(row.status, status) {
                self.say_invoice(kind, &row, &doc);
            }
            changed = true;
            let seq = row.seq + 1;
            let funded = (!doc.payments.is_empty()).then_some(self.ground.now);
            db::invoice::record(tx.conn(), &row.facts.id, status, seq, &doc, funded).await?;
        }
        Ok(changed)
    }

    /// The projections of all invoices, in their order.
    fn invoice_docs<'a>(&'a self) -> Vec<InvoiceDoc> {
        let policy = &self.ground.policy;
        let mut paid: HashMap<&InvoiceId, Vec<&PaymentRow>> = HashMap::new();
        for row in &self.payments {
            if let Some(invoice) = &row.facts.invoice {
                paid.entry(invoice).or_default().push(row);
            }
        }
        let waits = self.money_waits();
        let in_life: HashSet<&PaymentId> =
            self.standing.lots.iter().filter(|_| waits).map(|lot| &lot.payment).collect();
        let lines = self.standing.lines();
        let sum = tier_sum(&self.facts.payments, self.tip, self.tip, policy);
        let doc = |row: &InvoiceRow| {
            let mut own = paid.get(&row.facts.id).cloned().unwrap_or_default();
            own.sort_by_key(|payment| (payment.facts.first_seen_at, payment.facts.outpoint));
            let received = |row: &&'a PaymentRow| {
                let line = lines.get(&row.facts.id);
                Received {
                    payment: &row.facts,
                    counted: line.map_or(Counted::Never, |line| line.counted),
                    credited_at: line.map(|line| line.credited_at),
                    held: in_life.contains(&row.facts.id),
                }
            };
            let all: Vec<Received<'_>> = own.iter().map(received).collect();
            let standing = InvoiceStanding::new(&row.facts, &all, policy);
            let terms = self.facts.terms.version(row.facts.terms_version);
            let payments = own
                .iter()
                .map(|payment| self.line(row, payment, lines.get(&payment.facts.id).copied()));
            InvoiceDoc {
                standing,
                confirmations_required: terms.map_or(1, |found| {
                    found.terms.confirmations_for(sum.max(row.facts.amount_sat))
                }),
                payments: payments.collect(),
            }
        };
        self.invoices.iter().map(doc).collect()
    }

    fn line(
        &self,
        invoice: &InvoiceRow,
        row: &PaymentRow,
        credit: Option<&CreditLine>,
    ) -> PaymentLine {
        let counted = credit.map_or(Counted::Never, |line| line.counted);
        let refundable = credit.is_some_and(|line| line.home == Home::Dead);
        let flags = [
            ("late", !invoice.facts.on_time(&row.facts, &self.ground.policy)),
            ("at_risk", row.facts.at_risk(counted)),
            ("replaced", row.facts.mined.is_none() && row.facts.conflict.is_some()),
            ("refundable", counted == Counted::Standing && refundable),
        ];
        PaymentLine {
            outpoint: row.facts.outpoint,
            amount_sat: row.facts.amount_sat,
            state: row.state,
            height: row.facts.mined.as_ref().map(|mined| mined.height),
            seconds: credit.map(|line| line.seconds),
            flags: flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).into()).collect(),
        }
    }

    fn say_invoice(&mut self, kind: EventKind, row: &InvoiceRow, doc: &InvoiceDoc) {
        let data = serde_json::json!({
            "invoice": row.facts.id,
            "lease": row.facts.lease,
            "resource": row.resource,
            "amount_sat": row.facts.amount_sat,
            "credited_sat": doc.standing.credited_sat,
            "unconfirmed_sat": doc.standing.unconfirmed_sat,
            "flags": doc.standing.flags,
        });
        let subject = row.facts.id.as_str();
        self.events.push(event(kind, self.ground.now, subject, Some(&row.resource), data));
    }
}

/// What a change of status is told as.
fn status_events(old: InvoiceStatus, new: InvoiceStatus) -> Vec<EventKind> {
    use InvoiceStatus::{Cancelled, Confirming, Expired, Open, Settled};
    match (old, new) {
        (Open | Expired | Cancelled, Confirming) => vec![EventKind::InvoicePaid],
        (Open | Expired | Cancelled, Settled) => {
            vec![EventKind::InvoicePaid, EventKind::InvoiceSettled]
        }
        (Confirming, Settled) => vec![EventKind::InvoiceSettled],
        (Open | Confirming, Expired) => vec![EventKind::InvoiceExpired],
        (Open | Expired, Cancelled) => vec![EventKind::InvoiceCancelled],
        _ => Vec::new(),
    }
}
