//! What the API shows: leases and invoices as JSON, from their projections and the clock.

use serde::Serialize;
use utoipa::ToSchema;

use crate::db::invoice::InvoiceRow;
use crate::db::lease::LeaseRow;
use crate::domain::ids::PaymentId;
use crate::domain::invoice::{InvoiceFlag, InvoiceStatus, Purpose};
use crate::domain::lease::snapshot::{LeaseFlag, LeaseState};
use crate::domain::lease::{EndReason, Entry, What};
use crate::domain::payment::{Counted, PaymentState};
use crate::domain::time::Timestamp;
use crate::domain::uri;

/// What a view depends on besides the row.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The clock.
    pub now: Timestamp,
    /// Height of the tip.
    pub tip: u32,
    /// `public_url` without a slash at its end.
    pub public_url: &'a str,
}

/// Where to go from an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceLinks {
    /// The invoice.
    #[serde(rename = "self")]
    pub this: String,
    /// A page to pay it.
    pub checkout: String,
    /// Its lease.
    pub lease: String,
}

/// Money of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Received {
    /// On its way.
    pub unconfirmed_sat: u64,
    /// Counts.
    pub credited_sat: u64,
    /// Still asked for.
    pub due_sat: u64,
}

/// One payment of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PaymentView {
    /// Transaction.
    pub txid: String,
    /// Output.
    pub vout: u32,
    /// Value.
    pub amount_sat: u64,
    /// Its state.
    #[schema(value_type = String, example = "mempool")]
    pub state: PaymentState,
    /// 0 while it is in no block.
    pub confirmations: u32,
    /// What it bought, once it counted.
    pub seconds: Option<u64>,
    /// `late`, `at_risk`, `replaced`, `refundable`.
    pub flags: Vec<String>,
}

/// An invoice (SPEC section 9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceView {
    /// `inv_…`.
    pub id: String,
    /// `lease` or `topup`.
    #[schema(value_type = String, example = "lease")]
    pub purpose: Purpose,
    /// The resource's id.
    pub resource: String,
    /// The lease it pays for.
    pub lease: String,
    /// `settled`, `confirming`, `cancelled`, `open` or `expired`.
    #[schema(value_type = String, example = "open")]
    pub status: InvoiceStatus,
    /// A set: `partial`, `over`, `late`, `duplicate`, `replaced`, `at_risk`, `reversed`, `held`.
    #[schema(value_type = Vec<String>)]
    pub flags: Vec<InvoiceFlag>,
    /// Where to pay. Watched for ever.
    pub address: String,
    /// Its derivation index.
    pub derivation_index: u32,
    /// What was asked for.
    pub amount_sat: u64,
    /// What came.
    pub received: Received,
    /// Confirmations that its money needs.
    pub confirmations_required: u32,
    /// BIP321 payment link for what is still due.
    pub uri: String,
    /// Payments, oldest first.
    pub payments: Vec<PaymentView>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its price ends; later money still counts.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Counts its changes.
    pub seq: u64,
    /// Where to go from here.
    pub links: InvoiceLinks,
}

/// Shows an invoice.
pub fn invoice(row: &InvoiceRow, scene: &Scene<'_>) -> InvoiceView {
    let standing = &row.doc.standing;
    let due_sat = standing.due_sat();
    let base = scene.public_url;
    let confirmations = |height: u32| if height <= scene.tip { scene.tip - height + 1 } else { 0 };
    let payments = row.doc.payments.iter().map(|line| PaymentView {
        txid: line.outpoint.txid.to_string(),
        vout: line.outpoint.vout,
        amount_sat: line.amount_sat,
        state: line.state,
        confirmations: line.height.map_or(0, confirmations),
        seconds: line.seconds,
        flags: line.flags.clone(),
    });
    InvoiceView {
        id: row.facts.id.to_string(),
        purpose: row.facts.purpose,
        resource: row.resource.clone(),
        lease: row.facts.lease.to_string(),
        status: standing.status(scene.now),
        flags: standing.flags.clone(),
        address: row.address.clone(),
        derivation_index: row.index,
        amount_sat: row.facts.amount_sat,
        received: Received {
            unconfirmed_sat: standing.unconfirmed_sat,
            credited_sat: standing.credited_sat,
            due_sat,
        },
        confirmations_required: row.doc.confirmations_required,
        uri: uri::payment_uri(&row.address, Some(due_sat), Some(&row.resource)),
        payments: payments.collect(),
        created_at: row.facts.created_at,
        expires_at: row.facts.expires_at,
        seq: row.seq,
        links: InvoiceLinks {
            this: format!("{base}/v1/invoices/{}", row.facts.id),
            checkout: format!("{base}/checkout/{}", row.facts.id),
            lease: format!("{base}/v1/leases/{}", row.facts.lease),
        },
    }
}

/// Where to go from a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeaseLinks {
    /// The lease.
    #[serde(rename = "self")]
    pub this: String,
    /// A page of it.
    pub checkout: String,
    /// Where to ask for more time.
    pub topup: String,
}

/// One credit of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CreditView {
    /// Transaction.
    pub txid: String,
    /// Output.
    pub vout: u32,
    /// Value.
    pub amount_sat: u64,
    /// What it bought.
    pub seconds: u64,
    /// The payment's state.
    #[schema(value_type = String, example = "credited")]
    pub state: PaymentState,
}

/// A lease (SPEC section 9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeaseView {
    /// `lse_…`.
    pub id: String,
    /// The resource's id.
    pub resource: String,
    /// The unit, once one is held or leased.
    pub unit: Option<String>,
    /// `unfunded`, `provisioning`, `active`, `grace`, `ended` or `suspended`.
    #[schema(value_type = String, example = "active")]
    pub state: LeaseState,
    /// A set: `expiring_soon`, `at_risk`, `reversed`, `no_hold`, `provisioner_error`.
    #[schema(value_type = Vec<String>)]
    pub flags: Vec<LeaseFlag>,
    /// `expired`, `returned`, `revoked`, `failed` or `reversed`.
    #[schema(value_type = Option<String>)]
    pub end_reason: Option<EndReason>,
    /// 0 before the first.
    pub generation: u32,
    /// Counts its changes; the clock's are none.
    pub seq: u64,
    /// When its clock started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// Until when it can be used.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Until when it is paid.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_until: Option<Timestamp>,
    /// Seconds left until `expires_at`.
    pub remaining_s: u64,
    /// Until when unit and data are kept.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub grace_until: Option<Timestamp>,
    /// Seconds paid beyond `expires_at`, or waiting for the start.
    pub banked_s: u64,
    /// Satoshis not worth a second yet.
    pub balance_sat: u64,
    /// All money that counts.
    pub paid_sat: u64,
    /// What can go back to whoever holds the claim.
    pub refundable_sat: u64,
    /// The credits, oldest first.
    pub credits: Vec<CreditView>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Where to go from here.
    pub links: LeaseLinks,
}

/// Shows a lease.
pub fn lease(row: &LeaseRow, scene: &Scene<'_>) -> LeaseView {
    let standing = &row.doc.standing;
    let look = standing.at(scene.now);
    let books = row.doc.books(scene.now);
    let base = scene.public_url;
    let flags = [
        (LeaseFlag::ExpiringSoon, look.expiring_soon),
        (LeaseFlag::AtRisk, row.doc.at_risk),
        (LeaseFlag::Reversed, look.reversed),
        (LeaseFlag::NoHold, row.doc.no_hold),
        (LeaseFlag::ProvisionerError, row.doc.provisioner_error),
    ];
    let credits = standing.credits.iter().zip(&row.doc.credit_states);
    LeaseView {
        id: row.facts.id.to_string(),
        resource: row.facts.resource.clone(),
        unit: row.unit.clone(),
        state: look.state,
        flags: flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag).collect(),
        end_reason: look.end_reason,
        generation: look.generation,
        seq: row.seq,
        starts_at: look.starts_at,
        expires_at: look.expires_at,
        paid_until: look.paid_until,
        remaining_s: look.remaining_s,
        grace_until: look.grace_until,
        banked_s: look.banked_s,
        balance_sat: standing.run.map_or(0, |run| run.balance_sat()),
        paid_sat: books.received_sat,
        refundable_sat: books.refundable_sat + books.dust_sat,
        credits: credits
            .filter(|(line, _)| line.counted != Counted::Never)
            .map(|(line, state)| CreditView {
                txid: line.outpoint.txid.to_string(),
                vout: line.outpoint.vout,
                amount_sat: line.amount_sat,
                seconds: line.seconds,
                state: *state,
            })
            .collect(),
        created_at: row.facts.created_at,
        links: LeaseLinks {
            this: format!("{base}/v1/leases/{}", row.facts.id),
            checkout: format!("{base}/leases/{}", row.facts.id),
            topup: format!("{base}/v1/leases/{}/invoices", row.facts.id),
        },
    }
}

/// One thing that happened to a lease.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EntryView {
    /// Its number, in the order in which things count.
    pub n: u64,
    /// Its moment.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `credit`, `reversal`, `restoration`, `started`, `ready`, `suspended`, `resumed`, `returned`,
    /// `revoked`, `failed` or `expired`.
    pub what: &'static str,
    /// The payment, for money.
    #[schema(value_type = Option<String>)]
    pub payment: Option<PaymentId>,
    /// What a credit was worth.
    pub amount_sat: Option<u64>,
    /// Bought, taken away, given back.
    pub seconds: Option<u64>,
    /// The number of a generation that started.
    pub generation: Option<u32>,
    /// The unit that it took.
    pub unit: Option<String>,
}

/// One thing that happened, as operators see it.
pub fn entry(entry: &Entry) -> EntryView {
    let mut view = EntryView {
        n: entry.n.into(),
        at: entry.moment_at,
        what: entry.what.kind(),
        payment: None,
        amount_sat: None,
        seconds: None,
        generation: None,
        unit: None,
    };
    match &entry.what {
        What::Credit(credit) => {
            view.payment = Some(credit.payment.clone());
            view.amount_sat = Some(credit.amount_sat);
            view.seconds = Some(credit.seconds);
        }
        What::Reversal { payment, seconds } | What::Restoration { payment, seconds } => {
            view.payment = Some(payment.clone());
            view.seconds = Some(*seconds);
        }
        What::Started { generation, unit, .. } => {
            view.generation = Some(*generation);
            view.unit.clone_from(unit);
        }
        What::Ready
        | What::Suspended
        | What::Resumed
        | What::Returned
        | What::Revoked
        | What::Failed
        | What::Expired => {}
    }
    view
}
