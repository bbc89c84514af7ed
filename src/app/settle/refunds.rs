//! What a lease owes back while it is settled: to its claim, and to top-ups with an address of
//! their own.

use std::collections::HashMap;

use crate::app::owe::{Subject, next_settled_height, owe};
use crate::db::{self, DbError, Tx};
use crate::domain::ids::{InvoiceId, PaymentId};
use crate::domain::invoice::Purpose;
use crate::domain::lease::refunds::Behind;
use crate::domain::payment::{Counted, Payment};
use crate::domain::payout::{Account, Owed};

use super::Settling;

impl Settling<'_> {
    /// Writes the payouts; returns what is owed and what was paid.
    pub(super) async fn write_refunds(&mut self, tx: &mut Tx) -> Result<Vec<Account>, DbError> {
        let owed = self.owed();
        let before = self.row.doc.accounts.clone();
        if owed.is_empty() && before.is_empty() {
            return Ok(Vec::new());
        }
        if owed.iter().any(|owed| owed.settled_sat < owed.sat) {
            self.settled_height = self.next_settled_height();
        }
        let claim = db::claim::find(tx.conn(), &self.row.claim).await?;
        let own: HashMap<&InvoiceId, &str> = self.own_addresses().collect();
        let address = |recipient: Option<&InvoiceId>| match recipient {
            Some(invoice) => own.get(invoice).map(|address| (*address).to_owned()),
            None => claim.as_ref().and_then(|claim| claim.refund_address.clone()),
        };
        let subject = Subject {
            kind: "refund",
            id: self.row.facts.id.as_str(),
            resource: Some(&self.row.facts.resource),
            claim: Some(&self.row.claim),
            address: &address,
        };
        owe(tx, self.ground, &subject, &owed, &before).await
    }

    /// Top-ups that named an address for what they pay: anyone may pay for a lease.
    fn own_addresses(&self) -> impl Iterator<Item = (&InvoiceId, &str)> {
        let topups = self.invoices.iter().filter(|row| row.facts.purpose == Purpose::Topup);
        topups.filter_map(|row| Some((&row.facts.id, row.refund_address.as_deref()?)))
    }

    fn owed(&self) -> Vec<Owed> {
        if !self.standing.owes() {
            return Vec::new();
        }
        let payments: HashMap<&PaymentId, &Payment> =
            self.facts.payments.iter().map(|payment| (&payment.id, payment)).collect();
        let own: HashMap<&InvoiceId, &str> = self.own_addresses().collect();
        let least = self.ground.policy.payout_confirmations;
        self.standing.owed(&Behind {
            recipient: &|id| {
                let invoice = payments.get(id)?.invoice.as_ref()?;
                own.contains_key(invoice).then(|| invoice.clone())
            },
            settled: &|id| {
                payments.get(id).is_some_and(|payment| payment.confirmations(self.tip) >= least)
            },
        })
    }

    fn next_settled_height(&self) -> Option<u32> {
        let lines = self.standing.lines();
        let counts = |payment: &&Payment| {
            lines.get(&payment.id).is_some_and(|line| line.counted == Counted::Standing)
        };
        let counting = self.facts.payments.iter().filter(counts);
        let heights = counting.filter_map(|it| it.mined.as_ref().map(|mined| mined.height));
        next_settled_height(heights, self.ground.policy.payout_confirmations, self.tip)
    }
}
