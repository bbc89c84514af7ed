//! Everything a descriptor is refused for, before a single address comes from it.
//! Must never put a key into a message: private ones are secret, and a typo may hide one.
//! Called by `Keychain::parse` only.

use bitcoin::{Network, NetworkKind, PrivateKey};
use miniscript::descriptor::{DescriptorType, Wildcard, XKeyNetwork, checksum};
use miniscript::{Descriptor, DescriptorPublicKey, ForEachKey};
use thiserror::Error;

/// Why a descriptor is not accepted, and what to write instead.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeychainError {
    /// It holds an extended private key or a WIF key.
    #[error(
        "the descriptor contains a private key; this server must never hold one. Take the public \
         descriptor instead (bitcoin-cli listdescriptors prints it), and treat a private key \
         that was in a configuration file as exposed"
    )]
    PrivateKey,
    /// A version of the extended key format that descriptors do not know (SLIP132).
    #[error(
        "{prefix}… is a SLIP132 key; a descriptor takes the xpub or tpub form of it, and says \
         the address type itself: wpkh(…) for zpub and vpub"
    )]
    Slip132 {
        /// Its first four letters.
        prefix: String,
    },
    /// A character that BIP380 does not allow.
    #[error("character {position} of the descriptor is not allowed in a descriptor")]
    Character {
        /// Counted from 1.
        position: usize,
    },
    /// The checksum has not eight characters.
    #[error("the checksum after # has {found} characters, not 8; leave out # or give all of it")]
    ChecksumLength {
        /// How many there are.
        found: usize,
    },
    /// The checksum is that of another text.
    #[error(
        "the checksum does not fit the descriptor: one of the two was mistyped. Copy it from the \
         wallet again. (This text as it stands would have #{expected}.)"
    )]
    Checksum {
        /// The checksum of the text as given.
        expected: String,
    },
    /// It is no descriptor.
    #[error("not a descriptor such as wpkh([d34db33f/84h/0h/0h]xpub…/<0;1>/*){detail}")]
    Syntax {
        /// Empty, or a colon and what the parser found.
        detail: String,
    },
    /// A kind that is not supported.
    #[error(
        "{found} descriptors are not supported: use wpkh, tr, wsh(multi or sortedmulti) or sh(wsh(…))"
    )]
    Kind {
        /// The kind found.
        found: &'static str,
    },
    /// Scripts that miniscript's safety check refuses.
    #[error("the descriptor's script cannot be spent safely{detail}")]
    Unsafe {
        /// Empty, or a colon and the reason.
        detail: String,
    },
    /// A plain public key among the keys.
    #[error(
        "every key must be an extended public key (xpub…, tpub…): a single key has one address"
    )]
    SingleKey,
    /// Main keys on a test network or the other way round, or both kinds in one descriptor.
    #[error("the keys are {found} keys, but the configured network is {configured}")]
    Network {
        /// Which kind of keys.
        found: &'static str,
        /// The configured network.
        configured: Network,
    },
    /// There is no `*`.
    #[error("every key must end in a wildcard, /<0;1>/*: without it there is only one address")]
    NoWildcard,
    /// A hardened step below the extended public key.
    #[error(
        "a hardened step (h or ') after an extended public key needs the private key; derive the \
         xpub below that step in the wallet, hardened steps belong into the [origin]"
    )]
    Hardened,
    /// Not exactly two branches.
    #[error("every key needs two branches, one for payers and one for change: /<0;1>/*")]
    Branches {
        /// How many were found.
        found: usize,
    },
    /// Both branches are the same.
    #[error("the two branches in <…;…> must differ, as in /<0;1>/*")]
    SameBranches,
}

/// Parses and checks everything about the text itself.
pub(super) fn descriptor(
    text: &str,
    network: Network,
) -> Result<Descriptor<DescriptorPublicKey>, KeychainError> {
    let text = text.trim();
    foreign_keys(text)?;
    let body = verified(text)?;
    let descriptor: Descriptor<DescriptorPublicKey> =
        body.parse().map_err(|error| KeychainError::Syntax { detail: quotable(&error) })?;
    kind(&descriptor)?;
    keys(&descriptor, network)?;
    descriptor
        .sanity_check()
        .map_err(|error| KeychainError::Unsafe { detail: quotable(&error) })?;
    Ok(descriptor)
}

/// Checks the BIP380 checksum, if there is one, and returns the text before it.
pub(super) fn verified(text: &str) -> Result<&str, KeychainError> {
    checksum::verify_checksum(text).map_err(|error| match error {
        checksum::Error::InvalidCharacter { pos, .. } => {
            KeychainError::Character { position: pos + 1 }
        }
        checksum::Error::InvalidChecksumLength { actual, .. } => {
            KeychainError::ChecksumLength { found: actual }
        }
        checksum::Error::InvalidChecksum { expected, .. } => {
            KeychainError::Checksum { expected: expected.iter().collect() }
        }
    })
}

// Before anything else looks at the text, because other errors may quote a part of it.
fn foreign_keys(text: &str) -> Result<(), KeychainError> {
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        if word.get(1..4) == Some("prv") || looks_like_wif(word) {
            return Err(KeychainError::PrivateKey);
        }
        let prefix = word.get(..4).unwrap_or_default();
        if word.len() > 100
            && ["ypub", "zpub", "upub", "vpub"].contains(&prefix.to_lowercase().as_str())
        {
            return Err(KeychainError::Slip132 { prefix: prefix.to_owned() });
        }
    }
    Ok(())
}

// A mistyped WIF key does not decode and is still a secret, so its shape is enough.
fn looks_like_wif(word: &str) -> bool {
    let shape = (51..=52).contains(&word.len())
        && word.starts_with(['5', 'K', 'L', '9', 'c'])
        && !word.chars().all(|c| c.is_ascii_hexdigit());
    shape || PrivateKey::from_wif(word).is_ok()
}

// Quotes the library only when no long word is in its message.
fn quotable(error: &miniscript::Error) -> String {
    let message = error.to_string();
    let long = message.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.len() > 24);
    if long { String::new() } else { format!(": {message}") }
}

fn kind(descriptor: &Descriptor<DescriptorPublicKey>) -> Result<(), KeychainError> {
    let refuse = |found| Err(KeychainError::Kind { found });
    let text = format!("{descriptor:#}");
    match descriptor.desc_type() {
        DescriptorType::Wpkh
        | DescriptorType::Tr
        | DescriptorType::WshSortedMulti
        | DescriptorType::ShWshSortedMulti => Ok(()),
        DescriptorType::Wsh if text.starts_with("wsh(multi(") => Ok(()),
        DescriptorType::ShWsh if text.starts_with("sh(wsh(multi(") => Ok(()),
        DescriptorType::Wsh | DescriptorType::ShWsh => refuse("general wsh miniscript"),
        DescriptorType::Pkh => refuse("pkh"),
        DescriptorType::ShWpkh => refuse("sh(wpkh)"),
        DescriptorType::Sh | DescriptorType::ShSortedMulti => refuse("plain sh"),
        DescriptorType::Bare => refuse("bare"),
    }
}

fn keys(
    descriptor: &Descriptor<DescriptorPublicKey>,
    configured: Network,
) -> Result<(), KeychainError> {
    let mut fault = None;
    descriptor.for_each_key(|key| {
        fault = fault.take().or_else(|| key_fault(key));
        true
    });
    if let Some(fault) = fault {
        return Err(fault);
    }
    let found = match descriptor.xkey_network() {
        XKeyNetwork::Single(kind) if kind == NetworkKind::from(configured) => return Ok(()),
        XKeyNetwork::Single(NetworkKind::Main) => "mainnet (xpub)",
        XKeyNetwork::Single(NetworkKind::Test) => "test network (tpub)",
        XKeyNetwork::Mixed => "partly mainnet, partly test network",
        XKeyNetwork::NoXKeys => return Err(KeychainError::SingleKey),
    };
    Err(KeychainError::Network { found, configured })
}

fn key_fault(key: &DescriptorPublicKey) -> Option<KeychainError> {
    if matches!(key, DescriptorPublicKey::Single(_)) {
        Some(KeychainError::SingleKey)
    } else if key.has_hardened_step() || key.wildcard() == Some(Wildcard::Hardened) {
        Some(KeychainError::Hardened)
    } else if !key.has_wildcard() {
        Some(KeychainError::NoWildcard)
    } else {
        let found = key.derivation_paths().len();
        (found != 2).then_some(KeychainError::Branches { found })
    }
}
