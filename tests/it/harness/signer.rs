//! The keys of an operator, which no server ever gets: a public descriptor for the server, and
//! signatures by the bitcoin crate alone. The seeds are fixed; each test has a chain of its own.

use std::str::FromStr;

use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::{NetworkKind, Psbt};
use data_encoding::BASE64;
use secp256k1::SECP256K1;

/// What kind of addresses the keys make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `wpkh`, BIP84.
    Wpkh,
    /// `tr` with nothing but its key, BIP86.
    Tr,
    /// `wsh(sortedmulti(2,…))` of three keys, BIP48.
    Wsh2of3,
}

/// Signs for one descriptor.
pub struct Signer {
    kind: Kind,
    masters: Vec<Xpriv>,
}

impl Signer {
    /// Always the same keys for a kind.
    pub fn new(kind: Kind) -> Self {
        let seeds: &[u8] = match kind {
            Kind::Wpkh => &[84],
            Kind::Tr => &[86],
            Kind::Wsh2of3 => &[1, 2, 3],
        };
        let master = |seed: &u8| Xpriv::new_master(NetworkKind::Test, &[*seed; 32]).unwrap();
        Self { kind, masters: seeds.iter().map(master).collect() }
    }

    /// The public descriptor, with origins, both branches and no checksum.
    pub fn descriptor(&self) -> String {
        let path = self.path().to_string();
        let keys = (0..self.masters.len()).map(|key| {
            let public = Xpub::from_priv(SECP256K1, &self.account(key));
            let fingerprint = self.masters[key].fingerprint(SECP256K1);
            format!("[{fingerprint}/{}]{public}/<0;1>/*", path.replace('\'', "h"))
        });
        let keys = keys.collect::<Vec<_>>().join(",");
        match self.kind {
            Kind::Wpkh => format!("wpkh({keys})"),
            Kind::Tr => format!("tr({keys})"),
            Kind::Wsh2of3 => format!("wsh(sortedmulti(2,{keys}))"),
        }
    }

    /// Signs every input with as many keys as it needs: two of three. Takes and gives base64.
    pub fn sign(&self, psbt_base64: &str) -> String {
        let needed = if self.kind == Kind::Wsh2of3 { 2 } else { 1 };
        (0..needed).fold(psbt_base64.to_owned(), |psbt, key| self.sign_with(&psbt, key))
    }

    /// Signs every input with one key: 0, or 0 to 2. Takes and gives base64.
    ///
    /// # Panics
    /// When an input is none of this key's.
    pub fn sign_with(&self, psbt_base64: &str, key: usize) -> String {
        let bytes = BASE64.decode(psbt_base64.trim().as_bytes()).expect("base64");
        let mut psbt = Psbt::deserialize(&bytes).expect("a PSBT");
        let signed = psbt.sign(&self.masters[key], SECP256K1).expect("it can be signed");
        for (input, keys) in &signed {
            let none = match keys {
                bitcoin::psbt::SigningKeys::Ecdsa(keys) => keys.is_empty(),
                bitcoin::psbt::SigningKeys::Schnorr(keys) => keys.is_empty(),
            };
            assert!(!none, "input {input} is none of key {key}'s, or it has signed");
        }
        BASE64.encode(&psbt.serialize())
    }

    /// A master key.
    pub fn master(&self, key: usize) -> Xpriv {
        self.masters[key]
    }

    /// The key that the descriptor's public one belongs to.
    pub fn account(&self, key: usize) -> Xpriv {
        self.masters[key].derive_priv(SECP256K1, &self.path()).unwrap()
    }

    fn path(&self) -> DerivationPath {
        let path = match self.kind {
            Kind::Wpkh => "84h/1h/0h",
            Kind::Tr => "86h/1h/0h",
            Kind::Wsh2of3 => "48h/1h/0h/2h",
        };
        DerivationPath::from_str(path).unwrap()
    }
}
