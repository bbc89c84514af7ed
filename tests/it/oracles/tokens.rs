//! Lease tokens, verified by PyJWT with the published keys.

use std::io::Write as _;
use std::process::Stdio;

use data_encoding::BASE64URL_NOPAD;
use leasehold::domain::jwk::SigningKey;
use leasehold::domain::token::{Claims, sign};
use serde_json::{Value, json};

use crate::harness::daemon::{Shop, once};
use crate::harness::peers::{left_out, python};

/// For each token its claims, or the name of PyJWT's refusal.
fn verified(shop: &Shop, audience: &str, tokens: &[&str]) -> Vec<Value> {
    let mut child = python()
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/oracles/verify_tokens.py"))
        .args([shop.url(), audience])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(tokens.join("\n").as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The parts of a token: header, claims, signature.
fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().expect("three parts")
}

/// The same token with a bit of its signature changed.
fn with_another_signature(token: &str) -> String {
    let [header, claims, signature] = parts(token);
    let mut bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    bytes[40] ^= 1;
    format!("{header}.{claims}.{}", BASE64URL_NOPAD.encode(&bytes))
}

/// The same token with an hour more.
fn with_another_end(token: &str) -> String {
    let [header, claims, signature] = parts(token);
    let bytes = BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap();
    let mut claims: Value = serde_json::from_slice(&bytes).unwrap();
    claims["exp"] = json!(claims["exp"].as_i64().unwrap() + 3600);
    format!("{header}.{}.{signature}", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()))
}

/// What the token says, signed by somebody else.
fn by_somebody_else(token: &str) -> String {
    let bytes = BASE64URL_NOPAD.decode(parts(token)[1].as_bytes()).unwrap();
    let claims: Claims = serde_json::from_slice(&bytes).unwrap();
    let secret = secp256k1::SecretKey::from_slice(&[7; 32]).unwrap();
    sign(&claims, &SigningKey::new(secret))
}

#[test]
fn pyjwt_takes_a_lease_token_and_refuses_one_that_was_changed_or_is_for_something_else() {
    if left_out("python") {
        return;
    }
    once(|shop| {
        let rented = shop.rent("shared", 7200);
        shop.node.send(&rented.address, rented.amount_sat);
        shop.node.mine(1);
        let lease = shop.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        let path = format!("/v1/leases/{}/token", rented.lease);
        let answer = shop.post(&path, Some(&rented.claim), &json!({}));
        let token = answer["token"].as_str().expect("a token");
        let tokens = [
            token,
            &with_another_signature(token),
            &with_another_end(token),
            &by_somebody_else(token),
        ];
        let found = verified(shop, "shared", &tokens);
        assert_eq!(found[0]["sub"], rented.lease.as_str());
        assert_eq!((&found[0]["gen"], &found[0]["seq"]), (&json!(1), &lease["seq"]));
        let refusals = ["InvalidSignatureError", "InvalidSignatureError", "PyJWKClientError"];
        assert_eq!(found[1..], refusals);
        assert_eq!(verified(shop, "box", &[token]), ["InvalidAudienceError"]);
    });
}
