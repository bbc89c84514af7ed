//! The unit of a lease while it is settled: taken when a generation starts, given back when it
//! ends or when nobody paid in time.

use crate::db::terms::Resource;
use crate::db::unit::Taken;
use crate::db::{self, DbError, Tx};
use crate::domain::lease::advance::hold_until;
use crate::domain::lease::fold::Phase;
use crate::domain::lease::{Entry, What};
use crate::domain::resource::{Access, Provisioner};

use super::Settling;

/// Gives a unit back: whoever has waited longest for one gets it.
pub(crate) async fn free_unit(
    tx: &mut Tx,
    resource: &Resource,
    lease: &str,
    unit: &str,
) -> Result<(), DbError> {
    db::unit::release(tx.conn(), &resource.id, lease, unit).await?;
    let taken = db::unit::list(tx.conn(), &resource.id).await?;
    let free = db::unit::free(&resource.terms.terms.units, &taken).len();
    db::lease::call_waiting(tx.conn(), &resource.id, free).await
}

impl Settling<'_> {
    /// Starts a generation if money and a unit are there. True when it did.
    pub(super) async fn start(&mut self, tx: &mut Tx) -> Result<bool, DbError> {
        let Some((generation, terms_version)) = self.wants_start() else { return Ok(false) };
        let unit = match self.resource.terms.terms.access {
            Access::Shared => None,
            Access::Exclusive => match self.free_unit(tx).await? {
                Some(unit) => Some(unit),
                None => return Ok(false),
            },
        };
        if let Some(unit) = &unit {
            let resource = &self.row.facts.resource;
            let lease = self.row.facts.id.as_str();
            db::unit::take(tx.conn(), resource, unit, lease, "leased").await?;
        }
        let what = What::Started { generation, unit, terms_version };
        self.push_now(what);
        if self.resource.terms.terms.provisioner == Provisioner::None {
            self.push_now(What::Ready);
        }
        Ok(true)
    }

    pub(super) fn push_now(&mut self, what: What) {
        let moment_at = self.ground.now.max(self.standing.last_at);
        self.push(Entry { n: self.standing.entries + 1, moment_at, what });
    }

    /// The unit held for this lease, else the first that nobody has and nobody has waited for
    /// longer.
    async fn free_unit(&self, tx: &mut Tx) -> Result<Option<String>, DbError> {
        let resource = &self.row.facts.resource;
        let taken = db::unit::list(tx.conn(), resource).await?;
        let lease = self.row.facts.id.as_str();
        let units = &self.resource.terms.terms.units;
        // What a provisioner takes back is not free before it has.
        let reusable = |state: &str| state == "held" || state == "leased" && !self.was_told_over();
        let mine = |taken: &&Taken| taken.lease == lease && reusable(&taken.state);
        let own = taken.iter().filter(mine).find(|taken| units.contains(&taken.name));
        if let Some(own) = own {
            return Ok(Some(own.name.clone()));
        }
        let free = db::unit::free(units, &taken);
        let own_turn = (self.waits_since(), &self.row.facts.id);
        let ahead = db::lease::count_waiting(tx.conn(), resource, Some(own_turn)).await?;
        let for_us = free.len() > usize::try_from(ahead).unwrap_or(usize::MAX);
        Ok(free.first().filter(|_| for_us).map(|unit| (*unit).clone()))
    }

    /// Gives the unit back when it is over. Returns the unit that the lease has now.
    pub(super) async fn write_unit(&mut self, tx: &mut Tx) -> Result<Option<String>, DbError> {
        let keeps = match self.standing.phase {
            Phase::Provisioning | Phase::Live => self.standing.unit.clone(),
            Phase::Unfunded if !self.hold_is_over() => self.row.unit.clone(),
            Phase::Unfunded | Phase::Ended => None,
        };
        if keeps.is_none() && !self.was_told_over() {
            self.free_unit_of(tx, self.row.unit.as_deref()).await?;
        }
        Ok(keeps)
    }

    /// Gives a unit of this lease back to whoever has waited longest.
    pub(super) async fn free_unit_of(
        &self,
        tx: &mut Tx,
        unit: Option<&str>,
    ) -> Result<(), DbError> {
        let Some(unit) = unit else { return Ok(()) };
        free_unit(tx, &self.resource, self.row.facts.id.as_str(), unit).await
    }

    fn hold_is_over(&self) -> bool {
        self.ground.trusted
            && self
                .with_world(|world| hold_until(&self.facts, &self.standing, world))
                .is_none_or(|until| until < self.ground.now)
    }
}
