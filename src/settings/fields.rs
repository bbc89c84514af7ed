//! One table of settings, read key by key. What nobody asked for is unknown and refused.
//! A value that is wrong is recorded and the default used, so that reading goes on to the
//! next mistake; the caller must not use the result when there was any.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use secrecy::SecretString;

use super::{Given, Problem, SECONDS_A_YEAR, nearest, read_text};

/// A value and, when it did not come from the file, the environment variable that gave it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) value: toml::Value,
    pub(crate) variable: Option<String>,
}

/// A table being read.
pub(crate) struct Fields<'p> {
    place: String,
    path: String,
    entries: BTreeMap<String, Entry>,
    asked: Vec<String>,
    variables: BTreeMap<String, String>,
    wrong: Vec<String>,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Fields<'p> {
    /// The table `path` (empty for the top) of the file `place`.
    pub(crate) fn new(
        place: &str,
        path: &str,
        entries: BTreeMap<String, Entry>,
        problems: &'p mut Vec<Problem>,
    ) -> Self {
        let variables = entries
            .iter()
            .filter_map(|(key, entry)| Some((key.clone(), entry.variable.clone()?)))
            .collect();
        let (place, path) = (place.into(), path.into());
        Self { place, path, entries, asked: Vec::new(), variables, wrong: Vec::new(), problems }
    }

    /// A table as a file has it.
    pub(crate) fn of_table(
        place: &str,
        path: &str,
        table: toml::Table,
        problems: &'p mut Vec<Problem>,
    ) -> Self {
        let entries =
            table.into_iter().map(|(key, value)| (key, Entry { value, variable: None })).collect();
        Self::new(place, path, entries, problems)
    }

    /// Reads `key`. `None` when it is absent, or wrong, which is then recorded.
    pub(crate) fn take<T>(
        &mut self,
        key: &str,
        allowed: impl Display,
        read: impl FnOnce(Given<'_>) -> Option<T>,
    ) -> Option<T> {
        let entry = self.remove(key)?;
        let given = Given { value: &entry.value, from_environment: entry.variable.is_some() };
        let value = read(given);
        if value.is_none() {
            let message = format!("found {}, allowed: {allowed}", given.shown());
            self.wrong(key, message);
        }
        value
    }

    /// Text that is not empty.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "text in quotes, not empty", |given| {
            given.text().filter(|text| !text.trim().is_empty()).map(str::to_owned)
        })
    }

    /// A whole number within `range`.
    pub(crate) fn whole<T>(&mut self, key: &str, range: RangeInclusive<T>, default: T) -> T
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.take(key, allowed, |given| {
            T::try_from(given.whole()?).ok().filter(|n| range.contains(n))
        })
        .unwrap_or(default)
    }

    /// A duration in whole seconds, from one second to ten years.
    pub(crate) fn seconds(&mut self, key: &str) -> Option<u64> {
        let allowed = "a duration in whole seconds such as \"90s\", \"10m\", \"30d\", \
                       from \"1s\" to \"3650d\"";
        self.take(key, allowed, |given| {
            given.seconds().filter(|s| (1..=10 * SECONDS_A_YEAR).contains(s))
        })
    }

    /// True or false.
    pub(crate) fn flag(&mut self, key: &str, default: bool) -> bool {
        self.take(key, "true or false", |given| given.flag()).unwrap_or(default)
    }

    /// A secret: in the value itself or in the file named by `KEY_file`, relative to `base`.
    /// What was found is never repeated.
    pub(crate) fn secret(&mut self, key: &str, base: &Path) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        let direct = self.remove(key);
        let file = self.text(&file_key);
        match (direct, file) {
            (Some(_), Some(_)) => {
                self.wrong(key, format!("given twice; remove it or {file_key}"));
                None
            }
            (Some(entry), None) => {
                let found = entry.value.as_str().filter(|text| !text.is_empty());
                if found.is_none() {
                    self.wrong(key, "allowed: text in quotes, not empty");
                }
                found.map(SecretString::from)
            }
            (None, Some(path)) => match read_text(&base.join(&path)) {
                Ok(text) => Some(SecretString::from(text.trim_end_matches(['\r', '\n']))),
                Err(message) => {
                    self.wrong(&file_key, format!("the file {path:?} {message}"));
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// A table inside this one.
    pub(crate) fn table(&mut self, key: &str, allowed: impl Display) -> Option<Fields<'_>> {
        let table = self.take(key, allowed, |given| given.value.as_table().cloned())?;
        let path = self.full(key);
        Some(Fields::of_table(&self.place, &path, table, self.problems))
    }

    /// Another table of the same file, with `path` for its name in messages.
    pub(crate) fn other(&mut self, path: &str, table: toml::Table) -> Fields<'_> {
        Fields::of_table(&self.place, path, table, self.problems)
    }

    /// True when something was recorded about `key`, or about the file of a secret.
    pub(crate) fn is_wrong(&self, key: &str) -> bool {
        self.wrong.iter().any(|wrong| wrong.strip_suffix("_file").unwrap_or(wrong) == key)
            || self.wrong.iter().any(|wrong| wrong == key)
    }

    /// The names of the keys that nobody asked for yet.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// True when `key` is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Records that `key` must be there.
    pub(crate) fn missing(&mut self, key: &str, what: impl Display) {
        self.wrong(key, format!("is missing; give {what}"));
    }

    /// Records what is wrong with `key`, where it came from.
    pub(crate) fn wrong(&mut self, key: &str, message: impl Into<String>) {
        let place = match self.variables.get(key) {
            Some(variable) => format!("environment variable {variable}"),
            None => self.place.clone(),
        };
        self.wrong.push(key.to_owned());
        let key = self.full(key);
        self.problems.push(Problem { place, key, message: message.into() });
    }

    /// Refuses `key` when it is there: a part that this version does not have.
    pub(crate) fn refuse(&mut self, key: &str, message: impl Into<String>) {
        if self.entries.remove(key).is_some() {
            self.wrong(key, message);
        }
    }

    /// Refuses what nobody asked for, with the nearest name that somebody did.
    pub(crate) fn finish(mut self) {
        let known: Vec<&str> = self.asked.iter().map(String::as_str).collect();
        let unknown: Vec<(String, String)> = std::mem::take(&mut self.entries)
            .into_keys()
            .map(|key| {
                let message = match nearest(&key, &known) {
                    Some(name) => format!("unknown key; did you mean {name:?}?"),
                    None => format!("unknown key; known here: {}", known.join(", ")),
                };
                (key, message)
            })
            .collect();
        for (key, message) in unknown {
            self.wrong(&key, message);
        }
    }

    fn remove(&mut self, key: &str) -> Option<Entry> {
        if !self.asked.iter().any(|asked| asked == key) {
            self.asked.push(key.to_owned());
        }
        self.entries.remove(key)
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
