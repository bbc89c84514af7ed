//! The HTTP client for RPC and REST, and what its errors mean.
//! Must never take a proxy from the environment, follow a redirect or send a request twice.

use std::error::Error;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::chain::ChainError;

/// bitcoind closes an idle connection after 30 s.
const IDLE: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(10);

pub(in crate::chain) fn client() -> Result<Client, ChainError> {
    // Somebody may have installed a provider before; then it is that one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .pool_idle_timeout(IDLE)
        .connect_timeout(CONNECT)
        .build()
        .map_err(|error| ChainError::Config { detail: format!("no HTTP client: {}", root(&error)) })
}

/// Reads a base URL from configuration.
pub(in crate::chain) fn parse_url(key: &str, text: &str) -> Result<Url, ChainError> {
    let config = |detail| Err(ChainError::Config { detail });
    let Ok(url) = Url::parse(text) else {
        return config(format!("{key} is not a URL such as http://127.0.0.1:8332"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return config(format!(
            "{key} must not contain a login: use bitcoind.cookie_file, or rpc_user and rpc_password"
        ));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return config(format!("{key} must begin with http:// or https://"));
    }
    Ok(url)
}

pub(in crate::chain) fn transport_error(
    url: &Url,
    method: &str,
    timeout: Duration,
    error: reqwest::Error,
) -> ChainError {
    if error.is_timeout() && !error.is_connect() {
        return ChainError::Timeout { method: method.to_owned(), seconds: timeout.as_secs() };
    }
    let url = url.origin().ascii_serialization();
    ChainError::Unreachable { url, detail: root(&error) }
}

// The outer errors only say that sending failed; the innermost says why.
fn root(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
