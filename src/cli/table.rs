//! What the admin API answers, for people: lists as a line an item, objects as a line a field.
//! With `--json` the answer stays as it came.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// An answer of the server.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown(pub Value);

/// What a line of a list shows, of what is there.
const COLUMNS: [&str; 26] = [
    "id",
    "seq",
    "at",
    "type",
    "subject",
    "webhook",
    "url",
    "types",
    "name",
    "scopes",
    "resource",
    "lease",
    "unit",
    "action",
    "state",
    "status",
    "attempts",
    "response_status",
    "amount_sat",
    "waits_for",
    "paid_until",
    "attempt",
    "outcome",
    "failure",
    "fate",
    "revoked_at",
];

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.0["items"].as_array().or(self.0["changes"].as_array());
        let Some(items) = list else { return fields(f, &self.0, "") };
        if items.is_empty() {
            return f.write_str("none");
        }
        for (n, item) in items.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            let columns = COLUMNS.iter().filter_map(|name| item.get(name));
            let words: Vec<String> = columns.filter(|value| !value.is_null()).map(word).collect();
            write!(f, "{end}{}", words.join("  "))?;
            for change in item["differences"].as_array().into_iter().flatten() {
                let [key, old, new] = ["key", "old", "new"].map(|name| word(&change[name]));
                write!(f, "\n  {key}: {old} -> {new}")?;
            }
        }
        match self.0["next_cursor"].as_str() {
            Some(cursor) => write!(f, "\nmore: --cursor {cursor}"),
            None => Ok(()),
        }
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn fields(f: &mut fmt::Formatter<'_>, value: &Value, indent: &str) -> fmt::Result {
    let Some(object) = value.as_object() else { return f.write_str(&word(value)) };
    for (n, (name, value)) in object.iter().enumerate() {
        let end = if n == 0 && indent.is_empty() { "" } else { "\n" };
        write!(f, "{end}{indent}{name}")?;
        match value {
            Value::Object(_) => fields(f, value, &format!("{indent}  "))?,
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (n, item) in items.iter().enumerate() {
                    write!(f, "\n{indent}  {}", n + 1)?;
                    fields(f, item, &format!("{indent}    "))?;
                }
            }
            plain => write!(f, " {}", word(plain))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_a_line_an_item_and_objects_a_line_a_field() {
        let list = json!({ "items": [{ "id": "a", "unit": null, "state": "active" }, { "id": "b" }],
            "next_cursor": "5.b" });
        assert_eq!(Shown(list).to_string(), "a  active\nb\nmore: --cursor 5.b");
        assert_eq!(Shown(json!({ "items": [] })).to_string(), "none");
        let one = json!({ "id": "a", "links": { "self": "u" }, "items_of": [{ "n": 1 }] });
        assert_eq!(Shown(one).to_string(), "id a\nitems_of\n  1\n    n 1\nlinks\n  self u");
    }
}
