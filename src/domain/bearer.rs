//! Bearer secrets, told apart by how they begin: claim tokens, API keys, lease tokens. Only the
//! SHA-256 of the first two is ever stored. Called by authentication and by whatever creates a
//! claim or an API key; the randomness comes in as an argument.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::ids::base32;

const CLAIM: &str = "clm_";
const API_KEY: &str = "key_";
const GATE_CODE: &str = "cod_";
/// 32 bytes in base32.
const SECRET_CHARACTERS: usize = 52;

/// A secret that came as `Authorization: Bearer`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// Manages what was created with it.
    Claim(&'a str),
    /// An operator's key.
    ApiKey(&'a str),
    /// A signed lease token, not verified yet.
    LeaseToken(&'a str),
}

impl<'a> Bearer<'a> {
    /// Tells what a secret is by its form; `None` when it is none of ours.
    pub fn parse(text: &'a str) -> Option<Self> {
        let secret = |prefix: &str| {
            text.strip_prefix(prefix).is_some_and(|rest| {
                rest.len() == SECRET_CHARACTERS
                    && rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
            })
        };
        if secret(CLAIM) {
            Some(Self::Claim(text))
        } else if secret(API_KEY) {
            Some(Self::ApiKey(text))
        } else if text.split('.').count() == 3 && text.starts_with("ey") {
            Some(Self::LeaseToken(text))
        } else {
            None
        }
    }

    /// Reads the value of an `Authorization` header (RFC 6750 section 2.1; the scheme's case does
    /// not matter).
    pub fn from_header(value: &'a str) -> Option<Self> {
        let (scheme, rest) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") { Self::parse(rest.trim()) } else { None }
    }
}

impl std::fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Claim(_) => "Claim(…)",
            Self::ApiKey(_) => "ApiKey(…)",
            Self::LeaseToken(_) => "LeaseToken(…)",
        })
    }
}

/// What makes one creating request different from every other.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    /// The caller's Idempotency-Key: the same request gives the same token again.
    IdempotencyKey(&'a str),
    /// A random nonce: a token that nobody can ask for again.
    Nonce(&'a [u8; 32]),
}

/// The server's secret that claim tokens are made with. All nodes share it.
#[derive(Clone)]
pub struct ClaimSecret([u8; 32]);

impl ClaimSecret {
    /// From 32 random bytes that are kept in a file.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The claim token of a request: HMAC-SHA256 over endpoint, origin and the SHA-256 of the
    /// body, each with its length before it, so that no two requests give the same bytes.
    pub fn token(&self, endpoint: &str, origin: Origin<'_>, body: &[u8]) -> String {
        let bytes = self.secret(b"leasehold claim", endpoint, origin, body);
        format!("{CLAIM}{}", base32(&bytes))
    }

    /// The API key that a request makes, in the same way.
    pub fn api_key(&self, endpoint: &str, origin: Origin<'_>, body: &[u8]) -> String {
        let bytes = self.secret(b"leasehold api key", endpoint, origin, body);
        format!("{API_KEY}{}", base32(&bytes))
    }

    /// The bytes of the webhook secret that a request makes, in the same way.
    pub fn webhook_secret(&self, endpoint: &str, origin: Origin<'_>, body: &[u8]) -> [u8; 32] {
        self.secret(b"leasehold webhook secret", endpoint, origin, body)
    }

    fn secret(&self, kind: &[u8], endpoint: &str, origin: Origin<'_>, body: &[u8]) -> [u8; 32] {
        let (tag, origin): (&[u8], &[u8]) = match origin {
            Origin::IdempotencyKey(key) => (b"key", key.as_bytes()),
            Origin::Nonce(nonce) => (b"nonce", nonce),
        };
        let body = Sha256::digest(body);
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        for part in [kind, endpoint.as_bytes(), tag, origin, body.as_slice()] {
            let length = u64::try_from(part.len()).expect("a length fits 64 bits");
            mac.update(&length.to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// A new API key from 32 random bytes.
pub fn api_key(random: &[u8; 32]) -> String {
    format!("{API_KEY}{}", base32(random))
}

/// A new single-use code of the gate from 32 random bytes. Never taken as a bearer secret.
pub fn gate_code(random: &[u8; 32]) -> String {
    format!("{GATE_CODE}{}", base32(random))
}

/// What is stored of a secret: its SHA-256 in lower-case hex. The secrets are 256 random bits, so
/// no salt and no slow hash is needed.
pub fn token_hash(token: &str) -> String {
    sha256_hex(token.as_bytes())
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// SHA-256 in base64, as a content security policy names what it allows.
pub fn sha256_base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(&Sha256::digest(bytes))
}

/// True when `token` is the one whose [`token_hash`] was stored. Takes the same time wherever
/// they differ.
pub fn is_token_of(token: &str, stored_hash: &str) -> bool {
    let hash = token_hash(token);
    let (a, b) = (hash.as_bytes(), stored_hash.as_bytes());
    let differing = a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests;
