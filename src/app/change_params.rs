//! The holder of a lease hands in other parameters.

use serde_json::{Map, Value};

use crate::db::action::NewAction;
use crate::db::lease::LeaseRow;
use crate::db::{self, Tx, WriteItem};
use crate::domain::fulfil::Action;
use crate::domain::ids::LeaseId;
use crate::domain::lease::fold::Phase;
use crate::domain::params::check_params;
use crate::domain::time::Timestamp;

use super::add_invoice::{get_lease, over};
use super::settle::action_id;
use super::{AppError, Refusal};

/// Replaces the parameters of a lease, checked against the terms it keeps.
pub struct ChangeParams {
    /// The lease.
    pub lease: LeaseId,
    /// All of its parameters, as they shall be.
    pub params: Map<String, Value>,
    /// The clock.
    pub now: Timestamp,
}

impl WriteItem for ChangeParams {
    type Out = LeaseRow;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<LeaseRow, AppError> {
        let row = get_lease(tx, &self.lease).await?;
        let standing = &row.doc.standing;
        let reason = standing.end_reason.filter(|_| standing.phase == Phase::Ended);
        if let Some(reason) = reason.filter(|reason| !reason.may_start_again()) {
            return Err(over(reason).into());
        }
        let history = db::terms::history(tx.conn(), &row.facts.resource).await?;
        let terms = history
            .version(standing.terms_version)
            .ok_or_else(|| db::DbError::corrupt("lease", "terms_version", &self.lease))?;
        let params = check_params(&terms.terms, &self.params).map_err(Refusal::params)?;
        if params == row.params {
            return Ok(row);
        }
        db::lease::set_params(tx.conn(), &self.lease, &params).await?;
        self.tell_provisioner(tx, &row).await?;
        // The log has no event for it: params are never in one.
        tx.touch(&self.lease);
        Ok(LeaseRow { params, seq: row.seq + 1, ..row })
    }
}

impl ChangeParams {
    /// A provisioner that knows the lease hears of it, unless it was not called yet.
    async fn tell_provisioner(&self, tx: &mut Tx, row: &LeaseRow) -> Result<(), AppError> {
        let (told, subject) = (&row.doc.told, self.lease.as_str());
        let generation = row.doc.standing.generation;
        let known = told.generation > 0 && told.generation == generation && !told.over;
        if !known || !db::action::was_tried(tx.conn(), subject, generation).await? {
            return Ok(());
        }
        let action = Action::Update;
        // One that was not tried yet will tell the newest.
        if db::action::is_open(tx.conn(), subject, (generation, action), true).await? {
            return Ok(());
        }
        let new = NewAction {
            subject,
            resource: &row.facts.resource,
            unit: row.unit.as_deref(),
            generation,
            action,
        };
        db::action::insert(tx.conn(), &action_id(), &new, self.now).await?;
        Ok(())
    }
}
