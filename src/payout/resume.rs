//! After a restore: payouts that were made since the backup are found by the wallet's history, so
//! that none is paid twice. Until then nothing is prepared.

use bitcoin::consensus::encode::deserialize;

use crate::app::adopt::{AdoptPayment, EndHold};
use crate::app::{AppError, Code};
use crate::db;
use crate::domain::ids::BatchId;
use crate::domain::time::Timestamp;

use super::{Batcher, away, refused};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Batches that transactions of the wallet became.
    pub found: Vec<BatchId>,
    /// What the operator has to look at, in words.
    pub unclear: Vec<String>,
    /// True when batches can be prepared again.
    pub resumed: bool,
}

impl Batcher {
    /// When this database was restored and the height to which it knew the chain then, while it is
    /// not known what left since.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn held(&self) -> Result<Option<(Timestamp, u32)>, AppError> {
        Ok(db::meta::payouts_held(&mut self.db.read().await?).await?)
    }

    /// Refuses to prepare while it is not known what left since the backup.
    pub(super) async fn not_held(&self) -> Result<(), AppError> {
        let Some((at, _)) = self.held().await? else { return Ok(()) };
        let detail = format!(
            "this database was restored ({at}): payouts made since its backup are not in it, and \
             would be paid again. Destroy PSBTs that were signed since then, then run `leasehold \
             payouts resume`, which finds in the wallet's history what has left"
        );
        Err(refused(Code::Conflict, detail))
    }

    /// Takes in what left since the backup, and lets batches be prepared again. With `force` also
    /// when something is unclear.
    ///
    /// # Errors
    /// When the node or its wallet does not answer.
    pub async fn resume(&self, force: bool, actor: String) -> Result<Resumed, AppError> {
        self.ready()?;
        let Some((_, known)) = self.held().await? else {
            return Ok(Resumed { resumed: true, ..Resumed::default() });
        };
        let mut resumed = Resumed::default();
        for txid in self.watch_only.sent().await.map_err(away)? {
            let sent = self.watch_only.transaction(&txid).await.map_err(away)?;
            if sent.block.is_some_and(|(height, ..)| height <= known) {
                continue;
            }
            let unreadable = |error| away(format!("{txid} cannot be read: {error}"));
            let item = AdoptPayment {
                ground: self.ground(),
                network: self.network,
                transaction: deserialize(&sent.raw).map_err(unreadable)?,
                block: sent.block,
                actor: actor.clone(),
            };
            let adopted = self.db.write(item).await?;
            resumed.found.extend(adopted.batch);
            resumed.unclear.extend(adopted.unclear);
        }
        let forced = force && !resumed.unclear.is_empty();
        resumed.resumed = force || resumed.unclear.is_empty();
        if resumed.resumed {
            self.db.write(EndHold { ground: self.ground(), forced, actor }).await?;
        }
        Ok(resumed)
    }
}
