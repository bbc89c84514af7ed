//! `leasehold ssh-keys`, for sshd's `AuthorizedKeysCommand`: prints the keys that may log in now. A
//! server that is away locks nobody out: then a file tells who could log in last, never beyond
//! the end of a lease. Prints no secret. sshd takes the output only with exit code 0.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Client;
use super::{Exit, Global, Output, admin};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::site::escaped;
use crate::domain::time::Timestamp;
use crate::keys;

/// How long the server may take; sshd's own patience is two minutes, that of people is less.
const ANSWER: Duration = Duration::from_secs(3);

/// Arguments of `ssh-keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The resource's id
    resource: String,
    /// The user that somebody logs in as: %u of sshd
    user: String,
    /// Only the key with this fingerprint: %f of sshd
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<String>,
    /// The server's address; default: where the configuration says it listens
    #[arg(long, value_name = "URL", env = "LEASEHOLD_SERVER")]
    server: Option<String>,
    /// A file with an API key of scope read; default: the admin key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Where the last answer is kept for when the server is away; one file a user
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
    /// How long an answer is kept at most
    #[arg(long, value_name = "DURATION", default_value = "5m",
        value_parser = humantime::parse_duration)]
    cache_for: Duration,
}

/// A key that may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    fingerprint: String,
    expires_at: Timestamp,
    line: String,
}

/// The last answer, as the file has it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    resource: String,
    user: String,
    at: Timestamp,
    keys: Vec<Key>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Keys {
    keys: Vec<Key>,
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.iter().try_for_each(|key| writeln!(f, "{}", key.line))
    }
}

pub(super) async fn run(args: Args, global: &Global, output: &Output) -> Result<(), Exit> {
    let now = SystemClock.now();
    let asked = match tokio::time::timeout(ANSWER, ask(&args, global)).await {
        Ok(asked) => asked,
        Err(_) => Err(Exit::TryAgain(anyhow!("the server did not answer in {ANSWER:?}"))),
    };
    let keys = match (asked, &args.cache) {
        (Ok(keys), Some(file)) => {
            // Whoever may log in now shall, even when the disk is full.
            if let Err(error) = keep(file, &args, &keys, now) {
                eprintln!("{:#}", anyhow::Error::new(error).context("the keys cannot be kept"));
            }
            keys
        }
        (Err(away @ Exit::TryAgain(_)), Some(file)) => {
            let kept = read(file).ok_or(away)?;
            from_cache(kept, &args, now)
        }
        (asked, _) => asked?,
    };
    let wanted = |key: &Key| args.fingerprint.as_ref().is_none_or(|one| *one == key.fingerprint);
    let keys: Vec<Key> = keys.into_iter().filter(wanted).collect();
    if keys.is_empty() && !global.json {
        return Ok(());
    }
    output.answer(&Keys { keys })
}

/// All keys of the user, so that the file knows those, too, who have not logged in for a while; only
/// the one that is wanted when there is no file.
async fn ask(args: &Args, global: &Global) -> Result<Vec<Key>, Exit> {
    let client = match (&args.key_file, &args.server) {
        (Some(file), Some(server)) => {
            let key = keys::read_api_key(file).map_err(anyhow::Error::from)?;
            Client::new(server, Some(key))?
        }
        (Some(_), None) => return Err(Exit::Usage("--key-file needs --server, too".into())),
        (None, _) => admin::client(args.server.clone(), global)?,
    };
    let (resource, user) = (escaped(&args.resource), escaped(&args.user));
    let mut path = format!("/v1/admin/ssh-keys?resource={resource}&user={user}");
    if let (Some(one), None) = (&args.fingerprint, &args.cache) {
        path.push_str(&format!("&fingerprint={}", escaped(one)));
    }
    let answer = client.get(&path).await?;
    let keys = answer.get("keys").cloned().unwrap_or(Value::Null);
    let keys: Vec<Key> = serde_json::from_value(keys).context("the server answers no keys")?;
    if keys.iter().any(|key| !key.line.starts_with("restrict,") || key.line.contains('\n')) {
        return Err(Exit::Failed(anyhow!("the server answers lines that are none of ours")));
    }
    Ok(keys)
}

/// Those whose lease still runs as far as was known, unless the answer is too old altogether.
fn from_cache(kept: Kept, args: &Args, now: Timestamp) -> Vec<Key> {
    let same = kept.resource == args.resource && kept.user == args.user;
    let old = kept.at.seconds_until(now) > args.cache_for.as_secs() || kept.at > now.plus_s(60);
    let runs = |key: &Key| key.expires_at > now;
    if same && !old { kept.keys.into_iter().filter(runs).collect() } else { Vec::new() }
}

/// Replaces the file whole, for its owner only.
fn keep(file: &Path, args: &Args, keys: &[Key], now: Timestamp) -> Result<(), keys::KeyError> {
    let (resource, user) = (args.resource.clone(), args.user.clone());
    let kept = Kept { resource, user, at: now, keys: keys.to_vec() };
    let text = serde_json::to_string(&kept).expect("text and numbers serialize");
    keys::replace_cache(file, &text)
}

/// What the file says; `None` when it is not there, or somebody else may have written it.
fn read(file: &Path) -> Option<Kept> {
    let text = keys::read_secret(file).ok()?;
    let owner = |path: &Path| fs::metadata(path).map(|found| found.uid()).ok();
    let ours = owner(Path::new("/proc/self")).is_none_or(|me| owner(file) == Some(me));
    ours.then(|| serde_json::from_str(&text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn args(user: &str) -> Args {
        match Cli::try_parse_from(["leasehold", "ssh-keys", "box", user]).unwrap().command {
            Command::SshKeys(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn key(name: &str, expires_at: Timestamp) -> Key {
        Key { fingerprint: format!("SHA256:{name}"), expires_at, line: format!("restrict,{name}") }
    }

    #[test]
    fn what_was_kept_is_good_for_a_while_and_for_the_same_user_and_never_beyond_a_leases_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let keys = [key("a", NOW.plus_s(200)), key("b", NOW.plus_s(86_400))];
        keep(&file, &args("box-1"), &keys, NOW).unwrap();
        let found = |user: &str, now: Timestamp| {
            let kept = read(&file).unwrap();
            from_cache(kept, &args(user), now)
                .iter()
                .map(|key| key.line.clone())
                .collect::<String>()
        };
        assert_eq!(found("box-1", NOW.plus_s(199)), "restrict,arestrict,b");
        assert_eq!(found("box-1", NOW.plus_s(200)), "restrict,b");
        assert_eq!(found("box-1", NOW.plus_s(300)), "restrict,b");
        assert_eq!(found("box-1", NOW.plus_s(301)), "", "too old");
        assert_eq!(found("box-1", NOW.minus_s(3600)), "", "from the future");
        assert_eq!(found("box-2", NOW), "", "of another user");
    }

    #[test]
    fn a_file_that_others_can_write_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        keep(&file, &args("u"), &[], NOW).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(read(&file).is_some());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(read(&file).is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
    }
}
