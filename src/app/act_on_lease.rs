//! Its holder or the operator does something to a lease.

use crate::db::lease::LeaseRow;
use crate::db::{self, Tx, WriteItem};
use crate::domain::ids::LeaseId;
use crate::domain::lease::What;
use crate::domain::lease::fold::{Phase, Standing};

use super::add_invoice::{get_lease, over};
use super::settle::{Ground, settle};
use super::{AppError, Code, Refusal};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The holder gives it back; what is unused can be refunded.
    Return,
    /// The operator ends it; what is unused can be refunded.
    Revoke,
    /// The operator stops it; time stands still.
    Suspend,
    /// The operator lets it go on.
    Resume,
}

impl Action {
    /// Its name in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Return => "lease.return",
            Self::Revoke => "lease.revoke",
            Self::Suspend => "lease.suspend",
            Self::Resume => "lease.resume",
        }
    }
}

/// Does something to a lease. Doing again what is done already changes nothing.
pub struct ActOnLease {
    /// Rules and clock.
    pub ground: Ground,
    /// The lease.
    pub lease: LeaseId,
    /// What is done.
    pub action: Action,
    /// The operator, for the audit log; `None` for the holder.
    pub actor: Option<String>,
}

impl WriteItem for ActOnLease {
    type Out = LeaseRow;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<LeaseRow, AppError> {
        let row = get_lease(tx, &self.lease).await?;
        let Some(mut what) = self.what(&row.doc.standing)? else { return Ok(row) };
        // Whoever ends what cannot be made ready ends a failure.
        let fails = row.doc.provisioner_error && row.doc.standing.phase == Phase::Provisioning;
        if fails && matches!(what, What::Returned | What::Revoked) {
            what = What::Failed;
        }
        let settled = settle(tx, &self.ground, &self.lease, Some(what)).await?;
        if let Some(actor) = &self.actor {
            let entry = (actor.as_str(), self.action.as_str(), self.lease.as_str(), "");
            db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        }
        Ok(settled.unwrap_or(row))
    }
}

impl ActOnLease {
    /// The entry to append; `None` when it is so already.
    fn what(&self, standing: &Standing) -> Result<Option<What>, Refusal> {
        let ended_for_good = standing
            .end_reason
            .filter(|reason| standing.phase == Phase::Ended && !reason.may_start_again());
        match (self.action, ended_for_good) {
            (Action::Return | Action::Revoke, Some(_)) => Ok(None),
            (Action::Return, None) => Ok(Some(What::Returned)),
            (Action::Revoke, None) => Ok(Some(What::Revoked)),
            (_, Some(reason)) => Err(over(reason)),
            (Action::Suspend, None) if standing.phase != Phase::Live => {
                let detail = "only a lease whose time runs can be suspended";
                Err(Refusal::new(Code::LeaseEnded, detail))
            }
            (Action::Suspend, None) => {
                Ok(standing.suspended_at.is_none().then_some(What::Suspended))
            }
            (Action::Resume, None) => Ok(standing.suspended_at.map(|_| What::Resumed)),
        }
    }
}
