//! How a lease becomes lines of an `authorized_keys` file (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
//! A line always begins with `restrict` and ends by itself at the lease's end; the holder's own
//! words (the comment of a key) never get in. Called by the catalogue, the call that lists keys
//! and `leasehold ssh-keys`.

use data_encoding::{BASE64, BASE64_NOPAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::params::is_ssh_public_key;
use super::time::Timestamp;

/// Stands for the name of the unit in `user`.
pub const UNIT: &str = "{unit}";

/// Options without a value that the catalogue may add to `restrict`.
const FLAGS: [&str; 6] =
    ["agent-forwarding", "port-forwarding", "pty", "user-rc", "verify-required", "X11-forwarding"];
/// Options with a value.
const VALUES: [&str; 5] = ["command", "from", "permitlisten", "permitopen", "tunnel"];

/// The `ssh` table of a catalogue entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// The user that holders log in as; [`UNIT`] stands for the name of the unit.
    pub user: String,
    /// What they may do there besides running commands, in the words of sshd(8).
    pub options: Vec<String>,
    /// The parameter with the holder's public key.
    pub param: String,
}

impl Ssh {
    /// The unit whose holder logs in as `user`; `Some(None)`: holders of all units do; `None`:
    /// nobody does.
    pub fn unit_of<'a>(&self, user: &'a str) -> Option<Option<&'a str>> {
        let Some((before, after)) = self.user.split_once(UNIT) else {
            return (self.user == user).then_some(None);
        };
        let unit = user.strip_prefix(before)?.strip_suffix(after)?;
        (!unit.is_empty()).then_some(Some(unit))
    }
}

/// The option as it is written into a line, if it is one that may be added: `pty`, or
/// `permitopen="localhost:80"`, quotes around the value or not.
pub fn option(text: &str) -> Option<String> {
    let Some((name, value)) = text.split_once('=') else {
        return FLAGS.contains(&text).then(|| text.to_owned());
    };
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = inner.unwrap_or(value);
    // sshd knows one escape, of the quote itself; a backslash elsewhere stands for itself.
    let fits = !value.is_empty()
        && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && !value.contains(['"', '\\']);
    (VALUES.contains(&name) && fits).then(|| format!("{name}=\"{value}\""))
}

/// A public key, `type base64`, without the comment; `None` when it is none: what a holder handed in
/// under older terms may be anything.
pub fn bare_key(text: &str) -> Option<String> {
    let mut words = text.split(' ');
    let (kind, data) = (words.next()?, words.next()?);
    is_ssh_public_key(text).then(|| format!("{kind} {data}"))
}

/// The SHA-256 fingerprint as OpenSSH writes it: `SHA256:…`.
pub fn fingerprint(key: &str) -> Option<String> {
    let blob = BASE64.decode(key.split(' ').nth(1)?.as_bytes()).ok()?;
    Some(format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(blob))))
}

/// One line: the key may do what `options` say until `expires_at`. `comment` names it in logs.
pub fn line(options: &[String], expires_at: Timestamp, key: &str, comment: &str) -> String {
    let mut words = vec!["restrict".to_owned()];
    words.extend(options.iter().cloned());
    words.push(format!("expiry-time=\"{}\"", time(expires_at)));
    format!("{} {key} {comment}", words.join(","))
}

/// `YYYYMMDDHHMMSSZ`: UTC, which OpenSSH understands since 9.1.
fn time(at: Timestamp) -> String {
    let text = at.to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).take(14).collect();
    format!("{digits}Z")
}

#[cfg(test)]
mod tests;
