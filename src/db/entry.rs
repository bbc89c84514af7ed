//! What happened to a lease: credits and actions, append-only, numbered together.

use std::collections::HashMap;

use bitcoin::OutPoint;

use super::row::{Row, int, parts};
use super::{Conn, DbError};
use crate::domain::ids::{LeaseId, PaymentId};
use crate::domain::lease::{Buys, Credit, Entry, What};
use crate::domain::price::Price;

/// All entries of a lease in fold order.
pub async fn list(conn: &mut Conn, lease: &LeaseId) -> Result<Vec<Entry>, DbError> {
    let mut found = list_of(conn, std::slice::from_ref(lease)).await?;
    Ok(found.remove(lease).unwrap_or_default())
}

/// All entries of some leases by lease, each in fold order.
pub async fn list_of(
    conn: &mut Conn,
    leases: &[LeaseId],
) -> Result<HashMap<LeaseId, Vec<Entry>>, DbError> {
    let mut found: HashMap<LeaseId, Vec<Entry>> = HashMap::new();
    for (part, places) in parts(leases) {
        let credits = format!(
            "SELECT credit.lease, n, kind, payment, moment_at, seconds, credit.amount_sat, \
             price_sat, price_per_s, buys, height, unmined, txid, vout \
             FROM credit JOIN payment ON payment.id = credit.payment \
             WHERE credit.lease IN ({places})"
        );
        let actions = format!(
            "SELECT lease, n, kind, moment_at, generation, unit, terms_version \
             FROM lease_action WHERE lease IN ({places})"
        );
        type Read = fn(&Row<'_>) -> Result<Entry, DbError>;
        let tables: [(&'static str, String, Read); 2] =
            [("credit", credits, credit), ("lease_action", actions, action)];
        for (table, text, read) in tables {
            let query = sqlx::query(sqlx::AssertSqlSafe(text));
            let query = part.iter().fold(query, |query, lease| query.bind(lease.as_str()));
            for row in &query.fetch_all(&mut *conn).await? {
                let row = Row::new(row, table);
                let lease = row.parsed("lease", LeaseId::parse)?;
                found.entry(lease).or_default().push(read(&row)?);
            }
        }
    }
    for entries in found.values_mut() {
        entries.sort_by_key(|entry| entry.n);
    }
    Ok(found)
}

fn credit(row: &Row<'_>) -> Result<Entry, DbError> {
    let payment = row.parsed("payment", PaymentId::parse)?;
    let seconds = row.u64("seconds")?;
    let what = match row.text("kind")?.as_str() {
        "reversal" => What::Reversal { payment, seconds },
        "restoration" => What::Restoration { payment, seconds },
        _ => What::Credit(Credit {
            payment,
            outpoint: OutPoint {
                txid: row.parsed("txid", |text| text.parse().ok())?,
                vout: row.u32("vout")?,
            },
            amount_sat: row.u64("amount_sat")?,
            price: Price { sat: row.u64("price_sat")?, per_s: row.u64("price_per_s")? },
            seconds,
            buys: match row.text("buys")?.as_str() {
                "refund" => Buys::Refund,
                _ => Buys::Time,
            },
            height: row.u32("height")?,
            unmined: row.i64("unmined")? != 0,
        }),
    };
    Ok(Entry { n: row.u32("n")?, moment_at: row.at("moment_at")?, what })
}

fn action(row: &Row<'_>) -> Result<Entry, DbError> {
    let what = match row.text("kind")?.as_str() {
        "started" => What::Started {
            generation: row.u32("generation")?,
            unit: row.opt_text("unit")?,
            terms_version: row.u32("terms_version")?,
        },
        kind => row.parsed("kind", |_| plain_action(kind))?,
    };
    Ok(Entry { n: row.u32("n")?, moment_at: row.at("moment_at")?, what })
}

fn plain_action(kind: &str) -> Option<What> {
    [
        What::Ready,
        What::Suspended,
        What::Resumed,
        What::Returned,
        What::Revoked,
        What::Failed,
        What::Expired,
    ]
    .into_iter()
    .find(|what| what.kind() == kind)
}

/// Adds an entry.
pub async fn insert(conn: &mut Conn, lease: &LeaseId, entry: &Entry) -> Result<(), DbError> {
    let kind = entry.what.kind();
    match &entry.what {
        What::Credit(credit) => insert_credit(conn, lease, entry, credit).await,
        What::Reversal { payment, seconds } | What::Restoration { payment, seconds } => {
            insert_change(conn, lease, entry, kind, payment, *seconds).await
        }
        What::Started { generation, unit, terms_version } => {
            let detail = (Some(int(*generation)), unit.as_deref(), Some(int(*terms_version)));
            insert_action(conn, lease, entry, kind, detail).await
        }
        _ => insert_action(conn, lease, entry, kind, (None, None, None)).await,
    }
}

async fn insert_credit(
    conn: &mut Conn,
    lease: &LeaseId,
    entry: &Entry,
    credit: &Credit,
) -> Result<(), DbError> {
    let buys = match credit.buys {
        Buys::Time => "time",
        Buys::Refund => "refund",
    };
    sqlx::query(
        "INSERT INTO credit (lease, n, kind, payment, moment_at, seconds, amount_sat, price_sat, \
         price_per_s, buys, height, unmined) \
         VALUES ($1, $2, 'credit', $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(lease.as_str())
    .bind(int(entry.n))
    .bind(credit.payment.as_str())
    .bind(entry.moment_at.millis())
    .bind(int(credit.seconds))
    .bind(int(credit.amount_sat))
    .bind(int(credit.price.sat))
    .bind(int(credit.price.per_s))
    .bind(buys)
    .bind(int(credit.height))
    .bind(i64::from(credit.unmined))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

async fn insert_change(
    conn: &mut Conn,
    lease: &LeaseId,
    entry: &Entry,
    kind: &str,
    payment: &PaymentId,
    seconds: u64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO credit (lease, n, kind, payment, moment_at, seconds, amount_sat, price_sat, \
         price_per_s, buys, height, unmined) \
         SELECT lease, $2, $3, payment, $4, $5, amount_sat, price_sat, price_per_s, buys, height, \
         unmined FROM credit WHERE lease = $1 AND payment = $6 AND kind = 'credit'",
    )
    .bind(lease.as_str())
    .bind(int(entry.n))
    .bind(kind)
    .bind(entry.moment_at.millis())
    .bind(int(seconds))
    .bind(payment.as_str())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

async fn insert_action(
    conn: &mut Conn,
    lease: &LeaseId,
    entry: &Entry,
    kind: &str,
    (generation, unit, terms_version): (Option<i64>, Option<&str>, Option<i64>),
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO lease_action (lease, n, kind, moment_at, generation, unit, terms_version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(lease.as_str())
    .bind(int(entry.n))
    .bind(kind)
    .bind(entry.moment_at.millis())
    .bind(generation)
    .bind(unit)
    .bind(terms_version)
    .execute(&mut *conn)
    .await?;
    Ok(())
}
