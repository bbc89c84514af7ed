//! Issues an address: takes the next index and makes the invoice that is paid to it, inside the
//! caller's transaction. Nothing shows the address before that is committed.

use crate::db::invoice::{InvoiceDoc, InvoiceRow};
use crate::db::{self, DbError, Tx};
use crate::domain::event::EventKind;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::{Invoice, InvoiceStanding, InvoiceStatus};
use crate::domain::keychain::Branch;
use crate::domain::resource::TermsVersion;
use crate::domain::time::Timestamp;

use super::shop::Shop;
use super::{AppError, Code, Refusal, event};

/// Refuses while it is not known which addresses were given out before, and when too many
/// invoices are open and unpaid; a tenth of them is kept for sources without one.
pub async fn check_may_issue(
    tx: &mut Tx,
    shop: &Shop,
    source: Option<&str>,
    now: Timestamp,
) -> Result<(), AppError> {
    if db::keychain::recovers(tx.conn(), shop.keychain_id).await? {
        let detail = "the chain is being searched for earlier addresses; try again later";
        return Err(Refusal::new(Code::NotReady, detail).into());
    }
    let most = shop.limits.max_open_unpaid;
    let (open, own, first) =
        db::invoice::open_unpaid(tx.conn(), source.unwrap_or_default(), now).await?;
    let limit = if own > 0 { most - most / 10 } else { most };
    if open < limit {
        return Ok(());
    }
    let detail = "too many requests wait for payment; try again when the first of them ends";
    Err(Refusal::new(Code::TooManyUnpaid, detail).until(first).into())
}

/// What an invoice is made from, besides its address.
pub struct Order<'a> {
    /// The facts; terms, price and times included.
    pub facts: Invoice,
    /// The terms it keeps.
    pub terms: &'a TermsVersion,
    /// Where refunds of it go.
    pub refund_address: Option<String>,
    /// Who asked.
    pub source: Option<String>,
}

/// The amount to ask for: never below what the network relays to such an address.
pub fn amount_sat(shop: &Shop, cost_sat: u64) -> u64 {
    cost_sat.max(shop.keychain.dust_sat())
}

/// Takes the next index and inserts the invoice.
pub async fn issue(tx: &mut Tx, shop: &Shop, order: Order<'_>) -> Result<InvoiceRow, DbError> {
    let index = db::keychain::take_index(tx.conn(), shop.keychain_id).await?;
    let script_pubkey = shop.keychain.script(Branch::External, index);
    let address = shop.keychain.address(Branch::External, index).to_string();
    let terms = &order.terms.terms;
    let standing = InvoiceStanding::new(&order.facts, &[], &shop.policy);
    let confirmations_required = terms.confirmations_for(order.facts.amount_sat);
    let row = InvoiceRow {
        resource: terms.id.clone(),
        keychain: shop.keychain_id,
        index,
        script_pubkey,
        address,
        refund_address: order.refund_address,
        status: InvoiceStatus::Open,
        seq: 1,
        doc: InvoiceDoc { standing, confirmations_required, payments: Vec::new() },
        facts: order.facts,
    };
    db::invoice::insert(tx.conn(), &row, order.source.as_deref()).await?;
    let data = serde_json::json!({
        "invoice": row.facts.id,
        "purpose": row.facts.purpose,
        "lease": row.facts.lease,
        "resource": row.resource,
        "amount_sat": row.facts.amount_sat,
        "address": row.address,
        "expires_at": row.facts.expires_at,
    });
    let at = row.facts.created_at;
    let subject = row.facts.id.as_str();
    tx.event(event(EventKind::InvoiceCreated, at, subject, Some(&row.resource), data));
    Ok(row)
}

/// A fresh invoice id.
pub fn invoice_id() -> InvoiceId {
    InvoiceId::new(super::random_128())
}
