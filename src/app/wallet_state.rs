//! How the node's watch-only wallet is doing, by which payouts are made. Fed by `worker::wallet`,
//! read by whoever shows it or needs the wallet. Following the chain does not depend on it.

use tokio::sync::watch;

/// Letters of the first keychain's identity that are in the wallet's name.
const LETTERS: usize = 8;

/// How the wallet is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WalletState {
    /// Not looked at yet: first the chain is followed to its tip.
    #[default]
    Unknown,
    /// It has all our descriptors, and every coin of them that is in the chain.
    Ready,
    /// It searches the chain for earlier coins: how far it is, in percent.
    Scanning(u8),
    /// It cannot be used: why, and what to do.
    Failing(String),
}

impl WalletState {
    /// The word that the API shows.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Scanning(_) => "scanning",
            Self::Failing(_) => "failing",
        }
    }

    /// What the API says beside the word.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Unknown => Some("first the chain is followed to its tip".to_owned()),
            Self::Ready => None,
            Self::Scanning(percent) => {
                Some(format!("the node searches the chain for earlier coins: {percent} % done"))
            }
            Self::Failing(why) => Some(why.clone()),
        }
    }
}

/// The wallet's name: part of the identity of the first keychain, so that it stays the same when
/// another one is added, and several servers may use one node.
pub fn wallet_name(identity: &str) -> String {
    let letters: String = identity.chars().take(LETTERS).collect();
    format!("leasehold-{letters}")
}

/// Where it is published.
pub type WalletSender = watch::Sender<WalletState>;
/// Where it is read.
pub type WalletReceiver = watch::Receiver<WalletState>;
