//! A lease in the hands of whoever asks: the browser's cookie has its claim token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::cookies::must_hold;
use super::problem::Wrong;
use crate::app::read;
use crate::db::lease::LeaseRow;
use crate::http::HttpState;
use crate::http::json::Path;

/// The lease that a path names, for its holder. Others are refused.
pub(super) struct Holding {
    pub(super) lease: LeaseRow,
    /// The claim token.
    pub(super) token: String,
}

impl Holding {
    /// The lease's id.
    pub(super) fn id(&self) -> &str {
        self.lease.facts.id.as_str()
    }

    /// Where its page is.
    pub(super) fn page(&self) -> String {
        format!("/leases/{}", self.id())
    }
}

impl FromRequestParts<HttpState> for Holding {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Wrong> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await?;
        let lease = read::lease(&state.db, &id).await?;
        let token = must_hold(state, &parts.headers, &lease.claim).await?;
        Ok(Self { lease, token })
    }
}
