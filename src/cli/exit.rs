//! How a command ends when it did not do its work, and with which code (SPEC section 11).
//! The message goes to standard error; `main` prints it.

use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;

use crate::chain::ChainError;
use crate::config::Problems;
use crate::db::DbError;
use crate::domain::keychain::KeychainError;
use crate::keys::KeyError;

/// A command that did not do its work.
#[derive(Debug)]
pub enum Exit {
    /// It failed; code 1. Trying again will not help.
    Failed(anyhow::Error),
    /// Wrong usage or configuration; code 2. Nothing was done.
    Usage(String),
    /// Something that may pass was in the way; code 75 (EX_TEMPFAIL of sysexits).
    TryAgain(anyhow::Error),
    /// All that is to be said was printed already; code 1.
    Said,
    /// The same with the code of another program.
    Code(u8),
}

impl Exit {
    /// The code that the process ends with.
    pub fn number(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Said => 1,
            Self::Usage(_) => 2,
            Self::TryAgain(_) => 75,
            Self::Code(code) => *code,
        }
    }

    /// What went wrong, without what to do about it.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Failed(error) | Self::TryAgain(error) => format!("{error:#}"),
            Self::Usage(message) => message.clone(),
            Self::Said | Self::Code(_) => String::new(),
        }
    }

    /// How a server ends that could not start, or go on: what went wrong decides.
    pub(super) fn of_server(error: anyhow::Error) -> Self {
        let wrong = error.is::<Problems>() || error.is::<KeychainError>() || error.is::<KeyError>();
        let number = if let Some(error) = error.downcast_ref::<DbError>() {
            Self::from(error.clone()).number()
        } else if let Some(error) = error.downcast_ref::<ChainError>() {
            Self::from(error.clone()).number()
        } else if let Some(error) = error.downcast_ref::<std::io::Error>() {
            match error.kind() {
                ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => 75,
                ErrorKind::PermissionDenied => 2,
                _ => 1,
            }
        } else if wrong {
            2
        } else {
            1
        };
        match number {
            2 => Self::Usage(format!("{error:#}")),
            75 => Self::TryAgain(error),
            _ => Self::Failed(error),
        }
    }

    /// The number for `main`.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The whole chain of causes on one line.
            Self::Failed(error) => write!(f, "error: {error:#}"),
            Self::TryAgain(error) => write!(f, "error: {error:#}; try again later"),
            Self::Usage(message) => f.write_str(message),
            Self::Said | Self::Code(_) => Ok(()),
        }
    }
}

impl From<anyhow::Error> for Exit {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<DbError> for Exit {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unsupported { .. } | DbError::Url { .. } => Self::Usage(error.to_string()),
            _ if error.is_temporary() => Self::TryAgain(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<ChainError> for Exit {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::WrongNetwork { .. } | ChainError::Config { .. } => {
                Self::Usage(error.to_string())
            }
            _ => Self::TryAgain(error.into()),
        }
    }
}

impl From<Problems> for Exit {
    fn from(problems: Problems) -> Self {
        Self::Usage(problems.to_string())
    }
}

#[cfg(test)]
mod tests;
