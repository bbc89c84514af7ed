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

use super::tokens::Tokens;
use crate::db::running::Running;
use crate::domain::ids::LeaseId;
use crate::domain::jwk::VerifyingKey;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, TokenError};

/// `gate_max_staleness`: without a word from the database for so long the gate does not answer.
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
#[derive(Debug, Default)]
pub struct Gate {
    map: RwLock<Map>,
    tokens: Tokens,
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
    Token(#[from] TokenError),
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
        if map.heard_at.is_none_or(|at| at.elapsed() > MAX_STALENESS) {
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
        let claims = self.tokens.verify(token, keys, resource, now)?;
        let key = key(claims.sub.as_str()).ok_or(Closed::Lease)?;
        let map = self.read();
        let place = map.leases.get(&key).ok_or(Closed::Lease)?;
        let shared = usize::try_from(place.terms).ok().and_then(|at| map.terms.get(at));
        let shared = shared.filter(|shared| shared.resource == claims.aud).ok_or(Closed::Lease)?;
        if !place.open || place.generation != claims.generation || place.paid_until <= now {
            return Err(Closed::Lease);
        }
        let expires_at = place.paid_until.min(now.plus_s(shared.horizon_s));
        Ok(Pass { claims, expires_at })
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
                terms,
                open: row.state == LeaseState::Active,
            };
            map.leases.insert(key, place);
        }
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
mod tests {
    use secp256k1::SecretKey;

    use super::*;
    use crate::domain::jwk::SigningKey;
    use crate::domain::token::{Subject, sign};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn signing() -> SigningKey {
        SigningKey::new(SecretKey::from_slice(&[7; 32]).unwrap())
    }

    fn lease() -> LeaseId {
        LeaseId::new([9; 16])
    }

    fn token(resource: &str, generation: u32) -> String {
        let subject = Subject {
            lease: lease(),
            resource: resource.into(),
            generation,
            seq: 1,
            expires_at: NOW.plus_s(86_400),
        };
        sign(&Claims::new(subject, "http://shop.test", NOW, 3600, [1; 16]), &signing())
    }

    fn row(state: LeaseState, generation: u32, paid_until: Timestamp) -> Running {
        Running {
            lease: lease().to_string(),
            resource: "gpu".into(),
            state,
            generation,
            terms_version: 1,
            paid_until,
        }
    }

    fn gate(row: Running) -> Gate {
        let gate = Gate::default();
        gate.set_resources(["gpu", "mirror"].into_iter());
        gate.learn_terms("gpu", 1, 7200);
        gate.put(&[row]);
        gate.heard(Instant::now());
        gate
    }

    fn ask(gate: &Gate, resource: &str, token: &str, now: Timestamp) -> Result<Timestamp, Closed> {
        let passed = gate.check(Some(resource), token, &[signing().verifying()], now)?;
        assert_eq!(passed.claims.sub, lease());
        Ok(passed.expires_at)
    }

    #[test]
    fn an_active_lease_passes_until_its_time_is_over() {
        let until = NOW.plus_s(600);
        let gate = gate(row(LeaseState::Active, 1, until));
        let token = token("gpu", 1);
        assert_eq!(ask(&gate, "gpu", &token, NOW), Ok(until));
        let last = until.plus_millis(-1);
        assert_eq!(ask(&gate, "gpu", &token, last), Ok(until));
        assert_eq!(ask(&gate, "gpu", &token, until), Err(Closed::Lease), "the tick may be late");
    }

    #[test]
    fn it_says_no_further_ahead_than_the_horizon() {
        let gate = gate(row(LeaseState::Active, 1, NOW.plus_s(100_000)));
        assert_eq!(ask(&gate, "gpu", &token("gpu", 1), NOW), Ok(NOW.plus_s(7200)));
    }

    #[test]
    fn each_reason_to_refuse_is_told_apart() {
        let until = NOW.plus_s(600);
        let open = gate(row(LeaseState::Active, 2, until));
        assert_eq!(ask(&open, "gpu", &token("gpu", 1), NOW), Err(Closed::Lease), "generation");
        let wrong = Err(Closed::Token(TokenError::Resource));
        assert_eq!(ask(&open, "mirror", &token("gpu", 2), NOW), wrong);
        assert_eq!(ask(&open, "mirror", &token("mirror", 2), NOW), Err(Closed::Lease));
        assert_eq!(ask(&open, "nowhere", &token("gpu", 2), NOW), Err(Closed::UnknownResource));
        assert_eq!(ask(&open, "gpu", "x", NOW), Err(Closed::Token(TokenError::Form)));
        for state in [LeaseState::Grace, LeaseState::Suspended] {
            let gate = gate(row(state, 1, until));
            assert_eq!(ask(&gate, "gpu", &token("gpu", 1), NOW), Err(Closed::Lease), "{state:?}");
        }
        open.remove(&[lease().to_string()]);
        assert_eq!(ask(&open, "gpu", &token("gpu", 2), NOW), Err(Closed::Lease), "gone");
        assert!(open.is_empty());
    }

    #[test]
    fn a_gate_that_has_heard_nothing_for_five_seconds_does_not_answer() {
        let gate = gate(row(LeaseState::Active, 1, NOW.plus_s(600)));
        let token = token("gpu", 1);
        let ago = |time: Duration| Instant::now().checked_sub(time).unwrap();
        gate.heard(ago(MAX_STALENESS - Duration::from_secs(1)));
        assert!(ask(&gate, "gpu", &token, NOW).is_ok());
        gate.heard(ago(MAX_STALENESS));
        assert_eq!(ask(&gate, "gpu", &token, NOW), Err(Closed::Deaf));
        gate.heard(Instant::now());
        assert!(ask(&gate, "gpu", &token, NOW).is_ok());
        assert_eq!(Gate::default().knows(Some("gpu")), Err(Closed::Deaf), "before the first word");
    }

    #[test]
    fn a_lease_takes_forty_bytes() {
        assert!(size_of::<(Key, Place)>() <= 40);
    }
}
