//! An operator signs in with an API key in a browser, and out again: the browser gets a token that
//! stands for the key, for a while. The audit log tells who did.

use crate::db::api_key::ApiKey;
use crate::db::{self, Conn, DbError, Tx, WriteItem};
use crate::domain::bearer::token_hash;
use crate::domain::time::Timestamp;

use super::AppError;

/// How long a browser stays signed in, in seconds: 12 hours.
pub const VALID_S: u32 = 12 * 3600;

/// The key that a browser's token stands for.
///
/// # Errors
/// Those of the database.
pub async fn signed_in(
    conn: &mut Conn,
    token: &str,
    now: Timestamp,
) -> Result<Option<ApiKey>, DbError> {
    db::operator_session::find(conn, &token_hash(token), now).await
}

/// Signs in. Whether the key is known, the caller has seen.
pub struct SignIn {
    /// SHA-256 of the browser's new token, in hex.
    pub token_hash: String,
    /// The session that this browser has already: it ends.
    pub before: Option<String>,
    /// The key's id.
    pub key: String,
    /// How the audit log names it.
    pub actor: String,
    /// The clock.
    pub now: Timestamp,
}

impl WriteItem for SignIn {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        if let Some(before) = &self.before {
            db::operator_session::remove(tx.conn(), before).await?;
        }
        let end = self.now.plus_s(VALID_S.into());
        db::operator_session::insert(tx.conn(), &self.token_hash, &self.key, (self.now, end))
            .await?;
        let entry = (self.actor.as_str(), "operator.sign-in", self.key.as_str(), "");
        Ok(db::audit_log::insert(tx.conn(), self.now, entry).await?)
    }
}

/// Signs out.
pub struct SignOut {
    /// This browser, by the SHA-256 of its token; `None` for all browsers of the key.
    pub token_hash: Option<String>,
    /// The key's id.
    pub key: String,
    /// How the audit log names it.
    pub actor: String,
    /// The clock.
    pub now: Timestamp,
}

impl WriteItem for SignOut {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        let what = match &self.token_hash {
            Some(hash) => {
                db::operator_session::remove(tx.conn(), hash).await?;
                "operator.sign-out"
            }
            None => {
                db::operator_session::remove_of_key(tx.conn(), &self.key).await?;
                "operator.sign-out-everywhere"
            }
        };
        let entry = (self.actor.as_str(), what, self.key.as_str(), "");
        Ok(db::audit_log::insert(tx.conn(), self.now, entry).await?)
    }
}
