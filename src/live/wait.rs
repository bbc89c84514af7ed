//! The long poll: waits for the next change of a lease. Called by `GET /v1/leases/{id}`.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::db::lease::LeaseRow;
use crate::db::{self, Db, DbError};
use crate::domain::ids::LeaseId;

use super::{Live, Subject};

/// The longest `wait_s`, in seconds.
pub const LONGEST_WAIT_S: u64 = 60;

/// The lease `id` as soon as its `seq` is larger than `after_seq`, at the latest as it is after
/// `wait_s` seconds (at most [`LONGEST_WAIT_S`]) or at `shutdown`. `None` when there is none.
///
/// # Errors
/// Those of the database.
pub async fn wait_for(
    live: &Live,
    db: &Db,
    id: &LeaseId,
    after_seq: u64,
    wait_s: u64,
    shutdown: &CancellationToken,
) -> Result<Option<LeaseRow>, DbError> {
    let mut subscription = live.subscribe(Subject::id(id.as_str()));
    let over = tokio::time::sleep(Duration::from_secs(wait_s.min(LONGEST_WAIT_S)));
    tokio::pin!(over);
    let mut found = read(db, id).await?;
    while found.as_ref().is_some_and(|row| row.seq <= after_seq) {
        tokio::select! {
            () = subscription.changed() => {
                let _place = live.reading().await;
                found = read(db, id).await?;
            }
            () = &mut over => return read(db, id).await,
            () = shutdown.cancelled() => break,
        }
    }
    Ok(found)
}

async fn read(db: &Db, id: &LeaseId) -> Result<Option<LeaseRow>, DbError> {
    let mut conn = db.read().await?;
    db::lease::find(&mut conn, id.as_str()).await
}
