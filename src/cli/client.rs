//! The other side of the HTTP API: how subcommands ask a running server. Its "no" is final
//! (code 1); a server that is away, busy or not ready is worth another try (code 75).

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Exit;

/// Longer than the server makes anybody wait, for an answer or for a sign of life on a stream.
const TIMEOUT: Duration = Duration::from_secs(100);
const CONNECT: Duration = Duration::from_secs(20);

/// How long, and how often, it is asked what became of a request whose answer was lost.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(1);

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
    Toml(&'a str),
}

/// Why there is no answer.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    /// The server may have done what it was asked for.
    unknown: bool,
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        failure.exit
    }
}

impl Client {
    pub(super) fn new(base: &str, bearer: Option<String>) -> Result<Self, Exit> {
        let http = reqwest::Client::builder()
            .read_timeout(TIMEOUT)
            .connect_timeout(CONNECT)
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
        Ok(self.ask(Method::GET, path, Sent::Nothing).await?)
    }

    pub(super) async fn post(&self, path: &str, sent: Sent<'_>) -> Result<Value, Exit> {
        Ok(self.ask(Method::POST, path, sent).await?)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Exit> {
        Ok(self.ask(Method::DELETE, path, Sent::Nothing).await?)
    }

    /// Asks for something to be created, with a `key` that makes asking twice harmless. When the
    /// answer is lost, asks again, until it is known what became of it or [`PATIENCE`] ends;
    /// `told` hears why.
    pub(super) async fn create(
        &self,
        path: &str,
        body: &Value,
        key: &str,
        told: impl Fn(&str) -> Result<(), Exit>,
    ) -> Result<Value, Exit> {
        let mut lost: Option<Exit> = None;
        let asking = async {
            loop {
                match self.ask(Method::POST, path, Sent::Once(body, key)).await {
                    Err(Failure { exit: exit @ Exit::TryAgain(_), unknown })
                        if unknown || lost.is_some() =>
                    {
                        if lost.is_none() {
                            told(&format!("{}; asking what became of it", exit.why()))?;
                        }
                        lost = Some(exit);
                    }
                    result => return Ok::<_, Exit>(result?),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(result) => result,
            Err(_) => Err(Exit::TryAgain(anyhow!(
                "{}. It is not known what became of the request: run this again with \
                 --idempotency-key {key}, which asks for nothing new",
                lost.map_or_else(|| format!("{} does not answer", self.base), |exit| exit.why())
            ))),
        }
    }

    /// A stream of server-sent events.
    pub(super) async fn events(&self, path: &str) -> Result<Events, Exit> {
        let answer = self.send(Method::GET, path, Sent::Nothing).await?;
        let status = answer.status();
        if !status.is_success() {
            let bytes = answer.bytes().await.map_err(|error| self.away(error))?;
            return Err(refused(status, &bytes).into());
        }
        Ok(Events { answer, read: Vec::new() })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        sent: Sent<'_>,
    ) -> Result<reqwest::Response, Failure> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        request = match sent {
            Sent::Nothing => request,
            Sent::Json(body) => request.json(body),
            Sent::Once(body, key) => request.json(body).header("idempotency-key", key),
            Sent::Toml(text) => {
                request.header("Content-Type", "application/toml").body(text.to_owned())
            }
        };
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        }
        let request = request.build().map_err(|error| {
            let exit = Exit::Usage(format!("--server {}: {error}", self.base));
            Failure { exit, unknown: false }
        })?;
        self.http.execute(request).await.map_err(|error| self.away(error))
    }

    async fn ask(&self, method: Method, path: &str, sent: Sent<'_>) -> Result<Value, Failure> {
        let answer = self.send(method, path, sent).await?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| self.away(error))?;
        if !status.is_success() {
            return Err(refused(status, &bytes));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let what = format!("{} does not answer like a Leasehold server", self.base);
            let exit = Exit::Failed(anyhow::Error::new(error).context(what));
            Failure { exit, unknown: false }
        })
    }

    /// No connection, or it broke, maybe after the server did what it was asked for.
    fn away(&self, error: reqwest::Error) -> Failure {
        let unknown = !error.is_connect();
        let what = match unknown {
            true => format!("the connection to {} broke", self.base),
            false => format!("cannot reach {}", self.base),
        };
        let error = anyhow::Error::new(error.without_url()).context(what);
        Failure { exit: Exit::TryAgain(error), unknown }
    }
}

/// The data of server-sent events, as JSON.
#[derive(Debug)]
pub(super) struct Events {
    answer: reqwest::Response,
    read: Vec<u8>,
}

impl Events {
    /// The next one; `None` when the server ends the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Exit> {
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data:") {
                    let what = "the server's stream cannot be read";
                    return Ok(Some(serde_json::from_slice(data).context(what)?));
                }
            }
            let broke = |error| Exit::TryAgain(anyhow::Error::new(error).context("it broke off"));
            match self.answer.chunk().await.map_err(broke)? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

/// The server's own words, with the fields that are wrong.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = problem["code"].as_str();
    let mut text = match (code, problem["detail"].as_str()) {
        (Some(code), Some(detail)) => format!("{code}: {detail}"),
        _ => format!("the server answers {status}"),
    };
    for field in problem["errors"].as_array().into_iter().flatten() {
        let part = |name: &str| field[name].as_str().unwrap_or_default().to_owned();
        // One field alone is what the words above are about.
        text.push_str(&match problem["detail"] == field["detail"] {
            true => format!("\n  at {}", part("pointer")),
            false => format!("\n  {} {}", part("pointer"), part("detail")),
        });
    }
    // Of a proxy between us, or of a server that does not know itself.
    let unknown = status.is_server_error()
        && (code == Some("outcome_unknown") || status != StatusCode::SERVICE_UNAVAILABLE);
    let exit = match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        true => Exit::TryAgain(anyhow!(text)),
        false => Exit::Failed(anyhow!(text)),
    };
    Failure { exit, unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_final_and_a_not_now_is_not() {
        let body = br#"{"code":"sold_out","detail":"none left",
            "errors":[{"pointer":"/resource","detail":"another"}]}"#;
        let no = refused(StatusCode::CONFLICT, body);
        assert_eq!((no.exit.number(), no.exit.to_string().lines().count()), (1, 2));
        assert!(no.exit.to_string().contains("sold_out: none left\n  /resource another"));
        let twice = br#"{"code":"invalid_request","detail":"too long",
            "errors":[{"pointer":"/name","detail":"too long"}]}"#;
        let no = refused(StatusCode::UNPROCESSABLE_ENTITY, twice);
        assert_eq!(no.exit.to_string(), "error: invalid_request: too long\n  at /name");
        assert_eq!(refused(StatusCode::SERVICE_UNAVAILABLE, b"").exit.number(), 75);
        assert_eq!(refused(StatusCode::TOO_MANY_REQUESTS, b"<html>").exit.number(), 75);
    }

    #[test]
    fn only_a_server_that_does_not_know_leaves_the_outcome_open() {
        let open = |status, body: &[u8]| refused(status, body).unknown;
        let unknown = br#"{"code":"outcome_unknown","detail":"ask again"}"#;
        assert!(open(StatusCode::SERVICE_UNAVAILABLE, unknown));
        assert!(open(StatusCode::BAD_GATEWAY, b"<html>"));
        let full = br#"{"code":"too_many_unpaid","detail":"later"}"#;
        assert!(!open(StatusCode::SERVICE_UNAVAILABLE, full));
        assert!(!open(StatusCode::CONFLICT, b""));
    }
}
