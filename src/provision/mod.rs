//! Provisioners: what makes a lease real is called here, at least once for each action, and says
//! how it went. Decides nothing about leases and writes nothing. Called by `worker::provision`.

pub mod exec;
pub mod guard;
pub mod http;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::domain::fulfil::Action;
use crate::domain::resource::Provisioner;
use crate::domain::time::Timestamp;

/// The most that access details may be, in bytes of JSON.
const MOST_ACCESS: usize = 16 * 1024;
/// The most that is read of an answer, in bytes.
const MOST_OUTPUT: usize = 64 * 1024;
/// The most that is kept of what was said about a failure, in characters.
const MOST_SAID: usize = 2000;

/// What a provisioner is told (SPEC section 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Names the action: the same at every attempt.
    pub key: String,
    /// What is to be done.
    pub action: Action,
    /// The resource's id.
    pub resource: String,
    /// The lease's id.
    pub lease: String,
    /// Its generation.
    pub generation: u32,
    /// Its unit.
    pub unit: Option<String>,
    /// Until when it is paid; before it is ready: as if it were now.
    pub paid_until: Option<Timestamp>,
    /// What its holder handed in.
    pub params: BTreeMap<String, String>,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done {
        /// What the holder needs to get in.
        access: Option<Value>,
    },
    /// It may work later.
    Again {
        /// What was said.
        why: String,
        /// When, if that was said.
        after: Option<Duration>,
        /// It may still be at it: nobody heard of its end.
        in_doubt: bool,
    },
    /// It will not work before somebody has looked at it.
    Failed {
        /// What was said.
        why: String,
    },
}

/// Calls provisioners.
#[derive(Clone, Debug)]
pub struct Provisioners {
    home: PathBuf,
    client: reqwest::Client,
}

impl Provisioners {
    /// File names in the catalogue are relative to `home`.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(home: PathBuf) -> reqwest::Result<Self> {
        Ok(Self { home, client: http::client()? })
    }

    /// Calls one once.
    pub async fn call(&self, provisioner: &Provisioner, input: &Input, now: Timestamp) -> Outcome {
        match provisioner {
            Provisioner::None => Outcome::Done { access: None },
            Provisioner::Exec { command, timeout_s } => {
                exec::call(command, Duration::from_secs(*timeout_s), input).await
            }
            Provisioner::Http { url, secret_file, timeout_s } => {
                let limit = Duration::from_secs(*timeout_s);
                let target = http::Target { url, secret_file: &self.home.join(secret_file), limit };
                target.call(&self.client, input, now).await
            }
        }
    }
}

/// What a good answer to an action gives the holder. Only where the holder needs something to get
/// in does it have to be what it should be: a command that says more than it has to has still
/// done its work.
fn done(action: Action, answer: &[u8]) -> Outcome {
    match access(answer) {
        Ok(access) => Outcome::Done { access },
        Err(why) if action == Action::Provision => Outcome::Failed { why },
        Err(_) => Outcome::Done { access: None },
    }
}

/// The access details in an answer: none, or a JSON object.
fn access(answer: &[u8]) -> Result<Option<Value>, String> {
    let text = answer.trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > MOST_ACCESS {
        return Err(format!("it answered {} bytes; at most {MOST_ACCESS} are taken", text.len()));
    }
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(fields)) if fields.is_empty() => Ok(None),
        // PostgreSQL takes no NUL in text.
        Ok(Value::Object(_)) if text.windows(6).any(|part| part == br"\u0000") => {
            Err("its answer has a NUL in it".into())
        }
        Ok(object @ Value::Object(_)) => Ok(Some(object)),
        Ok(_) => Err("its answer is JSON, but no object".into()),
        Err(error) => Err(format!("its answer is no JSON object: {error}")),
    }
}

/// What was said, short enough to be kept, as plain text.
fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.trim().chars().map(plain).take(MOST_SAID).collect()
}
