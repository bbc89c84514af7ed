//! Forgets what is kept for a time only: answers to Idempotency-Keys and who asked for what.

use crate::clock::SharedClock;
use crate::db::{self, Db, DbError, Tx, WriteItem};
use crate::domain::time::Timestamp;

/// How long answers and source addresses are kept, in seconds: a day.
pub const KEEP_S: u64 = 86_400;

struct Forget {
    before: Timestamp,
}

impl WriteItem for Forget {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        db::idempotency::forget(tx.conn(), self.before).await?;
        db::invoice::forget_sources(tx.conn(), self.before).await
    }
}

/// Forgets what is older than a day.
///
/// # Errors
/// Those of the database.
pub async fn step(db: &Db, clock: &SharedClock) -> anyhow::Result<()> {
    let before = clock.now().minus_s(KEEP_S);
    db.write(Forget { before }).await?;
    Ok(())
}
