//! Batches of payouts, their versions, and what each version pays. A version's transaction is a row
//! of `tx` from the start, so that the follower finds it whoever sends it.

use bitcoin::{OutPoint, Script, ScriptBuf, Txid};

use super::insert::Insert;
use super::list::Newest;
use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::ids::{BatchId, PayoutId};
use crate::domain::payout::batch::{Batch, BatchState, Version};
use crate::domain::payout::fee::FeePolicy;
use crate::domain::time::Timestamp;

/// A version as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// Where its transaction is.
    pub facts: Version,
    /// The txid of the transaction in the PSBT, before signing.
    pub unsigned_txid: Txid,
    /// The PSBT (BIP174) in base64, with the signatures that came so far.
    pub psbt: String,
    /// What the miner gets.
    pub fee_sat: u64,
    /// The most it weighs when it is signed.
    pub weight: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The API key that made it.
    pub created_by: String,
    /// The API key that approved it.
    pub approved_by: Option<String>,
    /// When it came back signed.
    pub submitted_at: Option<Timestamp>,
    /// Where its change goes.
    pub change_script: Option<ScriptBuf>,
}

/// A batch as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    /// Its id.
    pub id: BatchId,
    /// Where it stood when it was last settled.
    pub state: BatchState,
    /// Who pays the fee.
    pub fee_policy: FeePolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was given up.
    pub abandoned_at: Option<Timestamp>,
    /// The batch that took its payouts.
    pub replaced_by: Option<String>,
    /// Where its versions were when it was last settled.
    pub places: String,
    /// In their order. Lists leave them out.
    pub versions: Vec<VersionRow>,
}

impl BatchRow {
    /// The facts.
    pub fn facts(&self) -> Batch {
        Batch {
            abandoned: self.abandoned_at.is_some(),
            replaced: self.replaced_by.is_some(),
            versions: self.versions.iter().map(|version| version.facts.clone()).collect(),
        }
    }

    /// Where its versions are: it is settled for what depends on it when this changes.
    pub fn places_now(&self) -> String {
        let place = |version: &VersionRow| {
            let Version { submitted, in_mempool, height, conflict_height, .. } = version.facts;
            format!("{submitted} {in_mempool} {height:?} {conflict_height:?}")
        };
        self.versions.iter().map(place).collect::<Vec<_>>().join(", ")
    }

    /// A version by its number.
    pub fn version(&self, n: u32) -> Option<&VersionRow> {
        self.versions.iter().find(|version| version.facts.n == n)
    }
}

/// What a version pays to one payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The payout.
    pub payout: PayoutId,
    /// The output.
    pub vout: u32,
    /// What is taken from what is owed.
    pub amount_sat: u64,
    /// What of it is the fee.
    pub fee_sat: u64,
}

const SELECT: &str =
    "SELECT id, state, fee_policy, created_at, abandoned_at, replaced_by, places FROM payout_batch";

fn read(row: &sqlx::any::AnyRow) -> Result<BatchRow, DbError> {
    let row = Row::new(row, "payout_batch");
    Ok(BatchRow {
        id: row.parsed("id", BatchId::parse)?,
        state: row.parsed("state", BatchState::parse)?,
        fee_policy: row.parsed("fee_policy", FeePolicy::parse)?,
        created_at: row.at("created_at")?,
        abandoned_at: row.opt_at("abandoned_at")?,
        replaced_by: row.opt_text("replaced_by")?,
        places: row.text("places")?,
        versions: Vec::new(),
    })
}

/// Adds a batch without versions.
pub async fn insert(conn: &mut Conn, row: &BatchRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO payout_batch (id, state, fee_policy, created_at, places, next_height) \
         VALUES ($1, $2, $3, $4, '', 0)",
    )
    .bind(row.id.as_str())
    .bind(row.state.as_str())
    .bind(row.fee_policy.as_str())
    .bind(row.created_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

static ITEMS: Insert = Insert::new(
    "INSERT INTO payout_item (batch, n, payout, vout, amount_sat, fee_sat) VALUES",
    6,
    "",
);

/// Adds a version with what it pays. Its transaction must be there already.
pub async fn insert_version(
    conn: &mut Conn,
    batch: &BatchId,
    row: &VersionRow,
    items: &[Item],
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO payout_version (batch, n, txid, unsigned_txid, psbt, fee_sat, weight, \
         created_at, created_by, change_script) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(batch.as_str())
    .bind(int(row.facts.n))
    .bind(row.facts.txid.to_string())
    .bind(row.unsigned_txid.to_string())
    .bind(&row.psbt)
    .bind(int(row.fee_sat))
    .bind(int(row.weight))
    .bind(row.created_at.millis())
    .bind(&row.created_by)
    .bind(row.change_script.as_ref().map(|script| script.to_hex_string()))
    .execute(&mut *conn)
    .await?;
    let (batch, n) = (batch.as_str().to_owned(), int(row.facts.n));
    ITEMS
        .run(conn, items, |query, item| {
            query
                .bind(batch.clone())
                .bind(n)
                .bind(item.payout.as_str().to_owned())
                .bind(int(item.vout))
                .bind(int(item.amount_sat))
                .bind(int(item.fee_sat))
        })
        .await
        .map(drop)
}

/// A batch with its versions.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<BatchRow>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE id = $1"));
    let found = sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?;
    let Some(mut batch) = found.as_ref().map(read).transpose()? else { return Ok(None) };
    batch.versions = versions(conn, &batch.id).await?;
    Ok(Some(batch))
}

async fn versions(conn: &mut Conn, batch: &BatchId) -> Result<Vec<VersionRow>, DbError> {
    sqlx::query(
        "SELECT version.n, version.txid, version.unsigned_txid, version.psbt, version.fee_sat, \
         version.weight, version.created_at, version.created_by, version.approved_by, \
         version.submitted_at, version.change_script, tx.height, tx.mempool_at, \
         CASE WHEN tx.raw = '' THEN 0 ELSE 1 END AS is_signed, COALESCE(tx.conflict_height, \
           (SELECT MAX(parent.conflict_height) FROM tx_input \
            JOIN tx parent ON parent.txid = tx_input.prev_txid AND parent.height IS NULL \
            WHERE tx_input.txid = version.txid)) AS lost_height \
         FROM payout_version version JOIN tx ON tx.txid = version.txid \
         WHERE version.batch = $1 ORDER BY version.n",
    )
    .bind(batch.as_str())
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "payout_version");
        let submitted_at = row.opt_at("submitted_at")?;
        Ok(VersionRow {
            facts: Version {
                n: row.u32("n")?,
                txid: row.parsed("txid", |text| text.parse().ok())?,
                // Or sent by somebody else.
                submitted: submitted_at.is_some() || row.i64("is_signed")? != 0,
                in_mempool: row.opt_i64("mempool_at")?.is_some(),
                height: row.opt_u32("height")?,
                conflict_height: row.opt_u32("lost_height")?,
            },
            unsigned_txid: row.parsed("unsigned_txid", |text| text.parse().ok())?,
            psbt: row.text("psbt")?,
            fee_sat: row.u64("fee_sat")?,
            weight: row.u64("weight")?,
            created_at: row.at("created_at")?,
            created_by: row.text("created_by")?,
            approved_by: row.opt_text("approved_by")?,
            submitted_at,
            change_script: row.opt_parsed("change_script", |hex| ScriptBuf::from_hex(hex).ok())?,
        })
    })
    .collect()
}

/// What a version pays, in the order of its outputs.
pub async fn items(conn: &mut Conn, batch: &BatchId, n: u32) -> Result<Vec<Item>, DbError> {
    sqlx::query(
        "SELECT payout, vout, amount_sat, fee_sat FROM payout_item \
         WHERE batch = $1 AND n = $2 ORDER BY vout, payout",
    )
    .bind(batch.as_str())
    .bind(int(n))
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let row = Row::new(row, "payout_item");
        Ok(Item {
            payout: row.parsed("payout", PayoutId::parse)?,
            vout: row.u32("vout")?,
            amount_sat: row.u64("amount_sat")?,
            fee_sat: row.u64("fee_sat")?,
        })
    })
    .collect()
}

/// Batches, newest first, without their versions.
pub async fn list(
    conn: &mut Conn,
    state: Option<&str>,
    before: Option<&(Timestamp, String)>,
    limit: u32,
) -> Result<Vec<BatchRow>, DbError> {
    let newest = Newest {
        select: SELECT,
        filter: &[("state = ?", state)],
        key: ("created_at", "id"),
        before,
    };
    newest.list(conn, limit, read).await
}

/// Batches that a changed fact or a new height concerns.
pub async fn due(conn: &mut Conn, tip: u32, limit: u32) -> Result<Vec<BatchId>, DbError> {
    sqlx::query("SELECT id FROM payout_batch WHERE next_height <= $1 ORDER BY next_height LIMIT $2")
        .bind(int(tip))
        .bind(int(limit))
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| Row::new(row, "payout_batch").parsed("id", BatchId::parse))
        .collect()
}

/// Writes where a batch stands, and when to look again.
pub async fn record(
    conn: &mut Conn,
    id: &BatchId,
    (state, places): (BatchState, &str),
    next_height: Option<u32>,
) -> Result<(), DbError> {
    sqlx::query("UPDATE payout_batch SET state = $2, places = $3, next_height = $4 WHERE id = $1")
        .bind(id.as_str())
        .bind(state.as_str())
        .bind(places)
        .bind(next_height.map(int))
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// The operator gave it up.
pub async fn abandon(conn: &mut Conn, id: &BatchId, now: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE payout_batch SET abandoned_at = $2, next_height = 0 WHERE id = $1")
        .bind(id.as_str())
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// What it paid is in another batch, which makes every version of it impossible.
pub async fn replace(conn: &mut Conn, id: &BatchId, by: &BatchId) -> Result<(), DbError> {
    sqlx::query("UPDATE payout_batch SET replaced_by = $2, next_height = 0 WHERE id = $1")
        .bind(id.as_str())
        .bind(by.as_str())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// A key approved a version.
pub async fn approve(conn: &mut Conn, id: &BatchId, n: u32, by: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE payout_version SET approved_by = $3 WHERE batch = $1 AND n = $2")
        .bind(id.as_str())
        .bind(int(n))
        .bind(by)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Keeps a PSBT with more signatures.
pub async fn record_psbt(conn: &mut Conn, id: &BatchId, n: u32, psbt: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE payout_version SET psbt = $3 WHERE batch = $1 AND n = $2")
        .bind(id.as_str())
        .bind(int(n))
        .bind(psbt)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// A version came back with all signatures.
pub async fn submitted(
    conn: &mut Conn,
    id: &BatchId,
    n: u32,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE payout_version SET submitted_at = COALESCE(submitted_at, $3) \
         WHERE batch = $1 AND n = $2",
    )
    .bind(id.as_str())
    .bind(int(n))
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Whether a batch's change goes to this script.
pub async fn is_change(conn: &mut Conn, script: &Script) -> Result<bool, DbError> {
    let found = sqlx::query("SELECT 1 FROM payout_version WHERE change_script = $1 LIMIT 1")
        .bind(script.to_hex_string())
        .fetch_optional(&mut *conn)
        .await?;
    Ok(found.is_some())
}

/// The version with this transaction, before or after signing: batch and number.
pub async fn find_version(conn: &mut Conn, txid: &Txid) -> Result<Option<(BatchId, u32)>, DbError> {
    sqlx::query("SELECT batch, n FROM payout_version WHERE txid = $1 OR unsigned_txid = $1")
        .bind(txid.to_string())
        .fetch_optional(&mut *conn)
        .await?
        .map(|row| read_place(&row))
        .transpose()
}

fn read_place(row: &sqlx::any::AnyRow) -> Result<(BatchId, u32), DbError> {
    let row = Row::new(row, "payout_version");
    Ok((row.parsed("batch", BatchId::parse)?, row.u32("n")?))
}

/// All versions that spend an output.
pub async fn spenders(
    conn: &mut Conn,
    outpoint: &OutPoint,
) -> Result<Vec<(BatchId, u32)>, DbError> {
    sqlx::query(
        "SELECT batch, n FROM payout_version JOIN tx_input ON tx_input.txid = payout_version.txid \
         WHERE prev_txid = $1 AND prev_vout = $2 ORDER BY batch, n",
    )
    .bind(outpoint.txid.to_string())
    .bind(int(outpoint.vout))
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(read_place)
    .collect()
}

/// The newest version that spends an output.
pub async fn find_spender(
    conn: &mut Conn,
    outpoint: &OutPoint,
) -> Result<Option<(BatchId, u32)>, DbError> {
    sqlx::query(
        "SELECT batch, n FROM payout_version JOIN tx_input ON tx_input.txid = payout_version.txid \
         WHERE prev_txid = $1 AND prev_vout = $2 ORDER BY created_at DESC, n DESC LIMIT 1",
    )
    .bind(outpoint.txid.to_string())
    .bind(int(outpoint.vout))
    .fetch_optional(&mut *conn)
    .await?
    .map(|row| read_place(&row))
    .transpose()
}

/// Coins that batches wait to spend: nothing else may.
pub async fn locked(conn: &mut Conn) -> Result<Vec<(OutPoint, BatchId)>, DbError> {
    sqlx::query(
        "SELECT DISTINCT prev_txid, prev_vout, batch FROM payout_batch \
         JOIN payout_version ON payout_version.batch = payout_batch.id \
         JOIN tx_input ON tx_input.txid = payout_version.txid \
         WHERE payout_batch.state IN ('prepared', 'broadcast', 'abandoned')",
    )
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| {
        let batch = Row::new(row, "payout_version").parsed("batch", BatchId::parse)?;
        Ok((super::tx::read_outpoint(row)?, batch))
    })
    .collect()
}

/// The same, of batches that were not given up.
pub async fn locked_alive(conn: &mut Conn) -> Result<Vec<OutPoint>, DbError> {
    sqlx::query(
        "SELECT DISTINCT prev_txid, prev_vout FROM payout_batch \
         JOIN payout_version ON payout_version.batch = payout_batch.id \
         JOIN tx_input ON tx_input.txid = payout_version.txid \
         WHERE payout_batch.state IN ('prepared', 'broadcast')",
    )
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(super::tx::read_outpoint)
    .collect()
}

/// Batches that were given up and that no other has made impossible yet.
pub async fn list_abandoned(conn: &mut Conn) -> Result<Vec<BatchId>, DbError> {
    sqlx::query("SELECT id FROM payout_batch WHERE state = 'abandoned' ORDER BY created_at, id")
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| Row::new(row, "payout_batch").parsed("id", BatchId::parse))
        .collect()
}

/// The subjects of everything that a batch ever paid.
pub async fn subjects(conn: &mut Conn, id: &BatchId) -> Result<Vec<String>, DbError> {
    sqlx::query(
        "SELECT DISTINCT subject FROM payout_item JOIN payout ON payout.id = payout_item.payout \
         WHERE payout_item.batch = $1 ORDER BY subject",
    )
    .bind(id.as_str())
    .fetch_all(&mut *conn)
    .await?
    .iter()
    .map(|row| Row::new(row, "payout").text("subject"))
    .collect()
}
