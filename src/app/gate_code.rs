//! A browser gets in with a code that its holder made: valid for a minute, on any server, once.

use crate::db::gate_code::GateCode;
use crate::db::{self, Tx, WriteItem};
use crate::domain::bearer::token_hash;
use crate::domain::ids::LeaseId;
use crate::domain::time::Timestamp;

use super::AppError;

/// How long a code may be used, in seconds.
pub const VALID_S: u64 = 60;

/// Stores a new code. Whether the lease runs, the caller has seen.
pub struct MakeCode {
    /// The lease.
    pub lease: LeaseId,
    /// Its generation.
    pub generation: u32,
    /// How often the token of its claim had been replaced when the holder was known by it.
    pub rotations: u32,
    /// SHA-256 of the code, in hex.
    pub code_hash: String,
    /// The clock.
    pub now: Timestamp,
}

impl WriteItem for MakeCode {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        db::gate_code::forget(tx.conn(), self.now).await?;
        let code = GateCode {
            lease: self.lease.clone(),
            generation: self.generation,
            rotations: self.rotations,
            expires_at: self.now.plus_s(VALID_S),
        };
        Ok(db::gate_code::insert(tx.conn(), &self.code_hash, &code).await?)
    }
}

/// Uses a code up; what it opens, `None` when it is not known, was used, or is over.
pub struct UseCode {
    /// SHA-256 of the code, in hex.
    code_hash: String,
    /// The resource that is entered.
    resource: String,
    /// The clock.
    now: Timestamp,
}

impl UseCode {
    /// Uses `code` for `resource`.
    pub fn new(code: &str, resource: &str, now: Timestamp) -> Self {
        Self { code_hash: token_hash(code), resource: resource.to_owned(), now }
    }

    /// Whether it opens anything, without using it up: a stranger's guesses write nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn look(&self, conn: &mut db::Conn) -> Result<bool, db::DbError> {
        let found = db::gate_code::find(conn, &self.code_hash, &self.resource).await?;
        Ok(found.is_some_and(|code| code.expires_at > self.now))
    }
}

impl WriteItem for UseCode {
    type Out = Option<GateCode>;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Option<GateCode>, AppError> {
        let found = db::gate_code::find(tx.conn(), &self.code_hash, &self.resource).await?;
        let Some(code) = found.filter(|code| code.expires_at > self.now) else { return Ok(None) };
        let first = db::gate_code::remove(tx.conn(), &self.code_hash).await?;
        Ok(first.then_some(code))
    }
}
