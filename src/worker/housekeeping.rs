//! Forgets what is kept for a time only: answers to Idempotency-Keys, who asked for what, browsers
//! in which an operator was signed in, and the log of deliveries.

use crate::clock::SharedClock;
use crate::db::{self, Db, DbError, Tx, WriteItem};
use crate::domain::time::Timestamp;

/// How long answers and source addresses are kept, in seconds: a day.
pub const KEEP_S: u64 = 86_400;

/// How long the log of deliveries is kept after they are done, in seconds: 30 days.
pub const KEEP_DELIVERIES_S: u64 = 30 * 86_400;
/// How many deliveries one transaction forgets.
const CHUNK: u32 = 500;

struct Forget {
    before: Timestamp,
    now: Timestamp,
}

impl WriteItem for Forget {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        db::idempotency::forget(tx.conn(), self.before).await?;
        db::operator_session::forget(tx.conn(), self.now).await?;
        db::invoice::forget_sources(tx.conn(), self.before).await
    }
}

struct ForgetDeliveries {
    before: Timestamp,
}

impl WriteItem for ForgetDeliveries {
    type Out = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        let gone = db::delivery::forget(tx.conn(), self.before, CHUNK).await?;
        db::webhook::forget_deleted(tx.conn(), CHUNK).await?;
        Ok(gone)
    }
}

/// Forgets what is older than a day, and deliveries that were done 30 days ago.
///
/// # Errors
/// Those of the database.
pub async fn step(db: &Db, clock: &SharedClock) -> anyhow::Result<()> {
    let now = clock.now();
    db.write(Forget { before: now.minus_s(KEEP_S), now }).await?;
    let before = clock.now().minus_s(KEEP_DELIVERIES_S);
    while db.write(ForgetDeliveries { before }).await? > 0 {}
    Ok(())
}
