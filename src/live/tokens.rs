//! Lease tokens and gate sessions that were verified lately, by their hash: a proxy asks for the
//! same one at every request, and checking a signature costs more than all the rest. Bounded;
//! holds no token. Only the gate uses it. What a token is worth now is not kept here.

use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::domain::jwk::VerifyingKey;
use crate::domain::session::{self, Session};
use crate::domain::time::Timestamp;
use crate::domain::token::{self, Claims, Expected, TokenError};

/// Tokens kept in each half; the older half is dropped when the newer is full.
const HALF: usize = 8192;

type Hash = [u8; 32];

#[derive(Debug)]
struct Halves<C> {
    newer: FxHashMap<Hash, C>,
    older: FxHashMap<Hash, C>,
}

impl<C> Default for Halves<C> {
    fn default() -> Self {
        Self { newer: FxHashMap::default(), older: FxHashMap::default() }
    }
}

/// What was said by what was verified.
#[derive(Debug)]
pub(super) struct Known<C>(Mutex<Halves<C>>);

/// Lease tokens.
pub(super) type Tokens = Known<Claims>;
/// Gate sessions.
pub(super) type Sessions = Known<Session>;

impl<C> Default for Known<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl Sessions {
    /// What a session says, if one of `keys` signed it and it is for `resource`.
    pub fn verify(
        &self,
        text: &str,
        keys: &[VerifyingKey],
        resource: &str,
    ) -> Result<Session, TokenError> {
        let hash: Hash = Sha256::digest(text.as_bytes()).into();
        let session = match self.find(&hash) {
            Some(session) => session,
            None => {
                let session = session::verify(text, keys)?;
                self.keep(hash, session.clone());
                session
            }
        };
        if session.resource() == resource { Ok(session) } else { Err(TokenError::Resource) }
    }
}

impl Tokens {
    /// What a token says, if one of `keys` signed it, it is for `resource` (`None`: any) and its
    /// time is now.
    pub fn verify(
        &self,
        token: &str,
        keys: &[VerifyingKey],
        resource: Option<&str>,
        now: Timestamp,
    ) -> Result<Claims, TokenError> {
        let hash: Hash = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.find(&hash) {
            return check(claims, resource, now);
        }
        let expected = Expected { issuer: None, resource };
        let claims = token::verify(token, keys, expected, now)?;
        self.keep(hash, claims.clone());
        Ok(claims)
    }
}

impl<C: Clone> Known<C> {
    fn find(&self, hash: &Hash) -> Option<C> {
        let halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        halves.newer.get(hash).or_else(|| halves.older.get(hash)).cloned()
    }

    fn keep(&self, hash: Hash, said: C) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if halves.newer.len() >= HALF {
            halves.older = std::mem::take(&mut halves.newer);
        }
        halves.newer.insert(hash, said);
    }
}

/// What may differ from one time to the next. The start of its time has come for good.
fn check(claims: Claims, resource: Option<&str>, now: Timestamp) -> Result<Claims, TokenError> {
    if resource.is_some_and(|resource| claims.aud != resource) {
        return Err(TokenError::Resource);
    }
    if claims.expires_at() <= now {
        return Err(TokenError::Expired);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests;
