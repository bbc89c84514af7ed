//! Offers transactions to the network again whose credit has lost its block.

use std::sync::Arc;

use crate::app::settle::SEND_AGAIN;
use crate::chain::{BlockSource, Broadcast};
use crate::clock::SharedClock;
use crate::db::work::Work;
use crate::db::{self, Db, DbError, Tx, WriteItem};
use crate::domain::time::Timestamp;

/// How long a claim on this work holds.
const CLAIM_S: u64 = 60;
/// How long until a rejected transaction is offered once more.
const AGAIN_S: u64 = 60;
/// After so many tries it is left to the rules for lost credits.
const MOST_TRIES: u32 = 60;

/// Claims work of one kind.
struct Claim {
    now: Timestamp,
}

impl WriteItem for Claim {
    type Out = Option<Work>;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<Option<Work>, DbError> {
        db::work::claim(tx.conn(), SEND_AGAIN, self.now, self.now.plus_s(CLAIM_S)).await
    }
}

/// Records how work went.
struct Record {
    work: Work,
    now: Timestamp,
    failure: Option<String>,
}

impl WriteItem for Record {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        match &self.failure {
            Some(failure) if self.work.attempt < MOST_TRIES => {
                db::work::again(tx.conn(), &self.work, self.now.plus_s(AGAIN_S), failure).await
            }
            _ => db::work::done(tx.conn(), &self.work, self.now).await.map(|_| ()),
        }
    }
}

/// Sends one transaction again, if one is due. True when there was one.
///
/// # Errors
/// Those of the database; a node that does not answer is tried again later.
pub async fn step<S: BlockSource>(
    db: &Db,
    source: &Arc<S>,
    clock: &SharedClock,
) -> anyhow::Result<bool> {
    // A question first: claiming is a write.
    let mut conn = db.read().await?;
    if !db::work::is_due(&mut conn, SEND_AGAIN, clock.now()).await? {
        return Ok(false);
    }
    drop(conn);
    let Some(work) = db.write(Claim { now: clock.now() }).await? else { return Ok(false) };
    let failure = send(db, source, &work).await?;
    tracing::info!(txid = work.subject, ?failure, "transaction sent again");
    db.write(Record { work, now: clock.now(), failure }).await?;
    Ok(true)
}

/// Why it did not work, if it did not.
async fn send<S: BlockSource>(
    db: &Db,
    source: &Arc<S>,
    work: &Work,
) -> anyhow::Result<Option<String>> {
    let Ok(txid) = work.subject.parse() else {
        return Ok(Some("its subject is not a txid".into()));
    };
    let mut conn = db.read().await?;
    let raw = db::tx::raw(&mut conn, &txid).await?;
    drop(conn);
    let Some(raw) = raw else { return Ok(Some("its bytes are not stored".into())) };
    Ok(match source.broadcast(&raw).await {
        Ok(Broadcast::InMempool | Broadcast::InChain) => None,
        Ok(Broadcast::Rejected { reason }) => Some(reason),
        Err(error) => Some(error.to_string()),
    })
}
