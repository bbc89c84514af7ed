//! The log: to standard error, filtered by `LEASEHOLD_LOG`, as text or, with
//! `LEASEHOLD_LOG_FORMAT=json`, one JSON object a line. Called once by `main`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::Exit;

/// The variable with the filter, such as `info` or `warn,leasehold::chain=debug`.
const FILTER: &str = "LEASEHOLD_LOG";
/// The variable with the format, `text` or `json`.
const FORMAT: &str = "LEASEHOLD_LOG_FORMAT";

/// Starts logging. `default` is the filter when `LEASEHOLD_LOG` is not set.
///
/// # Errors
/// [`Exit::Usage`] when a variable has a value that is not allowed.
pub fn start(default: &str) -> Result<(), Exit> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let filter = filter(variable(FILTER).as_deref().unwrap_or(default))?;
    let json = is_json(variable(FORMAT).as_deref())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = if json { builder.json().try_init() } else { builder.try_init() };
    started.map_err(|error| Exit::Failed(anyhow::anyhow!("cannot start the log: {error}")))
}

fn filter(text: &str) -> Result<EnvFilter, Exit> {
    EnvFilter::builder().parse(text).map_err(|error| {
        Exit::Usage(format!(
            "environment variable {FILTER}: found {text:?}, allowed: off, error, warn, info, \
             debug, trace, or a list such as \"warn,leasehold::chain=debug\" ({error})"
        ))
    })
}

fn is_json(text: Option<&str>) -> Result<bool, Exit> {
    match text {
        None | Some("text") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(Exit::Usage(format!(
            "environment variable {FORMAT}: found {other:?}, allowed: \"text\" or \"json\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_say_what_is_allowed() {
        assert!(filter("warn,leasehold::chain=debug").is_ok());
        let message = filter("leasehold=loud").unwrap_err().to_string();
        assert!(message.contains("found \"leasehold=loud\", allowed: off, error"), "{message}");
        assert_eq!((is_json(None).ok(), is_json(Some("json")).ok()), (Some(false), Some(true)));
        let message = is_json(Some("xml")).unwrap_err().to_string();
        assert!(message.ends_with("found \"xml\", allowed: \"text\" or \"json\""), "{message}");
    }
}
