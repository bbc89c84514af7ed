//! The catalogue is applied: changed entries get a new version of their terms, missing ones are
//! retired. Running leases and open invoices keep what they have.

use crate::db::{self, Tx, WriteItem};
use crate::domain::bearer::sha256_hex;
use crate::domain::resource::Terms;
use crate::domain::time::Timestamp;

use super::{AppError, Code, Refusal};

/// What happened to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is new.
    Added,
    /// It has a new version of its terms; the old ones are kept.
    Changed {
        /// The terms before.
        old: Box<Terms>,
    },
    /// Nothing changed.
    Same,
    /// It is missing: nothing new is sold.
    Retired,
}

/// One resource and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The resource's id.
    pub resource: String,
    /// What happened.
    pub fate: Fate,
    /// The terms that hold now; `None` when it was retired.
    pub terms: Option<Terms>,
}

/// Applies a catalogue.
pub struct ApplyCatalog {
    /// All resources, in order.
    pub catalog: Vec<Terms>,
    /// The clock.
    pub now: Timestamp,
    /// The operator, for the audit log; `None` at a start.
    pub actor: Option<String>,
    /// Only tell what would happen.
    pub dry_run: bool,
    /// Only if this is still the difference that was looked at: a [`Difference::hash`].
    pub expect: Option<String>,
}

/// What a catalogue would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Each resource and what would happen to it.
    pub changes: Vec<Change>,
    /// SHA-256 in hex of the catalogue and of what is in force: another one when either changed.
    pub hash: String,
}

impl Difference {
    /// Of a catalogue to what is known.
    pub fn new(known: &[db::terms::Resource], catalog: &[Terms]) -> Self {
        let in_force = known.iter().map(|it| (&it.id, it.terms.version, it.retired_at.is_some()));
        let both = serde_json::json!([catalog, in_force.collect::<Vec<_>>()]);
        Self { changes: compare(known, catalog), hash: sha256_hex(both.to_string().as_bytes()) }
    }

    /// Whether the catalogue is in force already.
    pub fn is_none(&self) -> bool {
        self.changes.iter().all(|change| change.fate == Fate::Same)
    }
}

impl WriteItem for ApplyCatalog {
    type Out = Difference;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Difference, AppError> {
        let known = db::terms::list(tx.conn()).await?;
        let found = Difference::new(&known, &self.catalog);
        let other = self.expect.as_ref().is_some_and(|expect| *expect != found.hash);
        if other && !found.is_none() {
            let detail = "the catalogue, or what is in force, has changed since you looked; look at \
                          the difference again";
            return Err(Refusal::new(Code::Conflict, detail).into());
        }
        if !self.dry_run {
            self.write(tx, &known, &found.changes).await?;
        }
        Ok(found)
    }
}

fn compare(known: &[db::terms::Resource], catalog: &[Terms]) -> Vec<Change> {
    let mut changes = Vec::new();
    for terms in catalog {
        let fate = match known.iter().find(|resource| resource.id == terms.id) {
            None => Fate::Added,
            Some(old) if old.terms.terms == *terms && old.retired_at.is_none() => Fate::Same,
            Some(old) => Fate::Changed { old: Box::new(old.terms.terms.clone()) },
        };
        changes.push(Change { resource: terms.id.clone(), fate, terms: Some(terms.clone()) });
    }
    let listed = |id: &str| catalog.iter().any(|terms| terms.id == id);
    let missing = known.iter().filter(|old| old.retired_at.is_none() && !listed(&old.id));
    for old in missing {
        let resource = old.id.clone();
        changes.push(Change { resource, fate: Fate::Retired, terms: None });
    }
    changes
}

impl ApplyCatalog {
    async fn write(
        &self,
        tx: &mut Tx,
        known: &[db::terms::Resource],
        changes: &[Change],
    ) -> Result<(), AppError> {
        for (place, change) in (0u32..).zip(changes) {
            let version = known
                .iter()
                .find(|old| old.id == change.resource)
                .map_or(0, |old| old.terms.version);
            match (&change.terms, &change.fate) {
                (Some(_), Fate::Same) | (None, Fate::Added | Fate::Changed { .. }) => continue,
                (Some(terms), _) => {
                    db::terms::put(tx.conn(), place, version + 1, terms, self.now).await?;
                    db::lease::call_waiting(tx.conn(), &change.resource, usize::MAX).await?;
                }
                (None, _) => db::terms::retire(tx.conn(), &change.resource, self.now).await?,
            }
            if let Some(actor) = &self.actor {
                let entry = (actor.as_str(), "catalog.apply", change.resource.as_str(), "");
                db::audit_log::insert(tx.conn(), self.now, entry).await?;
            }
        }
        Ok(())
    }
}
