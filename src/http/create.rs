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

/// A creating request.
pub struct Creating {
    /// Its Idempotency-Key, hashed.
    pub key: Option<Key>,
    /// The claim token that it gets, unless it joined a claim.
    pub token: String,
}

impl Creating {
    /// Reads the header and computes the token. `endpoint` is the path asked for. The answer that
    /// is kept for a key is of whoever joined the claim with it: without, it would come with a
    /// token that opens nothing.
    ///
    /// # Errors
    /// `invalid_request` for a key that is none.
    pub fn new(
        state: &HttpState,
        headers: &HeaderMap,
        endpoint: &str,
        body: &[u8],
        holder: Option<&Holder>,
    ) -> Result<Self, Problem> {
        let secret = &state.keys.claim_secret;
        let Some(value) = headers.get("idempotency-key") else {
            let mut nonce = [0; 32];
            getrandom::fill(&mut nonce).map_err(|_| Problem::internal())?;
            let token = secret.token(endpoint, Origin::Nonce(&nonce), body);
            return Ok(Self { key: None, token });
        };
        let text = value.to_str().unwrap_or_default();
        let visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        if !visible || !(16..=255).contains(&text.len()) {
            let detail = "Idempotency-Key takes 16 to 255 visible ASCII characters";
            return Err(Refusal::new(Code::InvalidRequest, detail).into());
        }
        let mut bound = endpoint.as_bytes().to_vec();
        bound.push(0);
        bound.extend_from_slice(holder.map_or("", |holder| &holder.0.id).as_bytes());
        bound.push(0);
        bound.extend_from_slice(body);
        let key = Key { key_hash: sha256_hex(text.as_bytes()), body_hash: sha256_hex(&bound) };
        let token = secret.token(endpoint, Origin::IdempotencyKey(text), body);
        Ok(Self { key: Some(key), token })
    }

    /// The claim that will manage what is created.
    pub fn claim(&self, holder: Option<&Holder>) -> ClaimFor {
        match holder {
            Some(holder) => ClaimFor::Join { claim: holder.0.id.clone() },
            None => ClaimFor::New { token_hash: token_hash(&self.token) },
        }
    }
}

/// The answer to a creating request, with the claim token when there is a new one.
pub fn answer(outcome: Outcome, token: Option<&str>) -> Response {
    let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::OK);
    let mut body = outcome.body;
    if let Some(token) = token {
        body["claim_token"] = json!(token);
    }
    (status, Json(body)).into_response()
}
