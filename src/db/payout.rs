//! Payouts: what is owed to somebody, joined with the transactions that pay it.

use std::collections::HashMap;

use super::list::Newest;
use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::ids::{BatchId, InvoiceId, PayoutId};
use crate::domain::payout::batch::BatchState;
use crate::domain::payout::{Paying, Payout, PayoutState};
use crate::domain::time::Timestamp;

/// A payout as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutRow {
    /// The facts. Lists leave out what pays it.
    pub facts: Payout,
    /// `refund`.
    pub kind: String,
    /// The lease or payment it comes from.
    pub subject: String,
    /// The resource of that.
    pub resource: Option<String>,
    /// The claim it belongs to.
    pub claim: Option<String>,
    /// Where it goes, once somebody has said so.
    pub address: Option<String>,
    /// What of it can leave now.
    pub ready_sat: u64,
    /// Where it stands.
    pub state: PayoutState,
    /// The transaction that pays it.
    pub txid: Option<String>,
    /// What was last told of it.
    pub announced: String,
    /// When it was first owed.
    pub created_at: Timestamp,
}

const SELECT: &str = "SELECT id, kind, subject, recipient, resource, claim, address, amount_sat, \
     ready_sat, state, dust_at, batch, txid, announced, created_at FROM payout";

fn recipient(text: &str) -> Option<Option<InvoiceId>> {
    match text {
        "" => Some(None),
        id => InvoiceId::parse(id).map(Some),
    }
}

fn read(row: &sqlx::any::AnyRow) -> Result<PayoutRow, DbError> {
    let row = Row::new(row, "payout");
    Ok(PayoutRow {
        facts: Payout {
            id: row.parsed("id", PayoutId::parse)?,
            recipient: row.parsed("recipient", recipient)?,
            batch: row.opt_parsed("batch", BatchId::parse)?,
            dust: row.opt_i64("dust_at")?.is_some(),
            amount_sat: row.u64("amount_sat")?,
            payings: Vec::new(),
        },
        kind: row.text("kind")?,
        subject: row.text("subject")?,
        resource: row.opt_text("resource")?,
        claim: row.opt_text("claim")?,
        address: row.opt_text("address")?,
        ready_sat: row.u64("ready_sat")?,
        state: row.parsed("state", PayoutState::parse)?,
        txid: row.opt_text("txid")?,
        announced: row.text("announced")?,
        created_at: row.at("created_at")?,
    })
}

/// Adds a payout; what pays it is not written here.
pub async fn insert(conn: &mut Conn, row: &PayoutRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO payout (id, kind, subject, recipient, resource, claim, address, amount_sat, \
         ready_sat, state, announced, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(row.facts.id.as_str())
    .bind(&row.kind)
    .bind(&row.subject)
    .bind(row.facts.recipient.as_ref().map_or("", InvoiceId::as_str))
    .bind(row.resource.as_deref())
    .bind(row.claim.as_deref())
    .bind(row.address.as_deref())
    .bind(int(row.facts.amount_sat))
    .bind(int(row.ready_sat))
    .bind(row.state.as_str())
    .bind(&row.announced)
    .bind(row.created_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Writes what may change of a payout.
pub async fn record(conn: &mut Conn, row: &PayoutRow) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE payout SET address = $2, amount_sat = $3, ready_sat = $4, state = $5, txid = $6, \
         announced = $7, dust_at = CASE WHEN $8 = 0 THEN NULL ELSE dust_at END WHERE id = $1",
    )
    .bind(row.facts.id.as_str())
    .bind(row.address.as_deref())
    .bind(int(row.facts.amount_sat))
    .bind(int(row.ready_sat))
    .bind(row.state.as_str())
    .bind(row.txid.as_deref())
    .bind(&row.announced)
    .bind(i64::from(row.facts.dust))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Forgets a payout that no transaction ever paid.
pub async fn remove(conn: &mut Conn, id: &PayoutId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM payout WHERE id = $1").bind(id.as_str()).execute(&mut *conn).await?;
    Ok(())
}

/// Puts a payout into a batch.
pub async fn bind(conn: &mut Conn, id: &PayoutId, batch: &BatchId) -> Result<(), DbError> {
    sqlx::query("UPDATE payout SET batch = $2, dust_at = NULL WHERE id = $1")
        .bind(id.as_str())
        .bind(batch.as_str())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// It was found too small to be paid.
pub async fn mark_dust(conn: &mut Conn, id: &PayoutId, now: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE payout SET dust_at = $2 WHERE id = $1 AND dust_at IS NULL")
        .bind(id.as_str())
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// The payouts of a subject with everything that pays them, oldest first.
pub async fn list_of_subject(conn: &mut Conn, subject: &str) -> Result<Vec<PayoutRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE subject = $1 ORDER BY created_at, id"));
    let mut rows: Vec<PayoutRow> = sqlx::query(text)
        .bind(subject)
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(read)
        .collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Ok(rows);
    }
    let mut payings = payings(conn, subject).await?;
    for row in &mut rows {
        row.facts.payings = payings.remove(&row.facts.id).unwrap_or_default();
    }
    Ok(rows)
}

async fn payings(
    conn: &mut Conn,
    subject: &str,
) -> Result<HashMap<PayoutId, Vec<Paying>>, DbError> {
    let rows = sqlx::query(
        "SELECT payout_item.payout, payout_item.batch, payout_item.n, payout_item.amount_sat, \
         payout_version.txid, payout_version.submitted_at, payout_batch.state, tx.height, \
         tx.mempool_at FROM payout \
         JOIN payout_item ON payout_item.payout = payout.id \
         JOIN payout_version ON payout_version.batch = payout_item.batch \
              AND payout_version.n = payout_item.n \
         JOIN payout_batch ON payout_batch.id = payout_item.batch \
         JOIN tx ON tx.txid = payout_version.txid \
         WHERE payout.subject = $1 ORDER BY payout_item.batch, payout_item.n",
    )
    .bind(subject)
    .fetch_all(&mut *conn)
    .await?;
    let mut found: HashMap<PayoutId, Vec<Paying>> = HashMap::new();
    for row in &rows {
        let row = Row::new(row, "payout_item");
        found.entry(row.parsed("payout", PayoutId::parse)?).or_default().push(Paying {
            batch: row.parsed("batch", BatchId::parse)?,
            batch_state: row.parsed("state", BatchState::parse)?,
            n: row.u32("n")?,
            txid: row.parsed("txid", |text| text.parse().ok())?,
            amount_sat: row.u64("amount_sat")?,
            submitted: row.opt_i64("submitted_at")?.is_some(),
            height: row.opt_u32("height")?,
            in_mempool: row.opt_i64("mempool_at")?.is_some(),
        });
    }
    Ok(found)
}

/// One payout, without what pays it.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<PayoutRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE id = $1"));
    sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?.as_ref().map(read).transpose()
}

/// Payouts that go to `place`, an address, or left with it, a txid; newest first.
pub async fn list_at(conn: &mut Conn, place: &str, limit: u32) -> Result<Vec<PayoutRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE (address = $1 OR txid = $1) AND amount_sat > 0 \
         ORDER BY created_at DESC, id DESC LIMIT $2"
    ));
    let query = sqlx::query(text).bind(place).bind(int(limit));
    query.fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// Which payouts.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<String>,
    /// Only of this resource.
    pub resource: Option<String>,
    /// Only of this claim.
    pub claim: Option<String>,
    /// Only older than this (created, id): the cursor.
    pub before: Option<(Timestamp, String)>,
}

/// Payouts that there is something to say of, newest first.
pub async fn list(conn: &mut Conn, filter: &Filter, limit: u32) -> Result<Vec<PayoutRow>, DbError> {
    let newest = Newest {
        select: SELECT,
        filter: &[
            ("state = ?", filter.state.as_deref()),
            ("resource = ?", filter.resource.as_deref()),
            ("claim = ?", filter.claim.as_deref()),
            ("amount_sat > 0", None),
        ],
        key: ("created_at", "id"),
        before: filter.before.as_ref(),
    };
    newest.list(conn, limit, read).await
}

/// Payouts that the next batch can take, the largest first: what is too small to be paid now holds
/// up nobody.
pub async fn list_due(conn: &mut Conn, limit: u32) -> Result<Vec<PayoutRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE state = 'due' ORDER BY ready_sat DESC, created_at, id LIMIT $1"
    ));
    sqlx::query(text).bind(int(limit)).fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// How many payouts are due.
pub async fn count_due(conn: &mut Conn) -> Result<u64, DbError> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM payout WHERE state = 'due'");
    Row::new(&row.fetch_one(&mut *conn).await?, "payout").u64("n")
}

/// What open payouts to an address come to that can leave now.
pub async fn ready_sat(conn: &mut Conn, address: &str) -> Result<u64, DbError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(ready_sat), 0) AS BIGINT) AS sum FROM payout \
         WHERE address = $1 AND state IN ('waiting', 'due')",
    )
    .bind(address)
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "payout").u64("sum")
}

/// Open payouts to an address that are `state` now and can leave.
pub async fn list_open_to(
    conn: &mut Conn,
    address: &str,
    state: PayoutState,
) -> Result<Vec<PayoutRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE address = $1 AND state = $2 ORDER BY created_at, id"
    ));
    sqlx::query(text)
        .bind(address)
        .bind(state.as_str())
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Addresses after this one to which something open can leave, in order.
pub async fn open_addresses(
    conn: &mut Conn,
    after: &str,
    limit: u32,
) -> Result<Vec<String>, DbError> {
    sqlx::query(
        "SELECT DISTINCT address FROM payout WHERE state IN ('waiting', 'due') \
         AND ready_sat > 0 AND address > $1 ORDER BY address LIMIT $2",
    )
    .bind(after)
    .bind(int(limit))
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| Row::new(row, "payout").text("address"))
    .collect()
}

/// Counts and sums by state.
pub async fn sums(conn: &mut Conn) -> Result<Vec<(String, u64, u64)>, DbError> {
    sqlx::query(
        "SELECT state, COUNT(*) AS n, CAST(COALESCE(SUM(amount_sat), 0) AS BIGINT) AS sum \
         FROM payout WHERE amount_sat > 0 GROUP BY state",
    )
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "payout");
        Ok((row.text("state")?, row.u64("n")?, row.u64("sum")?))
    })
    .collect()
}

/// What transactions in the chain have paid of a subject, by recipient.
pub async fn mined_sums(
    conn: &mut Conn,
    subject: &str,
) -> Result<Vec<(Option<InvoiceId>, u64)>, DbError> {
    sqlx::query(
        "SELECT payout.recipient, CAST(SUM(payout_item.amount_sat) AS BIGINT) AS sum FROM payout \
         JOIN payout_item ON payout_item.payout = payout.id \
         JOIN payout_version ON payout_version.batch = payout_item.batch \
              AND payout_version.n = payout_item.n \
         JOIN tx ON tx.txid = payout_version.txid \
         WHERE payout.subject = $1 AND tx.height IS NOT NULL \
         GROUP BY payout.recipient ORDER BY payout.recipient",
    )
    .bind(subject)
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "payout");
        Ok((row.parsed("recipient", recipient)?, row.u64("sum")?))
    })
    .collect()
}

/// What a subject ever received, whether or not that was reversed later; of one invoice if given.
pub async fn received_sat(
    conn: &mut Conn,
    subject: &str,
    invoice: Option<&InvoiceId>,
) -> Result<u64, DbError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(amount_sat), 0) AS BIGINT) AS sum FROM payment \
         WHERE (lease = $1 OR id = $1) AND ($2 = '' OR invoice = $2) \
         AND state IN ('credited', 'final', 'reversed')",
    )
    .bind(subject)
    .bind(invoice.map_or("", InvoiceId::as_str))
    .fetch_one(&mut *conn)
    .await?;
    Row::new(&row, "payment").u64("sum")
}
