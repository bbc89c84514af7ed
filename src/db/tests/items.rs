//! Write items with which the tests try the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::StreamExt;

use crate::db::{Db, DbError, NewEvent, Tx, WriteItem, event, meta};

/// The error of a use case: refused by its own rules, or a failure of the database.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("refused")]
    Refused,
    #[error("the database failed")]
    Db(#[from] DbError),
}

/// An event about `subject`.
pub fn event_of(id: impl ToString, subject: &str) -> NewEvent {
    NewEvent {
        id: format!("evt_{}", id.to_string()),
        kind: "test.happened",
        at: 1_700_000_000_000,
        subject: subject.into(),
        resource: None,
        data: serde_json::json!({ "note": "ok" }),
    }
}

/// Writes a row of `meta` and an event.
pub struct Put(pub String);

impl WriteItem for Put {
    type Out = String;
    type Error = Trouble;

    async fn run(&self, tx: &mut Tx) -> Result<String, Trouble> {
        meta::record(tx, &self.0, "put").await?;
        tx.event(event_of(&self.0, &self.0));
        Ok(self.0.clone())
    }
}

/// What else an item may do.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// Reads, collects an event, refuses.
    Refuse,
    /// Changes a row that is not there, then refuses.
    RefuseAfterNoRow,
    /// Writes, then refuses: against the rules.
    RefuseAfterWrite,
    /// Runs a statement that violates a key.
    Violate,
    /// The same, but hides it.
    ViolateAndHide,
    /// Drops a statement before its end.
    Abandon,
    /// Writes, then panics.
    Panic,
    /// Only reads.
    Read,
}

/// Does `deed`, counting how often it is run.
pub struct Do(pub Deed, pub Arc<AtomicU32>);

impl Do {
    /// The item and the counter of its runs.
    pub fn counted(deed: Deed) -> (Do, Arc<AtomicU32>) {
        let runs = Arc::default();
        (Do(deed, Arc::clone(&runs)), runs)
    }
}

impl WriteItem for Do {
    type Out = ();
    type Error = Trouble;

    async fn run(&self, tx: &mut Tx) -> Result<(), Trouble> {
        self.1.fetch_add(1, Ordering::SeqCst);
        match self.0 {
            Deed::Read => {
                meta::find(tx, "nothing").await?;
                Ok(())
            }
            Deed::Refuse => {
                meta::find(tx, "nothing").await?;
                tx.event(event_of("refused", "refused"));
                Err(Trouble::Refused)
            }
            Deed::RefuseAfterNoRow => {
                assert!(!meta::remove(tx, "nothing").await?);
                Err(Trouble::Refused)
            }
            Deed::RefuseAfterWrite => {
                meta::record(tx, "must not stay", "").await?;
                Err(Trouble::Refused)
            }
            Deed::Violate => {
                violate(tx).await?;
                Ok(())
            }
            Deed::ViolateAndHide => {
                assert!(violate(tx).await.is_err());
                Ok(())
            }
            Deed::Abandon => {
                let mut rows = sqlx::query("SELECT 1 UNION ALL SELECT 2").fetch(tx.conn());
                assert!(rows.next().await.is_some());
                Ok(())
            }
            Deed::Panic => {
                meta::record(tx, "must not stay", "").await?;
                panic!("on purpose");
            }
        }
    }
}

async fn violate(tx: &mut Tx) -> Result<(), DbError> {
    sqlx::query("INSERT INTO write_lock (id, n) VALUES (1, 0)").execute(tx.conn()).await?;
    Ok(())
}

/// All events, checked to be numbered 1, 2, 3 …
pub async fn events(db: &Db) -> Vec<String> {
    let mut conn = db.read().await.unwrap();
    let events = event::list(&mut conn, 0, 100_000).await.unwrap();
    for (at, event) in (1..).zip(&events) {
        assert_eq!(event.seq, at, "the log has no gap");
    }
    events.into_iter().map(|event| event.id).collect()
}

/// The value of a row of `meta`.
pub async fn value(db: &Db, key: &str) -> Option<String> {
    meta::find(&mut db.read().await.unwrap(), key).await.unwrap()
}
