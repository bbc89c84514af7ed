//! How many streams a source may have open, and all together: each costs memory for hours.
//! Counted in memory, by node. Called by whatever opens one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::app::{Code, Refusal};

use super::Problem;
use super::limits::SHARED_FACTOR;
use super::source::Source;

/// Streams of one source at a time; of a shared one ten times as many.
pub const STREAMS_PER_SOURCE: u64 = 50;
/// Streams at a time.
pub const MOST_STREAMS: u64 = 20_000;
/// When it may work again, in seconds: a guess.
const RETRY_AFTER_S: u64 = 30;

#[derive(Debug, Default)]
struct Counts {
    by_source: HashMap<String, u64>,
    all: u64,
}

/// The open streams of a node.
#[derive(Debug, Default)]
pub struct Streams(Mutex<Counts>);

/// One open stream; gives its place back when it is dropped.
#[derive(Debug)]
pub struct Place {
    streams: Arc<Streams>,
    source: String,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more stream of `source`.
    ///
    /// # Errors
    /// 429 when the source has too many, 503 when all together have.
    pub fn open(self: &Arc<Self>, source: &Source) -> Result<Place, Problem> {
        let most = STREAMS_PER_SOURCE * if source.shared { SHARED_FACTOR } else { 1 };
        let mut counts = self.lock();
        let own = counts.by_source.get(&source.name).copied().unwrap_or(0);
        let refused = if own >= most {
            let detail = format!("{own} streams are open from your address; close one first");
            Some(Refusal::new(Code::RateLimited, detail))
        } else if counts.all >= MOST_STREAMS {
            let detail = "too many streams are open here; ask without one meanwhile";
            Some(Refusal::new(Code::NotReady, detail))
        } else {
            None
        };
        if let Some(refusal) = refused {
            return Err(Problem::from(refusal).retry_after(RETRY_AFTER_S));
        }
        counts.by_source.insert(source.name.clone(), own + 1);
        counts.all += 1;
        metrics::gauge!("leasehold_streams").increment(1);
        Ok(Place { streams: Arc::clone(self), source: source.name.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.streams.lock();
        counts.all -= 1;
        if let Some(own) = counts.by_source.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                counts.by_source.remove(&self.source);
            }
        }
        metrics::gauge!("leasehold_streams").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, shared: bool) -> Source {
        Source { name: name.into(), shared }
    }

    fn until_refused(streams: &Arc<Streams>, source: &Source) -> Vec<Place> {
        std::iter::from_fn(|| streams.open(source).ok()).collect()
    }

    #[test]
    fn a_source_has_so_many_places_and_gets_them_back() {
        let streams = Arc::new(Streams::default());
        let one = source("10.0.0.1", false);
        let mut held = until_refused(&streams, &one);
        assert_eq!(held.len(), 50);
        let problem = streams.open(&one).unwrap_err();
        assert_eq!((problem.body().status, problem.body().code.as_str()), (429, "rate_limited"));
        assert!(streams.open(&source("10.0.0.2", false)).is_ok());
        held.pop();
        assert!(streams.open(&one).is_ok());
        assert_eq!(until_refused(&streams, &source("10.0.0.9", true)).len(), 500);
        drop(held);
        assert!(streams.lock().by_source.is_empty() && streams.lock().all == 0);
    }

    #[test]
    fn there_is_an_end_for_all_together() {
        let streams = Arc::new(Streams::default());
        let held: Vec<Place> = (0..500)
            .flat_map(|n| until_refused(&streams, &source(&format!("10.0.{n}"), false)))
            .collect();
        assert_eq!(held.len(), 20_000);
        assert_eq!(streams.open(&source("10.1.0.1", false)).unwrap_err().body().status, 503);
    }
}
