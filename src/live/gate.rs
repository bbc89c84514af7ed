//! Who may pass, answered from memory: every running lease in some 40 bytes, filled at start and
//! kept by the event tail. Must never say yes from old news: when nothing was heard for a while
//! it does not answer. `GET /v1/gate/{resource}` asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use rustc_hash::FxHashMap;
// Measures silence; no stored moment comes from it.
use tokio::time::Instant;

use super::tokens::{Sessions, Tokens};
use crate::db::running::Running;
use crate::domain::ids::LeaseId;
use crate::domain::jwk::VerifyingKey;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, TokenError};

/// `gate_max_staleness` unless the configuration says otherwise.
pub const MAX_STALENESS: Duration = Duration::from_secs(5);

/// The random part of a lease's id.
type Key = [u8; 16];

fn key(lease: &str) -> Option<Key> {
    let text = lease.strip_prefix(LeaseId::PREFIX)?.to_ascii_uppercase();
    BASE32_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// A running lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    paid_until: Timestamp,
    generation: u32,
    rotations: u32,
    /// Its place in `terms`.
    terms: u32,
    /// Active: neither in grace nor suspended.
    open: bool,
}

/// What the leases of one version of a resource's terms share.
#[derive(Debug)]
struct Shared {
    resource: String,
    horizon_s: u64,
}

#[derive(Debug, Default)]
struct Map {
    leases: FxHashMap<Key, Place>,
    terms: Vec<Shared>,
    by_version: BTreeMap<String, BTreeMap<u32, u32>>,
    resources: BTreeSet<String>,
    heard_at: Option<Instant>,
}

/// The gate's memory.
#[derive(Debug)]
pub struct Gate {
    map: RwLock<Map>,
    tokens: Tokens,
    sessions: Sessions,
    max_staleness: Duration,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(MAX_STALENESS)
    }
}

/// A lease that may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// What its token says.
    pub claims: Claims,
    /// Until when it can be used, as things stand.
    pub expires_at: Timestamp,
}

/// Why somebody may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The token is not worth anything here.
    #[error("the lease token {0}")]
    Token(TokenError),
    /// The session in the cookie is not worth anything here.
    #[error("the session in the cookie is not for this site; come in anew from the lease's page")]
    Session,
    /// The lease has ended, its time is over, it is suspended, or it was paid anew since.
    #[error("the lease is not active; see its status")]
    Lease,
    /// No such resource.
    #[error("there is no such resource")]
    UnknownResource,
    /// Nothing was heard of changes for too long.
    #[error("this node has not heard of changes for too long; try again in some seconds")]
    Deaf,
}

impl Gate {
    /// One that does not answer without a word from the database for `max_staleness`.
    pub fn new(max_staleness: Duration) -> Self {
        Self {
            map: RwLock::default(),
            tokens: Tokens::default(),
            sessions: Sessions::default(),
            max_staleness,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `resource` exists and its changes are heard of: otherwise no answer is worth
    /// anything. `None`: any resource.
    ///
    /// # Errors
    /// [`Closed::Deaf`]; [`Closed::UnknownResource`].
    pub fn knows(&self, resource: Option<&str>) -> Result<(), Closed> {
        let map = self.read();
        if map.heard_at.is_none_or(|at| at.elapsed() > self.max_staleness) {
            return Err(Closed::Deaf);
        }
        match resource {
            Some(id) if !map.resources.contains(id) => Err(Closed::UnknownResource),
            _ => Ok(()),
        }
    }

    /// Whether the holder of `token` may use `resource` now. `None`: the one in the token.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(
        &self,
        resource: Option<&str>,
        token: &str,
        keys: &[VerifyingKey],
        now: Timestamp,
    ) -> Result<Pass, Closed> {
        self.knows(resource)?;
        let claims = self.tokens.verify(token, keys, resource, now).map_err(Closed::Token)?;
        let (expires_at, _) = self.end(&claims.sub, &claims.aud, claims.generation, now)?;
        Ok(Pass { claims, expires_at })
    }

    /// Whether the browser with `session` in its cookie may use `resource` now: the lease, and
    /// until when.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check_session(
        &self,
        resource: &str,
        session: &str,
        keys: &[VerifyingKey],
        now: Timestamp,
    ) -> Result<(LeaseId, Timestamp), Closed> {
        self.knows(Some(resource))?;
        let session = self.sessions.verify(session, keys, resource).map_err(|_| Closed::Session)?;
        let (expires_at, rotations) = self.end(&session.sub, resource, session.generation, now)?;
        if rotations != session.rotations {
            return Err(Closed::Session);
        }
        Ok((session.sub, expires_at))
    }

    /// Until when a generation of a lease can be used, as things stand, and how often the token of
    /// its claim was replaced.
    fn end(
        &self,
        lease: &LeaseId,
        resource: &str,
        generation: u32,
        now: Timestamp,
    ) -> Result<(Timestamp, u32), Closed> {
        let key = key(lease.as_str()).ok_or(Closed::Lease)?;
        let map = self.read();
        let place = map.leases.get(&key).ok_or(Closed::Lease)?;
        let shared = usize::try_from(place.terms).ok().and_then(|at| map.terms.get(at));
        let shared = shared.filter(|shared| shared.resource == resource).ok_or(Closed::Lease)?;
        if !place.open || place.generation != generation || place.paid_until <= now {
            return Err(Closed::Lease);
        }
        Ok((place.paid_until.min(now.plus_s(shared.horizon_s)), place.rotations))
    }

    /// Everything that was committed before `at` is in the map.
    pub(super) fn heard(&self, at: Instant) {
        self.write().heard_at = Some(at);
    }

    /// What resources there are.
    pub(super) fn set_resources<'a>(&self, resources: impl Iterator<Item = &'a str>) {
        self.write().resources = resources.map(str::to_owned).collect();
    }

    pub(super) fn knows_terms(&self, resource: &str, version: u32) -> bool {
        let map = self.read();
        map.by_version.get(resource).is_some_and(|versions| versions.contains_key(&version))
    }

    /// The horizon that leases with these terms have.
    pub(super) fn learn_terms(&self, resource: &str, version: u32, horizon_s: u64) {
        let mut map = self.write();
        let place = u32::try_from(map.terms.len()).unwrap_or(u32::MAX);
        map.terms.push(Shared { resource: resource.to_owned(), horizon_s });
        map.by_version.entry(resource.to_owned()).or_default().insert(version, place);
    }

    /// Puts running leases in. Their terms are known.
    pub(super) fn put(&self, running: &[Running]) {
        let mut map = self.write();
        for row in running {
            let versions = map.by_version.get(&row.resource);
            let terms = versions.and_then(|versions| versions.get(&row.terms_version)).copied();
            let (Some(key), Some(terms)) = (key(&row.lease), terms) else { continue };
            let place = Place {
                paid_until: row.paid_until,
                generation: row.generation,
                rotations: row.rotations,
                terms,
                open: row.state == LeaseState::Active,
            };
            map.leases.insert(key, place);
        }
    }

    /// Takes all leases out.
    pub(super) fn forget_leases(&self) {
        self.write().leases.clear();
    }

    /// Takes leases out that do not run any more.
    pub(super) fn remove(&self, leases: &[String]) {
        let mut map = self.write();
        for key in leases.iter().filter_map(|id| key(id)) {
            map.leases.remove(&key);
        }
    }

    /// How many leases run.
    pub fn len(&self) -> usize {
        self.read().leases.len()
    }

    /// True when no lease runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
