//! The one reader of the event log on a node: woken by commits, and by a slow poll in case no
//! word of one came. Tells the gate first, then wakes who follows what the events are about.
//! Never writes; forgets nothing when the database fails, it reads on from where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::readiness::ReadinessReceiver;
use crate::db::event::Event;
use crate::db::running::Running;
use crate::db::terms::Offer;
use crate::db::{self, Conn, DbError, Touched};

use super::{Live, Subject};

/// How often the log is read without a hint: what other nodes did is heard within this time.
const POLL: Duration = Duration::from_millis(500);
/// Events read at a time.
const PAGE: i64 = 500;
/// Running leases read at a time.
const RUNNING_PAGE: u32 = 1000;

/// Where the reader is.
pub(super) struct Tail {
    live: Live,
    /// The last event that was told on; `None` before the gate's map was filled.
    after: Option<i64>,
    offers: BTreeMap<String, Offer>,
    looked_at: Option<Instant>,
    fails: bool,
}

impl Tail {
    pub fn new(live: Live) -> Self {
        Self { live, after: None, offers: BTreeMap::new(), looked_at: None, fails: false }
    }

    pub async fn run(mut self, mut readiness: ReadinessReceiver) -> Infallible {
        let mut hint = self.live.inner.db.subscribe();
        let mut touched = self.live.inner.db.touched();
        loop {
            // What comes from here on is heard of in this step or the next.
            hint.mark_unchanged();
            let failed = self.step().await;
            self.report(failed.as_ref().err());
            let next = tokio::time::sleep(POLL);
            tokio::pin!(next);
            loop {
                let height = readiness.borrow_and_update().height();
                self.live
                    .inner
                    .tip
                    .send_if_modified(|tip| std::mem::replace(tip, height) != height);
                tokio::select! {
                    () = &mut next => break,
                    Ok(()) = hint.changed(), if failed.is_ok() => break,
                    Ok(()) = readiness.changed() => {}
                    touched = touched.recv() => self.nudge(touched.unwrap_or(Touched::Anything)),
                }
            }
        }
    }

    /// Wakes who follows what changed without an event.
    fn nudge(&self, touched: Touched) {
        let topics = &self.live.inner.topics;
        match touched {
            Touched::One(id) => topics.nudge(&Subject::id(&id)),
            Touched::Anything => topics.nudge_all(),
        }
    }

    fn report(&mut self, error: Option<&DbError>) {
        match error {
            Some(error) if !self.fails => {
                tracing::warn!(error = %error, "the event log cannot be read, trying again");
            }
            None if self.fails => tracing::info!("the event log can be read again"),
            _ => {}
        }
        self.fails = error.is_some();
    }

    /// As if the last look were long ago.
    #[cfg(test)]
    pub fn look_anew(&mut self) {
        self.looked_at = None;
    }

    /// Reads what is new and tells it on.
    pub async fn step(&mut self) -> Result<(), DbError> {
        let began = Instant::now();
        let live = self.live.clone();
        let mut conn = live.inner.db.read().await?;
        let mut after = match self.after {
            Some(after) => after,
            None => self.fill(&mut conn).await?,
        };
        loop {
            let events = db::event::list(&mut conn, after, PAGE).await?;
            let Some(last) = events.last() else { break };
            self.update_gate(&mut conn, &events).await?;
            live.inner.topics.publish(&events);
            after = last.seq;
            self.after = Some(after);
        }
        if self.looked_at.is_none_or(|at| began.duration_since(at) >= POLL) {
            after = self.hold_to_log(&mut conn, after).await?;
            self.look_at_offers(&mut conn).await?;
            self.looked_at = Some(began);
        }
        live.inner.gate.heard(began);
        live.inner.heard.send_if_modified(|seq| std::mem::replace(seq, after) != after);
        Ok(())
    }

    /// Reads all running leases. Events from before count as heard; those that happen meanwhile
    /// come after.
    async fn fill(&mut self, conn: &mut Conn) -> Result<i64, DbError> {
        let newest = db::event::last_seq(conn).await?;
        // What a look that failed halfway has put in may be over by now.
        self.live.inner.gate.forget_leases();
        let mut after = String::new();
        loop {
            let page = db::running::list(conn, &after, RUNNING_PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.lease);
            self.put(conn, page).await?;
        }
        self.after = Some(newest);
        Ok(newest)
    }

    /// Fewer events than were told on: a database took over that had not got the newest ones. What
    /// the gate knows from them never was.
    async fn hold_to_log(&mut self, conn: &mut Conn, after: i64) -> Result<i64, DbError> {
        if db::event::last_seq(conn).await? >= after {
            return Ok(after);
        }
        tracing::warn!(after, "the event log is shorter than it was; reading all leases again");
        self.after = None;
        let newest = self.fill(conn).await?;
        self.live.inner.topics.nudge_all();
        Ok(newest)
    }

    /// Reads again where the leases stand that `events` are about. The log says that something
    /// changed, the lease row says what.
    async fn update_gate(&self, conn: &mut Conn, events: &[Event]) -> Result<(), DbError> {
        let may_matter =
            |event: &&Event| event.kind.starts_with("lease.") || event.kind.starts_with("payment.");
        let lease_of = |event: &Event| {
            let named = event.data.get("lease").and_then(serde_json::Value::as_str);
            named.map_or_else(|| event.subject.clone(), str::to_owned)
        };
        let touched: BTreeSet<String> = events.iter().filter(may_matter).map(lease_of).collect();
        if touched.is_empty() {
            return Ok(());
        }
        let touched: Vec<String> = touched.into_iter().collect();
        let running = db::running::find(conn, &touched).await?;
        let over = |id: &&String| running.iter().all(|row| row.lease != **id);
        let over: Vec<String> = touched.iter().filter(over).cloned().collect();
        self.live.inner.gate.remove(&over);
        self.put(conn, running).await
    }

    async fn put(&self, conn: &mut Conn, running: Vec<Running>) -> Result<(), DbError> {
        let gate = &self.live.inner.gate;
        let terms: BTreeSet<(&str, u32)> =
            running.iter().map(|row| (row.resource.as_str(), row.terms_version)).collect();
        for (resource, version) in terms {
            if !gate.knows_terms(resource, version) {
                let history = db::terms::history(conn, resource).await?;
                let horizon_s =
                    history.version(version).map_or(0, |found| found.terms.max_duration_s);
                gate.learn_terms(resource, version, horizon_s);
            }
        }
        gate.put(&running);
        Ok(())
    }

    /// Resources are paused, changed and retired without an event.
    async fn look_at_offers(&mut self, conn: &mut Conn) -> Result<(), DbError> {
        let offers = db::terms::offers(conn).await?;
        let offers: BTreeMap<String, Offer> =
            offers.into_iter().map(|offer| (offer.resource.clone(), offer)).collect();
        if offers == self.offers {
            return Ok(());
        }
        self.live.inner.gate.set_resources(offers.keys().map(String::as_str));
        for (id, offer) in &offers {
            // At the first look, too: whoever follows may have read it before.
            if self.offers.get(id) != Some(offer) {
                self.live.inner.topics.nudge(&Subject::resource(id));
                self.live.inner.topics.nudge(&Subject::offer(id));
            }
        }
        self.offers = offers;
        Ok(())
    }
}
