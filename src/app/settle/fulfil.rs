//! What a provisioner has to be told while a lease is settled: rows, written with what caused them.

use crate::app::random_128;
use crate::db::action::NewAction;
use crate::db::{self, DbError, Tx};
use crate::domain::fulfil::{Action, Told};
use crate::domain::ids::base32;
use crate::domain::lease::fold::Phase;
use crate::domain::lease::snapshot::Snapshot;
use crate::domain::resource::Provisioner;

use super::Settling;

/// An action to be written.
pub(super) struct Telling {
    generation: u32,
    action: Action,
    unit: Option<String>,
}

/// The id of a new action.
pub(crate) fn action_id() -> String {
    format!("act_{}", base32(&random_128()))
}

impl Settling<'_> {
    /// Whether a provisioner knows of this generation, or is to be told of it. One that was ready
    /// without stays so.
    fn is_provisioned(&self) -> bool {
        let begins = self.standing.phase == Phase::Provisioning
            && self.resource.terms.terms.provisioner != Provisioner::None;
        begins || (self.told.generation > 0 && self.told.generation == self.standing.generation)
    }

    /// Notes what has to be told now that it looks like this.
    pub(super) fn tell(&mut self, look: &Snapshot) {
        if !self.is_provisioned() {
            return;
        }
        let wanted = Told::wanted(&self.standing, look);
        for (generation, action) in self.told.actions(&wanted) {
            let unit = self.standing.unit.clone();
            self.tellings.push(Telling { generation, action, unit });
            self.releases |= action == Action::Release;
        }
        self.told = wanted;
    }

    /// Whether the unit of the life that is over is taken back by a provisioner.
    pub(super) fn was_told_over(&self) -> bool {
        self.told.over && self.told.generation == self.standing.generation
    }

    /// Writes what has to be told.
    pub(super) async fn write_actions(&mut self, tx: &mut Tx) -> Result<(), DbError> {
        let now = self.ground.now;
        for telling in std::mem::take(&mut self.tellings) {
            let subject = self.row.facts.id.as_str();
            let (generation, action) = (telling.generation, telling.action);
            if action == Action::Release {
                let tried = db::action::was_tried(tx.conn(), subject, generation).await?;
                db::action::supersede(tx.conn(), subject, generation, now).await?;
                db::action::make_up(tx.conn(), subject, generation, action).await?;
                if !tried {
                    // Nobody ever heard of it.
                    self.free_unit_of(tx, telling.unit.as_deref()).await?;
                    continue;
                }
            }
            // One that was not tried yet will tell the newest end.
            if action == Action::Extend
                && db::action::is_open(tx.conn(), subject, (generation, action), true).await?
            {
                continue;
            }
            let new = NewAction {
                subject,
                resource: &self.row.facts.resource,
                unit: telling.unit.as_deref(),
                generation,
                action,
            };
            db::action::insert(tx.conn(), &action_id(), &new, now).await?;
        }
        Ok(())
    }
}
