//! Standard output: text for people, or JSON with `--json`. Whoever reads may stop reading
//! (`leasehold … | head`); that is no error. Called by every subcommand that prints.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anyhow::Context as _;
use serde::Serialize;

use super::Exit;

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Text, or JSON.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints an answer, as text or as one JSON document.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn answer(&self, answer: &(impl Display + Serialize)) -> Result<(), Exit> {
        if self.json {
            self.line(&serde_json::to_string_pretty(answer).context("cannot write JSON")?)
        } else {
            self.line(&answer.to_string())
        }
    }

    /// Prints what is told on the way to the answer: on standard error when that is JSON.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn note(&self, text: &str) -> Result<(), Exit> {
        if !self.json {
            return self.line(text);
        }
        eprintln!("{text}");
        Ok(())
    }

    /// Prints text as it is, with a line end when it has none.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn line(&self, text: &str) -> Result<(), Exit> {
        self.write(text).map(|_| ())
    }

    /// Prints one of many, as text or as JSON on a line of its own. False when nobody reads any
    /// more.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn event(&self, text: &str, event: &impl Serialize) -> Result<bool, Exit> {
        match self.json {
            true => self.write(&serde_json::to_string(event).context("cannot write JSON")?),
            false => self.write(text),
        }
    }

    /// False when nobody reads.
    fn write(&self, text: &str) -> Result<bool, Exit> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let mut out = std::io::stdout().lock();
        match write!(out, "{text}{end}").and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Exit::Failed(anyhow::Error::new(error).context("cannot print")))
            }
            written => Ok(written.is_ok()),
        }
    }
}
