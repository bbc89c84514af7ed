//! API keys of operators are made and revoked.

use serde_json::Value;

use crate::db::api_key::ApiKey;
use crate::db::{self, Tx, WriteItem};
use crate::domain::ids::base32;
use crate::domain::time::Timestamp;

use super::idempotent::{self, Key};
use super::{AppError, Code, Refusal, random_128};

/// Makes a key. The caller keeps the token; only its hash comes here.
pub struct CreateKey {
    /// A name for people.
    pub name: String,
    /// What it may do: some of `read`, `manage`, `payout`, `admin`, separated by spaces.
    pub scopes: String,
    /// SHA-256 of the token, in hex.
    pub token_hash: String,
    /// The caller's Idempotency-Key.
    pub key: Option<Key>,
    /// The clock.
    pub now: Timestamp,
    /// Who makes it.
    pub actor: String,
}

impl WriteItem for CreateKey {
    type Out = ApiKey;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<ApiKey, AppError> {
        let asked_before = idempotent::find(tx, self.key.as_ref()).await?.is_some();
        // The bootstrap key is made again at each start: the same key is the same row.
        if let Some(known) = db::api_key::find_by_hash(tx.conn(), &self.token_hash).await? {
            if asked_before {
                return Ok(ApiKey { used_at: None, revoked_at: None, ..known });
            }
            if self.key.is_some() && known.revoked_at.is_some() {
                let detail = "this Idempotency-Key made a key that was revoked; use a fresh one";
                return Err(Refusal::new(Code::IdempotencyKeyReused, detail).into());
            }
            return Ok(known);
        }
        let key = ApiKey {
            id: format!("akey_{}", base32(&random_128())),
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            created_at: self.now,
            used_at: None,
            revoked_at: None,
        };
        db::api_key::insert(tx.conn(), &key, &self.token_hash).await?;
        let entry = (self.actor.as_str(), "key.create", key.id.as_str(), key.scopes.as_str());
        db::audit_log::insert(tx.conn(), self.now, entry).await?;
        if !asked_before {
            idempotent::keep(tx, self.key.as_ref(), 201, Value::Null, self.now).await?;
        }
        Ok(key)
    }
}

/// Revokes a key; it is refused from now on.
pub struct RevokeKey {
    /// The key's id.
    pub id: String,
    /// The clock.
    pub now: Timestamp,
    /// Who revokes it.
    pub actor: String,
}

impl WriteItem for RevokeKey {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        let known = db::api_key::list(tx.conn()).await?;
        if !known.iter().any(|key| key.id == self.id) {
            let detail = format!("there is no API key {}; list them first", self.id);
            return Err(Refusal::new(Code::NotFound, detail).into());
        }
        if db::api_key::revoke(tx.conn(), &self.id, self.now).await? {
            let entry = (self.actor.as_str(), "key.revoke", self.id.as_str(), "");
            db::audit_log::insert(tx.conn(), self.now, entry).await?;
        }
        Ok(())
    }
}

/// Notes that a key was used.
pub struct KeyUsed {
    /// The key's id.
    pub id: String,
    /// The clock.
    pub now: Timestamp,
}

impl WriteItem for KeyUsed {
    type Out = ();
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<(), AppError> {
        Ok(db::api_key::used(tx.conn(), &self.id, self.now).await?)
    }
}
