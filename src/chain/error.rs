//! What can go wrong between us and the node, classed by what a caller should do about it.
//! Messages say what to do and never contain a password or a cookie.

use bitcoin::Network;
use thiserror::Error;

use super::BlockId;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// It passes by itself: try again, later and later.
    Transient,
    /// The login is wrong. It may be put right while we run, so try again, but tell the operator.
    Unauthorized,
    /// Going on would be wrong: stop and say why.
    Fatal,
}

/// Why the node gave no usable answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChainError {
    /// No connection, or it broke.
    #[error("no connection to bitcoind at {url}: {detail}. Is it running, is the URL right?")]
    Unreachable {
        /// Where, without any login.
        url: String,
        /// What the system said.
        detail: String,
    },
    /// It took too long.
    #[error("bitcoind did not answer {method} within {seconds} s")]
    Timeout {
        /// The call.
        method: String,
        /// The limit.
        seconds: u64,
    },
    /// HTTP 503: its work queue is full.
    #[error("bitcoind has too much to do ({detail}); if this goes on, raise its rpcworkqueue")]
    Busy {
        /// Its words.
        detail: String,
    },
    /// RPC code -28, or the mempool is still being loaded.
    #[error("bitcoind is starting: {detail}")]
    WarmingUp {
        /// Its words.
        detail: String,
    },
    /// HTTP 401 or 403, or the cookie cannot be read.
    #[error("bitcoind does not let us in: {detail}")]
    Unauthorized {
        /// What to check.
        detail: String,
    },
    /// It answered with an error of its own.
    #[error("bitcoind refused {method}: {detail} (code {code})")]
    Refused {
        /// The call.
        method: String,
        /// Bitcoin Core's `RPCErrorCode`.
        code: i64,
        /// Its words.
        detail: String,
    },
    /// It answered something that makes no sense.
    #[error("bitcoind's answer to {method} cannot be used: {detail}")]
    Unusable {
        /// The call.
        method: String,
        /// What is wrong with it.
        detail: String,
    },
    /// It follows another network than the configured one.
    #[error(
        "bitcoind is on {found}, but bitcoind.network is {configured}: correct the one that is \
         wrong. Never point a database at another network"
    )]
    WrongNetwork {
        /// The node's network.
        found: String,
        /// The configured one.
        configured: Network,
    },
    /// Not one of our blocks is in its chain.
    #[error(
        "the node's chain shares no block with the stored one, down to {bottom}: this database \
         belongs to another chain (a regtest network that was made anew?). Use the node it was \
         made with, or a new database"
    )]
    ForeignChain {
        /// The lowest stored block.
        bottom: BlockId,
    },
    /// It has deleted a block that we still need.
    #[error(
        "bitcoind has pruned block {height}, which was not read yet. Download it again (restart \
         bitcoind with -reindex), and set prune=0, or high enough to keep what is mined while \
         this server is down"
    )]
    Pruned {
        /// The block's height.
        height: u32,
    },
    /// The configuration cannot work.
    #[error("{detail}")]
    Config {
        /// What to change.
        detail: String,
    },
}

impl ChainError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Busy { .. }
            | Self::WarmingUp { .. }
            | Self::Refused { .. }
            | Self::Unusable { .. } => ErrorClass::Transient,
            Self::Unauthorized { .. } => ErrorClass::Unauthorized,
            Self::WrongNetwork { .. }
            | Self::ForeignChain { .. }
            | Self::Pruned { .. }
            | Self::Config { .. } => ErrorClass::Fatal,
        }
    }

    /// One word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Busy { .. } => "busy",
            Self::WarmingUp { .. } => "warming_up",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Refused { .. } => "refused",
            Self::Unusable { .. } => "unusable",
            Self::WrongNetwork { .. } => "wrong_network",
            Self::ForeignChain { .. } => "foreign_chain",
            Self::Pruned { .. } => "pruned",
            Self::Config { .. } => "config",
        }
    }

    /// The RPC error code, when the node answered with one.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}
