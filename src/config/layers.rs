//! Puts the environment over the file: `LEASEHOLD_SECTION__KEY` for a key in a section,
//! `LEASEHOLD_KEY` for one at the top. Knows names only, no meanings.
//! Called by `Config::load`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::DEFAULT_FILE;
use crate::settings::{Entry, Fields, Problem, Problems, nearest, parse_toml, read_text};

/// The keys outside of any section.
const TOP: [&str; 8] = [
    "listen",
    "public_url",
    "database",
    "database_file",
    "catalog",
    "signing_key_file",
    "token_ttl",
    "gate_max_staleness",
];

/// The file and the environment, taken apart into sections.
pub(super) struct Layers {
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// How messages name it.
    pub(super) place: String,
    /// The folder that relative paths are relative to.
    pub(super) base: PathBuf,
    /// `HOME`, for bitcoind's own default folder.
    pub(super) home: Option<PathBuf>,
    /// What is wrong so far.
    pub(super) problems: Vec<Problem>,
    top: BTreeMap<String, Entry>,
    sections: BTreeMap<String, BTreeMap<String, Entry>>,
}

impl Layers {
    /// Reads the file, when there is one, and the variables.
    pub(super) fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Problems> {
        let file = match file {
            Some(file) => Some(file),
            None => Some(Path::new(DEFAULT_FILE)).filter(|file| file.exists()),
        };
        let place = file.map_or_else(
            || format!("{DEFAULT_FILE} (not there, only the environment was read)"),
            |file| file.display().to_string(),
        );
        let mut layers = Self {
            file: file.map(Path::to_owned),
            base: file.and_then(Path::parent).map(Path::to_owned).unwrap_or_default(),
            place,
            home: None,
            problems: Vec::new(),
            top: BTreeMap::new(),
            sections: BTreeMap::new(),
        };
        if let Some(file) = file {
            let text = read_text(file).map_err(|error| Problems::of_file(&layers.place, error))?;
            layers.add_file(parse_toml(&layers.place, &text)?);
        }
        for (name, value) in environment {
            layers.add_variable(&name, value);
        }
        Ok(layers)
    }

    /// The keys at the top.
    pub(super) fn top(&mut self) -> Fields<'_> {
        let entries = std::mem::take(&mut self.top);
        Fields::new(&self.place, "", entries, &mut self.problems)
    }

    /// The keys of a section.
    pub(super) fn section(&mut self, name: &str) -> Fields<'_> {
        let entries = self.sections.remove(name).unwrap_or_default();
        Fields::new(&self.place, name, entries, &mut self.problems)
    }

    /// Refuses the sections that nobody asked for.
    pub(super) fn finish(&mut self, known: &[&str]) {
        for (section, entries) in std::mem::take(&mut self.sections) {
            let variable = entries.into_values().find_map(|entry| entry.variable);
            let place = match variable {
                Some(variable) => format!("environment variable {variable}"),
                None => self.place.clone(),
            };
            let message = match nearest(&section, known) {
                Some(name) => format!("unknown section; did you mean [{name}]?"),
                None => format!("unknown section; known: {}", known.join(", ")),
            };
            self.problems.push(Problem { place, key: format!("[{section}]"), message });
        }
    }

    fn add_file(&mut self, table: toml::Table) {
        for (key, value) in table {
            match value {
                toml::Value::Table(section) if !TOP.contains(&key.as_str()) => {
                    let entries = section.into_iter().map(|(key, value)| (key, from_file(value)));
                    self.sections.entry(key).or_default().extend(entries);
                }
                value => {
                    self.top.insert(key, from_file(value));
                }
            }
        }
    }

    fn add_variable(&mut self, name: &OsString, value: OsString) {
        if name == "HOME" {
            self.home = Some(PathBuf::from(value));
            return;
        }
        let Some(variable) = name.to_str() else { return };
        let Some(key) = variable.strip_prefix("LEASEHOLD_") else { return };
        let key = key.to_ascii_lowercase();
        let Ok(value) = value.into_string() else {
            let (place, message) = (format!("environment variable {variable}"), "is not UTF-8");
            self.problems.push(Problem { place, key, message: message.into() });
            return;
        };
        let entry =
            Entry { value: toml::Value::String(value), variable: Some(variable.to_owned()) };
        if let Some((section, key)) = key.split_once("__") {
            self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), entry);
        } else if TOP.contains(&key.as_str()) || nearest(&key, &TOP).is_some() {
            // Other names are left alone: LEASEHOLD_LOG is not a key, and container platforms
            // add variables such as LEASEHOLD_SERVICE_HOST. One that is close to a key is a slip.
            self.top.insert(key, entry);
        }
    }
}

fn from_file(value: toml::Value) -> Entry {
    Entry { value, variable: None }
}
