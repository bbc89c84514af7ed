//! Blocks in binary from bitcoind's REST interface, which needs no login and no hex.
//! Only ever a short cut: whatever goes wrong here, the caller takes the block over RPC.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bitcoin::BlockHash;
use bytes::Bytes;
use reqwest::{Client, Url};
use serde_json::Value;

use super::rpc::{self, counted, parse_url, transport_error, unusable};
use super::{ChainError, header_hash};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Blocks that are taken over RPC after a failure, before REST is tried again.
const PAUSE: u32 = 100;

/// The REST interface of a node.
#[derive(Debug)]
pub(super) struct Rest {
    http: Client,
    base: Url,
    pause: AtomicU32,
}

impl Rest {
    pub(super) fn new(base: &str) -> Result<Self, ChainError> {
        let base = parse_url("bitcoind.rest_url", base)?;
        Ok(Self { http: rpc::client()?, base, pause: AtomicU32::new(0) })
    }

    /// Whether the interface answers. A node without `rest=1` says 404.
    pub(super) async fn probe(&self) -> Result<(), ChainError> {
        let probe = async {
            let body = self.get("rest/chaininfo.json").await?;
            serde_json::from_slice::<Value>(&body)
                .map_err(|error| unusable("rest/chaininfo", &error))
        };
        let result = counted("rest/chaininfo", probe.await).map(drop);
        self.pause.store(if result.is_ok() { 0 } else { PAUSE }, Ordering::Relaxed);
        result
    }

    /// The block, unless it cannot be had here now.
    pub(super) async fn block(&self, hash: &BlockHash) -> Option<Bytes> {
        let paused = self.pause.load(Ordering::Relaxed);
        if paused > 0 {
            self.pause.store(paused - 1, Ordering::Relaxed);
            return None;
        }
        match counted("rest/block", self.fetch(hash).await) {
            Ok(block) => Some(block),
            Err(error) => {
                tracing::warn!(%error, "no blocks over REST for a while, taking them over RPC");
                self.pause.store(PAUSE, Ordering::Relaxed);
                None
            }
        }
    }

    async fn fetch(&self, hash: &BlockHash) -> Result<Bytes, ChainError> {
        let block = self.get(&format!("rest/block/{hash}.bin")).await?;
        if header_hash(&block) == Some(*hash) {
            Ok(block)
        } else {
            Err(unusable("rest/block", &"it is not the block asked for"))
        }
    }

    async fn get(&self, path: &str) -> Result<Bytes, ChainError> {
        let mut url = self.base.clone();
        url.set_path(path);
        let fail = |error| transport_error(&self.base, path, TIMEOUT, error);
        let response = self.http.get(url).timeout(TIMEOUT).send().await.map_err(fail)?;
        let status = response.status();
        let body = response.bytes().await.map_err(fail)?;
        if status.is_success() {
            return Ok(body);
        }
        let text: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
        Err(unusable(path, &format!("HTTP {status}: {text}")))
    }
}
