//! Reads tables of settings key by key and collects everything that is wrong with them, so that
//! one run names all mistakes: the file, the key, what was found, what is allowed.
//! Never prints a secret and never skips a key it does not know.
//! Called by `config` (leasehold.toml and the environment) and `catalog` (catalog.toml).

mod fields;
mod given;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use serde::Serialize;

pub(crate) use fields::{Entry, Fields};
pub(crate) use given::{Given, SECONDS_A_YEAR, duration_text};

/// One thing that is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, or the environment variable, that has it.
    pub place: String,
    /// The key, with its section; empty when the whole file is meant.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.message)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.message)
        }
    }
}

/// Everything that is wrong, in the order in which it was read; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// One problem of a whole file.
    pub(crate) fn of_file(place: &str, message: impl Into<String>) -> Self {
        Self(vec![Problem { place: place.into(), key: String::new(), message: message.into() }])
    }

    /// `Err` when there is any.
    pub(crate) fn none_or(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// All of them.
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Parses TOML. The error names the line and never repeats it: it may hold a secret.
pub(crate) fn parse_toml(place: &str, text: &str) -> Result<toml::Table, Problems> {
    text.parse::<toml::Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let what = error.message().lines().next().unwrap_or("cannot be read").to_owned();
        Problems::of_file(place, format!("line {line} is not valid TOML: {what}"))
    })
}

/// Reads a text file whole. The error does not name the file.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    })
}

/// The known name that `name` was most likely meant to be, when one is close.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    const CLOSE_PER_CENT: usize = 60;
    known
        .iter()
        .map(|candidate| {
            let longest = name.chars().count().max(candidate.chars().count()).max(1);
            let apart = strsim::damerau_levenshtein(name, candidate).min(longest);
            (100 * (longest - apart) / longest, *candidate)
        })
        .filter(|(closeness, _)| *closeness >= CLOSE_PER_CENT)
        .max_by_key(|(closeness, _)| *closeness)
        .map(|(_, candidate)| candidate)
}
