//! One value as it was found, and the readings of it that settings need.
//! A reading answers `None` when the value is not of that kind; it never guesses.
//! Called by `settings::fields` and by the closures given to it.

use std::time::Duration;

/// The length of a year for the upper bounds of durations, in seconds.
pub(crate) const SECONDS_A_YEAR: u64 = 365 * 86_400;

/// A value from a file, where it has a type, or from the environment, where all is text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(super) value: &'a toml::Value,
    pub(super) from_environment: bool,
}

impl<'a> Given<'a> {
    /// Text.
    pub(crate) fn text(self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// A whole number, not negative.
    pub(crate) fn whole(self) -> Option<u64> {
        match self.value {
            toml::Value::Integer(n) => u64::try_from(*n).ok(),
            toml::Value::String(text) if self.from_environment => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// True or false.
    pub(crate) fn flag(self) -> Option<bool> {
        match self.value {
            toml::Value::Boolean(flag) => Some(*flag),
            toml::Value::String(text) if self.from_environment => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A duration such as `90s`, `10m`, `30d`.
    pub(crate) fn duration(self) -> Option<Duration> {
        humantime::parse_duration(self.text()?).ok()
    }

    /// A duration in whole seconds.
    pub(crate) fn seconds(self) -> Option<u64> {
        let duration = self.duration()?;
        (duration.subsec_nanos() == 0).then_some(duration.as_secs())
    }

    /// A list of texts; from the environment separated by commas.
    pub(crate) fn texts(self) -> Option<Vec<String>> {
        match self.value {
            toml::Value::Array(items) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            }
            toml::Value::String(text) if self.from_environment => Some(
                text.split(',')
                    .map(|item| item.trim().to_owned())
                    .filter(|item| !item.is_empty())
                    .collect(),
            ),
            _ => None,
        }
    }

    /// A list of tables, in brackets or as `[[name]]`.
    pub(crate) fn tables(self) -> Option<Vec<toml::Table>> {
        self.value.as_array()?.iter().map(|item| item.as_table().cloned()).collect()
    }

    /// What was found, for a message: short, on one line, quoted when it is text.
    pub(crate) fn shown(self) -> String {
        const MOST: usize = 60;
        let whole = plain(self.value);
        if whole.chars().count() <= MOST {
            return whole;
        }
        let start: String = whole.chars().take(MOST).collect();
        format!("{start}…")
    }
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("{text:?}"),
        toml::Value::Integer(n) => n.to_string(),
        toml::Value::Float(n) => n.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Datetime(at) => at.to_string(),
        toml::Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        toml::Value::Table(_) => "a table".to_owned(),
    }
}

/// Seconds as settings write them: `10m`, `1h 30m`, `30d`.
pub(crate) fn duration_text(seconds: u64) -> String {
    let parts = [("d", seconds / 86_400), ("h", seconds / 3600 % 24), ("m", seconds / 60 % 60)];
    let mut text: Vec<String> =
        parts.iter().filter(|(_, n)| *n > 0).map(|(unit, n)| format!("{n}{unit}")).collect();
    if !seconds.is_multiple_of(60) || text.is_empty() {
        text.push(format!("{}s", seconds % 60));
    }
    text.join(" ")
}
