//! Sends one signed message to an endpoint of an operator and says what came of it. Never follows a
//! redirect, never uses a proxy, reads no more of an answer than it must, and takes no longer than
//! its limit. Knows no database. Called by `worker::deliver`.

mod reach;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{self, HeaderMap};
use reqwest::redirect::Policy;
use tokio::time::Instant;

use crate::domain::time::Timestamp;
use crate::domain::webhook::{Secret, retry_after_s, sign_with_each};

pub use reach::{Reach, Refused, not_public};

/// How long an exchange may take, from looking up the name to the end of the answer.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How much of an answer is read at most, bytes.
const MOST_READ: usize = 64 * 1024;
/// How much of it is kept, bytes.
const MOST_KEPT: usize = 1024;
/// How long a reason may be, characters.
const MOST_REASON: usize = 300;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same for every attempt: by it the other side knows what it has seen.
    pub id: String,
    /// The body, JSON.
    pub body: Vec<u8>,
}

/// What came of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The beginning of the answer's body, as text without control characters.
    pub response: String,
    /// Why it failed; `None` when it was taken.
    pub failure: Option<String>,
    /// What the other side asked for with `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// How long it took.
    pub latency_ms: u64,
}

/// The headers of a message that is signed at `at` with each of `secrets`.
pub fn headers(
    message: &Message,
    secrets: &[Secret],
    at: Timestamp,
) -> [(&'static str, String); 3] {
    let signature = sign_with_each(secrets, &message.id, at.unix_s(), &message.body);
    [(ID, message.id.clone()), (TIMESTAMP, at.unix_s().to_string()), (SIGNATURE, signature)]
}

/// Sends messages.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    reach: Reach,
    limit: Duration,
}

impl Client {
    /// One that reaches as far as the configuration allows.
    ///
    /// # Errors
    /// When the system gives no certificates to trust.
    pub fn new(reach: Reach) -> anyhow::Result<Self> {
        Self::with(reach, reach::system(), LIMIT)
    }

    fn with(reach: Reach, lookup: reach::Lookup, limit: Duration) -> anyhow::Result<Self> {
        // Fails only when it was done before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            // A connection for a message: each time its address is looked up and checked.
            .pool_max_idle_per_host(0)
            .dns_resolver(reach::Checked { lookup, reach })
            .build()
            .context("cannot make a client for webhooks")?;
        Ok(Self { http, reach, limit })
    }

    /// Sends `message` to `url`, signed with each of `secrets` at `at`.
    pub async fn send(
        &self,
        url: &str,
        message: Message,
        secrets: &[Secret],
        at: Timestamp,
    ) -> Exchange {
        let began = Instant::now();
        let mut seen = Exchange::default();
        let exchange = self.exchange(url, message, secrets, at, &mut seen);
        let failure = match tokio::time::timeout(self.limit, exchange).await {
            Ok(failure) => failure,
            Err(_) => Some(format!("it took longer than {} s", self.limit.as_secs())),
        };
        let latency_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Exchange { failure, latency_ms, ..seen }
    }

    /// Why it failed. What was heard before that is in `seen`.
    async fn exchange(
        &self,
        url: &str,
        message: Message,
        secrets: &[Secret],
        at: Timestamp,
        seen: &mut Exchange,
    ) -> Option<String> {
        // An address that is written out is not looked up; and the configuration may have changed.
        let url = match self.reach.check_url(url) {
            Ok(url) => url,
            Err(refused) => return Some(refused.to_string()),
        };
        let mut request = self.http.post(url).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers(&message, secrets, at) {
            request = request.header(name, value);
        }
        let mut answer = match request.body(message.body).send().await {
            Ok(answer) => answer,
            Err(error) => return Some(reason(error)),
        };
        let status = answer.status();
        seen.status = Some(status.as_u16());
        seen.retry_after_s = asked_for(answer.headers(), at);
        let (mut kept, mut read) = (Vec::new(), 0);
        while read < MOST_READ {
            match answer.chunk().await {
                Ok(Some(bytes)) => {
                    read += bytes.len();
                    kept.extend(bytes.iter().take(MOST_KEPT - kept.len()));
                    seen.response = printable(&kept);
                }
                Ok(None) => break,
                Err(error) => return Some(reason(error)),
            }
        }
        if status.is_success() {
            return None;
        }
        Some(match status.is_redirection() {
            true => format!("it answered {status}; redirects are not followed"),
            false => format!("it answered {status}"),
        })
    }
}

fn asked_for(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    retry_after_s(value, now)
}

/// Text that any log and database takes.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// The innermost cause says most; what is around it repeats the URL.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_connect() { "cannot connect: " } else { "" };
    let text: String = format!("{what}{cause}").chars().take(MOST_REASON).collect();
    printable(text.as_bytes())
}
