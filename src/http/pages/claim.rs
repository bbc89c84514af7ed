//! The claim token: shown once to be saved, handed in, kept or forgotten by the browser, replaced;
//! and what is possible when it is lost. It travels in forms and cookies, never in a URL.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::Confirm;
use super::cookies::{
    claim_cookie, forget_claim, is_kept, not_held, set_claim, set_shown, token_for, unsaved,
    was_shown,
};
use super::form::Sent;
use super::frame::{Frame, Moment};
use super::holding::Holding;
use super::leasing::{held_sat, shown_end, words};
use super::paying::Shut;
use super::problem::Wrong;
use super::render;
use crate::app::change_claim::RotateClaim;
use crate::app::{AppError, Code, held, read, view};
use crate::domain::bearer::token_hash;
use crate::domain::uri::sat_text;
use crate::http::HttpState;
use crate::http::create::Renewal;
use crate::http::json::Path;

/// So many leases are listed.
const MOST: u32 = 100;

#[derive(Template)]
#[template(path = "claim.html")]
struct ClaimPage {
    frame: Frame,
    lease: String,
    title: String,
    /// The token, this once.
    token: Option<String>,
    shown: bool,
}

/// The page from which the token is saved.
pub(super) async fn save(
    State(state): State<HttpState>,
    mine: Holding,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let shown = was_shown(&state, &headers, &mine.token);
    Ok(render(&page(&state, &mine, None, shown).await?))
}

/// Shows the token, once in this browser.
pub(super) async fn show(
    State(state): State<HttpState>,
    mine: Holding,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    if was_shown(&state, &headers, &mine.token) {
        return Ok(Redirect::to(&format!("{}/claim", mine.page())).into_response());
    }
    let mut response = render(&page(&state, &mine, Some(mine.token.clone()), true).await?);
    set_shown(&state, &mut response, &mine.token, is_kept(&state, &headers))?;
    Ok(response)
}

async fn page(
    state: &HttpState,
    mine: &Holding,
    token: Option<String>,
    shown: bool,
) -> Result<ClaimPage, Wrong> {
    Ok(ClaimPage {
        frame: Frame::new(state),
        lease: mine.id().to_owned(),
        title: super::checkout::title(state, &mine.lease.facts.resource).await?,
        token,
        shown,
    })
}

/// The token as a file, for who sees it: the page that shows it sends it along.
pub(super) async fn file(
    State(state): State<HttpState>,
    mine: Holding,
    sent: Sent,
) -> Result<Response, Wrong> {
    let (token, page) = (&mine.token, mine.page());
    if sent.text("claim") != token {
        return Ok(Redirect::to(&format!("{page}/claim")).into_response());
    }
    let link = format!("{}{page}", state.shop.public_url);
    let text = format!(
        "Claim token of a lease. Whoever has it manages the lease: keep this file to yourself.\n\n\
         {token}\n\nThe lease: {link}\nHand the token in there under \"Your leases\".\n"
    );
    let name = "attachment; filename=\"claim-token.txt\"";
    let kind = "text/plain; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], text).into_response())
}

/// Asks whether the token shall be replaced.
pub(super) async fn ask_rotate(
    State(state): State<HttpState>,
    mine: Holding,
) -> Result<Response, Wrong> {
    let page = mine.page();
    Ok(render(&Confirm {
        frame: Frame::new(&state),
        title: "Replace the claim token?".into(),
        words: vec![
            "The old one is worth nothing from then on, wherever it is kept. Do this when somebody \
             else may have seen it, or to pass the lease on from somebody."
                .into(),
            "It is the token of everything that was asked for with it, not of this lease alone.".into(),
            "Save the new one on the next page. This browser keeps it as long as the old one.".into(),
        ],
        action: format!("{page}/rotate"),
        button: "Replace it".into(),
        danger: false,
        hidden: vec![("once".into(), super::form::nonce())],
        back: format!("{page}/claim"),
    }))
}

/// Replaces the token by another. Sent again, with the old token or the new one, it is done already.
pub(super) async fn rotate(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    // Not looked up: when the answer was lost, the browser still has the one that was replaced.
    let old = claim_cookie(&state, &headers).ok_or_else(not_held)?;
    let endpoint = format!("/leases/{id}/rotate");
    let (once, _) = sent.once();
    let old_hash = token_hash(&old);
    let secret = &state.keys.claim_secret;
    let made = Renewal::new(&once, &endpoint, &old_hash, &[], |origin, asked| {
        secret.token(&endpoint, origin, asked)
    })?;
    let token_hash = token_hash(&made.secret);
    let now = state.clock.now();
    let item = RotateClaim { claim: row.claim.clone(), old_hash, token_hash, key: made.key, now };
    let mut response = Redirect::to(&format!("/leases/{id}/claim")).into_response();
    match state.db.write(item).await {
        Ok(()) => set_claim(&state, &mut response, &made.secret, is_kept(&state, &headers))?,
        Err(AppError::Refused(why)) => match why.code {
            // The form was sent again after its answer had come.
            Code::IdempotencyKeyReused
                if token_for(&state, &headers, &row.claim).await?.is_some() => {}
            Code::Unauthorized | Code::Forbidden => return Err(not_held().into()),
            _ => return Err(AppError::Refused(why).into()),
        },
        Err(error) => return Err(error.into()),
    }
    state.live.caught_up().await;
    Ok(response)
}

/// A lease in a list.
struct Listed {
    id: String,
    title: String,
    badge: (&'static str, &'static str),
    until: Option<Moment>,
    asked: Moment,
}

#[derive(Template)]
#[template(path = "claims.html")]
struct ClaimsPage {
    frame: Frame,
    /// The leases of this browser, when it has a claim.
    leases: Option<Vec<Listed>>,
    problem: Option<&'static str>,
}

/// The leases of this browser, and the form to hand a token in.
pub(super) async fn claims(
    State(state): State<HttpState>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let leases = listed(&state, &headers).await?;
    Ok(render(&ClaimsPage { frame: Frame::new(&state), leases, problem: None }))
}

async fn listed(state: &HttpState, headers: &HeaderMap) -> Result<Option<Vec<Listed>>, Wrong> {
    let Some(token) = claim_cookie(state, headers) else { return Ok(None) };
    let Some(claim) = held::claim(&state.db, &token).await? else { return Ok(None) };
    let scene = state.scene();
    let mut leases = Vec::new();
    for row in held::leases(&state.db, &claim.id, MOST).await? {
        let resource = held::resource(&state.db, &row.facts.resource).await?;
        let waits = match held_sat(&row, scene.now) {
            0 => String::new(),
            sat => sat_text(sat),
        };
        let shut = Shut::of_resource(resource.as_ref());
        let (headline, class, _) = words(&view::lease(&row, &scene), &waits, shut);
        leases.push(Listed {
            badge: (class, headline),
            until: shown_end(&row.doc.standing.at(scene.now)).map(Into::into),
            title: resource
                .map_or_else(|| row.facts.resource.clone(), |found| found.terms.terms.title),
            asked: row.facts.created_at.into(),
            id: row.facts.id.to_string(),
        });
    }
    Ok(Some(leases))
}

/// Takes a token into the browser.
pub(super) async fn hand_in(
    State(state): State<HttpState>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    // Somebody may paste the whole file.
    let words = sent.text("claim").split_whitespace();
    let token = words.into_iter().find(|word| word.starts_with("clm_")).unwrap_or_default();
    if held::claim(&state.db, token).await?.is_none() {
        let leases = listed(&state, &headers).await?;
        let problem = Some(
            "No lease has this claim token. It begins with clm_ and must be whole; it may also have \
             been replaced by another.",
        );
        return Ok(render(&ClaimsPage { frame: Frame::new(&state), leases, problem }));
    }
    let keep = sent.some("keep").is_some();
    let other = unsaved(&state, &headers).await?.is_some_and(|unsaved| unsaved != token);
    if other && sent.some("sure").is_none() {
        let mut hidden = vec![("claim".to_owned(), token.to_owned())];
        hidden.extend(keep.then(|| ("keep".to_owned(), "1".to_owned())));
        return Ok(render(&sure(&state, "/claim", "Hand in the other", hidden)));
    }
    let mut response = Redirect::to("/claim").into_response();
    set_claim(&state, &mut response, token, keep)?;
    // Who hands it in has it.
    set_shown(&state, &mut response, token, keep)?;
    Ok(response)
}

/// Asks before a token is dropped that was never shown: nobody could manage its leases any more.
fn sure(
    state: &HttpState,
    action: &str,
    button: &str,
    mut hidden: Vec<(String, String)>,
) -> Confirm {
    hidden.push(("sure".into(), "1".into()));
    Confirm {
        frame: Frame::new(state),
        title: "Lose the claim token of this browser?".into(),
        words: vec![
            "It was never shown, so it is saved nowhere else. Without it nobody can get into its \
             leases, give them back or say where refunds go, and nobody can make it again."
                .into(),
            "To save it, go back, open one of the leases and choose \u{201c}Save or replace \
             it\u{201d}."
                .into(),
        ],
        action: action.into(),
        button: button.into(),
        danger: true,
        hidden,
        back: "/claim".into(),
    }
}

/// Keeps the token in this browser for a year.
pub(super) async fn keep(
    State(state): State<HttpState>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let mut response = Redirect::to("/claim").into_response();
    if let Some(token) = claim_cookie(&state, &headers) {
        set_claim(&state, &mut response, &token, true)?;
        if was_shown(&state, &headers, &token) {
            set_shown(&state, &mut response, &token, true)?;
        }
    }
    Ok(response)
}

/// Forgets the token in this browser.
pub(super) async fn forget(
    State(state): State<HttpState>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    if sent.some("sure").is_none() && unsaved(&state, &headers).await?.is_some() {
        return Ok(render(&sure(&state, "/claim/forget", "Forget it", Vec::new())));
    }
    let mut response = Redirect::to("/claim").into_response();
    forget_claim(&state, &mut response)?;
    Ok(response)
}

#[derive(Template)]
#[template(path = "lost.html")]
struct Lost {
    frame: Frame,
}

/// What is possible without the token.
pub(super) async fn lost(State(state): State<HttpState>) -> Response {
    render(&Lost { frame: Frame::new(&state) })
}
