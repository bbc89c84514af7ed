//! Which database is used. Its address may hold a password, so it is never printed whole.
//! Called by `config::sections`; `daemon` hands [`Database::url`] to the database layer.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// Where everything is kept.
#[derive(Clone, Debug)]
pub enum Database {
    /// One file.
    Sqlite(PathBuf),
    /// A server, by its whole `postgres://` address.
    Postgres(SecretString),
}

impl Database {
    /// Reads `sqlite:FILE`, relative to `base`, or `postgres://…`. `None`: neither.
    pub(super) fn parse(text: &str, base: &Path) -> Option<Self> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            let usable = !file.is_empty() && !file.starts_with(':') && !file.contains('?');
            return usable.then(|| Self::Sqlite(base.join(file)));
        }
        let url = reqwest::Url::parse(text).ok()?;
        matches!(url.scheme(), "postgres" | "postgresql")
            .then(|| Self::Postgres(SecretString::from(text)))
    }

    /// The address as the database layer takes it.
    pub fn url(&self) -> SecretString {
        match self {
            Self::Sqlite(file) => SecretString::from(format!("sqlite:{}", file.display())),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// The address for people: without the password and without parameters.
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(url) => match reqwest::Url::parse(url.expose_secret()) {
                Ok(url) => {
                    format!("postgres://{}{}", url.host_str().unwrap_or("localhost"), url.path())
                }
                Err(_) => "postgres://…".into(),
            },
        }
    }
}
