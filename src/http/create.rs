//! What all creating requests share: the Idempotency-Key and the claim token, which is computed
//! from the request and never stored.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::idempotent::{Key, Outcome};
use crate::app::request_lease::ClaimFor;
use crate::app::{Code, Refusal};
use crate::domain::bearer::{Origin, sha256_hex, token_hash};

use super::auth::Holder;
use super::{HttpState, Problem};

/// The header with which a caller can ask twice and create once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A creating request.
pub struct Creating {
    /// Its Idempotency-Key, hashed.
    pub key: Option<Key>,
    owner: Owner,
}

/// Who will manage what is created.
enum Owner {
    /// A new claim with this token.
    New(String),
    /// The claim that came with the request, by its id.
    Joined(String),
}

impl Creating {
    /// Reads the header and computes the token. `endpoint` is the path asked for.
    ///
    /// # Errors
    /// `invalid_request` for a key that is none.
    pub fn new(
        state: &HttpState,
        headers: &HeaderMap,
        endpoint: &str,
        holder: Option<&Holder>,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let given = idempotency_key(headers)?;
        let joined = holder.map(|holder| holder.0.id.as_str());
        // Whose claim is joined belongs to what is asked for.
        let bound = bound(endpoint, joined.unwrap_or_default(), body);
        let key = given.map(|given| key(given, &bound));
        let secret = &state.keys.claim_secret;
        let owner = match (joined, given) {
            (Some(claim), _) => Owner::Joined(claim.to_owned()),
            (None, Some(given)) => {
                Owner::New(secret.token(endpoint, Origin::IdempotencyKey(given), body))
            }
            (None, None) => Owner::New(secret.token(endpoint, Origin::Nonce(&nonce()?), body)),
        };
        Ok(Self { key, owner })
    }

    /// The claim that will manage what is created.
    pub fn claim(&self) -> ClaimFor {
        match &self.owner {
            Owner::New(token) => ClaimFor::New { token_hash: token_hash(token) },
            Owner::Joined(claim) => ClaimFor::Join { claim: claim.clone() },
        }
    }

    /// The token of a new claim; `None` when a claim is joined.
    pub fn token(&self) -> Option<&str> {
        match &self.owner {
            Owner::New(token) => Some(token),
            Owner::Joined(_) => None,
        }
    }

    /// The answer, with the claim token when there is a new one.
    pub fn answer(self, mut outcome: Outcome) -> Response {
        if let Some(token) = self.token() {
            outcome.body["claim_token"] = json!(token);
        }
        answer(outcome)
    }
}

/// A request that makes a secret for somebody who is known already.
pub struct Renewal {
    /// Its Idempotency-Key, hashed.
    pub key: Option<Key>,
    /// The secret: the same again for the same key, asker and body.
    pub secret: String,
}

impl Renewal {
    /// Reads the header and lets `make` compute the secret from where it comes from and from what
    /// is asked for. `by` says who asks.
    ///
    /// # Errors
    /// `invalid_request` for a key that is none.
    pub fn new(
        headers: &HeaderMap,
        endpoint: &str,
        by: &str,
        body: &[u8],
        make: impl FnOnce(Origin<'_>, &[u8]) -> String,
    ) -> Result<Self, Problem> {
        let given = idempotency_key(headers)?;
        let bound = bound(endpoint, by, body);
        let secret = match given {
            Some(given) => make(Origin::IdempotencyKey(given), &bound),
            None => make(Origin::Nonce(&nonce()?), &bound),
        };
        Ok(Self { key: given.map(|given| key(given, &bound)), secret })
    }
}

/// The Idempotency-Key of a request that makes no secret, held to what is asked for and by whom.
///
/// # Errors
/// `invalid_request` for a key that is none.
pub fn idempotency(
    headers: &HeaderMap,
    endpoint: &str,
    by: &str,
    body: &[u8],
) -> Result<Option<Key>, Problem> {
    let given = idempotency_key(headers)?;
    Ok(given.map(|given| key(given, &bound(endpoint, by, body))))
}

/// What an Idempotency-Key is held to: what is asked for, and by whom.
fn bound(endpoint: &str, by: &str, body: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(endpoint.len() + by.len() + body.len() + 2);
    for part in [endpoint, by] {
        bound.extend_from_slice(part.as_bytes());
        bound.push(0);
    }
    bound.extend_from_slice(body);
    bound
}

fn key(given: &str, bound: &[u8]) -> Key {
    Key { key_hash: sha256_hex(given.as_bytes()), body_hash: sha256_hex(bound) }
}

/// The Idempotency-Key, if there is one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let wrong = |what: String| {
        let detail = format!(
            "the Idempotency-Key {what}; it takes 16 to 255 visible ASCII characters that nobody \
             can guess, such as a random UUID"
        );
        Problem::from(Refusal::new(Code::InvalidRequest, detail))
    };
    if all.next().is_some() {
        return Err(wrong("came twice".into()));
    }
    let graphic = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let text = value.to_str().ok().filter(graphic);
    let text = text.ok_or_else(|| wrong("has other characters".into()))?;
    match text.len() {
        16..=255 => Ok(Some(text)),
        length => Err(wrong(format!("has {length} characters"))),
    }
}

/// 32 random bytes.
///
/// # Errors
/// When the operating system has none.
fn nonce() -> Result<[u8; 32], Problem> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| Problem::internal())?;
    Ok(nonce)
}

/// The answer to a creating request that makes no claim.
pub fn answer(outcome: Outcome) -> Response {
    let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::OK);
    (status, Json(outcome.body)).into_response()
}
