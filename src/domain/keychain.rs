//! A public output descriptor as a supply of addresses: one branch that is given to payers,
//! one for our own change. Never holds a key that can spend; parsing refuses one.
//! Called by configuration (parse), by the use cases that issue addresses, and by the watch set.

mod check;
#[cfg(test)]
mod tests;

use std::fmt;

use bitcoin::bip32::{ChildNumber, DerivationPath, Xpub};
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{Address, CompressedPublicKey, Network, ScriptBuf};
use miniscript::descriptor::{DescriptorType, DescriptorXKey, Wildcard};
use miniscript::{Descriptor, DescriptorPublicKey, Translator, translate_hash_fail};
use secp256k1::SECP256K1;

pub use check::KeychainError;

/// Derivation indexes end here: the upper half of BIP32's range is hardened.
pub const INDEX_END: u32 = 1 << 31;

/// How many of the first external scripts make the identity of a keychain.
const ID_SCRIPTS: u32 = 16;

/// One of the two chains of a descriptor, the `<0;1>` of BIP389.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Branch {
    /// Addresses given to payers.
    External,
    /// Our own change.
    Internal,
}

impl Branch {
    /// The word stored in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Internal => "internal",
        }
    }

    /// Reads what [`Branch::as_str`] wrote.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::External, Self::Internal].into_iter().find(|branch| branch.as_str() == name)
    }
}

/// A checked public descriptor with an external and an internal branch.
#[derive(Clone)]
pub struct Keychain {
    descriptor: Descriptor<DescriptorPublicKey>,
    network: Network,
    external: Chain,
    internal: Chain,
    id: String,
}

impl Keychain {
    /// Reads a descriptor (BIP380 to BIP389) of kind wpkh, tr, wsh or sh(wsh) multisig whose keys
    /// are all extended public keys of `network` with two branches and a wildcard, `/<0;1>/*`.
    /// A checksum is checked when there is one.
    ///
    /// # Errors
    /// Says what to change. Never repeats a key.
    pub fn parse(descriptor: &str, network: Network) -> Result<Self, KeychainError> {
        let descriptor = check::descriptor(descriptor, network)?;
        let single = descriptor
            .clone()
            .into_single_descriptors()
            .map_err(|_| KeychainError::Branches { found: 0 })?;
        let [external, internal] = <[_; 2]>::try_from(single)
            .map_err(|other| KeychainError::Branches { found: other.len() })?;
        let (external, internal) = (Chain::new(&external), Chain::new(&internal));
        if external.script(0) == internal.script(0) {
            return Err(KeychainError::SameBranches);
        }
        let id = identity(&external);
        Ok(Self { descriptor, network, external, internal, id })
    }

    /// The script that pays `index` of `branch`. One or two elliptic-curve operations a key:
    /// do not derive again what is stored.
    ///
    /// # Panics
    /// When `index` is not below [`INDEX_END`].
    pub fn script(&self, branch: Branch, index: u32) -> ScriptBuf {
        match branch {
            Branch::External => self.external.script(index),
            Branch::Internal => self.internal.script(index),
        }
    }

    /// The address of [`Keychain::script`] on the configured network.
    ///
    /// # Panics
    /// When `index` is not below [`INDEX_END`].
    pub fn address(&self, branch: Branch, index: u32) -> Address {
        Address::from_script(&self.script(branch, index), self.network)
            .expect("every accepted kind of descriptor has an address form")
    }

    /// The smallest output of this script type that nodes relay, in satoshis.
    pub fn dust_sat(&self) -> u64 {
        self.external.script(0).minimal_non_dust().to_sat()
    }

    /// The most weight units that spending one of its coins adds to an empty input.
    pub fn satisfaction_weight(&self) -> u64 {
        let single = self.descriptor.clone().into_single_descriptors().unwrap_or_default();
        let first = single.first().and_then(|it| it.at_derivation_index(0).ok());
        let weight = first.and_then(|it| it.max_weight_to_satisfy().ok());
        weight.expect("every accepted kind of descriptor can be satisfied").to_wu()
    }

    /// A name of what this descriptor issues: a hash of its first external scripts, in hex. Equal
    /// for every way to write the same supply of addresses (origin added, `'` for `h`, checksum
    /// left out, another change branch), so that rewriting it never starts again at index 0.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The descriptor in its one normal spelling, with origin and checksum.
    pub fn canonical(&self) -> String {
        self.descriptor.to_string()
    }

    /// One branch as a descriptor of its own, …/0/* or …/1/*, with origin and checksum: what the
    /// node's wallet is given.
    pub fn single(&self, branch: Branch) -> String {
        let branches = self.descriptor.clone().into_single_descriptors();
        let [external, internal] = branches
            .ok()
            .and_then(|list| <[_; 2]>::try_from(list).ok())
            .expect("parsing has checked that there are two branches");
        match branch {
            Branch::External => external.to_string(),
            Branch::Internal => internal.to_string(),
        }
    }

    /// The network of its addresses.
    pub fn network(&self) -> Network {
        self.network
    }
}

impl fmt::Debug for Keychain {
    // Extended public keys reveal every address, so they stay out of logs too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keychain").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PartialEq for Keychain {
    fn eq(&self, other: &Self) -> bool {
        self.network == other.network && self.descriptor == other.descriptor
    }
}

fn identity(external: &Chain) -> String {
    let mut engine = sha256::Hash::engine();
    for index in 0..ID_SCRIPTS {
        engine.input(external.script(index).as_bytes());
    }
    let hash = sha256::Hash::from_engine(engine);
    data_encoding::HEXLOWER.encode(&hash.as_byte_array()[..16])
}

/// One branch with every key derived up to the wildcard, so that a script costs one step a key.
#[derive(Clone)]
enum Chain {
    Wpkh(Xpub),
    Tr(Xpub),
    Other(Box<Descriptor<DescriptorPublicKey>>),
}

impl Chain {
    fn new(single: &Descriptor<DescriptorPublicKey>) -> Self {
        let derived = single
            .translate_pk(&mut UpToWildcard)
            .expect("every key was checked to be public, without a hardened step");
        let only_key = match (derived.desc_type(), derived.iter_pk().next()) {
            (kind, Some(DescriptorPublicKey::XPub(key))) => Some((kind, key.xkey)),
            _ => None,
        };
        match (only_key, derived.tap_tree()) {
            (Some((DescriptorType::Wpkh, key)), _) => Self::Wpkh(key),
            (Some((DescriptorType::Tr, key)), None) => Self::Tr(key),
            _ => Self::Other(Box::new(derived)),
        }
    }

    fn script(&self, index: u32) -> ScriptBuf {
        match self {
            Self::Wpkh(key) => {
                let key = CompressedPublicKey(child(key, index));
                ScriptBuf::new_p2wpkh(&key.wpubkey_hash())
            }
            Self::Tr(key) => {
                let (key, _) = child(key, index).x_only_public_key();
                ScriptBuf::new_p2tr(SECP256K1, key, None)
            }
            Self::Other(descriptor) => descriptor
                .derived_descriptor(SECP256K1, index)
                .expect("the index is below INDEX_END and no step is hardened")
                .script_pubkey(),
        }
    }
}

fn child(key: &Xpub, index: u32) -> secp256k1::PublicKey {
    let step = ChildNumber::from_normal_idx(index).expect("the index is below INDEX_END");
    key.ckd_pub(SECP256K1, step)
        .expect("a normal step of a public key fails with probability 2^-127")
        .public_key
}

/// Replaces each key by the one just before its wildcard. The origin is dropped: scripts do not
/// depend on it.
struct UpToWildcard;

impl Translator<DescriptorPublicKey> for UpToWildcard {
    type TargetPk = DescriptorPublicKey;
    type Error = bitcoin::bip32::Error;

    fn pk(&mut self, key: &DescriptorPublicKey) -> Result<DescriptorPublicKey, Self::Error> {
        let DescriptorPublicKey::XPub(key) = key else {
            return Ok(key.clone());
        };
        Ok(DescriptorPublicKey::XPub(DescriptorXKey {
            origin: None,
            xkey: key.xkey.derive_pub(SECP256K1, &key.derivation_path)?,
            derivation_path: DerivationPath::master(),
            wildcard: Wildcard::Unhardened,
        }))
    }

    translate_hash_fail!(DescriptorPublicKey);
}
