//! The `provisioner` of a resource: how its leases are made real.

use crate::domain::resource::Provisioner;
use crate::settings::Fields;

const FORM: &str =
    "a table such as { kind = \"exec\", command = [\"/usr/local/bin/vm\", \"hook\"] }";
const KINDS: &str = "\"none\", \"exec\" or \"http\"";
/// How long an action may take unless the catalogue says otherwise, and at most, in seconds.
const TIMEOUT_S: u64 = 60;
const MOST_TIMEOUT_S: u64 = 3600;

/// Reads it; one that is wrong is recorded.
pub(super) fn provisioner(fields: &mut Fields<'_>) -> Provisioner {
    let Some(mut table) = fields.table("provisioner", FORM) else { return Provisioner::None };
    if !table.has("kind") {
        table.missing("kind", KINDS);
    }
    let kind = table.take("kind", KINDS, |given| match given.text()? {
        kind @ ("none" | "exec" | "http") => Some(kind.to_owned()),
        _ => None,
    });
    let found = match kind.as_deref() {
        Some("exec") => exec(&mut table),
        Some("http") => http(&mut table),
        _ => Some(Provisioner::None),
    };
    // Other keys of an unknown kind would only be reported as unknown.
    if kind.is_some() {
        table.finish();
    }
    found.unwrap_or_default()
}

fn timeout_s(table: &mut Fields<'_>) -> u64 {
    let given = table.seconds("timeout").unwrap_or(TIMEOUT_S);
    if !(1..=MOST_TIMEOUT_S).contains(&given) {
        table.wrong("timeout", "allowed: from \"1s\" to \"1h\"");
    }
    given
}

fn exec(table: &mut Fields<'_>) -> Option<Provisioner> {
    const COMMAND: &str = "the program with its whole path, then its arguments, such as [\"/usr/local/bin/vm\", \"hook\"]";
    let command = table.take("command", COMMAND, |given| {
        let words = given.texts()?;
        let program = words.first()?;
        let clean = words.iter().all(|word| !word.contains('\0'));
        (program.starts_with('/') && clean).then_some(words)
    });
    if command.is_none() && !table.is_wrong("command") {
        table.missing("command", COMMAND);
    }
    let timeout_s = timeout_s(table);
    Some(Provisioner::Exec { command: command?, timeout_s })
}

fn http(table: &mut Fields<'_>) -> Option<Provisioner> {
    const URL: &str =
        "an address such as \"http://127.0.0.1:9000/lease\", without user and password";
    const SECRET: &str = "the file that holds the secret of the calls, whsec_…";
    let url = table.take("url", URL, |given| {
        let text = given.text()?.trim().to_owned();
        let url = reqwest::Url::parse(&text).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && plain).then_some(text)
    });
    if url.is_none() && !table.is_wrong("url") {
        table.missing("url", URL);
    }
    let secret_file = table.text("secret_file");
    if secret_file.is_none() && !table.is_wrong("secret_file") {
        table.missing("secret_file", SECRET);
    }
    let timeout_s = timeout_s(table);
    Some(Provisioner::Http { url: url?, secret_file: secret_file?, timeout_s })
}
