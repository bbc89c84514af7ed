//! Why the node's watch-only wallet cannot be used, and what to do about it. Never repeats a
//! descriptor: whoever has one knows every address.

use thiserror::Error;

use crate::chain::{ChainError, ErrorClass};

/// `RPC_METHOD_NOT_FOUND`.
const NO_SUCH_METHOD: i64 = -32601;
/// `RPC_WALLET_NOT_FOUND`: it does not exist or is not loaded.
const NOT_FOUND: i64 = -18;

/// Why a wallet gave no usable answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WalletError {
    /// The node did not do it.
    #[error(transparent)]
    Node(ChainError),
    /// The node was built or started without wallets.
    #[error(
        "bitcoind has no wallets: start it without disablewallet (a build with wallets is needed) \
         to prepare payouts; everything else works without"
    )]
    NoWallets,
    /// The node does not know it, or has not loaded it.
    #[error("bitcoind has no wallet {name} loaded")]
    NotLoaded {
        /// Its name.
        name: String,
    },
    /// It can hold keys that spend.
    #[error(
        "the wallet {name} of bitcoind can hold private keys, so it is not the watch-only one that \
         is kept here under this name: rename its folder or unload and move it; another is then made"
    )]
    PrivateKeys {
        /// Its name.
        name: String,
    },
    /// It is of the kind without descriptors.
    #[error(
        "the wallet {name} of bitcoind is a legacy wallet without descriptors: unload and move it; \
         another is then made"
    )]
    Legacy {
        /// Its name.
        name: String,
    },
    /// It holds a descriptor that is not one of ours.
    #[error(
        "the wallet {name} of bitcoind holds a descriptor that is not one of this server's, \
         {descriptor}: its coins would be paid out. Unload and move the wallet; another is then \
         made from the chain"
    )]
    Foreign {
        /// Its name.
        name: String,
        /// Its kind and checksum.
        descriptor: String,
    },
    /// It searches the chain for earlier payments.
    #[error("the wallet {name} of bitcoind searches the chain for earlier coins: {percent} % done")]
    Scanning {
        /// Its name.
        name: String,
        /// How far it is.
        percent: u8,
    },
    /// The node did not take a descriptor, or could not search the chain for it.
    #[error(
        "bitcoind could not import a descriptor into the wallet {name}, or not search the chain \
         for its coins: {detail}. If it has pruned blocks that were read here, download them again \
         (restart bitcoind with -reindex)"
    )]
    Import {
        /// Its name.
        name: String,
        /// The node's words.
        detail: String,
    },
}

impl WalletError {
    /// Whether it passes by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Node(error) => error.class() != ErrorClass::Fatal,
            Self::NotLoaded { .. } | Self::Scanning { .. } => true,
            Self::NoWallets
            | Self::PrivateKeys { .. }
            | Self::Legacy { .. }
            | Self::Foreign { .. }
            | Self::Import { .. } => false,
        }
    }

    /// What an error of the node means for the wallet `name`.
    pub(super) fn of(error: ChainError, name: &str) -> Self {
        match error.code() {
            Some(NO_SUCH_METHOD) => Self::NoWallets,
            Some(NOT_FOUND) => Self::NotLoaded { name: name.to_owned() },
            _ => Self::Node(error),
        }
    }
}
