//! `leasehold token`: verify a lease token without asking the server about it, and put a new
//! signing key in use. Never prints a key.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use serde_json::Value;

use super::{Exit, Global, Output};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::jwk::{VerifyingKey, parse_key_set};
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, Expected, verify};
use crate::keys;

/// How long a server may take to give its keys.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// A key set is small; more is not one.
const MOST_KEY_SET_BYTES: usize = 1 << 20;

/// What `token` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Verify a lease token with the published keys: exit code 0 when it is valid now
    Verify(Verify),
    /// Put a new signing key in use; the key before it stays published. Restart the server after it
    RotateKey(RotateKey),
}

/// Arguments of `token verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The token, or - for standard input
    token: String,
    #[command(flatten)]
    from: KeysFrom,
    /// The resource that it must be for
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// The server that must have made it, by its public address
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

/// Where the keys come from.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct KeysFrom {
    /// A file with the server's key set, from its /.well-known/jwks.json
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// The server to fetch the key set from
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// Arguments of `token rotate-key`.
#[derive(Debug, clap::Args)]
pub struct RotateKey {
    /// How many of the keys before it stay published
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: usize,
}

/// A token that holds.
#[derive(Debug, Serialize)]
struct Valid {
    valid: bool,
    claims: Claims,
    expires_at: Timestamp,
}

impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claims { iss, sub, aud, generation, .. } = &self.claims;
        writeln!(f, "valid until {}", self.expires_at)?;
        writeln!(f, "lease       {sub}, generation {generation}")?;
        writeln!(f, "resource    {aud}")?;
        write!(f, "issued by   {iss}")
    }
}

/// A key that is in use from the next start on.
#[derive(Debug, Serialize)]
struct Rotated {
    kid: String,
}

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "new signing key {}; restart the server to use it", self.kid)
    }
}

pub(super) async fn run(command: Command, global: &Global, output: &Output) -> Result<(), Exit> {
    match command {
        Command::Verify(args) => {
            let set = match (&args.from.jwks, &args.from.server) {
                (Some(file), _) => read_set(file)?,
                (None, Some(server)) => fetch_set(server).await?,
                (None, None) => return Err(Exit::Usage("give --jwks or --server".into())),
            };
            output.answer(&check(&args, &token_text(&args.token)?, &set, SystemClock.now())?)
        }
        Command::RotateKey(args) => {
            let config = global.load()?;
            let kid = keys::rotate(&config.signing_key_file, args.keep);
            output.answer(&Rotated { kid: kid.map_err(anyhow::Error::from)? })
        }
    }
}

fn check(args: &Verify, token: &str, set: &Value, now: Timestamp) -> Result<Valid, Exit> {
    let keys: Vec<VerifyingKey> =
        parse_key_set(set).map_err(|error| Exit::Failed(anyhow!("the key set {error}")))?;
    let issuer = args.issuer.as_deref().map(|url| url.trim_end_matches('/'));
    let expected = Expected { issuer, resource: args.resource.as_deref() };
    let claims = verify(token, &keys, expected, now)
        .map_err(|error| Exit::Failed(anyhow!("the token {error}")))?;
    Ok(Valid { valid: true, expires_at: claims.expires_at(), claims })
}

fn token_text(given: &str) -> Result<String, Exit> {
    if given != "-" {
        return Ok(given.trim().to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text.trim().to_owned())
}

fn read_set(file: &Path) -> Result<Value, Exit> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Exit::Usage(format!("{}: {error}", file.display())))?;
    serde_json::from_str(&text).map_err(|_| Exit::Usage(format!("{}: is not JSON", file.display())))
}

async fn fetch_set(server: &str) -> Result<Value, Exit> {
    let url = format!("{}/.well-known/jwks.json", server.trim_end_matches('/'));
    let client = reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("cannot make a connection")?;
    let request = client
        .get(&url)
        .build()
        .map_err(|error| Exit::Usage(format!("--server {server}: {error}")))?;
    let reached = client.execute(request).await.and_then(reqwest::Response::error_for_status);
    let mut answer = reached.map_err(|error| away(&url, error))?;
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| away(&url, error))? {
        body.extend_from_slice(&part);
        if body.len() > MOST_KEY_SET_BYTES {
            return Err(Exit::Failed(anyhow!("{url}: too long for a key set")));
        }
    }
    Ok(serde_json::from_slice(&body).with_context(|| format!("{url}: is not JSON"))?)
}

/// The server's own "no" is final; everything else may pass.
fn away(url: &str, error: reqwest::Error) -> Exit {
    let refused = error.status().is_some_and(|status| status.is_client_error());
    let error = anyhow::Error::new(error.without_url()).context(format!("cannot fetch {url}"));
    if refused { Exit::Failed(error) } else { Exit::TryAgain(error) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use secp256k1::SecretKey;

    use super::super::Cli;
    use super::*;
    use crate::domain::ids::LeaseId;
    use crate::domain::jwk::{SigningKey, key_set};
    use crate::domain::token::{Subject, sign};

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn args(words: &[&str]) -> Result<Verify, clap::Error> {
        let start = ["leasehold", "token", "verify", "t"];
        let cli = Cli::try_parse_from(start.iter().chain(words))?;
        match cli.command {
            super::super::Command::Token(Command::Verify(args)) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    fn key() -> SigningKey {
        SigningKey::new(SecretKey::from_slice(&[9; 32]).unwrap())
    }

    fn token() -> String {
        let subject = Subject {
            lease: LeaseId::new([1; 16]),
            resource: "gpu-small".into(),
            generation: 1,
            seq: 3,
            expires_at: NOW.plus_s(100),
        };
        sign(&Claims::new(subject, "https://lease.example", NOW, 3600, [2; 16]), &key())
    }

    #[test]
    fn keys_come_from_a_file_or_from_a_server_and_from_one_of_them() {
        assert!(args(&["--jwks", "f"]).is_ok() && args(&["--server", "u"]).is_ok());
        assert_eq!(args(&[]).unwrap_err().exit_code(), 2);
        assert_eq!(args(&["--jwks", "f", "--server", "u"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_valid_token_is_told_and_an_expired_or_foreign_one_fails_with_1() {
        let set = key_set(&[key().verifying()]);
        let all = ["--jwks", "f", "--resource", "gpu-small", "--issuer", "https://lease.example/"];
        let valid = check(&args(&all).unwrap(), &token(), &set, NOW).unwrap();
        assert!(valid.to_string().starts_with("valid until 1970-01-01T00:18:20.000Z\nlease"));
        assert_eq!(serde_json::to_value(&valid).unwrap()["claims"]["aud"], "gpu-small");
        let plain = args(&["--jwks", "f"]).unwrap();
        let late = check(&plain, &token(), &set, NOW.plus_s(100)).unwrap_err();
        assert_eq!((late.number(), late.to_string()), (1, "error: the token has expired".into()));
        let other = args(&["--jwks", "f", "--resource", "mirror"]).unwrap();
        assert_eq!(check(&other, &token(), &set, NOW).unwrap_err().number(), 1);
        let none = serde_json::json!({ "keys": [] });
        let unknown = check(&plain, &token(), &none, NOW).unwrap_err().to_string();
        assert!(unknown.contains("not published here"), "{unknown}");
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_worth_another_try() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Port 1 of loopback: nothing listens there.
        let away = fetch_set("http://127.0.0.1:1").await.unwrap_err();
        assert_eq!(away.number(), 75, "{away}");
        let wrong = fetch_set("not a url").await.unwrap_err();
        assert_eq!(wrong.number(), 2, "{wrong}");
    }
}
