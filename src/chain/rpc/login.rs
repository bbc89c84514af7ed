//! Who we are to bitcoind: a name and password, or the cookie file it writes at every start.
//! Never shown in a message, a log or `Debug`.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::chain::ChainError;

/// How to log in.
#[derive(Clone, Debug)]
pub enum Login {
    /// The path of the `.cookie` file in bitcoind's data folder (of its network).
    Cookie(PathBuf),
    /// `rpcuser` and `rpcpassword`, or a pair of `rpcauth`.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: SecretString,
    },
}

/// A ready `Authorization` header.
#[derive(Clone)]
pub(super) struct Header(Arc<HeaderValue>);

impl Header {
    fn new(user_and_password: &str) -> Result<Self, ChainError> {
        let encoded = BASE64.encode(user_and_password.as_bytes());
        let mut value = HeaderValue::from_str(&format!("Basic {encoded}"))
            .expect("base64 has only visible ASCII characters");
        value.set_sensitive(true);
        Ok(Self(Arc::new(value)))
    }

    pub(super) fn value(&self) -> HeaderValue {
        (*self.0).clone()
    }
}

/// A login and the header last made from it.
pub(super) struct Session {
    login: Login,
    header: Mutex<Option<Header>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(login: Login) -> Self {
        Self { login, header: Mutex::new(None) }
    }

    /// The header to send.
    pub(super) async fn current(&self) -> Result<Header, ChainError> {
        let known = self.header.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(header) => Ok(header),
            None => self.read().await,
        }
    }

    /// The header to send once more after `refused` was: another one, or an error.
    pub(super) async fn renewed(&self, refused: &Header) -> Result<Header, ChainError> {
        let header = self.read().await?;
        if header.0 != refused.0 {
            tracing::info!("bitcoind wants a new login: read its cookie file again");
            return Ok(header);
        }
        let detail = match &self.login {
            Login::Cookie(path) => format!(
                "the cookie in {} is refused. Is it the file of this node and this network?",
                path.display()
            ),
            Login::Password { .. } => {
                "check bitcoind.rpc_user and bitcoind.rpc_password".to_owned()
            }
        };
        Err(ChainError::Unauthorized { detail })
    }

    async fn read(&self) -> Result<Header, ChainError> {
        let header = match &self.login {
            Login::Password { user, password } => {
                Header::new(&format!("{user}:{}", password.expose_secret()))?
            }
            Login::Cookie(path) => {
                let cookie = tokio::fs::read_to_string(path).await.map_err(|error| {
                    let advice = match error.kind() {
                        ErrorKind::NotFound => {
                            "Is bitcoind running, is bitcoind.cookie_file right?"
                        }
                        _ => "Start bitcoind with -rpccookieperms=group, or use a password.",
                    };
                    let detail = format!("cannot read {}: {error}. {advice}", path.display());
                    ChainError::Unauthorized { detail }
                })?;
                Header::new(cookie.trim())?
            }
        };
        *self.header.lock().unwrap_or_else(PoisonError::into_inner) = Some(header.clone());
        Ok(header)
    }
}
