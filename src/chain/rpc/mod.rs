//! An async JSON-RPC client for bitcoind. Sends a request again only after a 401, which says that
//! nothing was done; never after a time-out or a broken connection. Never logs a login.
//! Called by `chain::bitcoind`, and through `chain::typed` where the rpc crate's types are wanted.

mod http;
mod login;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::ChainError;
pub(super) use http::{client, parse_url, transport_error};
pub use login::Login;
use login::Session;
pub use wire::Fault;
use wire::Reply;
pub(super) use wire::{OUT_OF_RANGE, UNKNOWN, unusable};

/// Calls in one HTTP request: enough to make the round trip cheap, few enough to keep answers
/// small.
pub const BATCH: usize = 100;

/// How long a call may take unless it says otherwise. A block from a slow disk takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The client. Cheap to clone; clones share connections and login.
#[derive(Clone, Debug)]
pub struct Rpc {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    url: reqwest::Url,
    session: Arc<Session>,
}

/// An HTTP answer whose status was not judged yet.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Rpc {
    /// A client for `url`, which must not contain a login. Does not connect yet.
    ///
    /// # Errors
    /// [`ChainError::Config`] when the URL cannot be one of bitcoind's.
    pub fn new(url: &str, login: Login) -> Result<Self, ChainError> {
        let url = parse_url("bitcoind.rpc_url", url)?;
        let session = Arc::new(Session::new(login));
        Ok(Self { inner: Arc::new(Inner { http: client()?, url, session }) })
    }

    /// The same node under another path, `wallet/NAME` for the calls of a wallet.
    #[must_use]
    pub fn at_path(&self, path: &str) -> Self {
        let mut url = self.inner.url.clone();
        url.set_path(path);
        let (http, session) = (self.inner.http.clone(), self.inner.session.clone());
        Self { inner: Arc::new(Inner { http, url, session }) }
    }

    /// Where it connects to.
    pub fn url(&self) -> &str {
        self.inner.url.as_str()
    }

    /// Calls `method` with a JSON array of parameters.
    ///
    /// # Errors
    /// The node's own error is [`ChainError::Refused`], with its code.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, ChainError> {
        self.call_within(CALL_TIMEOUT, method, params).await
    }

    /// As [`Rpc::call`], with a time-out of its own.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn call_within<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        method: &str,
        params: Value,
    ) -> Result<T, ChainError> {
        counted(method, self.call_uncounted(timeout, method, params).await)
    }

    async fn call_uncounted<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        method: &str,
        params: Value,
    ) -> Result<T, ChainError> {
        let request = json!({ "id": 0, "method": method, "params": params }).to_string();
        let answer = self.post(method, request.into(), timeout).await?;
        match serde_json::from_slice::<Reply<T>>(&answer.body) {
            Ok(reply) => {
                let result = reply.into_result().map_err(|e| unusable(method, &e))?;
                result.map_err(|fault| fault.into_error(method))
            }
            Err(error) => Err(wire::not_a_reply(method, &answer, &error)),
        }
    }

    /// Calls `method` once for each list of parameters, [`BATCH`] to a request, and answers in
    /// their order. What the node refuses is refused for that call only.
    ///
    /// # Errors
    /// When a whole request failed.
    pub async fn batch<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<Vec<Result<T, Fault>>, ChainError> {
        let mut results = Vec::with_capacity(params.len());
        for chunk in params.chunks(BATCH) {
            results.extend(counted(method, self.batch_chunk(method, chunk).await)?);
        }
        Ok(results)
    }

    async fn batch_chunk<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<Vec<Result<T, Fault>>, ChainError> {
        let calls: Vec<_> = params
            .iter()
            .enumerate()
            .map(|(id, params)| json!({ "id": id, "method": method, "params": params }))
            .collect();
        let request = Value::from(calls).to_string();
        let answer = self.post(method, request.into(), CALL_TIMEOUT).await?;
        // A node that refuses the batch as a whole answers with one object instead of a list.
        match serde_json::from_slice::<Vec<Reply<T>>>(&answer.body) {
            Ok(replies) => wire::in_order(method, replies, params.len()),
            Err(error) => match serde_json::from_slice::<Reply<Value>>(&answer.body) {
                Ok(Reply { error: Some(fault), .. }) => Err(fault.into_error(method)),
                _ => Err(wire::not_a_reply(method, &answer, &error)),
            },
        }
    }

    /// Sends one HTTP request and reads its whole answer; `method` is for error messages.
    pub(super) async fn post(
        &self,
        method: &str,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Answer, ChainError> {
        let login = self.inner.session.current().await?;
        let answer = self.send(method, request.clone(), &login, timeout).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        // A restarted node has a new cookie. The 401 says that nothing was done yet.
        let login = self.inner.session.renewed(&login).await?;
        self.send(method, request, &login, timeout).await
    }

    async fn send(
        &self,
        method: &str,
        request: Bytes,
        login: &login::Header,
        timeout: Duration,
    ) -> Result<Answer, ChainError> {
        let fail = |error| transport_error(&self.inner.url, method, timeout, error);
        let response = self
            .inner
            .http
            .post(self.inner.url.clone())
            .header(reqwest::header::AUTHORIZATION, login.value())
            .timeout(timeout)
            .body(request)
            .send()
            .await
            .map_err(fail)?;
        let status = response.status();
        let body = response.bytes().await.map_err(fail)?;
        Ok(Answer { status, body })
    }
}

/// Counts a call and, if so, its failure. An answer "no such block" is no failure.
pub(super) fn counted<T>(method: &str, result: Result<T, ChainError>) -> Result<T, ChainError> {
    metrics::counter!("leasehold_rpc_calls_total", "method" => method.to_owned()).increment(1);
    if let Err(error) = &result
        && error.code().is_none_or(|code| !wire::is_plain_no(code))
    {
        let labels = [("method", method.to_owned()), ("kind", error.kind().to_owned())];
        metrics::counter!("leasehold_rpc_failures_total", &labels).increment(1);
    }
    result
}
