//! The other side of the HTTP API: how subcommands ask a running server. Its "no" is final
//! (code 1); a server that is away, busy or not ready is worth another try (code 75).

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Exit;

/// Longer than the server makes anybody wait.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A server by its address.
#[derive(Debug)]
pub(super) struct Client {
    base: String,
    bearer: Option<String>,
    http: reqwest::Client,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent<'a> {
    Nothing,
    Json(&'a Value),
    /// A body with the key that makes asking twice harmless.
    Once(&'a Value, &'a str),
    Text(&'a str),
}

impl Client {
    pub(super) fn new(base: &str, bearer: Option<String>) -> Result<Self, Exit> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot make a connection")?;
        let base = base.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            let what = format!("--server {base}: give an address with http:// or https://");
            return Err(Exit::Usage(what));
        }
        Ok(Self { base, bearer, http })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Exit> {
        self.ask(Method::GET, path, Sent::Nothing).await
    }

    pub(super) async fn post(&self, path: &str, sent: Sent<'_>) -> Result<Value, Exit> {
        self.ask(Method::POST, path, sent).await
    }

    async fn ask(&self, method: Method, path: &str, sent: Sent<'_>) -> Result<Value, Exit> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        request = match sent {
            Sent::Nothing => request,
            Sent::Json(body) => request.json(body),
            Sent::Once(body, key) => request.json(body).header("idempotency-key", key),
            Sent::Text(text) => request.body(text.to_owned()),
        };
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        }
        let request = request
            .build()
            .map_err(|error| Exit::Usage(format!("--server {}: {error}", self.base)))?;
        let away = |error: reqwest::Error| {
            let what = format!("cannot reach {}", self.base);
            Exit::TryAgain(anyhow::Error::new(error.without_url()).context(what))
        };
        let answer = self.http.execute(request).await.map_err(away)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(away)?;
        if !status.is_success() {
            return Err(refused(status, &bytes));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let what = || format!("{} does not answer like a Leasehold server", self.base);
        Ok(serde_json::from_slice(&bytes).with_context(what)?)
    }
}

/// The server's own words, with the fields that are wrong.
fn refused(status: StatusCode, body: &[u8]) -> Exit {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut text = match (problem["code"].as_str(), problem["detail"].as_str()) {
        (Some(code), Some(detail)) => format!("{code}: {detail}"),
        _ => format!("the server answers {status}"),
    };
    for field in problem["errors"].as_array().into_iter().flatten() {
        let part = |name: &str| field[name].as_str().unwrap_or_default().to_owned();
        text.push_str(&format!("\n  {} {}", part("pointer"), part("detail")));
    }
    match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        true => Exit::TryAgain(anyhow!(text)),
        false => Exit::Failed(anyhow!(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_final_and_a_not_now_is_not() {
        let body = br#"{"code":"sold_out","detail":"none left",
            "errors":[{"pointer":"/resource","detail":"another"}]}"#;
        let no = refused(StatusCode::CONFLICT, body);
        assert_eq!((no.number(), no.to_string().lines().count()), (1, 2));
        assert!(no.to_string().contains("sold_out: none left\n  /resource another"));
        assert_eq!(refused(StatusCode::SERVICE_UNAVAILABLE, b"").number(), 75);
        assert_eq!(refused(StatusCode::TOO_MANY_REQUESTS, b"<html>").number(), 75);
    }
}
