//! Answers that are kept for a moment: what costs the database something and anybody may ask for is
//! computed once, by one of those who ask, however many they are. In memory, by node. Handlers call it.

use std::collections::HashMap;

use serde_json::Value;
use tokio::sync::Mutex;

use crate::app::look::Overview;
use crate::db::terms::Resource;
use crate::domain::ledger::Account;
use crate::domain::time::Timestamp;

/// The sums of a resource's accounts as booked, and the answer computed with them.
pub type Accounts = (Vec<(Account, i64)>, Value);

/// All that a node keeps for a moment. Nothing here is named by a caller: only what exists is kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// What `/readyz` says of the database: what is wrong with it.
    pub database: Fresh<Option<String>>,
    /// That `/metrics` counted.
    pub counts: Fresh<()>,
    /// What is offered, for the gate.
    pub offered: Fresh<Vec<Resource>>,
    /// Accounts by resource.
    pub accounts: Fresh<Accounts>,
    /// What operators see first, and the last that one of them had done.
    pub overview: Fresh<(u64, Overview)>,
}

/// What was computed last, by name, and when.
#[derive(Debug)]
pub struct Fresh<T>(Mutex<HashMap<String, (Timestamp, T)>>);

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Fresh<T> {
    /// What was computed for `name` less than `keep_ms` before `now`, if it still `holds`; otherwise
    /// what `compute` gives. Only one computes at a time. A failure is not kept.
    ///
    /// # Errors
    /// Those of `compute`.
    pub async fn get<E>(
        &self,
        name: &str,
        (now, keep_ms): (Timestamp, i64),
        holds: impl Fn(&T) -> bool,
        compute: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut kept = self.0.lock().await;
        if let Some((at, value)) = kept.get(name) {
            // A clock that was set back must not keep an answer for ever.
            if (0..keep_ms).contains(&(now.millis() - at.millis())) && holds(value) {
                return Ok(value.clone());
            }
        }
        let value = compute.await?;
        kept.insert(name.to_owned(), (now, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn get(
        fresh: &Fresh<u32>,
        name: &str,
        now: Timestamp,
        new: Result<u32, ()>,
    ) -> Result<u32, ()> {
        let holds = |kept: &u32| *kept != 13;
        fresh.get(name, (now, 1000), holds, async { new }).now_or_never().unwrap()
    }

    #[test]
    fn an_answer_is_kept_for_its_time_and_by_its_name() {
        let fresh = Fresh::default();
        assert_eq!(get(&fresh, "a", NOW, Ok(1)), Ok(1));
        assert_eq!(get(&fresh, "a", NOW.plus_millis(999), Ok(2)), Ok(1));
        assert_eq!(get(&fresh, "b", NOW, Ok(3)), Ok(3));
        assert_eq!(get(&fresh, "a", NOW.plus_millis(1000), Ok(4)), Ok(4));
        assert_eq!(get(&fresh, "a", NOW.minus_s(60), Ok(5)), Ok(5), "the clock was set back");
    }

    #[test]
    fn what_failed_or_does_not_hold_is_computed_again() {
        let fresh = Fresh::default();
        assert_eq!(get(&fresh, "a", NOW, Err(())), Err(()));
        assert_eq!(get(&fresh, "a", NOW, Ok(13)), Ok(13));
        assert_eq!(get(&fresh, "a", NOW, Ok(2)), Ok(2));
    }
}
