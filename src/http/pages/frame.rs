//! What every page has: the look and the clock. And how pages write moments and durations.
//! Pages of customers and operators use it; `templates/base.html` reads it as `frame`.

use std::sync::Arc;

use crate::domain::time::Timestamp;
use crate::http::HttpState;
use crate::http::look::Look;

/// The frame of a page.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Brand and files.
    pub(crate) look: Arc<Look>,
    /// The clock.
    pub(crate) now: Timestamp,
}

impl Frame {
    /// Of this server, now.
    pub(crate) fn new(state: &HttpState) -> Self {
        Self { look: state.look.clone(), now: state.clock.now() }
    }
}

/// A moment: `{% call time(moment) %}` of `macros.html` writes it.
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

/// A duration in words, in its two largest units: `2 days 3 hours`.
pub(crate) fn span(seconds: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)];
    let Some(first) = UNITS.iter().position(|(_, length)| seconds >= *length) else {
        return "0 seconds".to_owned();
    };
    let mut rest = seconds;
    let mut words = Vec::new();
    for (name, length) in &UNITS[first..UNITS.len().min(first + 2)] {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            words.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    words.join(" ")
}

/// How long one unit of a price lasts: `hour`, `2 days`.
pub(crate) fn per(seconds: u64) -> String {
    let text = span(seconds);
    text.strip_prefix("1 ").filter(|rest| !rest.contains(' ')).map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_two_units() {
        for (seconds, words) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (60, "1 minute"),
            (7199, "1 hour 59 minutes"),
            (86_400 + 59, "1 day"),
            (2 * 86_400 + 3 * 3600 + 5, "2 days 3 hours"),
        ] {
            assert_eq!(span(seconds), words);
        }
        assert_eq!(
            (per(3600), per(7200), per(5400)),
            ("hour".into(), "2 hours".into(), "1 hour 30 minutes".into())
        );
    }

    #[test]
    fn moments_are_said_in_utc() {
        let moment = Moment::from(Timestamp::from_millis(1_795_000_000_123));
        assert_eq!(moment.iso, "2026-11-18T11:06:40Z");
        assert_eq!(moment.utc, "2026-11-18 11:06:40 UTC");
        assert_eq!(moment.words, "18 Nov 2026, 11:06 UTC");
    }
}
