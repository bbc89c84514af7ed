//! Keys on secp256k1 as JSON Web Keys (RFC 7517, RFC 8812), with their RFC 7638 thumbprint.
//! A [`SigningKey`] never prints itself. Called by `domain::token`, by `keys` (the key file) and
//! by whoever publishes or reads a JWK Set.

use data_encoding::BASE64URL_NOPAD;
use secp256k1::{PublicKey, SECP256K1, SecretKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A key that checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Its name in token headers.
    pub kid: String,
    /// The point.
    pub public: PublicKey,
}

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    secret: SecretKey,
}

/// The members that we write and read; others are ignored (RFC 7517 section 4).
#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
}

/// What cannot be read as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Not an object with the members of a key.
    #[error("is not a JSON Web Key")]
    Form,
    /// Another type of key.
    #[error("is not a key for ES256K (kty EC, crv secp256k1)")]
    Kind,
    /// `x`, `y` are not a point of the curve, or `d` is not its secret.
    #[error("is not a valid point or secret of secp256k1")]
    Value,
}

impl SigningKey {
    /// From a secret; `kid` becomes the thumbprint.
    pub fn new(secret: SecretKey) -> Self {
        let kid = thumbprint(&PublicKey::from_secret_key(SECP256K1, &secret));
        Self { kid, secret }
    }

    /// Its name in token headers.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half.
    pub fn verifying(&self) -> VerifyingKey {
        let public = PublicKey::from_secret_key(SECP256K1, &self.secret);
        VerifyingKey { kid: self.kid.clone(), public }
    }

    /// The whole key with its secret `d`: only for the key file.
    pub fn to_private_jwk(&self) -> Value {
        let mut jwk = self.verifying().jwk();
        jwk.d = Some(BASE64URL_NOPAD.encode(&self.secret.secret_bytes()));
        serde_json::to_value(jwk).expect("text members serialize")
    }

    /// Reads a key with its secret. `None`: a public key.
    ///
    /// # Errors
    /// When it is no key, of another kind, or its parts do not fit together.
    pub fn from_jwk(value: &Value) -> Result<Option<Self>, JwkError> {
        let (verifying, d) = read(value)?;
        let Some(d) = d else { return Ok(None) };
        let secret = BASE64URL_NOPAD.decode(d.as_bytes()).map_err(|_| JwkError::Value)?;
        let secret = SecretKey::from_slice(&secret).map_err(|_| JwkError::Value)?;
        if PublicKey::from_secret_key(SECP256K1, &secret) != verifying.public {
            return Err(JwkError::Value);
        }
        Ok(Some(Self { kid: verifying.kid, secret }))
    }

    /// ECDSA over SHA-256 of `bytes`, deterministic (RFC 6979), low s, compact.
    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        SECP256K1.sign_ecdsa(&message(bytes), &self.secret).serialize_compact()
    }
}

impl VerifyingKey {
    /// The public key as it is published.
    pub fn to_jwk(&self) -> Value {
        serde_json::to_value(self.jwk()).expect("text members serialize")
    }

    /// Reads a public key; a secret in it is left alone.
    ///
    /// # Errors
    /// When it is no key, of another kind, or no point of the curve.
    pub fn from_jwk(value: &Value) -> Result<Self, JwkError> {
        read(value).map(|(key, _)| key)
    }

    /// True when `signature` is over `bytes`. A high s is refused, so that nobody can make a
    /// second token out of one.
    pub(super) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        secp256k1::ecdsa::Signature::from_compact(signature).is_ok_and(|signature| {
            SECP256K1.verify_ecdsa(&message(bytes), &signature, &self.public).is_ok()
        })
    }

    fn jwk(&self) -> Jwk {
        let (x, y) = coordinates(&self.public);
        Jwk {
            kty: "EC".into(),
            crv: "secp256k1".into(),
            x,
            y,
            d: None,
            kid: Some(self.kid.clone()),
            alg: Some("ES256K".into()),
            usage: Some("sig".into()),
        }
    }
}

/// A JWK Set of public keys (RFC 7517 section 5).
pub fn key_set(keys: &[VerifyingKey]) -> Value {
    json!({ "keys": keys.iter().map(VerifyingKey::to_jwk).collect::<Vec<_>>() })
}

/// The keys of a JWK Set that can check our tokens; keys of other kinds are skipped, as RFC 7517
/// section 5 asks.
///
/// # Errors
/// When it is no key set, or holds a broken secp256k1 key.
pub fn parse_key_set(value: &Value) -> Result<Vec<VerifyingKey>, JwkError> {
    let keys = value.get("keys").and_then(Value::as_array).ok_or(JwkError::Form)?;
    keys.iter().map(VerifyingKey::from_jwk).filter(|key| *key != Err(JwkError::Kind)).collect()
}

fn read(value: &Value) -> Result<(VerifyingKey, Option<String>), JwkError> {
    let jwk = Jwk::deserialize(value).map_err(|_| JwkError::Form)?;
    let is_ours = jwk.kty == "EC"
        && jwk.crv == "secp256k1"
        && jwk.alg.as_deref().unwrap_or("ES256K") == "ES256K"
        && jwk.usage.as_deref().unwrap_or("sig") == "sig";
    if !is_ours {
        return Err(JwkError::Kind);
    }
    let mut point = vec![4];
    for part in [&jwk.x, &jwk.y] {
        let part = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| JwkError::Value)?;
        if part.len() != 32 {
            return Err(JwkError::Value);
        }
        point.extend(part);
    }
    let public = PublicKey::from_slice(&point).map_err(|_| JwkError::Value)?;
    let kid = jwk.kid.unwrap_or_else(|| thumbprint(&public));
    Ok((VerifyingKey { kid, public }, jwk.d))
}

fn coordinates(public: &PublicKey) -> (String, String) {
    let bytes = public.serialize_uncompressed();
    (BASE64URL_NOPAD.encode(&bytes[1..33]), BASE64URL_NOPAD.encode(&bytes[33..]))
}

/// RFC 7638: the required members in lexical order, without blanks.
fn thumbprint(public: &PublicKey) -> String {
    let (x, y) = coordinates(public);
    thumbprint_of(&format!(r#"{{"crv":"secp256k1","kty":"EC","x":"{x}","y":"{y}"}}"#))
}

fn thumbprint_of(members: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(members.as_bytes()))
}

fn message(bytes: &[u8]) -> secp256k1::Message {
    secp256k1::Message::from_digest(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator of the curve, and its thumbprint as Node's crypto and hashes give it.
    const X: &str = "eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g";
    const Y: &str = "SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg";
    const KID: &str = "2JF8vg9etJzjFwZwmkvhBLLZ0bfMVVOPivYR5lFtcec";

    fn one() -> SigningKey {
        let mut secret = [0; 32];
        secret[31] = 1;
        SigningKey::new(SecretKey::from_slice(&secret).unwrap())
    }

    #[test]
    fn a_published_key_has_the_members_of_rfc_8812_and_no_secret() {
        let expected = json!({ "kty": "EC", "crv": "secp256k1", "x": X, "y": Y, "kid": KID,
                               "alg": "ES256K", "use": "sig" });
        assert_eq!(one().verifying().to_jwk(), expected);
        assert_eq!(key_set(&[one().verifying()]), json!({ "keys": [expected] }));
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638_section_3_1() {
        // The example's key is RSA: what is checked is hash, alphabet and padding.
        let rfc = concat!(
            r#"{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4c"#,
            "bbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9y",
            "BXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6",
            "qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniI",
            r#"qbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#
        );
        assert_eq!(thumbprint_of(rfc), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_private_key_survives_its_form_and_must_fit_its_point() {
        let jwk = one().to_private_jwk();
        let back = SigningKey::from_jwk(&jwk).unwrap().unwrap();
        assert_eq!((back.kid(), back.secret), (KID, one().secret));
        assert!(SigningKey::from_jwk(&one().verifying().to_jwk()).unwrap().is_none());
        let mut wrong = jwk.clone();
        wrong["d"] = json!(BASE64URL_NOPAD.encode(&[2; 32]));
        assert_eq!(SigningKey::from_jwk(&wrong).err(), Some(JwkError::Value));
    }

    #[test]
    fn keys_of_other_kinds_are_skipped_and_broken_ones_refused() {
        let ours = one().verifying();
        let other = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        let p256 = json!({ "kty": "EC", "crv": "P-256", "x": X, "y": Y });
        let set = json!({ "keys": [other, ours.to_jwk(), p256] });
        assert_eq!(parse_key_set(&set), Ok(vec![ours.clone()]));
        let off_curve = json!({ "kty": "EC", "crv": "secp256k1", "x": X, "y": X });
        assert_eq!(parse_key_set(&json!({ "keys": [off_curve] })), Err(JwkError::Value));
        assert_eq!(parse_key_set(&json!([])), Err(JwkError::Form));
    }
}
