//! Calls a URL for an action: a POST with the headers of Standard Webhooks. 2xx is done, and so is
//! 409: it was done before; 429, 5xx and no answer are later; other answers failed. Follows no
//! redirect. The operator wrote the URL, so it may be on this very machine.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, header, redirect};
use sha2::{Digest as _, Sha256};

use super::{Input, MOST_OUTPUT, Outcome, access, done, said};
use crate::domain::fulfil::Action;
use crate::domain::ids::base32;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{self, Secret};

/// The client for all calls.
pub(super) fn client() -> reqwest::Result<Client> {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Whom to call.
pub(super) struct Target<'a> {
    /// Where it listens.
    pub url: &'a str,
    /// The file with the secret that signs.
    pub secret_file: &'a Path,
    /// How long it may take.
    pub limit: Duration,
}

impl Target<'_> {
    /// Calls it once.
    pub(super) async fn call(&self, client: &Client, input: &Input, now: Timestamp) -> Outcome {
        let again = |why: String, in_doubt| Outcome::Again { why, after: None, in_doubt };
        let secret = match secret(self.secret_file) {
            Ok(secret) => secret,
            Err(why) => return again(why, false),
        };
        let exchange = async {
            let response = send(client.post(self.url), &secret, input, now).await?;
            let (status, wait) = (response.status(), retry_after(&response, now));
            Ok::<_, reqwest::Error>((status, wait, body(response).await?))
        };
        match tokio::time::timeout(self.limit, exchange).await {
            Err(_) => again("it did not answer in time".into(), true),
            Ok(Err(error)) => {
                let heard = !error.is_connect();
                again(format!("no answer: {}", chain(&error.without_url())), heard)
            }
            Ok(Ok((status, after, body))) => judge(input.action, status, after, &body),
        }
    }
}

/// An error with its causes, since reqwest's own words say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn secret(file: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("secret_file {}: {error}", file.display()))?;
    Secret::parse(text.trim()).ok_or_else(|| {
        format!("secret_file {}: write whsec_ and 24 to 64 bytes in base64", file.display())
    })
}

async fn send(
    request: RequestBuilder,
    secret: &Secret,
    input: &Input,
    now: Timestamp,
) -> Result<Response, reqwest::Error> {
    let body = serde_json::to_vec(input).unwrap_or_default();
    // The same at every attempt, as the key in the body is.
    let id = format!("act_{}", base32(&Sha256::digest(&input.key)[..16]));
    let at = now.unix_s();
    request
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", webhook::sign(secret.bytes(), &id, at, &body))
        .body(body)
        .send()
        .await
}

fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    webhook::retry_after_s(text, now).map(Duration::from_secs)
}

/// The beginning of an answer.
async fn body(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut kept = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        kept.extend_from_slice(&chunk);
        if kept.len() > MOST_OUTPUT {
            break;
        }
    }
    Ok(kept)
}

fn judge(action: Action, status: StatusCode, after: Option<Duration>, body: &[u8]) -> Outcome {
    let why = match said(body).as_str() {
        "" => format!("HTTP {status}"),
        text => format!("HTTP {status}: {text}"),
    };
    if status == StatusCode::CONFLICT {
        return Outcome::Done { access: access(body).ok().flatten() };
    }
    if status.is_success() {
        return done(action, body);
    }
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Outcome::Again { why, after, in_doubt: false };
    }
    Outcome::Failed { why }
}
