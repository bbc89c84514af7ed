//! What people type into forms, and what is said about it.

use std::collections::{BTreeMap, HashMap};

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::problem::Wrong;
use crate::app::random_128;
use crate::domain::ids::base32;
use crate::http::json::Form;

/// What a form sent; a page says what is wrong with it.
pub(super) struct Sent(HashMap<String, String>);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Wrong;

    async fn from_request(request: Request, state: &S) -> Result<Self, Wrong> {
        let Form(fields) = Form::from_request(request, state).await?;
        Ok(Self(fields))
    }
}

impl Sent {
    /// A field, empty when it did not come.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map(|text| text.trim()).unwrap_or_default()
    }

    /// A field that is not empty.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// The fields whose names begin with `start`, without it.
    pub(super) fn below<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let fields = self.0.iter();
        fields.filter_map(move |(name, text)| Some((name.strip_prefix(start)?, text.trim())))
    }

    /// The duration.
    pub(super) fn time(&self) -> Time {
        Time { text: self.text("time").to_owned(), unit: self.text("unit").to_owned() }
    }

    /// Where in a guarded site the visitor wants to go.
    pub(super) fn destination(&self) -> Option<String> {
        super::destination(self.some("to").map(str::to_owned))
    }

    /// What the resource wanted to know; an empty field is none.
    pub(super) fn params(&self) -> Map<String, Value> {
        let filled = self.below("param.").filter(|(_, value)| !value.is_empty());
        filled.map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
    }

    /// What the form's `once` is as an Idempotency-Key, and what it is held to.
    pub(super) fn once(&self) -> (HeaderMap, Vec<u8>) {
        let mut headers = HeaderMap::new();
        if let Some(Ok(once)) = self.some("once").map(HeaderValue::from_str) {
            headers.insert(HeaderName::from_static("idempotency-key"), once);
        }
        let sorted: BTreeMap<&String, &String> = self.0.iter().collect();
        (headers, format!("{sorted:?}").into_bytes())
    }
}

/// Something for `once` that nobody can guess.
pub(super) fn nonce() -> String {
    format!("form_{}", base32(&random_128()))
}

/// A duration as typed: a number and `m`, `h` or `d`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) text: String,
    pub(super) unit: String,
}

impl Time {
    /// What to say to something else.
    pub(super) const WRONG: &str = "Give a number, such as 2 or 1.5.";
    /// The choices.
    pub(super) const UNITS: [(&str, &str, u64); 3] =
        [("m", "minutes", 60), ("h", "hours", 3600), ("d", "days", 86_400)];

    /// In its largest whole unit; in minutes, rounded up, if there is none.
    pub(super) fn of(seconds: u64) -> Self {
        let whole = |(_, _, length): &(&str, &str, u64)| seconds.is_multiple_of(*length);
        let (unit, _, length) = Self::UNITS.into_iter().rev().find(whole).unwrap_or(Self::UNITS[0]);
        Self { text: seconds.div_ceil(length).to_string(), unit: unit.to_owned() }
    }

    /// Whether this unit was chosen.
    pub(super) fn is(&self, unit: &str) -> bool {
        self.unit == unit
    }

    /// Whole seconds; a comma will do, too, and three decimals at most.
    pub(super) fn seconds(&self) -> Option<u64> {
        let (_, _, length) = Self::UNITS.into_iter().find(|(unit, ..)| *unit == self.unit)?;
        let text = self.text.trim();
        let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 3 {
            return None;
        }
        let thousandths: u64 = format!("{part:0<3}").parse().ok()?;
        let all = whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(thousandths)?;
        Some(all.checked_mul(length)? / 1000)
    }
}

/// How long it takes until money counts, in words.
pub(super) fn wait_words(confirmations: u32) -> String {
    match confirmations {
        0 => "It counts as soon as it is seen, or with its first block.".into(),
        1 => {
            "It counts with its first confirmation: usually 10 to 30 minutes after you pay.".into()
        }
        n => {
            let about = super::frame::span(u64::from(n) * 600);
            format!(
                "It counts with {n} confirmations: usually about {about}, sometimes twice that."
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str, unit: &str) -> Option<u64> {
        Time { text: text.into(), unit: unit.into() }.seconds()
    }

    #[test]
    fn durations_are_read_as_people_type_them() {
        for (text, unit, seconds) in [
            ("2", "h", 7200),
            (" 90 ", "m", 5400),
            ("1.5", "h", 5400),
            ("0,5", "d", 43_200),
            ("0.001", "m", 0),
        ] {
            assert_eq!(time(text, unit), Some(seconds), "{text} {unit}");
        }
        for (text, unit) in [
            ("", "h"),
            (".5", "h"),
            ("-1", "h"),
            ("1e3", "h"),
            ("1.2345", "h"),
            ("1.2.3", "h"),
            ("1", "s"),
            ("99999999999999999999", "d"),
            ("18446744073709551", "d"),
        ] {
            assert_eq!(time(text, unit), None, "{text} {unit}");
        }
    }

    #[test]
    fn durations_are_shown_in_the_largest_whole_unit() {
        let shown = [600, 3600, 5400, 172_800, 601].map(|seconds| {
            let time = Time::of(seconds);
            format!("{} {}", time.text, time.unit)
        });
        assert_eq!(shown, ["10 m", "1 h", "90 m", "2 d", "11 m"]);
    }
}
