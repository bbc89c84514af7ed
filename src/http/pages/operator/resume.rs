//! Payouts after a restore: what left since the backup is looked for, then batches can be prepared
//! again.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::batches::LIST;
use super::{FormPage, Visitor};
use crate::http::HttpState;
use crate::http::auth::Scope;
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;

/// No batch has this id.
pub(super) const PATH: &str = "/operator/batches/resume";

pub(super) fn router() -> Router<HttpState> {
    Router::new().route(PATH, get(ask).post(resume))
}

fn form(state: &HttpState, visitor: &Visitor) -> FormPage {
    let place = (PATH.to_owned(), LIST.0.to_owned());
    let words = ("Let payouts go on after the restore?", "Look for what left");
    FormPage::new(state, visitor, place, words)
        .words(
            "This database was restored from a backup: payouts made since then are not in it, and \
             would be paid again. First destroy every PSBT that was signed since then and not sent.",
        )
        .words(
            "Then the wallet's history is searched for transactions that pay what is owed here. If \
             each of them is understood, batches can be prepared again; otherwise you are asked \
             once more. On the command line it is leasehold payouts resume.",
        )
}

async fn ask(State(state): State<HttpState>, visitor: Visitor) -> Result<Response, Wrong> {
    visitor.may(Scope::Payout)?;
    match state.batcher.held().await? {
        Some(_) => Ok(form(&state, &visitor).show()),
        None => Ok(Redirect::to(LIST.0).into_response()),
    }
}

async fn resume(
    State(state): State<HttpState>,
    visitor: Visitor,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Payout)?;
    let mut page = form(&state, &visitor);
    let force = sent.some("force").is_some();
    let done = match state.batcher.resume(force, visitor.name()).await {
        Ok(done) if done.resumed => return Ok(Redirect::to(LIST.0).into_response()),
        Ok(done) => done,
        Err(error) => return page.again(error.into(), &sent),
    };
    let words = "These transactions of the wallet are not understood. What they paid may be paid \
                 again if you go on: look at each of them first.";
    page.title = "Go on anyway?".into();
    page.words.clear();
    page.button = "Go on anyway";
    page.hidden.push(("force", "1".into()));
    let page = page.danger(true).words(words);
    Ok(done.unclear.iter().fold(page, FormPage::words).show())
}
