//! The chain was searched for what a keychain issued before: from here on it issues again, far
//! enough beyond that no index is given out twice.

use crate::db::keychain::{KeychainRow, KnownScript};
use crate::db::{self, DbError, Tx, WriteItem};

/// Ends the recovery of a keychain.
pub struct EndRecovery {
    /// The keychain as it was when the search ended.
    pub row: KeychainRow,
    /// The first index to issue.
    pub next_index: u32,
    /// Every index below it that is left out from now on: watched, never issued.
    pub left_out: Vec<KnownScript>,
}

impl WriteItem for EndRecovery {
    /// False when something was found meanwhile, or somebody else ended it: look again.
    type Out = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let ended = db::keychain::end_recovery(tx.conn(), &self.row, self.next_index).await?;
        if ended {
            db::keychain::leave_out(tx.conn(), self.row.id, &self.left_out).await?;
        }
        Ok(ended)
    }
}

/// Notes an index that the node knows to be paid, of a keychain that is being recovered.
pub struct NoteSeen {
    /// The keychain.
    pub keychain: u32,
    /// The external index.
    pub index: u32,
}

impl WriteItem for NoteSeen {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        db::keychain::seen(tx.conn(), self.keychain, self.index).await
    }
}
