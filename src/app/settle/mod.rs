//! Settling a lease: load its facts, append what is due, and write the difference: events, the
//! ledger, units, the projection. Every change of a lease, by the chain, the clock, its holder
//! or the operator, goes through here, inside the caller's transaction.

mod fulfil;
mod outcome;
mod payments;
mod refunds;
mod units;

use std::collections::BTreeMap;

use crate::db::invoice::InvoiceRow;
use crate::db::lease::{LeaseRow, Next};
use crate::db::payment::{Announced, PaymentRow};
use crate::db::terms::Resource;
use crate::db::{self, DbError, NewEvent, Tx};
use crate::domain::fulfil::{Action, Told};
use crate::domain::ids::LeaseId;
use crate::domain::lease::advance::{self, World};
use crate::domain::lease::difference::difference;
use crate::domain::lease::fold::{Phase, Standing, fold};
use crate::domain::lease::prospects::Prospects;
use crate::domain::lease::snapshot::Snapshot;
use crate::domain::lease::{Entry, Facts, What};
use crate::domain::ledger;
use crate::domain::payment::PaymentState;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;

pub(crate) use fulfil::action_id;
pub use payments::SEND_AGAIN;
pub(crate) use units::free_unit;

use super::event;

/// What settling needs to know besides the facts.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The operator's rules.
    pub policy: Policy,
    /// The clock.
    pub now: Timestamp,
    /// Whether the node can be believed.
    pub trusted: bool,
}

/// A lease being settled.
struct Settling<'a> {
    ground: &'a Ground,
    row: LeaseRow,
    resource: Resource,
    facts: Facts,
    invoices: Vec<InvoiceRow>,
    payments: Vec<PaymentRow>,
    /// How the payments were stored.
    stored: Vec<(PaymentState, Announced)>,
    tip: u32,
    prospects: Prospects,
    moments: BTreeMap<u32, Timestamp>,
    /// Hashes of blocks by height, as far as they were asked for.
    hashes: BTreeMap<u32, Option<String>>,
    unmined_credit_sat: u64,
    standing: Standing,
    look: Snapshot,
    added: Vec<Entry>,
    events: Vec<NewEvent>,
    /// What the provisioner knows once it has done all that it was told.
    told: Told,
    tellings: Vec<fulfil::Telling>,
    /// True while its last life is being taken back: nothing new begins before.
    is_taken_back: bool,
    /// True when that begins now.
    releases: bool,
    /// The height at which more of what is owed can leave.
    settled_height: Option<u32>,
    /// True when more is due than one transaction should hold.
    unfinished: bool,
}

/// Entries that one transaction appends at most: somebody may pay with thousands of outputs.
const MOST_ENTRIES: usize = 200;

/// Settles `lease`. `action` is what its holder or the operator does to it, taken after all that
/// is due before it. Returns the lease as it stands, or `None` when there is none.
pub async fn settle(
    tx: &mut Tx,
    ground: &Ground,
    lease: &LeaseId,
    action: Option<What>,
) -> Result<Option<LeaseRow>, DbError> {
    let Some(mut settling) = Settling::load(tx, ground, lease).await? else { return Ok(None) };
    settling.announce_payments(tx).await?;
    // What is done to it comes after all that is due.
    let most = if action.is_some() { usize::MAX } else { MOST_ENTRIES };
    settling.take_due(tx, most).await?;
    if let Some(what) = action.filter(|what| settling.standing.allows(what)) {
        settling.push_now(what);
        settling.take_due(tx, most).await?;
    }
    if !settling.unfinished {
        let now = ground.now.max(settling.standing.last_at);
        let look = settling.standing.at(now);
        settling.tell(&look);
        settling.announce(look);
    }
    settling.write(tx).await.map(Some)
}

impl<'a> Settling<'a> {
    async fn load(
        tx: &mut Tx,
        ground: &'a Ground,
        lease: &LeaseId,
    ) -> Result<Option<Self>, DbError> {
        let conn = tx.conn();
        let Some(row) = db::lease::find(conn, lease.as_str()).await? else { return Ok(None) };
        let corrupt = || DbError::corrupt("lease", "resource", lease);
        let resource = db::terms::find(conn, &row.facts.resource).await?.ok_or_else(corrupt)?;
        let invoices = db::invoice::list_to_settle(conn, lease).await?;
        let payments = db::payment::list_of_lease(conn, lease).await?;
        let facts = Facts {
            lease: row.facts.clone(),
            terms: db::terms::history(conn, &row.facts.resource).await?,
            invoices: invoices.iter().map(|row| row.facts.clone()).collect(),
            payments: payments.iter().map(|row| row.facts.clone()).collect(),
            entries: db::entry::list(conn, lease).await?,
        };
        let standing = fold(&facts).ok_or_else(corrupt)?;
        let tip = db::chain::tip(conn).await?.map_or(0, |tip| tip.height);
        let prospects = Prospects::new(&facts, tip, &ground.policy);
        let at = (tip, &ground.policy);
        let heights = advance::heights_of_moments(&facts, &standing, &prospects, at);
        let moments = db::chain::moments(conn, heights).await?;
        let unmined_credit_sat = match ground.policy.zero_conf_max_exposure_sat {
            0 => 0,
            _ => db::payment::unmined_credit_sat(tx.conn(), lease).await?,
        };
        let release = (0, Action::Release);
        let is_taken_back = row.doc.told.over
            && db::action::is_open(tx.conn(), lease.as_str(), release, false).await?;
        Ok(Some(Self {
            ground,
            look: row.doc.announced.clone(),
            told: row.doc.told,
            row,
            resource,
            facts,
            invoices,
            stored: payments.iter().map(|row| (row.state, row.announced.clone())).collect(),
            payments,
            tip,
            prospects,
            moments,
            hashes: BTreeMap::new(),
            unmined_credit_sat,
            standing,
            added: Vec::new(),
            events: Vec::new(),
            tellings: Vec::new(),
            is_taken_back,
            releases: false,
            settled_height: None,
            unfinished: false,
        }))
    }

    fn with_world<T>(&self, ask: impl FnOnce(&World<'_>) -> T) -> T {
        let moments = |height: u32| self.moments.get(&height).copied();
        ask(&World {
            now: self.ground.now,
            tip: self.tip,
            policy: &self.ground.policy,
            prospects: &self.prospects,
            trusted: self.ground.trusted,
            closed_at: self.resource.closed_at(),
            moments: &moments,
            unmined_credit_sat: self.unmined_credit_sat,
        })
    }

    /// Appends everything that is due, and starts a generation when it can start. Stops after
    /// about `most` entries.
    async fn take_due(&mut self, tx: &mut Tx, most: usize) -> Result<(), DbError> {
        loop {
            while let Some(entry) =
                self.with_world(|world| advance::next_entry(&self.facts, &self.standing, world))
            {
                if self.added.len() >= most {
                    self.unfinished = true;
                    return Ok(());
                }
                self.push(entry);
            }
            if !self.start(tx).await? {
                return Ok(());
            }
        }
    }

    /// Appends an entry and announces what it changes.
    fn push(&mut self, entry: Entry) {
        let before = self.standing.at(entry.moment_at);
        self.announce(before.clone());
        self.standing.apply(&entry, &self.facts.terms);
        let after = self.standing.at(entry.moment_at);
        self.payment_event(&entry);
        self.look = before;
        self.tell(&after);
        self.announce(after);
        self.facts.entries.push(entry.clone());
        self.added.push(entry);
    }

    /// Writes the events that lead from the last look to `next`.
    fn announce(&mut self, next: Snapshot) {
        let at = self.ground.now;
        for kind in difference(&self.look, &next) {
            let data = serde_json::json!({
                "lease": self.row.facts.id,
                "resource": self.row.facts.resource,
                "state": next.state,
                "end_reason": next.end_reason,
                "generation": next.generation,
                "unit": self.standing.unit,
                "starts_at": next.starts_at,
                "paid_until": next.paid_until,
                "grace_until": next.grace_until,
            });
            let subject = self.row.facts.id.as_str();
            let resource = Some(self.row.facts.resource.as_str());
            self.events.push(event(kind, at, subject, resource, data));
        }
        self.look = next;
    }

    /// Writes everything: entries, payments, invoices, units, ledger, the projection, events.
    async fn write(mut self, tx: &mut Tx) -> Result<LeaseRow, DbError> {
        let id = self.row.facts.id.clone();
        for entry in &self.added {
            db::entry::insert(tx.conn(), &id, entry).await?;
        }
        self.write_payments(tx).await?;
        let invoices_changed = self.write_invoices(tx).await?;
        let unit = self.write_unit(tx).await?;
        self.write_actions(tx).await?;
        let now = self.ground.now.max(self.standing.last_at);
        let accounts = self.write_refunds(tx).await?;
        let books = self.standing.books(now).with_accounts(&accounts);
        let lines = ledger::lines(&self.row.doc.booked, &books);
        db::ledger::insert(tx.conn(), now, Some(&self.row.facts.resource), id.as_str(), &lines)
            .await?;
        let doc = self.projection(books, accounts, unit.is_some());
        let changed = outcome::changed(&self.row.doc, &doc) || unit != self.row.unit;
        let seq = self.row.seq + u64::from(changed);
        let next = self.next();
        db::lease::record(tx.conn(), &id, unit.as_deref(), seq, &doc, next).await?;
        // Not each change of a projection is an event, as when less came than was asked for.
        if self.events.is_empty() && (changed || invoices_changed) {
            tx.touch(&id);
        }
        for event in self.events.drain(..) {
            tx.event(event);
        }
        Ok(LeaseRow { unit, seq, doc, ..self.row })
    }

    /// When to look again.
    fn next(&self) -> Next {
        let (facts, standing) = (&self.facts, &self.standing);
        let waits = self.may_start()
            && advance::wants_start(facts, standing, &self.ground.policy).is_some();
        // What could not be taken now is looked at again as soon as it can be.
        let again = self.unfinished || !self.ground.trusted || self.releases;
        self.with_world(|world| Next {
            change_at: advance::next_change_at(facts, standing, world),
            height: match again {
                true => Some(0),
                false => {
                    let by_money = advance::next_height(facts, standing, world);
                    by_money.into_iter().chain(self.settled_height).min()
                }
            },
            waits_since: waits.then(|| self.waits_since()),
        })
    }

    /// Since when it has the money to start.
    fn waits_since(&self) -> Timestamp {
        self.standing.credits.last().map_or(self.ground.now, |line| line.credited_at)
    }

    fn wants_start(&self) -> Option<(u32, u32)> {
        advance::wants_start(&self.facts, &self.standing, &self.ground.policy)
            .filter(|_| self.resource.accepting() && self.ground.trusted && self.may_start())
    }

    /// Whether nothing of its last life is left.
    fn may_start(&self) -> bool {
        !self.is_taken_back && !self.releases
    }

    /// True while its money waits: for more of it, or for a unit.
    fn money_waits(&self) -> bool {
        matches!(self.standing.phase, Phase::Unfunded | Phase::Ended)
    }
}
