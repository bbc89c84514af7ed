use secp256k1::SecretKey;

use super::*;
use crate::domain::ids::LeaseId;
use crate::domain::jwk::SigningKey;
use crate::domain::token::Subject;

fn token(key: &SigningKey, n: u8) -> String {
    let subject = Subject {
        lease: LeaseId::new([n; 16]),
        resource: "gpu".into(),
        generation: 1,
        seq: 1,
        expires_at: Timestamp::from_secs(2000),
    };
    let claims = Claims::new(subject, "http://a", Timestamp::from_secs(1000), 3600, [n; 16]);
    token::sign(&claims, key)
}

#[test]
fn a_known_token_is_still_held_to_its_time_and_its_resource() {
    let key = SigningKey::new(SecretKey::from_slice(&[1; 32]).unwrap());
    let keys = [key.verifying()];
    let tokens = Tokens::default();
    let token = token(&key, 1);
    let verify =
        |resource, at| tokens.verify(&token, &keys, Some(resource), Timestamp::from_secs(at));
    let first = verify("gpu", 1000).unwrap();
    assert_eq!(verify("gpu", 1999).unwrap(), first);
    assert_eq!(verify("gpu", 2000), Err(TokenError::Expired));
    assert_eq!(verify("mirror", 1500), Err(TokenError::Resource));
}

#[test]
fn nothing_that_did_not_verify_is_kept() {
    let key = SigningKey::new(SecretKey::from_slice(&[1; 32]).unwrap());
    let tokens = Tokens::default();
    let token = token(&key, 1);
    let at = Timestamp::from_secs(1000);
    assert_eq!(tokens.verify(&token, &[], None, at), Err(TokenError::UnknownKey));
    assert!(tokens.verify(&token, &[key.verifying()], None, at).is_ok());
}

#[test]
fn it_does_not_grow_without_bound() {
    let key = SigningKey::new(SecretKey::from_slice(&[1; 32]).unwrap());
    let claims = token::verify(
        &token(&key, 1),
        &[key.verifying()],
        Expected::default(),
        Timestamp::from_secs(1000),
    );
    let claims = claims.unwrap();
    let tokens = Tokens::default();
    for n in 0..u32::try_from(5 * HALF).unwrap() {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&n.to_le_bytes());
        tokens.keep(hash, claims.clone());
    }
    let halves = tokens.0.lock().unwrap();
    assert!(halves.newer.len() + halves.older.len() <= 2 * HALF);
}
