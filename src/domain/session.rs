//! Gate sessions: what a browser's cookie says, signed like a lease token but of a kind of its
//! own, so that neither is taken for the other. It has no end: the lease and the claim are looked at
//! each time. Called by the gate and by its enter page.

use serde::{Deserialize, Serialize};

use super::ids::{LeaseId, base32};
use super::jwk::{SigningKey, VerifyingKey};
use super::time::Timestamp;
use super::token::{TokenError, seal, unseal};

/// The kind in the header; lease tokens have none.
const KIND: &str = "leasehold-gate";
/// What stands before the resource in `aud`: whoever verifies lease tokens elsewhere and asks for
/// the resource does not take it.
const AUDIENCE: &str = "gate:";

/// What a session says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The lease.
    pub sub: LeaseId,
    /// `gate:` and the resource.
    aud: String,
    /// When it was made, in Unix seconds.
    iat: i64,
    /// A name of its own.
    jti: String,
    /// The lease's generation.
    #[serde(rename = "gen")]
    pub generation: u32,
    /// How often the token of the lease's claim had been replaced.
    #[serde(rename = "rot")]
    pub rotations: u32,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The lease.
    pub lease: LeaseId,
    /// Its generation.
    pub generation: u32,
    /// How often the token of its claim had been replaced.
    pub rotations: u32,
}

impl Session {
    /// A session for a lease of `resource`.
    pub fn new(whose: Whose, resource: &str, now: Timestamp, random: [u8; 16]) -> Self {
        let Whose { lease, generation, rotations } = whose;
        let aud = format!("{AUDIENCE}{resource}");
        Self { sub: lease, aud, iat: now.unix_s(), jti: base32(&random), generation, rotations }
    }

    /// The resource it is for.
    pub fn resource(&self) -> &str {
        self.aud.strip_prefix(AUDIENCE).unwrap_or_default()
    }
}

/// Signs a session.
pub fn sign(session: &Session, key: &SigningKey) -> String {
    seal(Some(KIND), session, key)
}

/// What a session says, if one of `keys` signed it. Whether its lease runs is for the gate.
///
/// # Errors
/// The first reason not to take it.
pub fn verify(text: &str, keys: &[VerifyingKey]) -> Result<Session, TokenError> {
    let session: Session = unseal(Some(KIND), text, keys)?;
    let fits = LeaseId::parse(session.sub.as_str()).is_some() && session.aud.starts_with(AUDIENCE);
    if fits { Ok(session) } else { Err(TokenError::Form) }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::super::token::{self, Claims, Expected, Subject};
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn key(n: u8) -> SigningKey {
        SigningKey::new(SecretKey::from_slice(&[n; 32]).unwrap())
    }

    fn session() -> Session {
        let lease = LeaseId::new([1; 16]);
        Session::new(Whose { lease, generation: 2, rotations: 0 }, "gpu", NOW, [5; 16])
    }

    #[test]
    fn what_was_signed_is_read_again_with_any_published_key() {
        let text = sign(&session(), &key(1));
        let keys = [key(2).verifying(), key(1).verifying()];
        let found = verify(&text, &keys).unwrap();
        assert_eq!((&found, found.resource()), (&session(), "gpu"));
        assert_eq!(verify(&text, &keys[..1]), Err(TokenError::UnknownKey));
        let forged = format!("{}A", &text[..text.len() - 1]);
        assert!(verify(&forged, &keys).is_err() || forged == text);
    }

    #[test]
    fn neither_a_lease_token_nor_a_session_is_taken_for_the_other() {
        let keys = [key(1).verifying()];
        let subject = Subject {
            lease: LeaseId::new([1; 16]),
            resource: "gpu".into(),
            generation: 2,
            seq: 1,
            expires_at: NOW.plus_s(100),
        };
        let lease_token =
            token::sign(&Claims::new(subject, "http://a", NOW, 3600, [5; 16]), &key(1));
        assert_eq!(verify(&lease_token, &keys), Err(TokenError::Form));
        let text = sign(&session(), &key(1));
        let found = token::verify(&text, &keys, Expected::default(), NOW);
        assert_eq!(found, Err(TokenError::Form));
    }

    #[test]
    fn what_is_for_no_gate_is_no_session() {
        let other = Session { aud: "gpu".into(), ..session() };
        let keys = [key(1).verifying()];
        assert_eq!(verify(&sign(&other, &key(1)), &keys), Err(TokenError::Form));
    }
}
