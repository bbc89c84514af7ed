//! How many requests a source may make: `create_per_minute` that create something, and 120 times
//! as many others. A minute's worth may come at once and fills up evenly. A source that many
//! people share has ten times as much of both, unpaid holds included. Counted in memory, by node.
//! Health, metrics, the gate and operators are not counted, except API keys that are none of ours:
//! six times `create_per_minute`, as are codes for the gate, new claim tokens and changes of params.
//! Called by a layer, and by authentication.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::{Code, Refusal};
use crate::domain::time::Timestamp;

use super::source::Source;
use super::{HttpState, Problem};

/// How many more of the requests that do not create anything.
const OTHERS_FACTOR: u64 = 120;
/// How much more a shared source may do.
pub(super) const SHARED_FACTOR: u64 = 10;
/// Sources remembered; while there are as many, new ones share the budget of one.
const MOST_SOURCES: usize = 50_000;
/// How often it is tried to forget sources with a full budget, once there are too many.
const SWEEP_EVERY_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60_000_000;

/// Budgets by source.
#[derive(Debug)]
pub struct Limits {
    create_per_minute: u64,
    budgets: Mutex<Budgets>,
}

/// API keys that are none of ours, a minute, as a multiple.
const WRONG_KEYS_FACTOR: u64 = 6;

/// Codes for the gate, new claim tokens and changes of params, a minute, as a multiple.
const ACTS_FACTOR: u64 = 6;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Takes an address.
    Creates,
    /// Makes a code for the gate or a new claim token, or changes params.
    Acts,
    /// Everything else of customers.
    Other,
    /// An API key that is none of ours.
    WrongKey,
}

/// The source's name, and what it does.
type Key = (String, Kind);

/// Until when what each source did lasts, had it done it evenly, in microseconds (GCRA).
#[derive(Debug, Default)]
struct Budgets {
    used: HashMap<Key, i64>,
    swept_at: i64,
}

impl Limits {
    /// With so many creating requests a minute.
    pub fn new(create_per_minute: u32) -> Self {
        Self { create_per_minute: create_per_minute.into(), budgets: Mutex::default() }
    }

    /// Takes one request out of the budget; the seconds to wait when it is used up.
    pub(super) fn take(&self, source: &Source, kind: Kind, now: Timestamp) -> Result<(), u64> {
        let factor = if source.shared { SHARED_FACTOR } else { 1 };
        let of_kind = match kind {
            Kind::Creates => 1,
            Kind::Acts => ACTS_FACTOR,
            Kind::Other => OTHERS_FACTOR,
            Kind::WrongKey => WRONG_KEYS_FACTOR,
        };
        let budget = (self.create_per_minute * of_kind * factor).max(1);
        let cost = (MINUTE_US / i64::try_from(budget).unwrap_or(MINUTE_US)).max(1);
        let now = now.millis().saturating_mul(1000);
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let used = budgets.entry((source.name.clone(), kind), now);
        // A clock that was set back must not shut anybody out.
        let from = if *used > now + MINUTE_US { now } else { (*used).max(now) };
        let too_much = from + cost - now - MINUTE_US;
        if too_much > 0 {
            return Err(u64::try_from(too_much).unwrap_or(0).div_ceil(1_000_000).max(1));
        }
        *used = from + cost;
        Ok(())
    }
}

impl Budgets {
    fn entry(&mut self, mut key: Key, now: i64) -> &mut i64 {
        if self.used.len() >= MOST_SOURCES && !self.used.contains_key(&key) {
            if (now - self.swept_at).abs() >= SWEEP_EVERY_US {
                self.used.retain(|_, used| *used > now);
                self.swept_at = now;
            }
            if self.used.len() >= MOST_SOURCES {
                key.0.clear();
            }
        }
        self.used.entry(key).or_insert(now)
    }
}

/// Calls that take an address, and those that make a token or work for a provisioner, are counted
/// apart. They are told by their routes' patterns: a path holds ids, which may be any word.
fn kind(method: &Method, pattern: &str) -> Kind {
    let call = ["/leases", "/invoices", "/donations", "/bids", "/investments"];
    let of_api = pattern.starts_with("/v1/") && call.iter().any(|end| pattern.ends_with(end));
    match (method, pattern) {
        (&Method::POST, "/resources/{id}" | "/leases/{id}/more") => Kind::Creates,
        (&Method::POST, _) if of_api => Kind::Creates,
        (&Method::POST, "/v1/leases/{id}/gate-code" | "/v1/leases/{id}/rotate-claim") => Kind::Acts,
        (&Method::POST, "/leases/{id}/open" | "/leases/{id}/rotate" | "/leases/{id}/params") => {
            Kind::Acts
        }
        (&Method::PATCH, "/v1/leases/{id}") => Kind::Acts,
        _ => Kind::Other,
    }
}

/// Answers 429 with Retry-After when a source's budget is used up.
pub async fn limit(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let source = state.sources.find(request.headers(), request.extensions());
    let pattern = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    match state.limits.take(&source, kind(request.method(), pattern), state.clock.now()) {
        Ok(()) => next.run(request).await,
        Err(seconds) => too_many("requests", seconds).into_response(),
    }
}

/// Too many of `what` from one source.
pub(super) fn too_many(what: &str, seconds: u64) -> Problem {
    let detail = format!("too many {what}; try again in {seconds} s");
    Problem::from(Refusal::new(Code::RateLimited, detail)).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn source(name: &str) -> Source {
        Source { name: name.into(), shared: false }
    }

    fn until_refused(limits: &Limits, source: &Source, kind: Kind, now: Timestamp) -> u64 {
        (0..).find(|_| limits.take(source, kind, now).is_err()).unwrap()
    }

    #[test]
    fn a_budget_is_used_up_and_fills_again_evenly() {
        let (limits, one) = (Limits::new(10), source("10.0.0.1"));
        assert_eq!(until_refused(&limits, &one, Kind::Creates, NOW), 10);
        assert_eq!(limits.take(&one, Kind::Creates, NOW), Err(6));
        assert_eq!(limits.take(&one, Kind::Creates, NOW.plus_millis(5001)), Err(1));
        assert!(limits.take(&one, Kind::Creates, NOW.plus_s(6)).is_ok());
        assert_eq!(limits.take(&one, Kind::Creates, NOW.plus_s(6)), Err(6));
        assert_eq!(until_refused(&limits, &source("10.0.0.2"), Kind::Creates, NOW), 10);
    }

    #[test]
    fn whatever_a_resource_is_called_asking_for_it_creates() {
        use Kind::{Acts, Creates, Other};
        let post = Method::POST;
        for (pattern, expected) in [
            ("/resources/{id}", Creates),
            ("/resources/{id}/price", Other),
            ("/leases/{id}/more", Creates),
            ("/leases/{id}/rotate", Acts),
            ("/leases/{id}/params", Acts),
            ("/claim", Other),
            ("/v1/leases", Creates),
            ("/v1/leases/{id}/invoices", Creates),
            ("/v1/leases/{id}/gate-code", Acts),
        ] {
            assert_eq!(kind(&post, pattern), expected, "{pattern}");
        }
        assert_eq!(kind(&Method::PATCH, "/v1/leases/{id}"), Acts);
        assert_eq!(kind(&Method::GET, "/leases/{id}/params"), Other);
    }

    #[test]
    fn reading_has_a_larger_budget_and_a_shared_source_more_of_both() {
        let limits = Limits::new(10);
        let shared = Source { shared: true, name: "10.0.0.9".into() };
        assert_eq!(until_refused(&limits, &source("10.0.0.1"), Kind::Other, NOW), 1200);
        assert_eq!(until_refused(&limits, &shared, Kind::Creates, NOW), 100);
        assert_eq!(until_refused(&limits, &shared, Kind::Other, NOW), 12_000);
    }

    #[test]
    fn wrong_keys_have_a_budget_of_their_own_that_looking_does_not_use_up() {
        let (limits, one) = (Limits::new(10), source("10.0.0.1"));
        for _ in 0..100 {
            limits.take(&one, Kind::Other, NOW).unwrap();
        }
        assert_eq!(until_refused(&limits, &one, Kind::WrongKey, NOW), 60);
        assert_eq!(limits.take(&one, Kind::WrongKey, NOW), Err(1));
        assert!(limits.take(&one, Kind::Creates, NOW).is_ok());
        assert!(limits.take(&one, Kind::WrongKey, NOW.plus_s(1)).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let (limits, one) = (Limits::new(10), source("10.0.0.1"));
        until_refused(&limits, &one, Kind::Creates, NOW);
        assert!(limits.take(&one, Kind::Creates, NOW.minus_s(3600)).is_ok());
    }

    #[test]
    fn sources_beyond_what_is_remembered_share_one_budget() {
        let limits = Limits::new(10);
        for n in 0..MOST_SOURCES {
            limits.take(&source(&n.to_string()), Kind::Creates, NOW).unwrap();
        }
        assert_eq!(until_refused(&limits, &source("a"), Kind::Creates, NOW), 10);
        assert_eq!(until_refused(&limits, &source("b"), Kind::Creates, NOW), 0);
        assert!(limits.take(&source("b"), Kind::Creates, NOW.plus_s(60)).is_ok());
        let left = limits.budgets.lock().unwrap().used.len();
        assert!(left < 10, "{left} sources whose budget is full again were kept");
    }
}
