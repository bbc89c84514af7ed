//! Lease tokens: a JWT (RFC 7519) signed with ES256K (RFC 8812), valid for a short time and
//! checked offline. Algorithm and key are pinned: a token says which of our keys signed it and
//! nothing else it says is believed before. `seal` and `unseal` are the form alone, which gate
//! sessions share. Called by the token call, the gate, introspection and `leasehold token verify`.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::ids::{LeaseId, base32};
use super::jwk::{SigningKey, VerifyingKey};
use super::time::Timestamp;

const ALGORITHM: &str = "ES256K";
/// Longer ones are not ours; bounds the work done for strangers.
const MOST_BYTES: usize = 4096;
/// How much another node's clock may be ahead of this one's.
const SKEW_S: u64 = 30;

/// What a lease token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The server that made it, by its public address.
    pub iss: String,
    /// The lease.
    pub sub: LeaseId,
    /// The resource.
    pub aud: String,
    /// When it was made, in Unix seconds.
    pub iat: i64,
    /// Not valid before.
    pub nbf: i64,
    /// Not valid at or after.
    pub exp: i64,
    /// A name of its own.
    pub jti: String,
    /// The lease's generation.
    #[serde(rename = "gen")]
    pub generation: u32,
    /// The lease's own sequence number when it was made.
    pub seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    /// Lease tokens have none; whatever is no lease token says what it is (RFC 8725 section 3.11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
}

/// The lease that a token is for.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The lease.
    pub lease: LeaseId,
    /// Its resource.
    pub resource: String,
    /// Its generation.
    pub generation: u32,
    /// Its own sequence number.
    pub seq: u64,
    /// When its time is over.
    pub expires_at: Timestamp,
}

impl Claims {
    /// Claims that hold from `now` until the lease ends, at most `ttl_s`.
    pub fn new(
        subject: Subject,
        issuer: &str,
        now: Timestamp,
        ttl_s: u64,
        random: [u8; 16],
    ) -> Self {
        let Subject { lease, resource, generation, seq, expires_at } = subject;
        Self {
            iss: issuer.to_owned(),
            sub: lease,
            aud: resource,
            iat: now.unix_s(),
            nbf: now.unix_s(),
            exp: expires_at.min(now.plus_s(ttl_s)).unix_s(),
            jti: base32(&random),
            generation,
            seq,
        }
    }

    /// When the token stops to be valid.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_secs(self.exp)
    }
}

/// What a token must say to be taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// The server that made it; `None`: any that has the key.
    pub issuer: Option<&'a str>,
    /// The resource; `None`: any.
    pub resource: Option<&'a str>,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of our form.
    #[error("is not a lease token")]
    Form,
    /// Its header names another algorithm.
    #[error("is not signed with ES256K")]
    Algorithm,
    /// Its header names a key that is not among ours.
    #[error("is signed with a key that is not published here")]
    UnknownKey,
    /// The signature is not of that key over this text.
    #[error("has a wrong signature")]
    Signature,
    /// `iss` differs.
    #[error("was made by another server")]
    Issuer,
    /// `aud` differs.
    #[error("is for another resource")]
    Resource,
    /// `nbf` has not come.
    #[error("is not valid yet")]
    NotYet,
    /// `exp` has passed.
    #[error("has expired")]
    Expired,
}

/// Signs `claims`: `header.payload.signature` in base64url.
pub fn sign(claims: &Claims, key: &SigningKey) -> String {
    seal(None, claims, key)
}

/// Signs `payload` as a token of the kind `typ`.
pub(super) fn seal(typ: Option<&str>, payload: &impl Serialize, key: &SigningKey) -> String {
    let header =
        Header { alg: ALGORITHM.into(), kid: key.kid().into(), typ: typ.map(str::to_owned) };
    let mut token = encode(&header);
    token.push('.');
    token.push_str(&encode(payload));
    let signature = key.sign(token.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut token);
    token
}

/// What a token of the kind `typ` says, if one of `keys` signed it. Its time is not looked at.
///
/// # Errors
/// The first reason not to take it.
pub(super) fn unseal<T: for<'de> Deserialize<'de>>(
    typ: Option<&str>,
    token: &str,
    keys: &[VerifyingKey],
) -> Result<T, TokenError> {
    if token.len() > MOST_BYTES {
        return Err(TokenError::Form);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::Form)?;
    let header: Header = decode(header)?;
    if header.typ.as_deref() != typ {
        return Err(TokenError::Form);
    }
    if header.alg != ALGORITHM {
        return Err(TokenError::Algorithm);
    }
    let key = keys.iter().find(|key| key.kid == header.kid).ok_or(TokenError::UnknownKey)?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| TokenError::Form)?;
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(TokenError::Signature);
    }
    decode(payload)
}

/// Checks a token against the published keys and the clock.
///
/// # Errors
/// The first reason not to take it.
pub fn verify(
    token: &str,
    keys: &[VerifyingKey],
    expected: Expected<'_>,
    now: Timestamp,
) -> Result<Claims, TokenError> {
    let claims: Claims = unseal(None, token, keys)?;
    if LeaseId::parse(claims.sub.as_str()).is_none() {
        return Err(TokenError::Form);
    }
    if expected.issuer.is_some_and(|issuer| issuer != claims.iss) {
        return Err(TokenError::Issuer);
    }
    if expected.resource.is_some_and(|resource| resource != claims.aud) {
        return Err(TokenError::Resource);
    }
    if now.plus_s(SKEW_S) < Timestamp::from_secs(claims.nbf) {
        return Err(TokenError::NotYet);
    }
    if claims.expires_at() <= now {
        return Err(TokenError::Expired);
    }
    Ok(claims)
}

fn encode(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("text and numbers serialize");
    BASE64URL_NOPAD.encode(&json)
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenError::Form)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Form)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secp256k1::SecretKey;

    use super::*;

    /// Signed by Node's crypto with secret 1, s made low; and the same with a high s.
    const BY_NODE: &str = concat!(
        "eyJhbGciOiJFUzI1NksiLCJraWQiOiIySkY4dmc5ZXRKempGd1p3bWt2aEJMTFowYmZNVlZPUGl2WVI1bEZ0Y2Vj",
        "In0.eyJpc3MiOiJodHRwczovL2xlYXNlLmV4YW1wbGUiLCJzdWIiOiJsc2VfYWFhYWFhYWFhYWFhYWFhYWFhYWFh",
        "YWFhYWEiLCJhdWQiOiJncHUtc21hbGwiLCJpYXQiOjEwMDAsIm5iZiI6MTAwMCwiZXhwIjo0NjAwLCJqdGkiOiJ4",
        "IiwiZ2VuIjoyLCJzZXEiOjd9."
    );
    const LOW: &str =
        "dLRpE7NszZZk15-u2s4tXVB--XlW6hn_5BngqEo2rNBm6NBLiR3fQy4PPGocAc6oH-hrLusduI5BCpAoF-KdQw";
    const HIGH: &str =
        "dLRpE7NszZZk15-u2s4tXVB--XlW6hn_5BngqEo2rNCZFy-0duIgvNHww5Xj_jFWmsZxt8Qq561-x85kuFOj_g";

    const ANY: Expected<'_> = Expected { issuer: None, resource: None };

    fn key(n: u8) -> SigningKey {
        let mut secret = [0; 32];
        secret[31] = n;
        SigningKey::new(SecretKey::from_slice(&secret).unwrap())
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_secs(s)
    }

    fn claims(now: i64, expires: i64) -> Claims {
        let subject = Subject {
            lease: LeaseId::new([1; 16]),
            resource: "gpu-small".into(),
            generation: 2,
            seq: 7,
            expires_at: at(expires),
        };
        Claims::new(subject, "https://lease.example", at(now), 3600, [5; 16])
    }

    #[test]
    fn a_token_of_another_implementation_is_understood() {
        let token = format!("{BY_NODE}{LOW}");
        let expected =
            Expected { issuer: Some("https://lease.example"), resource: Some("gpu-small") };
        let claims = verify(&token, &[key(1).verifying()], expected, at(2000)).unwrap();
        assert_eq!((claims.generation, claims.seq, claims.exp), (2, 7, 4600));
        let high = format!("{BY_NODE}{HIGH}");
        let found = verify(&high, &[key(1).verifying()], expected, at(2000));
        assert_eq!(found, Err(TokenError::Signature), "the same token must have one form only");
    }

    #[test]
    fn the_header_has_algorithm_and_key_and_the_payload_the_claims_of_the_specification() {
        let token = sign(&claims(1000, 9000), &key(1));
        let part = |n: usize| -> serde_json::Value {
            let part = BASE64URL_NOPAD.decode(token.split('.').nth(n).unwrap().as_bytes());
            serde_json::from_slice(&part.unwrap()).unwrap()
        };
        assert_eq!(part(0), serde_json::json!({ "alg": "ES256K", "kid": key(1).kid() }));
        let names: Vec<String> = part(1).as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["aud", "exp", "gen", "iat", "iss", "jti", "nbf", "seq", "sub"]);
    }

    #[test]
    fn it_lives_as_long_as_the_lease_but_not_longer_than_its_own_time() {
        assert_eq!(claims(1000, 9000).exp, 4600);
        assert_eq!(claims(1000, 1500).exp, 1500);
    }

    #[test]
    fn each_reason_to_refuse_is_told_apart() {
        let keys = [key(1).verifying(), key(2).verifying()];
        let token = sign(&claims(1000, 2000), &key(2));
        let check = |token: &str, expected, now| verify(token, &keys, expected, at(now));
        assert!(check(&token, ANY, 1999).is_ok());
        assert_eq!(check(&token, ANY, 2000), Err(TokenError::Expired));
        assert!(check(&token, ANY, 970).is_ok(), "clocks may differ by half a minute");
        assert_eq!(check(&token, ANY, 969), Err(TokenError::NotYet));
        let other = Expected { issuer: Some("https://other"), resource: None };
        assert_eq!(check(&token, other, 1500), Err(TokenError::Issuer));
        let other = Expected { issuer: None, resource: Some("mirror") };
        assert_eq!(check(&token, other, 1500), Err(TokenError::Resource));
        let stranger = sign(&claims(1000, 2000), &key(3));
        assert_eq!(check(&stranger, ANY, 1500), Err(TokenError::UnknownKey));
        for wrong in ["", "a.b", "a.b.c", &token[1..], &"x".repeat(5000)] {
            assert_eq!(check(wrong, ANY, 1500), Err(TokenError::Form), "{wrong}");
        }
    }

    #[test]
    fn no_header_talks_its_way_past_the_pinned_algorithm_and_key() {
        let keys = [key(1).verifying()];
        let token = sign(&claims(1000, 2000), &key(1));
        let (_, rest) = token.split_once('.').unwrap();
        let kid = key(1).kid().to_owned();
        let with = |header: serde_json::Value| {
            let forged = format!("{}.{rest}", encode(&header));
            verify(&forged, &keys, ANY, at(1500))
        };
        let json = |alg: &str| serde_json::json!({ "alg": alg, "kid": kid });
        for alg in ["none", "HS256", "ES256", "es256k"] {
            assert_eq!(with(json(alg)), Err(TokenError::Algorithm), "{alg}");
        }
        let mut critical = json("ES256K");
        critical["crit"] = serde_json::json!(["exp"]);
        assert_eq!(with(critical), Err(TokenError::Form), "RFC 7515 section 4.1.11");
        let mut own_key = json("ES256K");
        own_key["jwk"] = key(2).verifying().to_jwk();
        assert_eq!(with(own_key), Err(TokenError::Form));
    }

    proptest! {
        #[test]
        fn changing_any_character_makes_a_token_worthless(at_byte in 0usize..400, by in 1u8..64) {
            const ALPHABET: &[u8; 64] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let token = sign(&claims(1000, 2000), &key(1));
            let mut bytes = token.into_bytes();
            let place = at_byte % bytes.len();
            let changed = match ALPHABET.iter().position(|c| *c == bytes[place]) {
                Some(n) => ALPHABET[(n + usize::from(by)) % 64],
                None => b'A',
            };
            bytes[place] = changed;
            let token = String::from_utf8(bytes).unwrap();
            prop_assert!(verify(&token, &[key(1).verifying()], ANY, at(1500)).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            prop_assert!(verify(&text, &[key(1).verifying()], ANY, at(1500)).is_err());
        }
    }
}
