//! The box at the top of every page of operators. By POST, so that what somebody pastes into it by
//! mistake is in no address and no log.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::Asked;
use super::cells::place_of;
use super::{Cell, HOME, ListPage, Visitor};
use crate::app::look::{self, Found, Listing};
use crate::http::HttpState;
use crate::http::auth::Scope;
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;

pub(super) fn router() -> Router<HttpState> {
    // Who comes back to it by its address begins again.
    let again = get(async || Redirect::to(HOME));
    Router::new().route("/operator/search", again.post(search))
}

/// The page of what was found.
fn page_of(found: &Found) -> String {
    match (found.kind, place_of(&found.id)) {
        (_, Some(place)) => format!("/operator/{place}/{}", found.id),
        ("resource", _) => format!("/operator/catalog/{}", found.id),
        ("key", _) => format!("/operator/keys/{}", found.id),
        // An action is shown with its lease.
        _ => {
            let url = found.url.as_deref().unwrap_or_default();
            format!("/operator/leases/{}", url.rsplit('=').next().unwrap_or_default())
        }
    }
}

async fn search(
    State(state): State<HttpState>,
    visitor: Visitor,
    sent: Sent,
) -> Result<Response, Wrong> {
    let text = sent.text("q");
    let secret = look::is_secret(text);
    let found = match secret {
        true => Vec::new(),
        false => look::search(&state.db, text, visitor.has(Scope::Admin)).await?,
    };
    if let [one] = found.as_slice() {
        return Ok(Redirect::to(&page_of(one)).into_response());
    }
    let title = if found.is_empty() { "Nothing found" } else { "Found" };
    let mut page = ListPage::new(&state, &visitor, ("/operator/search", title));
    page.empty(match secret {
        true => "That is a secret. It was not looked for; keep it to yourself.",
        false => "Nothing has this id, address or txid. Names are not looked for.",
    });
    let listing = Listing { rows: found, next: None };
    Ok(page.show(&Asked::default(), &["What", "Id"], listing, |found| {
        vec![Cell::text(&found.label), Cell { to: Some(page_of(&found)), ..Cell::code(&found.id) }]
    }))
}
