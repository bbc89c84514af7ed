//! An operator mends what a provisioner could not do: try it again at once, or hold a unit for
//! taken back though its release failed.

use crate::db::action::ActionRow;
use crate::db::lease::LeaseRow;
use crate::db::{self, Tx, WriteItem};
use crate::domain::fulfil::Action;
use crate::domain::ids::LeaseId;

use super::add_invoice::get_lease;
use super::record_action::release_unit;
use super::settle::Ground;
use super::{AppError, Code, Refusal};

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Try the action that waits again, at once.
    Retry,
    /// Its unit is free, whatever the provisioner says.
    ForceRelease,
}

/// Mends the action that a lease waits for.
pub struct MendAction {
    /// Rules and clock.
    pub ground: Ground,
    /// The lease.
    pub lease: LeaseId,
    /// What is done.
    pub mend: Mend,
    /// The operator.
    pub actor: String,
}

impl WriteItem for MendAction {
    type Out = LeaseRow;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<LeaseRow, AppError> {
        let lease = get_lease(tx, &self.lease).await?;
        let Some(open) = db::action::first_open(tx.conn(), self.lease.as_str()).await? else {
            let detail = "nothing of this lease waits for its provisioner";
            return Err(Refusal::new(Code::Conflict, detail).into());
        };
        let name = match self.mend {
            Mend::Retry => {
                db::action::retry(tx.conn(), &open.id, self.ground.now).await?;
                "lease.retry"
            }
            Mend::ForceRelease => {
                self.force(tx, &open).await?;
                "lease.force-release"
            }
        };
        let entry = (self.actor.as_str(), name, self.lease.as_str(), open.action.as_str());
        db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        Ok(db::lease::find(tx.conn(), self.lease.as_str()).await?.unwrap_or(lease))
    }
}

impl MendAction {
    async fn force(&self, tx: &mut Tx, open: &ActionRow) -> Result<(), AppError> {
        if open.action != Action::Release {
            let detail = "only a release that waits can be forced; revoke the lease first";
            return Err(Refusal::new(Code::Conflict, detail).into());
        }
        let why = open.failure.as_deref();
        if !db::action::end(tx.conn(), open, "forced", why, self.ground.now).await? {
            let detail = "it is being tried right now; ask again";
            return Err(Refusal::new(Code::Conflict, detail).into());
        }
        release_unit(tx, open).await?;
        let lease = get_lease(tx, &self.lease).await?;
        if lease.doc.provisioner_error {
            db::lease::set_provisioner_error(tx.conn(), &lease, false).await?;
        }
        Ok(())
    }
}
