//! API keys: the list, one, a new one, and the end of one.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::{Asked, Asking};
use super::blocks::SecretPage;
use super::{Button, Cell, DetailPage, FormPage, ListPage, Visitor};
use crate::app::api_keys::RevokeKey;
use crate::app::look;
use crate::http::HttpState;
use crate::http::api::admin::keys::make;
use crate::http::auth::{SCOPES, Scope};
use crate::http::json::Path;
use crate::http::pages::field::{Field, Kind, ticked};
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/keys", "Keys");

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route(LIST.0, get(list))
        .route("/operator/keys/new", get(new).post(create))
        .route("/operator/keys/{id}", get(one))
        .route("/operator/keys/{id}/revoke", get(ask).post(revoke))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Admin)?;
    let asked = Asked::new(asked);
    let found = look::keys(&state.db, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.lead = "Whoever has one may do here and with the API what its scopes say.";
    page.buttons = vec![Button::new("/operator/keys/new", "Make a key")];
    Ok(page.show(&asked, &["Key", "Name", "State", "May", "Last used", "Made"], found, |key| {
        let state = if key.revoked_at.is_some() { "revoked" } else { "active" };
        vec![
            Cell::id("keys", &key.id),
            Cell::text(&key.name),
            Cell::badge(state),
            Cell::text(key.scopes.replace(' ', ", ")),
            Cell::some(key.used_at, Cell::time),
            Cell::time(key.created_at),
        ]
    }))
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Admin)?;
    let key = look::key(&state.db, &id).await?;
    let mut page = DetailPage::new(&state, &visitor, LIST, format!("Key {}", key.name));
    page.badges = vec![Cell::badge(if key.revoked_at.is_some() { "revoked" } else { "active" })];
    if key.revoked_at.is_none() {
        let to = format!("/operator/keys/{id}/revoke");
        page.buttons = vec![Button::danger(to, "Revoke")];
    }
    page.facts = vec![
        ("Id", Cell::code(&key.id)),
        ("May", Cell::text(key.scopes.replace(' ', ", "))),
        ("Made", Cell::time(key.created_at)),
        ("Last used", Cell::some(key.used_at, Cell::time)),
        ("Revoked", Cell::some(key.revoked_at, Cell::time)),
    ];
    page.history_of(&state, &id).await?;
    Ok(page.show())
}

fn form(state: &HttpState, visitor: &Visitor) -> FormPage {
    let place = ("/operator/keys/new".to_owned(), LIST.0.to_owned());
    let mut page = FormPage::new(state, visitor, place, ("Make an API key", "Make it"));
    let scopes = "read: see everything. manage: act on leases, payments and resources. payout: send \
                  money out. admin: keys, catalogue, endpoints.";
    page.fields = vec![
        Field {
            most: Some(100),
            ..Field::line("name", "Name", "For people: what uses it, or who.")
        },
        Field { kind: Kind::Boxes(&SCOPES), ..Field::line("scopes", "May", scopes) },
    ];
    page
}

async fn new(State(state): State<HttpState>, visitor: Visitor) -> Result<Response, Wrong> {
    visitor.may(Scope::Admin)?;
    Ok(form(&state, &visitor).show())
}

async fn create(
    State(state): State<HttpState>,
    visitor: Visitor,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Admin)?;
    let scopes = ticked(&SCOPES, "scopes", &sent);
    let (headers, body) = sent.once();
    let name = sent.text("name").to_owned();
    match make(&state, &visitor.operator, (&headers, &body), name, &scopes).await {
        Ok((key, token)) => {
            let words = (
                "The new key",
                "Copy it now: it is shown this once, and kept nowhere but where you put it.",
            );
            let back = format!("/operator/keys/{}", key.id);
            Ok(SecretPage::show(&state, &visitor, words, token, back))
        }
        Err(problem) => form(&state, &visitor).again(problem, &sent),
    }
}

async fn ask(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Admin)?;
    Ok(revoking(&state, &visitor, &id).await?.show())
}

/// Asks whether to revoke a key.
async fn revoking(state: &HttpState, visitor: &Visitor, id: &str) -> Result<FormPage, Wrong> {
    let key = look::key(&state.db, id).await?;
    let path = format!("/operator/keys/{id}");
    let place = (format!("{path}/revoke"), path);
    let page = FormPage::new(state, visitor, place, ("Revoke this key?", "Revoke"));
    let page = page.words(format!("{}, {id}.", key.name));
    let page = match id == visitor.operator.0.id {
        true => page.words("You are signed in with this key: you will be signed out."),
        false => page,
    };
    let words = "It is refused from now on, and every browser that is signed in with it is signed \
                 out. This cannot be undone.";
    Ok(page.words(words).danger(true))
}

async fn revoke(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Admin)?;
    let item = RevokeKey { id: id.clone(), now: state.clock.now(), actor: visitor.name() };
    let to = format!("/operator/keys/{id}");
    match visitor.change(&state, (&format!("{to}/revoke"), &sent), item).await {
        Ok(()) => Ok(Redirect::to(&to).into_response()),
        Err(problem) => revoking(&state, &visitor, &id).await?.again(problem, &sent),
    }
}
