//! An operator in a browser: an API key is handed in once, by POST, and the browser keeps a token
//! that stands for it in an HttpOnly cookie. Neither is ever in a URL. A key that is revoked, or a
//! sign-out anywhere for everywhere, ends it at the next call.

use askama::Template;
use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::HOME;
use super::blocks::Desk;
use crate::app::idempotent::{Key, Once};
use crate::app::sign_in::{SignIn, SignOut, VALID_S, signed_in};
use crate::app::{AppError, Code, Refusal};
use crate::db::WriteItem;
use crate::domain::bearer::{Bearer, token_hash};
use crate::domain::ids::base32;
use crate::domain::site::to_query;
use crate::http::auth::{Operator, Scope};
use crate::http::cookies::values;
use crate::http::create::idempotency;
use crate::http::json::Query;
use crate::http::pages::field::{Field, Kind, sentence};
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;
use crate::http::pages::{Frame, Wanted, cookies, destination, render};
use crate::http::source::Source;
use crate::http::{HttpState, Problem};

const SIGN_IN: &str = "/operator/sign-in";

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route(SIGN_IN, get(form).post(enter))
        .route("/operator/session", get(account))
        .route("/operator/sign-out", post(leave))
        .route("/operator/sign-out-everywhere", post(leave_everywhere))
}

const COOKIE: &str = "leasehold_operator";

/// Who is signed in.
pub(super) struct Visitor {
    pub(super) operator: Operator,
    /// The hash of the browser's token.
    session: String,
}

impl Visitor {
    pub(super) fn may(&self, scope: Scope) -> Result<(), Problem> {
        self.operator.may(scope)
    }

    pub(super) fn has(&self, scope: Scope) -> bool {
        self.operator.has(scope)
    }

    /// How the audit log names who it is.
    pub(super) fn name(&self) -> String {
        self.operator.name()
    }

    /// Changes what the form at `path` asks for, once however often it is sent.
    pub(super) async fn change(
        &self,
        state: &HttpState,
        (path, sent): (&str, &Sent),
        item: impl WriteItem<Error = AppError>,
    ) -> Result<(), Problem> {
        let key = self.key(path, sent)?;
        state.db.write(Once { item, key, now: state.clock.now() }).await?;
        Ok(())
    }

    /// What the form at `path` is known by when it comes again.
    pub(super) fn key(&self, path: &str, sent: &Sent) -> Result<Option<Key>, Problem> {
        let (headers, body) = sent.once();
        idempotency(&headers, path, &self.operator.0.id, &body)
    }
}

impl FromRequestParts<HttpState> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let found = find(state, &parts.headers).await.map_err(IntoResponse::into_response)?;
        found.ok_or_else(|| {
            let to = parts.uri.path_and_query().map(ToString::to_string);
            let to = to.filter(|to| parts.method.is_safe() && to != HOME);
            Redirect::to(&format!("{SIGN_IN}{}", to_query(to.as_deref()))).into_response()
        })
    }
}

/// Whoever is signed in, and may at least read.
async fn find(state: &HttpState, headers: &HeaderMap) -> Result<Option<Visitor>, Wrong> {
    // A sibling host may have planted one more.
    for token in values(headers, &cookies::name(state, COOKIE)) {
        let mut conn = state.db.read().await?;
        if let Some(key) = signed_in(&mut conn, token, state.clock.now()).await? {
            let operator = Operator::known(state, key);
            operator.may(Scope::Read)?;
            return Ok(Some(Visitor { operator, session: token_hash(token) }));
        }
    }
    Ok(None)
}

#[derive(Template)]
#[template(path = "operator/sign_in.html")]
struct SignInPage {
    frame: Frame,
    to: Option<String>,
    key: Field,
}

impl SignInPage {
    fn new(state: &HttpState, to: Option<String>) -> Self {
        let hint = "It begins with key_. The first one is in the file that bootstrap_key_file \
                    names; more are made with \u{201c}leasehold key create\u{201d}.";
        let key = Field { kind: Kind::Secret, ..Field::line("key", "API key", hint) };
        Self { frame: Frame::new(state), to, key }
    }
}

/// Only to pages of operators.
fn own(to: Option<String>) -> Option<String> {
    to.filter(|to| to.starts_with("/operator/") || to.starts_with("/operator?"))
}

async fn form(State(state): State<HttpState>, wanted: Query<Wanted>) -> Response {
    let to = own(Wanted::from_query(wanted));
    render(&SignInPage::new(&state, to))
}

async fn enter(
    State(state): State<HttpState>,
    source: Source,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    let to = own(destination(Some(sent.text("to").to_owned())));
    let operator = match checked(&state, &source, sent.text("key")).await {
        Ok(operator) => operator,
        Err(problem) if matches!(problem.code(), Code::Unauthorized | Code::Forbidden) => {
            let mut page = SignInPage::new(&state, to);
            page.key.error = Some(sentence(&problem.body().detail));
            page.key.first = true;
            return Ok((StatusCode::FORBIDDEN, render(&page)).into_response());
        }
        Err(problem) => return Err(problem.into()),
    };
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| Problem::internal())?;
    let token = format!("ops_{}", base32(&random));
    let item = SignIn {
        before: find(&state, &headers).await.ok().flatten().map(|before| before.session),
        token_hash: token_hash(&token),
        key: operator.0.id.clone(),
        actor: operator.name(),
        now: state.clock.now(),
    };
    state.db.write(item).await?;
    let mut response = Redirect::to(to.as_deref().unwrap_or(HOME)).into_response();
    cookies::set(&state, &mut response, COOKIE, &token, Some(VALID_S))?;
    Ok(response)
}

/// The key's owner, who may at least read.
async fn checked(state: &HttpState, source: &Source, key: &str) -> Result<Operator, Problem> {
    if !matches!(Bearer::parse(key), Some(Bearer::ApiKey(_))) {
        let detail = "an API key begins with key_ and has 52 characters after it";
        return Err(Refusal::new(Code::Unauthorized, detail).into());
    }
    let operator = Operator::by_key(state, source, key).await?;
    operator.may(Scope::Read)?;
    Ok(operator)
}

async fn leave(State(state): State<HttpState>, visitor: Visitor) -> Result<Response, Wrong> {
    sign_out(&state, &visitor, Some(visitor.session.clone())).await
}

async fn leave_everywhere(
    State(state): State<HttpState>,
    visitor: Visitor,
) -> Result<Response, Wrong> {
    sign_out(&state, &visitor, None).await
}

async fn sign_out(
    state: &HttpState,
    visitor: &Visitor,
    token_hash: Option<String>,
) -> Result<Response, Wrong> {
    let (key, actor) = (visitor.operator.0.id.clone(), visitor.name());
    state.db.write(SignOut { token_hash, key, actor, now: state.clock.now() }).await?;
    let mut response = Redirect::to(SIGN_IN).into_response();
    cookies::set(state, &mut response, COOKIE, "", Some(0))?;
    Ok(response)
}

#[derive(Template)]
#[template(path = "operator/session.html")]
struct SessionPage {
    frame: Frame,
    desk: Desk,
    key: String,
    scopes: String,
}

/// Who is signed in, and the ways out.
async fn account(State(state): State<HttpState>, visitor: Visitor) -> Response {
    render(&SessionPage {
        frame: Frame::new(&state),
        desk: Desk::new(&visitor, "/operator/session"),
        scopes: visitor.operator.0.scopes.replace(' ', ", "),
        key: visitor.operator.0.id,
    })
}
