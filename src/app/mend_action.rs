//! An operator mends what a provisioner could not do: try it again at once, or hold a unit for
//! taken back though its release failed.

use crate::db::action::{ActionRow, NewAction};
use crate::db::lease::LeaseRow;
use crate::db::{self, Tx, WriteItem};
use crate::domain::fulfil::Action;
use crate::domain::ids::LeaseId;

use super::add_invoice::get_lease;
use super::record_action::take_back;
use super::settle::{Ground, action_id};
use super::{AppError, Code, Refusal};

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Try the action that waits again, at once.
    Retry,
    /// Its unit is free, whatever the provisioner says.
    ForceRelease,
}

/// Mends the action that a lease waits for. What is about to be tried again already is left so.
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
        let open = db::action::first_open(tx.conn(), self.lease.as_str()).await?;
        let (name, what) = match self.mend {
            Mend::Retry => ("lease.retry", self.retry(tx, open, &lease).await?),
            Mend::ForceRelease => ("lease.force-release", Some(self.force(tx, open).await?)),
        };
        if let Some(what) = what {
            let entry = (self.actor.as_str(), name, self.lease.as_str(), what.as_str());
            db::audit_log::insert(tx.conn(), self.ground.now, entry).await?;
        }
        Ok(db::lease::find(tx.conn(), self.lease.as_str()).await?.unwrap_or(lease))
    }
}

impl MendAction {
    /// What is open is due at once, and what failed and was left aside is to be done once more.
    /// `None` when all of it is so already.
    async fn retry(
        &self,
        tx: &mut Tx,
        open: Option<ActionRow>,
        lease: &LeaseRow,
    ) -> Result<Option<Action>, AppError> {
        let (subject, generation) = (self.lease.as_str(), lease.doc.standing.generation);
        let left = db::action::left_aside(tx.conn(), subject, generation).await?;
        let Some(first) = open.as_ref().or(left.first()).map(|row| row.action) else {
            let detail = "nothing of this lease waits for its provisioner";
            return Err(Refusal::new(Code::Conflict, detail).into());
        };
        let now = self.ground.now;
        let is_due = |open: &ActionRow| open.failed_at.is_none() && open.due_at <= now;
        if left.is_empty() && open.as_ref().is_some_and(is_due) {
            return Ok(None);
        }
        if let Some(open) = open {
            db::action::retry(tx.conn(), &open.id, self.ground.now).await?;
        }
        // What comes after it and stands for it must not be undone.
        let mut stand: Vec<Action> = Vec::new();
        for action in Action::ALL {
            if db::action::is_open(tx.conn(), subject, (generation, action), false).await? {
                stand.push(action);
            }
        }
        let mut again: Vec<&ActionRow> = Vec::new();
        for row in left.iter().rev() {
            if !stand.iter().any(|later| later.makes_up_for().contains(&row.action)) {
                stand.push(row.action);
                again.push(row);
            }
        }
        for row in again.into_iter().rev() {
            let new = NewAction {
                subject,
                resource: &row.resource,
                unit: row.unit.as_deref(),
                generation,
                action: row.action,
            };
            db::action::make_up(tx.conn(), subject, generation, row.action).await?;
            db::action::insert(tx.conn(), &action_id(), &new, self.ground.now).await?;
        }
        Ok(Some(first))
    }

    async fn force(&self, tx: &mut Tx, open: Option<ActionRow>) -> Result<Action, AppError> {
        let refuse = |detail: &str| Err(Refusal::new(Code::Conflict, detail).into());
        let Some(open) = open.filter(|open| open.action == Action::Release) else {
            return refuse("no release waits; end a lease that runs with revoke");
        };
        if open.failure.is_none() {
            return refuse("its release has not failed; it is about to be tried");
        }
        if !db::action::force(tx.conn(), &open, self.ground.now).await? {
            return refuse("its release is being tried right now; ask again");
        }
        take_back(tx, &self.ground, &open).await?;
        let lease = get_lease(tx, &self.lease).await?;
        if lease.doc.provisioner_error {
            db::lease::set_provisioner_error(tx.conn(), &lease, false).await?;
            tx.touch(&self.lease);
        }
        Ok(open.action)
    }
}
