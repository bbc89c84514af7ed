//! Invoices: the request, and a projection of where it stands.

use bitcoin::{OutPoint, ScriptBuf};
use serde::{Deserialize, Serialize};

pub use super::list::Filter;
use super::list::Newest;
use super::row::{Row, doc, hex, int};
use super::{Conn, DbError};
use crate::domain::ids::{InvoiceId, LeaseId};
use crate::domain::invoice::{Invoice, InvoiceStanding, InvoiceStatus, Purpose};
use crate::domain::payment::PaymentState;
use crate::domain::price::Price;
use crate::domain::time::Timestamp;

/// One payment as an invoice shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentLine {
    /// Its output.
    pub outpoint: OutPoint,
    /// Its value.
    pub amount_sat: u64,
    /// Its state.
    pub state: PaymentState,
    /// The block it is in; confirmations follow from the tip.
    pub height: Option<u32>,
    /// The seconds it bought, once it counted.
    pub seconds: Option<u64>,
    /// `late`, `at_risk`, `replaced`, `duplicate`.
    pub flags: Vec<String>,
}

/// The projection of an invoice, without the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceDoc {
    /// Where it stands.
    pub standing: InvoiceStanding,
    /// Confirmations that its money needs.
    pub confirmations_required: u32,
    /// Its payments, oldest first.
    pub payments: Vec<PaymentLine>,
}

/// An invoice as stored.
#[derive(Clone, Debug)]
pub struct InvoiceRow {
    /// The facts.
    pub facts: Invoice,
    /// The resource.
    pub resource: String,
    /// Keychain of its address.
    pub keychain: u32,
    /// Derivation index of its address.
    pub index: u32,
    /// What it is paid to.
    pub script_pubkey: ScriptBuf,
    /// The same as an address.
    pub address: String,
    /// Where refunds of it go.
    pub refund_address: Option<String>,
    /// Status when it was last settled.
    pub status: InvoiceStatus,
    /// Counts its changes.
    pub seq: u64,
    /// The projection.
    pub doc: InvoiceDoc,
}

const SELECT: &str = "SELECT id, purpose, lease, resource, terms_version, keychain, \
     derivation_index, script_pubkey, address, amount_sat, price_sat, price_per_s, \
     refund_address, created_at, expires_at, cancelled_at, status, seq, doc FROM invoice";

fn read(row: &sqlx::any::AnyRow) -> Result<InvoiceRow, DbError> {
    let row = Row::new(row, "invoice");
    Ok(InvoiceRow {
        facts: Invoice {
            id: row.parsed("id", InvoiceId::parse)?,
            purpose: row.parsed("purpose", Purpose::parse)?,
            lease: row.parsed("lease", LeaseId::parse)?,
            terms_version: row.u32("terms_version")?,
            amount_sat: row.u64("amount_sat")?,
            price: Price { sat: row.u64("price_sat")?, per_s: row.u64("price_per_s")? },
            created_at: row.at("created_at")?,
            expires_at: row.at("expires_at")?,
            cancelled_at: row.opt_at("cancelled_at")?,
        },
        resource: row.text("resource")?,
        keychain: row.u32("keychain")?,
        index: row.u32("derivation_index")?,
        script_pubkey: row.parsed("script_pubkey", |text| ScriptBuf::from_hex(text).ok())?,
        address: row.text("address")?,
        refund_address: row.opt_text("refund_address")?,
        status: row.parsed("status", InvoiceStatus::parse)?,
        seq: row.u64("seq")?,
        doc: row.json("doc")?,
    })
}

/// Adds an invoice. `source` is who asked, for the limits on unpaid ones.
pub async fn insert(
    conn: &mut Conn,
    row: &InvoiceRow,
    source: Option<&str>,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO invoice (id, purpose, lease, resource, terms_version, keychain, \
         derivation_index, script_pubkey, address, amount_sat, price_sat, price_per_s, \
         refund_address, source, created_at, expires_at, status, seq, doc) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
         $18, $19)",
    )
    .bind(row.facts.id.as_str())
    .bind(row.facts.purpose.as_str())
    .bind(row.facts.lease.as_str())
    .bind(&row.resource)
    .bind(int(row.facts.terms_version))
    .bind(int(row.keychain))
    .bind(int(row.index))
    .bind(hex(row.script_pubkey.as_bytes()))
    .bind(&row.address)
    .bind(int(row.facts.amount_sat))
    .bind(int(row.facts.price.sat))
    .bind(int(row.facts.price.per_s))
    .bind(row.refund_address.as_deref())
    .bind(source)
    .bind(row.facts.created_at.millis())
    .bind(row.facts.expires_at.millis())
    .bind(row.status.as_str())
    .bind(int(row.seq))
    .bind(doc(&row.doc))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// One invoice.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<InvoiceRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE id = $1"));
    sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?.as_ref().map(read).transpose()
}

/// The invoice that is paid to a script.
pub async fn find_by_script(
    conn: &mut Conn,
    script: &bitcoin::Script,
) -> Result<Option<InvoiceRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE script_pubkey = $1"));
    sqlx::query(text)
        .bind(hex(script.as_bytes()))
        .fetch_optional(&mut *conn)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The invoice with an address.
pub async fn find_by_address(
    conn: &mut Conn,
    address: &str,
) -> Result<Option<InvoiceRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE address = $1"));
    sqlx::query(text).bind(address).fetch_optional(&mut *conn).await?.as_ref().map(read).transpose()
}

/// The first of a lease.
pub async fn first_of_lease(
    conn: &mut Conn,
    lease: &LeaseId,
) -> Result<Option<InvoiceRow>, DbError> {
    let text =
        sqlx::AssertSqlSafe(format!("{SELECT} WHERE lease = $1 AND purpose = 'lease' LIMIT 1"));
    let found = sqlx::query(text).bind(lease.as_str()).fetch_optional(&mut *conn).await?;
    found.as_ref().map(read).transpose()
}

/// A lease's invoices, the first one first.
pub async fn list_of_lease(conn: &mut Conn, lease: &LeaseId) -> Result<Vec<InvoiceRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE lease = $1 \
         ORDER BY CASE WHEN purpose = 'lease' THEN 0 ELSE 1 END, created_at, id"
    ));
    sqlx::query(text).bind(lease.as_str()).fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// Those of a lease's invoices that still matter to where it stands: the first one, the open ones,
/// and every one that money came to. Anyone may ask for many that are never paid.
pub async fn list_to_settle(conn: &mut Conn, lease: &LeaseId) -> Result<Vec<InvoiceRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE id IN (\
         SELECT id FROM invoice WHERE lease = $1 AND purpose = 'lease' \
         UNION SELECT id FROM invoice WHERE lease = $1 AND purpose = 'topup' \
             AND status IN ('open', 'confirming', 'settled') \
         UNION SELECT id FROM invoice WHERE lease = $1 AND purpose = 'topup' \
             AND status IN ('expired', 'cancelled') AND funded_at >= 0 \
         UNION SELECT invoice FROM payment WHERE lease = $1 AND invoice IS NOT NULL) \
         ORDER BY CASE WHEN purpose = 'lease' THEN 0 ELSE 1 END, created_at, id"
    ));
    sqlx::query(text).bind(lease.as_str()).fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// Invoices, newest first.
pub async fn list(
    conn: &mut Conn,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<InvoiceRow>, DbError> {
    let newest = Newest {
        select: SELECT,
        filter: &[
            ("status = ?", filter.state.as_deref()),
            ("resource = ?", filter.resource.as_deref()),
        ],
        key: ("created_at", "id"),
        before: filter.before.as_ref(),
    };
    newest.list(conn, limit, read).await
}

/// Writes where an invoice stands. `funded_at` is kept from the first money on.
pub async fn record(
    conn: &mut Conn,
    id: &InvoiceId,
    status: InvoiceStatus,
    seq: u64,
    projection: &InvoiceDoc,
    funded_at: Option<Timestamp>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE invoice SET status = $2, seq = $3, doc = $4, \
         funded_at = COALESCE(funded_at, $5) WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(status.as_str())
    .bind(int(seq))
    .bind(doc(projection))
    .bind(funded_at.map(Timestamp::millis))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Its holder gave it up.
pub async fn cancel(conn: &mut Conn, id: &InvoiceId, now: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE invoice SET cancelled_at = $2 WHERE id = $1 AND cancelled_at IS NULL")
        .bind(id.as_str())
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// How many invoices are unexpired and unpaid, how many of them are `source`'s, and when the
/// first of them ends.
pub async fn open_unpaid(
    conn: &mut Conn,
    source: &str,
    now: Timestamp,
) -> Result<(u64, u64, Option<Timestamp>), DbError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n, \
         CAST(COALESCE(SUM(CASE WHEN source = $1 THEN 1 ELSE 0 END), 0) AS BIGINT) AS own, \
         MIN(expires_at) AS first FROM invoice \
         WHERE funded_at IS NULL AND cancelled_at IS NULL AND expires_at >= $2",
    )
    .bind(source)
    .bind(now.millis())
    .fetch_one(&mut *conn)
    .await?;
    let row = Row::new(&row, "invoice");
    Ok((row.u64("n")?, row.u64("own")?, row.opt_at("first")?))
}

/// Forgets who asked for invoices made before `before`.
pub async fn forget_sources(conn: &mut Conn, before: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE invoice SET source = NULL WHERE source IS NOT NULL AND created_at < $1")
        .bind(before.millis())
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE lease SET source = NULL WHERE source IS NOT NULL AND created_at < $1")
        .bind(before.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}
