//! What every page has: the look and the clock. And how pages write moments and durations.
//! Pages of customers and operators use it; `templates/base.html` reads it as `frame`.

use std::sync::Arc;

use crate::domain::fiat::Rate;
use crate::domain::price::period;
use crate::domain::time::Timestamp;
pub(crate) use crate::domain::time::span;
use crate::http::HttpState;
use crate::http::look::Look;

/// The frame of a page.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Brand and files.
    pub(crate) look: Arc<Look>,
    /// The clock.
    pub(crate) now: Timestamp,
    /// What a bitcoin costs, when that is known.
    pub(crate) rate: Option<Rate>,
}

impl Frame {
    /// Of this server, now.
    pub(crate) fn new(state: &HttpState) -> Self {
        let rate = state.rate.borrow().clone();
        Self { look: state.look.clone(), now: state.clock.now(), rate }
    }
}

impl Frame {
    /// How far away a moment is: `in 2 h 5 min`, `3 min ago`.
    pub(crate) fn away(&self, at: &Moment) -> String {
        Timestamp::from_millis(at.millis).away(self.now)
    }

    /// About what an amount is worth; empty when nobody knows.
    pub(crate) fn about(&self, sat: &u64) -> String {
        self.rate.as_ref().map(|rate| rate.about(*sat)).unwrap_or_default()
    }
}

/// A moment: `{% call time(frame, moment) %}` of `macros.html` writes it, with how far away it is.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// Unix milliseconds, for countdowns.
    pub(crate) millis: i64,
    /// RFC 3339.
    pub(crate) iso: String,
    /// To the second, for the title.
    pub(crate) utc: String,
    /// To the minute, for reading.
    pub(crate) words: String,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        let whole = jiff::Timestamp::from_millisecond(at.millis());
        let shown = |format: &str| match whole {
            Ok(moment) => moment.strftime(format).to_string(),
            Err(_) => "after the year 9999".to_owned(),
        };
        Self {
            millis: at.millis(),
            iso: shown("%Y-%m-%dT%H:%M:%SZ"),
            utc: shown("%Y-%m-%d %H:%M:%S UTC"),
            words: shown("%-d %b %Y, %H:%M UTC"),
        }
    }
}

/// How long one unit of a price lasts: `hour`, `2 days`, `month`.
pub(crate) fn per(seconds: u64) -> String {
    let name = period(seconds).and_then(|name| name.split_once(' '));
    name.map_or_else(|| span(seconds), |(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_for_an_hour_or_for_so_many() {
        let words = [3600, 7200, 5400, 30 * 86_400].map(per);
        assert_eq!(words, ["hour", "2 hours", "1 hour 30 minutes", "month"]);
    }

    #[test]
    fn moments_are_said_in_utc() {
        let moment = Moment::from(Timestamp::from_millis(1_795_000_000_123));
        assert_eq!(moment.iso, "2026-11-18T11:06:40Z");
        assert_eq!(moment.utc, "2026-11-18 11:06:40 UTC");
        assert_eq!(moment.words, "18 Nov 2026, 11:06 UTC");
    }
}
