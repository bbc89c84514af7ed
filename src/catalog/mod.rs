//! The catalogue: `catalog.toml` as the terms of what is offered, with defaults filled in.
//! Refuses what this version cannot do rather than leaving it out in silence.
//! Called by `check`, `apply`, `dev` and the daemon's start.

mod change;
mod doors;
mod provisioner;
mod resource;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use crate::domain::resource::Terms;
use crate::domain::site;
use crate::settings::{Fields, Problems, parse_toml, read_text};

pub use change::Change;

/// Reads the catalogue file.
///
/// # Errors
/// All mistakes at once: the resource, the key, what was found, what is allowed.
pub fn load(path: &Path) -> Result<Vec<Terms>, Problems> {
    let place = path.display().to_string();
    let text = read_text(path).map_err(|error| Problems::of_file(&place, error))?;
    parse(&place, &text)
}

/// Reads a catalogue's text; `place` names it in messages. The order is the file's.
///
/// # Errors
/// As [`load`].
pub fn parse(place: &str, text: &str) -> Result<Vec<Terms>, Problems> {
    let table = parse_toml(place, text)?;
    let mut problems = Vec::new();
    let mut fields = Fields::of_table(place, "", table, &mut problems);
    let tables = fields.take("resource", "one or more [[resource]] tables", |given| given.tables());
    if !fields.is_wrong("resource") && tables.as_ref().is_none_or(Vec::is_empty) {
        fields.missing("resource", "at least one [[resource]] table");
    }
    for key in ["webhook", "webhooks"] {
        fields.refuse(key, resource::NOT_HERE);
    }
    fields.finish();
    let mut found = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut hosts: BTreeMap<String, String> = BTreeMap::new();
    for (n, table) in tables.unwrap_or_default().into_iter().enumerate() {
        let id = table.get("id").and_then(toml::Value::as_str).map(str::to_owned);
        let name = id.clone().unwrap_or_else(|| format!("number {}", n + 1));
        let site = table.get("site").and_then(toml::Value::as_str).and_then(site::origin);
        let host = site.map(|site| site::host(&site).to_owned());
        let place = format!("{place}: resource {name}");
        let mut fields = Fields::of_table(&place, "", table, &mut problems);
        if let Some(first) = id.and_then(|id| names.insert(id, n + 1)) {
            fields.wrong("id", format!("is used twice, by resources {first} and {}", n + 1));
        }
        if let Some(first) = host.and_then(|host| hosts.insert(host, name)) {
            let why = "the session of one would end that of the other, since browsers keep one \
                cookie of a name for a host, whatever the port; give each a host of its own";
            fields.wrong("site", format!("is on the same host as that of resource {first}: {why}"));
        }
        found.extend(resource::terms(fields));
    }
    Problems::none_or(problems)?;
    Ok(found)
}
