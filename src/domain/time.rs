//! Moments in Unix milliseconds. Durations are plain `u64` seconds, named `_s`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment: Unix milliseconds, UTC. Written as RFC 3339 in JSON and as BIGINT in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From Unix milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From Unix seconds, as in block headers.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Unix milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Unix seconds, rounded down, as JWT's `iat` and `exp` want them (RFC 7519).
    pub const fn unix_s(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment plus `seconds`, saturating.
    #[must_use]
    pub fn plus_s(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)))
    }

    /// This moment less `seconds`, saturating.
    #[must_use]
    pub fn minus_s(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)))
    }

    /// This moment plus `millis`, saturating.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// How far from `now` it is, in short: `in 2 h 5 min`, `in 4 min 59 s` when near, `3 min ago`.
    /// `page.js` writes the same.
    pub fn away(self, now: Self) -> String {
        let (ahead, ago) = (now.seconds_until(self), self.seconds_until(now));
        match (self.0 > now.0, ago) {
            (true, _) => format!("in {}", short(ahead, ahead < NEAR_S)),
            (false, 0..60) => "just now".to_owned(),
            (false, _) => format!("{} ago", short(ago, false)),
        }
    }

    /// Whole seconds from `self` until `later`; 0 when it is not later.
    pub fn seconds_until(self, later: Self) -> u64 {
        u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0) / 1000
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // What RFC 3339 cannot say: time paid for beyond the year 9999.
        if let Some(millis) = text.strip_suffix(" ms").and_then(|millis| millis.parse().ok()) {
            return Ok(Self(millis));
        }
        text.parse::<jiff::Timestamp>().map(|at| Self(at.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// So near its seconds are counted.
const NEAR_S: u64 = 600;

/// A duration in one or two units: `2 d 3 h`, `2 h 5 min`, `12 d`; with seconds only where they count.
fn short(seconds: u64, near: bool) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let [first, second] = match (days, hours, minutes) {
        (10.., ..) => [(days, "d"), (0, "")],
        (1.., ..) => [(days, "d"), (hours, "h")],
        (_, 1.., _) => [(hours, "h"), (minutes, "min")],
        (_, _, 1..) if near => [(minutes, "min"), (seconds % 60, "s")],
        (_, _, 1..) => [(minutes, "min"), (0, "")],
        _ => [(seconds, "s"), (0, "")],
    };
    match second {
        (0, _) => format!("{} {}", first.0, first.1),
        _ => format!("{} {} {} {}", first.0, first.1, second.0, second.1),
    }
}

/// A duration in words, in its two largest units: `2 days 3 hours`.
pub fn span(seconds: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_rfc_3339_form() {
        let at = Timestamp::from_millis(1_795_000_000_123);
        assert_eq!(at.to_string(), "2026-11-18T11:06:40.123Z");
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
    }

    #[test]
    fn a_moment_beyond_the_year_9999_survives_too() {
        let at = Timestamp::from_millis(i64::MAX);
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
    }

    #[test]
    fn how_far_a_moment_is_away_is_said_in_short() {
        let now = Timestamp::from_secs(1_795_000_000);
        for (seconds, said) in [
            (40, "in 40 s"),
            (60, "in 1 min"),
            (299, "in 4 min 59 s"),
            (600, "in 10 min"),
            (659, "in 10 min"),
            (7500, "in 2 h 5 min"),
            (7230, "in 2 h"),
            (93_600, "in 1 d 2 h"),
            (11 * 86_400 + 3600, "in 11 d"),
        ] {
            assert_eq!(now.plus_s(seconds).away(now), said);
        }
        for (seconds, said) in
            [(0, "just now"), (59, "just now"), (119, "1 min ago"), (3720, "1 h 2 min ago")]
        {
            assert_eq!(now.minus_s(seconds).away(now), said);
        }
        assert_eq!(now.plus_millis(1).away(now), "in 0 s");
    }

    #[test]
    fn seconds_until_an_earlier_moment_are_none() {
        let at = Timestamp::from_secs(100);
        assert_eq!(at.seconds_until(at.plus_s(5)), 5);
        assert_eq!(at.plus_s(5).seconds_until(at), 0);
    }

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
    }
}
