//! How many requests a source may make: a small budget for what creates, a larger one for the
//! rest. A source that many people share has ten times as much of both.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::extract::{Request, State};
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
const SHARED_FACTOR: u64 = 10;
/// Sources remembered; beyond that, those with a full budget are forgotten.
const MOST_SOURCES: usize = 50_000;
const MINUTE_US: u64 = 60_000_000;

/// A budget that fills up evenly: what was spent of a minute, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    spent_us: u64,
    at: Timestamp,
}

/// Budgets by source.
#[derive(Debug)]
pub struct Limits {
    create_per_minute: u64,
    buckets: Mutex<HashMap<(String, bool), Bucket>>,
}

impl Limits {
    /// With so many creating requests a minute.
    pub fn new(create_per_minute: u32) -> Self {
        Self { create_per_minute: create_per_minute.into(), buckets: Mutex::default() }
    }

    /// Takes one request out of the budget; the seconds to wait when it is used up.
    fn take(&self, source: &Source, creates: bool, now: Timestamp) -> Result<(), u64> {
        let factor = if source.shared { SHARED_FACTOR } else { 1 };
        let others = if creates { 1 } else { OTHERS_FACTOR };
        let budget = (self.create_per_minute * others * factor).max(1);
        // Each request costs its share of a minute; the bucket holds a minute. Microseconds, so
        // that large budgets are exact.
        let cost = MINUTE_US.div_ceil(budget);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_SOURCES {
            buckets.retain(|_, bucket| spent(bucket, now) > 0);
        }
        let bucket = buckets
            .entry((source.name.clone(), creates))
            .or_insert(Bucket { spent_us: 0, at: now });
        let used = spent(bucket, now);
        if used + cost > MINUTE_US {
            return Err((used + cost - MINUTE_US).div_ceil(1_000_000).max(1));
        }
        *bucket = Bucket { spent_us: used + cost, at: now };
        Ok(())
    }
}

fn spent(bucket: &Bucket, now: Timestamp) -> u64 {
    let passed = u64::try_from(now.millis() - bucket.at.millis()).unwrap_or(0) * 1000;
    bucket.spent_us.saturating_sub(passed)
}

fn creates(request: &Request) -> bool {
    let path = request.uri().path();
    let ending = ["/leases", "/invoices", "/donations", "/bids", "/investments"];
    request.method() == Method::POST
        && path.starts_with("/v1/")
        && ending.iter().any(|end| path.ends_with(end))
}

/// Answers 429 with Retry-After when a source's budget is used up.
pub async fn limit(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let source = state.sources.find(&parts);
    let request = Request::from_parts(parts, body);
    match state.limits.take(&source, creates(&request), state.clock.now()) {
        Ok(()) => next.run(request).await,
        Err(seconds) => {
            let detail = format!("too many requests; try again in {seconds} s");
            Problem::from(Refusal::new(Code::RateLimited, detail))
                .retry_after(seconds)
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_used_up_and_fills_again_evenly() {
        let limits = Limits::new(10);
        let source = Source { name: "10.0.0.1".into(), shared: false };
        let now = Timestamp::from_secs(1000);
        assert!((0..10).all(|_| limits.take(&source, true, now).is_ok()));
        assert_eq!(limits.take(&source, true, now), Err(6));
        assert!(limits.take(&source, false, now).is_ok(), "reading has a budget of its own");
        assert!(limits.take(&source, true, now.plus_s(6)).is_ok());
        assert!(limits.take(&source, true, now.plus_s(6)).is_err());
        let shared = Source { shared: true, name: "10.0.0.2".into() };
        assert!((0..100).all(|_| limits.take(&shared, true, now).is_ok()));
        assert!(limits.take(&shared, true, now).is_err());
    }
}
