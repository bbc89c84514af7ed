//! Writes how an action went: the lease is ready, its unit is free again, or it is tried later. A
//! failure takes nothing from a holder: the clock has not started, and what is not done is told.

use serde_json::Value;

use crate::db::action::ActionRow;
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::backoff::wait_ms;
use crate::domain::event::EventKind;
use crate::domain::fulfil::Action;
use crate::domain::ids::LeaseId;
use crate::domain::lease::What;
use crate::domain::lease::fold::Phase;
use crate::domain::time::Timestamp;

use super::event;
use super::settle::{Ground, free_unit, settle};

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Went {
    /// It is done.
    Done {
        /// What the holder needs to get in.
        access: Option<Value>,
    },
    /// It may work later.
    Again {
        /// What was said.
        why: String,
        /// When, in seconds, if that was said.
        after_s: Option<u64>,
        /// A random number for the wait.
        random: u8,
    },
    /// It will not work before somebody has looked at it.
    Failed {
        /// What was said.
        why: String,
    },
    /// It failed for good before, and its time is over.
    GivenUp,
}

/// Writes how an attempt went.
pub struct RecordAction {
    /// Rules and clock.
    pub ground: Ground,
    /// The action, as it was claimed.
    pub row: ActionRow,
    /// How it went.
    pub went: Went,
}

impl WriteItem for RecordAction {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let now = self.ground.now;
        match &self.went {
            Went::Done { access } => self.done(tx, access.as_ref()).await,
            Went::Again { why, after_s, random } => {
                let end = self.end_of_patience();
                if now >= end {
                    return self.give_up(tx, why).await;
                }
                let wait = after_s.map(|s| s.clamp(1, 86_400) * 1000);
                let wait = wait.unwrap_or_else(|| wait_ms(self.row.attempt, *random));
                let at = now.plus_millis(i64::try_from(wait).unwrap_or(i64::MAX)).min(end);
                self.fail(tx, (at, None), why).await
            }
            Went::Failed { why } => self.fail(tx, (self.end_of_patience(), Some(now)), why).await,
            Went::GivenUp => {
                let why = self.row.failure.clone().unwrap_or_default();
                self.give_up(tx, &why).await
            }
        }
    }
}

impl RecordAction {
    fn end_of_patience(&self) -> Timestamp {
        self.row.created_at.plus_s(self.ground.policy.failed_for_s)
    }

    async fn done(&self, tx: &mut Tx, access: Option<&Value>) -> Result<(), DbError> {
        let (row, now) = (&self.row, self.ground.now);
        if !db::action::end(tx.conn(), row, "done", None, now).await? {
            return Ok(());
        }
        let Some(id) = LeaseId::parse(&row.subject) else { return Ok(()) };
        note_error(tx, &row.subject, false).await?;
        if let Some(access) = access.filter(|_| row.action != Action::Release) {
            db::action::set_access(tx.conn(), &id, row.generation, access, now).await?;
            tx.touch(&id);
        }
        match row.action {
            Action::Provision => self.ready(tx, &id).await,
            Action::Release => self.released(tx).await,
            _ => Ok(()),
        }
    }

    /// The clock starts now, unless it is over meanwhile.
    async fn ready(&self, tx: &mut Tx, id: &LeaseId) -> Result<(), DbError> {
        let Some(lease) = db::lease::find(tx.conn(), id.as_str()).await? else { return Ok(()) };
        let standing = &lease.doc.standing;
        let waits =
            standing.phase == Phase::Provisioning && standing.generation == self.row.generation;
        if waits {
            settle(tx, &self.ground, id, Some(What::Ready)).await?;
        }
        Ok(())
    }

    async fn released(&self, tx: &mut Tx) -> Result<(), DbError> {
        release_unit(tx, &self.row).await
    }

    /// It is tried again at that time, or waits for an operator until then.
    async fn fail(
        &self,
        tx: &mut Tx,
        when: (Timestamp, Option<Timestamp>),
        why: &str,
    ) -> Result<(), DbError> {
        let (row, for_good) = (&self.row, when.1.is_some());
        // What waits behind one that changes nothing about who has what must not wait for people.
        let steps_aside = for_good && !matches!(row.action, Action::Provision | Action::Release);
        let written = match steps_aside {
            true => {
                let now = self.ground.now;
                db::action::end(tx.conn(), row, "failed", Some(why), now).await?
            }
            false => db::action::again(tx.conn(), row, when, why).await?,
        };
        if written {
            self.tell_failure(tx, for_good).await?;
        }
        Ok(())
    }

    async fn tell_failure(&self, tx: &mut Tx, for_good: bool) -> Result<(), DbError> {
        let row = &self.row;
        tracing::warn!(
            lease = row.subject,
            action = row.action.as_str(),
            attempt = row.attempt,
            for_good,
            "a provisioner failed"
        );
        let news = note_error(tx, &row.subject, true).await?;
        if news || for_good {
            self.say(tx, EventKind::LeaseProvisionerError);
        }
        if for_good && row.action == Action::Release {
            self.stuck(tx).await?;
        }
        Ok(())
    }

    /// The unit stays out of stock until somebody retries or forces it.
    async fn stuck(&self, tx: &mut Tx) -> Result<(), DbError> {
        let row = &self.row;
        if let Some(unit) = &row.unit {
            db::unit::mark_stuck(tx.conn(), &row.resource, &row.subject, unit).await?;
        }
        self.say(tx, EventKind::LeaseStuck);
        Ok(())
    }

    /// It was tried for `failed_for`: a lease that never got ready has failed, all its money can go
    /// back; a release waits for people, for as long as it takes.
    async fn give_up(&self, tx: &mut Tx, why: &str) -> Result<(), DbError> {
        let (row, now) = (&self.row, self.ground.now);
        if row.action == Action::Release {
            let never = Timestamp::from_millis(i64::MAX);
            if db::action::again(tx.conn(), row, (never, Some(now)), why).await? {
                self.stuck(tx).await?;
            }
            return Ok(());
        }
        if !db::action::end(tx.conn(), row, "failed", Some(why), now).await? {
            return Ok(());
        }
        let Some(id) = LeaseId::parse(&row.subject) else { return Ok(()) };
        if row.action == Action::Provision {
            settle(tx, &self.ground, &id, Some(What::Failed)).await?;
        }
        Ok(())
    }

    /// Never what the provisioner said: it may repeat what nobody else is to read.
    fn say(&self, tx: &mut Tx, kind: EventKind) {
        let row = &self.row;
        let data = serde_json::json!({
            "lease": row.subject,
            "resource": row.resource,
            "unit": row.unit,
            "generation": row.generation,
            "action": row.action,
            "attempt": row.attempt,
        });
        let resource = Some(row.resource.as_str());
        tx.event(event(kind, self.ground.now, &row.subject, resource, data));
    }
}

/// Sets the flag of a lease whose provisioner fails. True when that is news.
async fn note_error(tx: &mut Tx, lease: &str, fails: bool) -> Result<bool, DbError> {
    let Some(row) = db::lease::find(tx.conn(), lease).await? else { return Ok(false) };
    let news = row.doc.provisioner_error != fails;
    if news {
        db::lease::set_provisioner_error(tx.conn(), &row, fails).await?;
        tx.touch(&row.facts.id);
    }
    Ok(news)
}

/// A unit was taken back: it is free, and what was told of it is forgotten.
pub(super) async fn release_unit(tx: &mut Tx, row: &ActionRow) -> Result<(), DbError> {
    db::action::remove_access(tx.conn(), &row.subject, row.generation).await?;
    let found = db::terms::find(tx.conn(), &row.resource).await?;
    if let (Some(unit), Some(resource)) = (&row.unit, found) {
        free_unit(tx, &resource, &row.subject, unit).await?;
    }
    Ok(())
}
