//! Requests that create are answered once: the same key and body get the same answer again.
//! The answer is kept in the transaction that creates, without the claim token.

use serde_json::Value;

use crate::db::idempotency::Answer;
use crate::db::{self, Conn, Tx, WriteItem};
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
    answered(tx.conn(), key).await
}

/// As [`find`], for what cannot be computed a second time: asked before the transaction that
/// creates, which asks again.
pub async fn answered(conn: &mut Conn, key: Option<&Key>) -> Result<Option<Outcome>, AppError> {
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

/// A change that makes nothing to be answered with, done once: the same key again changes nothing
/// more.
pub struct Once<I> {
    /// The change.
    pub item: I,
    /// The caller's key; without one it is done each time.
    pub key: Option<Key>,
    /// The clock.
    pub now: Timestamp,
}

impl<I: WriteItem<Error = AppError>> WriteItem for Once<I> {
    /// `None` when it was done before.
    type Out = Option<I::Out>;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<Self::Out, AppError> {
        if find(tx, self.key.as_ref()).await?.is_some() {
            return Ok(None);
        }
        let done = self.item.run(tx).await?;
        keep(tx, self.key.as_ref(), 204, Value::Null, self.now).await?;
        Ok(Some(done))
    }
}
