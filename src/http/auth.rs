//! Who is asking: the holder of a claim, an operator with an API key, or anybody. Secrets come
//! as `Authorization: Bearer` and are told apart by their prefix.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::header;
use axum::http::request::Parts;

use crate::app::api_keys::KeyUsed;
use crate::app::{Code, Refusal};
use crate::db;
use crate::db::api_key::ApiKey;
use crate::db::claim::Claim;
use crate::domain::bearer::{Bearer, token_hash};

use super::limits::{Kind, too_many};
use super::source::Source;
use super::{HttpState, Problem};

/// How often the last use of a key is written down, in seconds.
const USED_EVERY_S: u64 = 60;

fn unauthorized(detail: &str) -> Problem {
    Refusal::new(Code::Unauthorized, detail).into()
}

/// A secret came and is none of ours.
fn bad_token(detail: &str) -> Problem {
    unauthorized(detail).bad_token()
}

fn forbidden(detail: &str) -> Problem {
    Refusal::new(Code::Forbidden, detail).into()
}

/// The value after `Bearer`. What a proxy wants for itself, `Basic …`, is not meant for us.
pub(super) fn bearer(parts: &Parts) -> Result<Option<Bearer<'_>>, Problem> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let ours = text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
    match Bearer::from_header(text) {
        None if ours => Err(bad_token(
            "send a claim token, an API key or a lease token as Authorization: Bearer …",
        )),
        found => Ok(found),
    }
}

/// Whoever holds a claim token.
pub struct Holder(pub Claim);

impl Holder {
    /// Refuses what is managed by another claim.
    ///
    /// # Errors
    /// 403.
    pub fn must_hold(&self, claim: &str) -> Result<(), Problem> {
        if self.0.id == claim {
            return Ok(());
        }
        Err(forbidden("this claim token is of something else"))
    }
}

impl OptionalFromRequestParts<HttpState> for Holder {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &HttpState,
    ) -> Result<Option<Self>, Problem> {
        let Some(Bearer::Claim(token)) = bearer(parts)? else { return Ok(None) };
        let mut conn = state.db.read().await?;
        let claim = db::claim::find_by_hash(&mut conn, &token_hash(token)).await?;
        let claim = claim.ok_or_else(|| bad_token("this claim token is not known"))?;
        Ok(Some(Self(claim)))
    }
}

impl FromRequestParts<HttpState> for Holder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        <Self as OptionalFromRequestParts<HttpState>>::from_request_parts(parts, state)
            .await?
            .ok_or_else(no_claim_token)
    }
}

fn no_claim_token() -> Problem {
    unauthorized("send the claim token as Authorization: Bearer clm_…")
}

/// A claim token, not looked up yet: for whoever must tell a token that was replaced from one that
/// never was.
pub struct ClaimToken(pub String);

impl FromRequestParts<HttpState> for ClaimToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &HttpState) -> Result<Self, Problem> {
        match bearer(parts)? {
            Some(Bearer::Claim(token)) => Ok(Self(token.to_owned())),
            _ => Err(no_claim_token()),
        }
    }
}

/// An operator with an API key.
pub struct Operator(pub ApiKey);

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read everything.
    Read,
    /// Act on leases, payments and resources.
    Manage,
    /// Send money out: prepare, submit, bump and abandon batches.
    Payout,
    /// Keys, catalogue, rescan.
    Admin,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Payout => "payout",
            Self::Admin => "admin",
        }
    }
}

/// Every scope that a key can have.
pub const SCOPES: [&str; 4] = ["read", "manage", "payout", "admin"];

impl Operator {
    /// Refuses a key without `scope`.
    ///
    /// # Errors
    /// 403.
    pub fn may(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        Err(forbidden(&format!("this API key lacks the scope {}", scope.as_str())))
    }

    /// Whether its key has `scope`.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.scopes.split(' ').any(|has| has == scope.as_str())
    }

    /// How the audit log names it.
    pub fn name(&self) -> String {
        format!("{} ({})", self.0.id, self.0.name)
    }
}

impl FromRequestParts<HttpState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        let Some(Bearer::ApiKey(token)) = bearer(parts)? else {
            return Err(unauthorized("send an API key as Authorization: Bearer key_…"));
        };
        let source = state.sources.find(&parts.headers, &parts.extensions);
        Self::by_key(state, &source, token).await
    }
}

impl Operator {
    /// Whoever has this key. Keys that are none are limited by source.
    ///
    /// # Errors
    /// 401, 429; those of the database.
    pub async fn by_key(state: &HttpState, source: &Source, token: &str) -> Result<Self, Problem> {
        let now = state.clock.now();
        let mut conn = state.db.read().await?;
        let key = db::api_key::find_by_hash(&mut conn, &token_hash(token)).await?;
        drop(conn);
        let Some(key) = key.filter(|key| key.revoked_at.is_none()) else {
            // Only now: a stranger who guesses must not shut out who shares a source with him.
            let taken = state.limits.take(source, Kind::WrongKey, now);
            taken.map_err(|seconds| too_many("unknown API keys", seconds))?;
            return Err(bad_token("this API key is not known, or was revoked"));
        };
        Ok(Self::known(state, key))
    }

    /// Whoever has a key that was looked up; its use is noted.
    pub fn known(state: &HttpState, key: ApiKey) -> Self {
        let now = state.clock.now();
        if key.used_at.is_none_or(|at| at.seconds_until(now) >= USED_EVERY_S) {
            // In the queue already; nobody has to wait for it.
            drop(state.db.write(KeyUsed { id: key.id.clone(), now }));
        }
        Self(key)
    }
}
