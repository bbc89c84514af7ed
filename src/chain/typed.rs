//! The rpc crate's typed client over our own transport, for rare calls whose types are wanted.
//! Blocks: must only be used on `spawn_blocking` threads or outside a runtime; it panics on a
//! runtime's worker. The follower never uses it.

use std::fmt;
use std::time::Duration;

use bitcoincore_rpc::Client;
use bitcoincore_rpc::jsonrpc::client::Transport;
use bitcoincore_rpc::jsonrpc::{self, Error, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::ChainError;
use super::rpc::{Rpc, counted, unusable};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A typed client that shares connections and login with `rpc`; `handle` is the runtime that
/// does the waiting.
pub fn typed_client(rpc: Rpc, handle: Handle) -> Client {
    Client::from_jsonrpc(jsonrpc::Client::with_transport(Blocking { rpc, handle }))
}

struct Blocking {
    rpc: Rpc,
    handle: Handle,
}

impl Blocking {
    fn post<T: DeserializeOwned>(
        &self,
        method: &str,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(request)?;
        let result = self.handle.block_on(async {
            let answer = self.rpc.post(method, body.into(), TIMEOUT).await?;
            serde_json::from_slice(&answer.body).map_err(|error| {
                let status = answer.status;
                unusable(method, &format!("HTTP {status}, {error}"))
            })
        });
        counted(method, result).map_err(|error: ChainError| Error::Transport(Box::new(error)))
    }
}

impl Transport for Blocking {
    fn send_request(&self, request: Request<'_>) -> Result<Response, Error> {
        self.post(request.method, &request)
    }

    fn send_batch(&self, requests: &[Request<'_>]) -> Result<Vec<Response>, Error> {
        self.post(requests.first().map_or("batch", |request| request.method), &requests)
    }

    fn fmt_target(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rpc.url())
    }
}
