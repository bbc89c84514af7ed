//! Writes how an action went: the lease is ready, its unit is free again, or it is tried later. A
//! failure takes nothing from a holder: the clock has not started, and what is not done is told.

use serde_json::Value;

use crate::db::action::{ActionRow, NewAction};
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::backoff::wait_ms;
use crate::domain::event::EventKind;
use crate::domain::fulfil::Action;
use crate::domain::ids::LeaseId;
use crate::domain::lease::What;
use crate::domain::lease::fold::Phase;
use crate::domain::time::Timestamp;

use super::event;
use super::settle::{Ground, action_id, free_unit, settle};

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
        /// It may still be at it.
        in_doubt: bool,
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

/// How long what did not answer may still be at it, in seconds.
const DOUBT_S: u64 = 60;
/// By how much the end that a provisioner was told when it began may differ from the true one before
/// it is told that, in milliseconds.
const SLACK_MS: u64 = 5000;

impl WriteItem for RecordAction {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let given_up = self.row.failure.as_deref().unwrap_or_default();
        match &self.went {
            Went::Done { access } => self.done(tx, access.as_ref()).await,
            Went::Again { why, in_doubt, .. } if self.is_pointless(tx).await? => {
                if self.end(tx, "superseded", Some(why)).await? && *in_doubt {
                    let (row, at) = (&self.row, self.ground.now.plus_s(DOUBT_S));
                    let (subject, generation) = (&row.subject, row.generation);
                    db::action::delay_release(tx.conn(), subject, generation, at).await?;
                }
                Ok(())
            }
            Went::Failed { why } if self.is_pointless(tx).await? => {
                self.end(tx, "superseded", Some(why)).await.map(|_| ())
            }
            Went::GivenUp if self.is_pointless(tx).await? => {
                self.end(tx, "superseded", Some(given_up)).await.map(|_| ())
            }
            Went::Again { why, after_s, random, .. } => {
                let (now, end) = (self.ground.now, self.end_of_patience());
                if now >= end {
                    return self.give_up(tx, why).await;
                }
                let wait = after_s.map(|s| s.clamp(1, 86_400) * 1000);
                let wait = wait.unwrap_or_else(|| wait_ms(self.row.attempt, *random));
                let at = now.plus_millis(i64::try_from(wait).unwrap_or(i64::MAX)).min(end);
                self.wait(tx, (at, None), why).await
            }
            Went::Failed { why } => match self.row.action {
                // Its holder or an operator may end it; if nobody does, it is given up.
                Action::Provision => {
                    let until = self.end_of_patience();
                    self.wait(tx, (until, Some(self.ground.now)), why).await
                }
                _ => self.give_up(tx, why).await,
            },
            Went::GivenUp => self.give_up(tx, given_up).await,
        }
    }
}

impl RecordAction {
    fn end_of_patience(&self) -> Timestamp {
        self.row.tried_at.unwrap_or(self.row.created_at).plus_s(self.ground.policy.failed_for_s)
    }

    async fn end(&self, tx: &mut Tx, outcome: &str, why: Option<&str>) -> Result<bool, DbError> {
        db::action::end(tx.conn(), &self.row, outcome, why, self.ground.now).await
    }

    /// Whether this life is over and its release waits behind this, which nobody needs any more.
    async fn is_pointless(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let row = &self.row;
        let release = (row.generation, Action::Release);
        Ok(row.action != Action::Release
            && db::action::is_open(tx.conn(), &row.subject, release, false).await?)
    }

    async fn done(&self, tx: &mut Tx, access: Option<&Value>) -> Result<(), DbError> {
        let row = &self.row;
        if !self.end(tx, "done", None).await? {
            return Ok(());
        }
        let Some(id) = LeaseId::parse(&row.subject) else { return Ok(()) };
        db::action::make_up(tx.conn(), &row.subject, row.generation, row.action).await?;
        let left = db::action::left_aside(tx.conn(), &row.subject, row.generation).await?;
        note_error(tx, &row.subject, !left.is_empty()).await?;
        if let Some(access) = access.filter(|_| row.action != Action::Release)
            && db::access::set(tx.conn(), &id, row.generation, access, self.ground.now).await?
        {
            db::lease::advance_seq(tx.conn(), &id).await?;
            tx.touch(&id);
        }
        match row.action {
            Action::Provision => self.ready(tx, &id).await,
            Action::Release => take_back(tx, &self.ground, row).await,
            _ => Ok(()),
        }
    }

    /// The clock starts now, unless it is over meanwhile.
    async fn ready(&self, tx: &mut Tx, id: &LeaseId) -> Result<(), DbError> {
        if !self.is_waited_for(tx).await? {
            return Ok(());
        }
        let Some(lease) = settle(tx, &self.ground, id, Some(What::Ready)).await? else {
            return Ok(());
        };
        let standing = &lease.doc.standing;
        let paid_until = standing.paid_until.filter(|_| standing.phase == Phase::Live);
        // Making it ready took a while, maybe the first of several attempts did it, or money came.
        if let (Some(told), Some(paid_until)) = (self.row.told_until, paid_until)
            && told.millis().abs_diff(paid_until.millis()) > SLACK_MS
        {
            let row = &self.row;
            let new = NewAction {
                subject: &row.subject,
                resource: &row.resource,
                unit: row.unit.as_deref(),
                generation: row.generation,
                action: Action::Extend,
            };
            db::action::insert(tx.conn(), &action_id(), &new, self.ground.now).await?;
        }
        Ok(())
    }

    /// Whether the lease still waits for this to be ready.
    async fn is_waited_for(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let lease = db::lease::find(tx.conn(), &self.row.subject).await?;
        Ok(lease.is_some_and(|lease| {
            let standing = &lease.doc.standing;
            standing.phase == Phase::Provisioning && standing.generation == self.row.generation
        }))
    }

    /// It is tried again at that time, or waits for an operator until then.
    async fn wait(
        &self,
        tx: &mut Tx,
        when: (Timestamp, Option<Timestamp>),
        why: &str,
    ) -> Result<(), DbError> {
        if db::action::again(tx.conn(), &self.row, when, why).await? {
            self.tell_failure(tx, when.1.is_some()).await?;
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
        Ok(())
    }

    /// It is not tried again by itself.
    async fn give_up(&self, tx: &mut Tx, why: &str) -> Result<(), DbError> {
        match self.row.action {
            // All its money can go back.
            Action::Provision => {
                if self.end(tx, "failed", Some(why)).await? && self.is_waited_for(tx).await? {
                    let id = LeaseId::parse(&self.row.subject);
                    let id =
                        id.ok_or_else(|| DbError::corrupt("action", "subject", &self.row.id))?;
                    settle(tx, &self.ground, &id, Some(What::Failed)).await?;
                }
            }
            // Its unit stays out of stock until somebody retries or forces it.
            Action::Release => {
                let (row, never) = (&self.row, Timestamp::from_millis(i64::MAX));
                let when = (never, Some(self.ground.now));
                if !db::action::again(tx.conn(), row, when, why).await? {
                    return Ok(());
                }
                if let Some(unit) = &row.unit {
                    db::unit::mark_stuck(tx.conn(), &row.resource, &row.subject, unit).await?;
                }
                self.tell_failure(tx, true).await?;
                self.say(tx, EventKind::LeaseStuck);
            }
            // What waits behind one that changes nothing about who has what must not wait for
            // people: it is left aside.
            Action::Extend | Action::Suspend | Action::Resume | Action::Update => {
                if self.end(tx, "failed", Some(why)).await? {
                    self.tell_failure(tx, true).await?;
                }
            }
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

/// A unit was taken back: it is free, what was told of it is forgotten, and the lease may begin anew.
pub(super) async fn take_back(
    tx: &mut Tx,
    ground: &Ground,
    row: &ActionRow,
) -> Result<(), DbError> {
    db::access::remove(tx.conn(), &row.subject, row.generation).await?;
    let found = db::terms::find(tx.conn(), &row.resource).await?;
    if let (Some(unit), Some(resource)) = (&row.unit, found) {
        free_unit(tx, &resource, &row.subject, unit).await?;
    }
    if let Some(id) = LeaseId::parse(&row.subject) {
        settle(tx, ground, &id, None).await?;
    }
    Ok(())
}
