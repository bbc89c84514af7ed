//! What happened to a thing, by the event log and by what operators did; cut where it is long.

use crate::app::AppError;
use crate::db::{self, Conn, Db, DbError};
use crate::domain::ids::LeaseId;
use crate::domain::time::Timestamp;

/// So much of a history is shown: of each thing in it, events and acts, and of things.
pub const MOST_EVENTS: u32 = 200;
/// See [`MOST_EVENTS`].
pub const MOST_SUBJECTS: usize = 100;

/// One line of a history.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// What: the type of an event, or what an operator did.
    pub what: String,
    /// To what.
    pub subject: String,
    /// The operator, for what one did.
    pub by: Option<String>,
    /// The event's id, for an event.
    pub event: Option<String>,
    /// More, as words.
    pub detail: String,
}

/// What happened to some things.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Oldest first.
    pub lines: Vec<Happened>,
    /// True when there is more than [`MOST_EVENTS`] of one thing, or more than [`MOST_SUBJECTS`].
    pub cut: bool,
}

/// Everything that the log and the operators say of some things.
///
/// # Errors
/// Those of the database.
pub async fn history(db: &Db, subjects: &[String]) -> Result<History, AppError> {
    let mut conn = db.read().await?;
    let mut all = History { cut: subjects.len() > MOST_SUBJECTS, ..History::default() };
    for subject in subjects.iter().take(MOST_SUBJECTS) {
        all.add_events(&mut conn, subject, None).await?;
        all.add_acts(&mut conn, subject).await?;
    }
    all.lines.sort_by_key(|line| line.at);
    Ok(all)
}

impl History {
    /// The newest events about `subject`, those with `part` in them if that is given.
    async fn add_events(
        &mut self,
        conn: &mut Conn,
        subject: &str,
        part: Option<&str>,
    ) -> Result<(), DbError> {
        let mut filter = db::event::Filter::about(subject);
        filter.mentions = part.map(str::to_owned);
        let events = db::event::newest(conn, &filter, None, MOST_EVENTS + 1).await?;
        self.add(events, |event| Happened {
            at: Timestamp::from_millis(event.at),
            detail: words(&event.data),
            what: event.kind,
            subject: event.subject,
            by: None,
            event: Some(event.id),
        });
        Ok(())
    }

    async fn add_acts(&mut self, conn: &mut Conn, subject: &str) -> Result<(), DbError> {
        let acts = db::audit_log::newest(conn, subject, None, MOST_EVENTS + 1).await?;
        self.add(acts, |act| Happened {
            at: act.happened_at,
            what: act.action,
            subject: act.subject,
            by: Some(act.actor),
            event: None,
            detail: act.detail,
        });
        Ok(())
    }

    /// Rows that come newest first, one more than is shown.
    fn add<R>(&mut self, mut rows: Vec<R>, show: impl Fn(R) -> Happened) {
        let most = usize::try_from(MOST_EVENTS).unwrap_or(usize::MAX);
        self.cut |= rows.len() > most;
        rows.truncate(most);
        // In their order within a moment.
        self.lines.extend(rows.into_iter().rev().map(show));
    }
}

/// What of a lease's history concerns one of its payments or invoices, and what was done to that
/// itself.
///
/// # Errors
/// Those of the database.
pub async fn history_of_part(
    db: &Db,
    id: &str,
    lease: Option<&LeaseId>,
) -> Result<History, AppError> {
    let mut conn = db.read().await?;
    let mut all = History::default();
    all.add_events(&mut conn, id, None).await?;
    all.add_acts(&mut conn, id).await?;
    if let Some(lease) = lease {
        all.add_events(&mut conn, lease.as_str(), Some(id)).await?;
    }
    all.lines.sort_by_key(|line| line.at);
    Ok(all)
}

/// What is said of events elsewhere than in their words.
const ELSEWHERE: [&str; 5] = ["lease", "invoice", "resource", "state", "vout"];

/// The plain values of an event's data: `amount_sat 1000, height 7`.
pub fn words(data: &serde_json::Value) -> String {
    let fields = data.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| !ELSEWHERE.contains(&name.as_str()));
    let plain = fields.filter_map(|(name, value)| match value {
        serde_json::Value::String(text) => Some(format!("{name} {text}")),
        serde_json::Value::Number(number) => Some(format!("{name} {number}")),
        _ => None,
    });
    plain.collect::<Vec<_>>().join(", ")
}
