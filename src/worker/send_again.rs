//! Offers transactions to the network: those whose credit has lost its block, and signed versions of
//! batches, as long as they are the ones to be sent.

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
/// How long then until a batch is offered once more, for as long as it is to be sent.
const SELDOM_S: u64 = 1800;

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
    failure: Option<Failure>,
}

/// Why it did not work.
#[derive(Debug)]
struct Failure {
    reason: String,
    /// Whether it is a version of a batch, which no rule but the operator gives up.
    batch: bool,
}

impl WriteItem for Record {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        match &self.failure {
            Some(failure) if failure.batch || self.work.attempt < MOST_TRIES => {
                let soon = self.work.attempt < MOST_TRIES;
                let at = self.now.plus_s(if soon { AGAIN_S } else { SELDOM_S });
                db::work::again(tx.conn(), &self.work, at, &failure.reason).await
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
    let sent = send(db, source, &work).await?;
    if let Sent::Offered(failure) = &sent {
        let failure = failure.as_ref().map(|it| &it.reason);
        tracing::info!(txid = work.subject, ?failure, "transaction sent again");
    }
    let failure = match sent {
        Sent::Offered(failure) => failure,
        Sent::NotWanted => None,
    };
    db.write(Record { work, now: clock.now(), failure }).await?;
    Ok(true)
}

/// What was done.
enum Sent {
    /// It was offered to the node; why it did not take it, if it did not.
    Offered(Option<Failure>),
    /// Its batch was given up, or another version of it is the one to be sent.
    NotWanted,
}

async fn send<S: BlockSource>(db: &Db, source: &Arc<S>, work: &Work) -> anyhow::Result<Sent> {
    let failed = |reason: String, batch| Ok(Sent::Offered(Some(Failure { reason, batch })));
    let Ok(txid) = work.subject.parse() else {
        return failed("its subject is not a txid".into(), false);
    };
    let mut conn = db.read().await?;
    let mut batch = None;
    if let Some((id, n)) = db::batch::find_version(&mut conn, &txid).await? {
        batch = db::batch::find(&mut conn, id.as_str()).await?.map(|row| (row.facts(), n));
    }
    if let Some((facts, n)) = &batch
        && facts.to_send().is_none_or(|version| version.n != *n)
    {
        return Ok(Sent::NotWanted);
    }
    let raw = db::tx::raw(&mut conn, &txid).await?;
    drop(conn);
    let Some(raw) = raw else { return failed("its bytes are not stored".into(), batch.is_some()) };
    match source.broadcast(&raw).await {
        Ok(Broadcast::InMempool | Broadcast::InChain) => Ok(Sent::Offered(None)),
        Ok(Broadcast::Rejected { reason }) => failed(reason, batch.is_some()),
        Err(error) => failed(error.to_string(), batch.is_some()),
    }
}
