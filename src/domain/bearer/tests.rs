use super::*;

const SECRET: ClaimSecret = ClaimSecret([7; 32]);

fn token(endpoint: &str, key: &str, body: &[u8]) -> String {
    SECRET.token(endpoint, Origin::IdempotencyKey(key), body)
}

#[test]
fn a_claim_token_is_the_same_for_the_same_request_only() {
    let one = token("POST /v1/leases", "0123456789abcdef", b"{}");
    assert_eq!(one, token("POST /v1/leases", "0123456789abcdef", b"{}"));
    assert_eq!(one.len(), 4 + SECRET_CHARACTERS);
    let others = [
        SECRET
            .api_key("POST /v1/leases", Origin::IdempotencyKey("0123456789abcdef"), b"{}")
            .replace(API_KEY, CLAIM),
        token("POST /v1/lease", "s0123456789abcdef", b"{}"),
        token("POST /v1/leases", "0123456789abcdeg", b"{}"),
        token("POST /v1/leases", "0123456789abcdef", b"{} "),
        ClaimSecret([8; 32]).token(
            "POST /v1/leases",
            Origin::IdempotencyKey("0123456789abcdef"),
            b"{}",
        ),
    ];
    assert!(others.iter().all(|other| *other != one));
    let text = "k".repeat(32);
    let nonce: [u8; 32] = text.as_bytes().try_into().unwrap();
    assert_ne!(
        SECRET.token("e", Origin::Nonce(&nonce), b""),
        SECRET.token("e", Origin::IdempotencyKey(&text), b""),
        "a caller must not reach the token of a nonce"
    );
}

#[test]
fn a_claim_token_is_what_an_independent_hmac_gives() {
    // From Python's hmac and hashlib over the same length-prefixed parts.
    let expected = "clm_zhmeb6il6zvjxhef72tvstld67shepgb4dphxrrlmv2dok4ebbxq";
    assert_eq!(token("POST /v1/leases", "0123456789abcdef", b"{}"), expected);
}

#[test]
fn secrets_are_told_apart_by_their_form() {
    let claim = token("e", "k", b"");
    let key = api_key(&[1; 32]);
    assert_eq!(Bearer::parse(&claim), Some(Bearer::Claim(&claim)));
    assert_eq!(Bearer::parse(&key), Some(Bearer::ApiKey(&key)));
    assert_eq!(Bearer::parse("eyJ.eyJ.c2ln"), Some(Bearer::LeaseToken("eyJ.eyJ.c2ln")));
    for wrong in ["", "clm_", "clm_short", "abc", &claim.to_uppercase(), &format!("{key}a")] {
        assert_eq!(Bearer::parse(wrong), None, "{wrong}");
    }
    assert_eq!(Bearer::from_header(&format!("bearer {key}")), Some(Bearer::ApiKey(&key)));
    assert_eq!(Bearer::from_header(&format!("Basic {key}")), None);
    assert_eq!(Bearer::from_header(&key), None);
    assert!(!format!("{:?}", Bearer::parse(&key)).contains(&key[4..]));
}

#[test]
fn only_the_right_token_matches_its_stored_hash() {
    let key = api_key(&[1; 32]);
    let stored = token_hash(&key);
    assert_eq!(stored.len(), 64);
    assert_eq!(
        sha256_hex(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert!(is_token_of(&key, &stored));
    assert!(!is_token_of(&api_key(&[2; 32]), &stored));
    assert!(!is_token_of(&key, "") && !is_token_of(&key, &stored[..63]));
}
