//! Takes actions for a provisioner to be called for, for longer than a call may take.

use std::collections::HashMap;

use crate::db::action::ActionRow;
use crate::db::lease::LeaseRow;
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::fulfil::Action;
use crate::domain::lease::fold::Phase;
use crate::domain::resource::Provisioner;
use crate::domain::time::Timestamp;

/// How much longer than its time limit an action is claimed, in seconds.
const MARGIN_S: u64 = 60;

/// Claims actions.
pub struct ClaimActions {
    /// Resources that have enough under way.
    pub busy: Vec<String>,
    /// How many of one resource may be under way, less those that are.
    pub room: HashMap<String, usize>,
    /// The room of resources that have none under way.
    pub each: usize,
    /// At most so many.
    pub most: u32,
    /// The clock.
    pub now: Timestamp,
}

/// An action that was claimed, with what its provisioner has to know.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The action, with the number of this attempt.
    pub row: ActionRow,
    /// How the resource's leases are made real now.
    pub provisioner: Provisioner,
    /// The lease.
    pub lease: LeaseRow,
    /// Until when it is paid.
    pub paid_until: Option<Timestamp>,
}

/// Until when a lease is paid, to be told at an action: one that is not ready, as if it were now.
fn paid_until(lease: &LeaseRow, action: Action, now: Timestamp) -> Option<Timestamp> {
    let standing = &lease.doc.standing;
    match (action, standing.phase) {
        (Action::Release, _) => None,
        (_, Phase::Provisioning) => Some(now.plus_s(standing.pending_s)),
        _ => standing.paid_until,
    }
}

/// After a start of the only server that has this database open, nobody is at what was claimed
/// before: a command is ended with its server. What was asked over HTTP may still go on.
pub struct ShortenClaims {
    /// The clock.
    pub now: Timestamp,
}

/// How long a command may take to end once its server is gone, and some time, in seconds.
const LAST_GASP_S: u64 = 15;

impl WriteItem for ShortenClaims {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for resource in db::action::claimed_resources(tx.conn()).await? {
            let found = db::terms::find(tx.conn(), &resource).await?;
            let provisioner = found.map(|found| found.terms.terms.provisioner);
            if let Some(Provisioner::Exec { .. }) = provisioner {
                let until = self.now.plus_s(LAST_GASP_S);
                db::action::shorten_claims(tx.conn(), &resource, until).await?;
            }
        }
        Ok(())
    }
}

impl WriteItem for ClaimActions {
    type Out = Vec<Claimed>;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Vec<Claimed>, DbError> {
        let due = db::action::due(tx.conn(), &self.busy, self.now, self.most).await?;
        let mut room = self.room.clone();
        let mut known: HashMap<String, Provisioner> = HashMap::new();
        let mut claimed = Vec::new();
        for row in due {
            let left = room.entry(row.resource.clone()).or_insert(self.each);
            if *left == 0 {
                continue;
            }
            *left -= 1;
            if !known.contains_key(&row.resource) {
                let found = db::terms::find(tx.conn(), &row.resource).await?;
                let provisioner = found.map(|found| found.terms.terms.provisioner);
                known.insert(row.resource.clone(), provisioner.unwrap_or_default());
            }
            let provisioner = known[&row.resource].clone();
            let until = self.now.plus_s(provisioner.timeout_s() + MARGIN_S);
            let corrupt = || DbError::corrupt("action", "subject", &row.id);
            let lease = db::lease::find(tx.conn(), &row.subject).await?.ok_or_else(corrupt)?;
            let paid_until = paid_until(&lease, row.action, self.now);
            if db::action::claim(tx.conn(), &row, (self.now, until), paid_until).await? {
                let tried_at = row.tried_at.or(Some(self.now));
                let told_until = row.told_until.or(paid_until);
                let row = ActionRow { attempt: row.attempt + 1, tried_at, told_until, ..row };
                claimed.push(Claimed { row, provisioner, lease, paid_until });
            }
        }
        Ok(claimed)
    }
}
