//! Requests that create are answered once: the same key and body get the same answer again.
//! The answer is kept in the transaction that creates, without the claim token.

use serde_json::Value;

use crate::db::idempotency::Answer;
use crate::db::{self, Conn, Tx};
use crate::domain::time::Timestamp;

use super::{AppError, Code, Refusal};

/// A caller's Idempotency-Key, hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// SHA-256 of the key, in hex.
    pub key_hash: String,
    /// SHA-256 of endpoint and body, in hex.
    pub body_hash: String,
}

/// What a creating use case answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// HTTP status.
    pub status: u16,
    /// The JSON, without secrets.
    pub body: Value,
    /// True when it was answered before.
    pub replayed: bool,
}

/// The answer given to this key before.
pub async fn find(tx: &mut Tx, key: Option<&Key>) -> Result<Option<Outcome>, AppError> {
    kept(tx.conn(), key).await
}

/// The same for whoever has to know before there is anything to write. That nobody is quicker, only
/// [`find`] can say.
pub async fn kept(conn: &mut Conn, key: Option<&Key>) -> Result<Option<Outcome>, AppError> {
    let Some(key) = key else { return Ok(None) };
    let Some(answer) = db::idempotency::find(conn, &key.key_hash).await? else {
        return Ok(None);
    };
    if answer.body_hash != key.body_hash {
        let detail = "this Idempotency-Key was used for another request; use a fresh one";
        return Err(Refusal::new(Code::IdempotencyKeyReused, detail).into());
    }
    let body = serde_json::from_str(&answer.answer)
        .map_err(|_| db::DbError::corrupt("idempotency", "answer", &key.key_hash))?;
    Ok(Some(Outcome { status: answer.status, body, replayed: true }))
}

/// Keeps an answer for the next time.
pub async fn keep(
    tx: &mut Tx,
    key: Option<&Key>,
    status: u16,
    body: Value,
    now: Timestamp,
) -> Result<Outcome, AppError> {
    if let Some(key) = key {
        let answer = Answer { body_hash: key.body_hash.clone(), status, answer: body.to_string() };
        db::idempotency::insert(tx.conn(), &key.key_hash, &answer, now).await?;
    }
    Ok(Outcome { status, body, replayed: false })
}
