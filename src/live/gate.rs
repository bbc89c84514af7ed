//! The running leases of this node in memory, so that the gate answers without the database.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::db::lease::LeaseRow;
use crate::db::{self, Conn, DbError};
use crate::domain::lease::fold::Phase;
use crate::domain::time::Timestamp;

/// Leases loaded at a time.
const PAGE: u32 = 1000;

/// What the gate knows of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The resource's id.
    pub resource: String,
    /// The generation that runs.
    pub generation: u32,
    /// Until when it is paid.
    pub paid_until: Timestamp,
    /// How far ahead it may be used.
    pub max_duration_s: u64,
}

#[derive(Debug, Default)]
struct Inner {
    passes: HashMap<String, Pass>,
    heard_at: Option<Timestamp>,
}

/// The leases that open the gate, by id.
#[derive(Clone, Debug, Default)]
pub struct GateMap(Arc<RwLock<Inner>>);

fn pass(row: &LeaseRow) -> Option<Pass> {
    let standing = &row.doc.standing;
    let running = standing.phase == Phase::Live && standing.suspended_at.is_none();
    Some(Pass {
        resource: row.facts.resource.clone(),
        generation: standing.generation,
        paid_until: standing.paid_until.filter(|_| running)?,
        max_duration_s: standing.max_duration_s,
    })
}

impl GateMap {
    /// Loads every running lease.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn fill(&self, conn: &mut Conn) -> Result<(), DbError> {
        let mut after = String::new();
        loop {
            let rows = db::lease::list_running(conn, None, &after, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.facts.id.to_string();
            let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
            for row in &rows {
                if let Some(pass) = pass(row) {
                    inner.passes.insert(row.facts.id.to_string(), pass);
                }
            }
        }
    }

    /// Loads one lease again after something happened to it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn refresh(&self, conn: &mut Conn, lease: &str) -> Result<(), DbError> {
        let row = db::lease::find(conn, lease).await?;
        self.put(lease, row.as_ref());
        Ok(())
    }

    /// What is known of a lease changes at once, before the log says so.
    pub fn put(&self, lease: &str, row: Option<&LeaseRow>) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match row.and_then(pass) {
            Some(pass) => inner.passes.insert(lease.to_owned(), pass),
            None => inner.passes.remove(lease),
        };
    }

    /// Everything up to `at` was heard.
    pub fn heard(&self, at: Timestamp) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).heard_at = Some(at);
    }

    /// The last moment up to which everything was heard.
    pub fn heard_at(&self) -> Option<Timestamp> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).heard_at
    }

    /// The lease, if its time runs at `now`.
    pub fn find(&self, lease: &str, now: Timestamp) -> Option<Pass> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.passes.get(lease).filter(|pass| now < pass.paid_until).cloned()
    }
}
