//! Payments: outputs that pay an address of ours, joined with where their transaction is.

use bitcoin::{OutPoint, ScriptBuf, Txid};
use serde::{Deserialize, Serialize};

use super::list::Newest;
use super::row::{Row, doc, hex, int};
use super::{Conn, DbError};
use crate::domain::ids::{InvoiceId, LeaseId, PaymentId};
use crate::domain::lease::books::Books;
use crate::domain::payment::{Conflict, MempoolEntry, Mined, Payment, PaymentState};
use crate::domain::payout::Account;
use crate::domain::time::Timestamp;

/// A payment when it is found first.
#[derive(Clone, Debug)]
pub struct NewPayment {
    /// Its public id.
    pub id: PaymentId,
    /// Its output.
    pub outpoint: OutPoint,
    /// What it pays to.
    pub script_pubkey: ScriptBuf,
    /// Its value.
    pub amount_sat: u64,
    /// The keychain the script is from.
    pub keychain: u32,
    /// 0 external, 1 internal.
    pub branch: u32,
    /// Derivation index.
    pub index: u32,
    /// The invoice with that address.
    pub invoice: Option<InvoiceId>,
    /// That invoice's lease.
    pub lease: Option<LeaseId>,
    /// When it or what it replaces was first seen.
    pub lineage_seen_at: Timestamp,
    /// Now.
    pub first_seen_at: Timestamp,
}

/// A payment with what the database adds to its facts.
#[derive(Clone, Debug)]
pub struct PaymentRow {
    /// The facts.
    pub facts: Payment,
    /// The lease it counts for.
    pub lease: Option<LeaseId>,
    /// Its state when it was last settled.
    pub state: PaymentState,
    /// What was last announced of it.
    pub announced: Announced,
    /// What of it is booked while it belongs to no lease.
    pub loose: Loose,
    /// Where it is to be refunded, decided by the operator.
    pub refund_address: Option<String>,
    /// The script it pays.
    pub script_pubkey: ScriptBuf,
    /// 0 external, 1 internal: our change.
    pub branch: u32,
    /// Derivation index of that script.
    pub index: u32,
}

/// Where the money of a payment without a lease is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loose {
    /// What was last booked.
    pub books: Books,
    /// What is owed of it, and what was paid.
    pub accounts: Vec<Account>,
}

/// What was last announced of a payment, so that nothing is announced twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// The block in which it was confirmed.
    pub confirmed_block: Option<String>,
    /// The block whose loss put it at risk; `unmined` for a credit without a block.
    pub at_risk_block: Option<String>,
    /// The transaction that took its place.
    pub replaced_by: Option<String>,
}

const SELECT: &str = "SELECT payment.id, payment.txid, vout, amount_sat, invoice, lease, \
     lineage_seen_at, payment.first_seen_at, state, confirmed_block, at_risk_block, replaced_by, booked_sat, books, refund_address, \
     script_pubkey, branch, derivation_index, coinbase, prior_look_at, mempool_at, height, position, \
     mtp_at, moment_at, conflict_txid, conflict_height, absent_since_height, left_chain_height, \
     unconfirmed_inputs, feerate_msat FROM payment JOIN tx ON tx.txid = payment.txid";

fn read(row: &sqlx::any::AnyRow) -> Result<PaymentRow, DbError> {
    let row = Row::new(row, "payment");
    let txid: Txid = row.parsed("txid", |text| text.parse().ok())?;
    let mined = match row.opt_u32("height")? {
        Some(height) => Some(Mined {
            height,
            position: row.u32("position")?,
            mtp_at: row.at("mtp_at")?,
            moment_at: row.at("moment_at")?,
        }),
        None => None,
    };
    let conflict = match row.opt_parsed("conflict_txid", |text| text.parse().ok())? {
        Some(txid) => Some(Conflict { txid, height: row.opt_u32("conflict_height")? }),
        None => None,
    };
    let entry = match (row.opt_i64("unconfirmed_inputs")?, row.opt_u64("feerate_msat")?) {
        (Some(unconfirmed), Some(feerate_msat)) => {
            Some(MempoolEntry { inputs_confirmed: unconfirmed == 0, feerate_msat })
        }
        _ => None,
    };
    Ok(PaymentRow {
        facts: Payment {
            id: row.parsed("id", PaymentId::parse)?,
            outpoint: OutPoint { txid, vout: row.u32("vout")? },
            amount_sat: row.u64("amount_sat")?,
            invoice: row.opt_parsed("invoice", InvoiceId::parse)?,
            coinbase: row.i64("coinbase")? != 0,
            first_seen_at: row.at("first_seen_at")?,
            lineage_seen_at: row.at("lineage_seen_at")?,
            prior_look_at: row.opt_at("prior_look_at")?,
            in_mempool: row.opt_i64("mempool_at")?.is_some(),
            mined,
            conflict,
            absent_since: row.opt_u32("absent_since_height")?,
            left_chain: row.opt_u32("left_chain_height")?,
            entry,
        },
        lease: row.opt_parsed("lease", LeaseId::parse)?,
        state: row.parsed("state", PaymentState::parse)?,
        announced: Announced {
            confirmed_block: row.opt_text("confirmed_block")?,
            at_risk_block: row.opt_text("at_risk_block")?,
            replaced_by: row.opt_text("replaced_by")?,
        },
        loose: read_loose(&row)?,
        refund_address: row.opt_text("refund_address")?,
        script_pubkey: row.parsed("script_pubkey", |text| ScriptBuf::from_hex(text).ok())?,
        branch: row.u32("branch")?,
        index: row.u32("derivation_index")?,
    })
}

/// Before anything of it could leave, only the sum was written.
fn read_loose(row: &Row<'_>) -> Result<Loose, DbError> {
    if let Some(text) = row.opt_text("books")? {
        let id = row.text("id")?;
        return serde_json::from_str(&text).map_err(|_| DbError::corrupt("payment", "books", id));
    }
    let received_sat = row.u64("booked_sat")?;
    let (refundable_sat, unallocated_sat) = match row.opt_text("refund_address")? {
        Some(_) => (received_sat, 0),
        None => (0, received_sat),
    };
    let books = Books { received_sat, refundable_sat, unallocated_sat, ..Books::default() };
    Ok(Loose { books, accounts: Vec::new() })
}

/// Adds a payment, if it is new. True when it was.
pub async fn insert(conn: &mut Conn, new: &NewPayment) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO payment (id, txid, vout, script_pubkey, amount_sat, keychain, branch, \
         derivation_index, invoice, lease, lineage_seen_at, first_seen_at, state, booked_sat, \
         next_height) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'gone', 0, 0) \
         ON CONFLICT (txid, vout) DO NOTHING",
    )
    .bind(new.id.as_str())
    .bind(new.outpoint.txid.to_string())
    .bind(int(new.outpoint.vout))
    .bind(hex(new.script_pubkey.as_bytes()))
    .bind(int(new.amount_sat))
    .bind(int(new.keychain))
    .bind(int(new.branch))
    .bind(int(new.index))
    .bind(new.invoice.as_ref().map(InvoiceId::as_str))
    .bind(new.lease.as_ref().map(LeaseId::as_str))
    .bind(new.lineage_seen_at.millis())
    .bind(new.first_seen_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All payments to a lease.
pub async fn list_of_lease(conn: &mut Conn, lease: &LeaseId) -> Result<Vec<PaymentRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE lease = $1 ORDER BY payment.id"));
    sqlx::query(text).bind(lease.as_str()).fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// All payments to an invoice.
pub async fn list_of_invoice(
    conn: &mut Conn,
    invoice: &InvoiceId,
) -> Result<Vec<PaymentRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE invoice = $1 ORDER BY payment.id"));
    sqlx::query(text).bind(invoice.as_str()).fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// One payment.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<PaymentRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE payment.id = $1"));
    sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?.as_ref().map(read).transpose()
}

/// The outputs of a transaction that pay us, or the one asked for.
pub async fn list_of_tx(
    conn: &mut Conn,
    (txid, vout): (&Txid, Option<u32>),
    limit: u32,
) -> Result<Vec<PaymentRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE payment.txid = $1 AND ($3 < 0 OR vout = $3) ORDER BY vout LIMIT $2"
    ));
    let vout = vout.map_or(-1, int);
    let query = sqlx::query(text).bind(txid.to_string()).bind(int(limit)).bind(vout);
    query.fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// What pays to a script, newest first.
pub async fn list_of_script(
    conn: &mut Conn,
    script: &bitcoin::Script,
    limit: u32,
) -> Result<Vec<PaymentRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE script_pubkey = $1 \
         ORDER BY payment.first_seen_at DESC, payment.id DESC LIMIT $2"
    ));
    let query = sqlx::query(text).bind(hex(script.as_bytes())).bind(int(limit));
    query.fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// An output of ours, as what spends it needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnOutput {
    /// Its value.
    pub amount_sat: u64,
    /// The script it pays.
    pub script_pubkey: ScriptBuf,
    /// The keychain of that.
    pub keychain: u32,
}

/// The output of ours at `outpoint`.
pub async fn find_output(
    conn: &mut Conn,
    outpoint: &OutPoint,
) -> Result<Option<OwnOutput>, DbError> {
    sqlx::query(
        "SELECT id, amount_sat, script_pubkey, keychain FROM payment WHERE txid = $1 AND vout = $2",
    )
    .bind(outpoint.txid.to_string())
    .bind(int(outpoint.vout))
    .fetch_optional(&mut *conn)
    .await?
    .map(|row| {
        let row = Row::new(&row, "payment");
        Ok(OwnOutput {
            amount_sat: row.u64("amount_sat")?,
            script_pubkey: row.parsed("script_pubkey", |text| ScriptBuf::from_hex(text).ok())?,
            keychain: row.u32("keychain")?,
        })
    })
    .transpose()
}

/// How many payments of a transaction are known.
pub async fn count_of_tx(conn: &mut Conn, txid: &Txid) -> Result<u64, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM payment WHERE txid = $1")
        .bind(txid.to_string())
        .fetch_one(&mut *conn)
        .await?;
    Row::new(&row, "payment").u64("n")
}

/// Payments that belong to no lease and that a changed fact or a new height concerns.
pub async fn due_without_lease(
    conn: &mut Conn,
    tip: u32,
    limit: u32,
) -> Result<Vec<PaymentRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE lease IS NULL AND next_height <= $1 \
         ORDER BY next_height LIMIT $2"
    ));
    sqlx::query(text)
        .bind(int(tip))
        .bind(int(limit))
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Which payments an operator wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<String>,
    /// Only those of leases of this resource.
    pub resource: Option<String>,
    /// Only those that belong to no lease: of no resource either.
    pub loose: bool,
    /// Of that, only what waits for an operator: it is still there, and goes nowhere yet.
    pub unallocated: bool,
    /// Only older than this (first seen, id): the cursor.
    pub before: Option<(Timestamp, String)>,
}

/// Payments, newest first.
pub async fn list(
    conn: &mut Conn,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<PaymentRow>, DbError> {
    let of_state = match filter.state.as_deref() {
        // Most payments are.
        Some("final") => "state || '' = ?",
        _ => "state = ?",
    };
    let of_resource =
        "EXISTS (SELECT 1 FROM lease WHERE lease.id = payment.lease AND resource = ?)";
    let mut conditions =
        vec![(of_state, filter.state.as_deref()), (of_resource, filter.resource.as_deref())];
    if filter.loose || filter.unallocated {
        conditions.push(("lease IS NULL AND branch = 0", None));
    }
    if filter.unallocated {
        let waits = "refund_address IS NULL \
                     AND state NOT IN ('gone', 'conflicted', 'replaced', 'reversed')";
        conditions.push((waits, None));
    }
    let newest = Newest {
        select: SELECT,
        filter: &conditions,
        key: ("payment.first_seen_at", "payment.id"),
        before: filter.before.as_ref(),
    };
    newest.list(conn, limit, read).await
}

/// Notes what was last announced of a payment.
pub async fn record_state(
    conn: &mut Conn,
    id: &PaymentId,
    state: PaymentState,
    announced: &Announced,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE payment SET state = $2, confirmed_block = $3, at_risk_block = $4, \
         replaced_by = $5 WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(state.as_str())
    .bind(announced.confirmed_block.as_deref())
    .bind(announced.at_risk_block.as_deref())
    .bind(announced.replaced_by.as_deref())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Notes what of a payment without a lease is booked, and when to look again.
pub async fn record_loose(
    conn: &mut Conn,
    id: &PaymentId,
    loose: &Loose,
    next_height: Option<u32>,
) -> Result<(), DbError> {
    sqlx::query("UPDATE payment SET booked_sat = $2, books = $3, next_height = $4 WHERE id = $1")
        .bind(id.as_str())
        .bind(int(loose.books.received_sat))
        .bind(doc(loose))
        .bind(next_height.map(int))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Gives a payment without a lease to one.
pub async fn assign(
    conn: &mut Conn,
    id: &PaymentId,
    lease: &LeaseId,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query("UPDATE payment SET lease = $2, assigned_at = $3 WHERE id = $1")
        .bind(id.as_str())
        .bind(lease.as_str())
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Sets where a payment without a lease is to be refunded.
pub async fn set_refund_address(
    conn: &mut Conn,
    id: &PaymentId,
    address: &str,
) -> Result<(), DbError> {
    sqlx::query("UPDATE payment SET refund_address = $2, next_height = 0 WHERE id = $1")
        .bind(id.as_str())
        .bind(address)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Marks everything that a transaction pays as changed: leases, payments and batches alike.
pub async fn mark_changed(conn: &mut Conn, txid: &Txid) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE lease SET next_height = 0 \
         WHERE id IN (SELECT lease FROM payment WHERE txid = $1 AND lease IS NOT NULL)",
    )
    .bind(txid.to_string())
    .execute(&mut *conn)
    .await?;
    sqlx::query("UPDATE payment SET next_height = 0 WHERE txid = $1 AND lease IS NULL")
        .bind(txid.to_string())
        .execute(&mut *conn)
        .await?;
    // Batches whose version it is, or that spend what it made.
    sqlx::query(
        "UPDATE payout_batch SET next_height = 0 WHERE id IN \
         (SELECT batch FROM payout_version WHERE txid = $1 \
          UNION SELECT batch FROM tx_input \
          JOIN payout_version ON payout_version.txid = tx_input.txid WHERE prev_txid = $1)",
    )
    .bind(txid.to_string())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Marks a payment without a lease as changed.
pub async fn mark_loose(conn: &mut Conn, id: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE payment SET next_height = 0 WHERE id = $1 AND lease IS NULL")
        .bind(id)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// The same for everything mined at `height`, or in conflict with what was.
pub async fn mark_changed_at(conn: &mut Conn, height: u32) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE lease SET next_height = 0 WHERE id IN \
         (SELECT lease FROM payment JOIN tx ON tx.txid = payment.txid \
          WHERE (tx.height = $1 OR tx.conflict_height = $1) AND lease IS NOT NULL)",
    )
    .bind(int(height))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE payment SET next_height = 0 WHERE lease IS NULL AND txid IN \
         (SELECT txid FROM tx WHERE height = $1 OR conflict_height = $1)",
    )
    .bind(int(height))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE payout_batch SET next_height = 0 WHERE id IN \
         (SELECT batch FROM payout_version JOIN tx ON tx.txid = payout_version.txid \
          WHERE tx.height = $1 OR tx.conflict_height = $1 \
          UNION SELECT batch FROM tx JOIN tx_input ON tx_input.prev_txid = tx.txid \
          JOIN payout_version ON payout_version.txid = tx_input.txid \
          WHERE tx.height = $1 OR tx.conflict_height = $1)",
    )
    .bind(int(height))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// When the earliest payment to `invoice` that another transaction makes of one of the inputs of
/// `txid` was seen: a replacement is on time when what it replaces was.
pub async fn lineage_seen_at(
    conn: &mut Conn,
    invoice: &InvoiceId,
    txid: &Txid,
) -> Result<Option<Timestamp>, DbError> {
    let row = sqlx::query(
        "SELECT MIN(lineage_seen_at) AS seen FROM tx_input own \
         JOIN tx_input other ON other.prev_txid = own.prev_txid \
         AND other.prev_vout = own.prev_vout AND other.txid <> own.txid \
         JOIN payment ON payment.txid = other.txid AND payment.invoice = $1 WHERE own.txid = $2",
    )
    .bind(invoice.as_str())
    .bind(txid.to_string())
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "payment").opt_at("seen")
}

/// The sum of zero-confirmation credits that are in no block yet, other leases' than `except`.
pub async fn unmined_credit_sat(conn: &mut Conn, except: &LeaseId) -> Result<u64, DbError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(payment.amount_sat), 0) AS BIGINT) AS sum FROM payment \
         JOIN tx ON tx.txid = payment.txid \
         JOIN credit ON credit.payment = payment.id AND credit.kind = 'credit' \
         WHERE credit.unmined = 1 AND tx.height IS NULL AND tx.left_chain_height IS NULL \
         AND payment.state = 'credited' AND payment.lease <> $1",
    )
    .bind(except.as_str())
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "payment").u64("sum")
}

/// How many payments are in each state.
pub async fn count_by_state(conn: &mut Conn) -> Result<Vec<(String, u64)>, DbError> {
    sqlx::query("SELECT state, COUNT(*) AS n FROM payment GROUP BY state")
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| {
            let row = Row::new(row, "payment");
            Ok((row.text("state")?, row.u64("n")?))
        })
        .collect()
}
