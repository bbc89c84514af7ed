//! Endpoints that hear of events: the list, one, a new one, and what can be done with it.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::{Asked, Asking, nothing};
use super::blocks::SecretPage;
use super::{Button, Cell, DetailPage, FormPage, ListPage, Visitor};
use crate::app::view_webhook::EndpointView;
use crate::app::webhooks::{Act as Change, ActOnWebhook, By, RedeliverSince};
use crate::app::{Code, Refusal, look};
use crate::http::api::admin::webhooks::{make, renew};
use crate::http::auth::Scope;
use crate::http::json::Path;
use crate::http::pages::field::Field;
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;
use crate::http::{HttpState, Problem};

const LIST: (&str, &str) = ("/operator/webhooks", "Webhooks");

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route(LIST.0, get(list))
        .route("/operator/webhooks/new", get(new).post(create))
        .route("/operator/webhooks/{id}", get(one))
        .route("/operator/webhooks/{id}/{act}", get(ask).post(act))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let found = look::webhooks(&state.db, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.lead = "Endpoints that get events as signed messages.";
    if visitor.has(Scope::Admin) {
        page.buttons = vec![Button::new("/operator/webhooks/new", "Make one")];
    }
    Ok(page.show(&asked, &["Webhook", "State", "URL", "Types", "Waiting", "Made"], found, |it| {
        vec![
            Cell::id("webhooks", &it.id),
            Cell::badge(&it.state),
            Cell::words(&it.url),
            Cell::words(types(&it)),
            Cell::number(it.pending),
            Cell::time(it.created_at),
        ]
    }))
}

fn types(endpoint: &EndpointView) -> String {
    if endpoint.types.is_empty() { "all".into() } else { endpoint.types.join(", ") }
}

/// What can be done with an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Test,
    Redeliver,
    Pause,
    Resume,
    Rotate,
    Delete,
}

impl Act {
    const ALL: [Self; 6] =
        [Self::Test, Self::Redeliver, Self::Pause, Self::Resume, Self::Rotate, Self::Delete];

    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Redeliver => "redeliver",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Rotate => "rotate",
            Self::Delete => "delete",
        }
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::ALL.into_iter().find(|act| act.name() == text).ok_or_else(nothing)
    }

    fn scope(self) -> Scope {
        match self {
            Self::Test | Self::Redeliver | Self::Pause | Self::Resume => Scope::Manage,
            Self::Rotate | Self::Delete => Scope::Admin,
        }
    }

    fn fits(self, endpoint: &EndpointView) -> bool {
        match self {
            Self::Test | Self::Pause => endpoint.state == "active",
            Self::Resume => endpoint.state != "active",
            Self::Redeliver | Self::Rotate | Self::Delete => true,
        }
    }

    /// The button, the question, and what will happen.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Test => (
                "Try it",
                "Try this endpoint?",
                "It gets an event of type webhook.test, and nobody else does.",
            ),
            Self::Redeliver => (
                "Send again",
                "Send all events since a time again?",
                "Also those that were delivered or given up. The receiver knows them by their id.",
            ),
            Self::Pause => {
                ("Pause", "Pause this endpoint?", "Its events wait until you resume it.")
            }
            Self::Resume => (
                "Resume",
                "Resume this endpoint?",
                "It gets its events again, those that wait at once.",
            ),
            Self::Rotate => (
                "Change its secret",
                "Give this endpoint another secret?",
                "The new one is shown once. For a day messages are signed with both.",
            ),
            Self::Delete => (
                "Delete",
                "Delete this endpoint?",
                "It gets nothing more. Its deliveries are shown for 30 days. This cannot be undone.",
            ),
        }
    }
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let endpoint = look::webhook(&state.db, &id).await?;
    let mut page = DetailPage::new(&state, &visitor, LIST, format!("Webhook {id}"));
    page.badges = vec![Cell::badge(&endpoint.state)];
    let fitting =
        Act::ALL.into_iter().filter(|act| act.fits(&endpoint) && visitor.has(act.scope()));
    page.buttons = fitting
        .map(|act| Button {
            danger: act == Act::Delete,
            ..Button::new(format!("/operator/webhooks/{id}/{}", act.name()), act.words().0)
        })
        .collect();
    page.facts = vec![
        ("URL", Cell::text(&endpoint.url)),
        ("Types", Cell::text(types(&endpoint))),
        ("Why it is disabled", Cell::some(endpoint.why.as_ref(), Cell::text)),
        ("Waiting", Cell::text(endpoint.pending)),
        ("Looked at", Cell::text(format!("events up to number {}", endpoint.looked_at_seq))),
        ("Old secret until", Cell::some(endpoint.old_secret_until, Cell::time)),
        ("Made", Cell::time(endpoint.created_at)),
        ("Deliveries", Cell::link(format!("/operator/deliveries?webhook={id}"), "to it")),
    ];
    page.history_of(&state, &id).await?;
    Ok(page.show())
}

fn form(state: &HttpState, visitor: &Visitor) -> FormPage {
    let place = ("/operator/webhooks/new".to_owned(), LIST.0.to_owned());
    let mut page = FormPage::new(state, visitor, place, ("Make an endpoint", "Make it"));
    let types = "Types of event or groups of them, with blanks between: payment.* lease.ended. All \
                 when it is empty.";
    page.fields = vec![
        Field::line("url", "URL", "Where signed messages are sent by POST: https://…"),
        Field { required: false, ..Field::line("types", "Types", types) },
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
    let types: Vec<String> = sent.text("types").split_whitespace().map(str::to_owned).collect();
    let url = sent.text("url");
    let (headers, body) = sent.once();
    match make(&state, &visitor.operator, (&headers, &body), url, &types).await {
        Ok((endpoint, secret)) => Ok(shown(&state, &visitor, &endpoint, secret)),
        Err(problem) => form(&state, &visitor).again(problem, &sent),
    }
}

fn shown(
    state: &HttpState,
    visitor: &Visitor,
    endpoint: &EndpointView,
    secret: String,
) -> Response {
    let words = (
        "The endpoint's secret",
        "Copy it now to where messages are checked: it is shown this once.",
    );
    SecretPage::show(state, visitor, words, secret, format!("/operator/webhooks/{}", endpoint.id))
}

async fn ask(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
) -> Result<Response, Wrong> {
    let act = Act::parse(&act)?;
    visitor.may(act.scope())?;
    Ok(question(&state, &visitor, &id, act).await?.show())
}

async fn question(
    state: &HttpState,
    visitor: &Visitor,
    id: &str,
    act: Act,
) -> Result<FormPage, Wrong> {
    let endpoint = look::webhook(&state.db, id).await?;
    let (button, question, words) = act.words();
    let path = format!("/operator/webhooks/{id}");
    let place = (format!("{path}/{}", act.name()), path);
    let mut page = FormPage::new(state, visitor, place, (question, button));
    if act == Act::Redeliver {
        let hint = "A moment in UTC, such as 2026-11-25T10:00:00Z.";
        page.fields = vec![Field::line("since", "Since", hint)];
    }
    Ok(page.words(endpoint.url).words(words).danger(act == Act::Delete))
}

async fn act(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Wrong> {
    let act = Act::parse(&act)?;
    visitor.may(act.scope())?;
    match change(&state, &visitor, (&id, act), &sent).await {
        Ok(response) => Ok(response),
        Err(problem) => question(&state, &visitor, &id, act).await?.again(problem, &sent),
    }
}

/// Does it; what is shown then.
async fn change(
    state: &HttpState,
    visitor: &Visitor,
    (id, act): (&str, Act),
    sent: &Sent,
) -> Result<Response, Problem> {
    let by = By { actor: visitor.name(), now: state.clock.now() };
    let to = format!("/operator/webhooks/{id}");
    let path = format!("{to}/{}", act.name());
    let (form, id) = ((path.as_str(), sent), id.to_owned());
    let change = match act {
        Act::Test => Change::Test,
        Act::Redeliver => {
            let detail = "is no moment; write it as 2026-11-25T10:00:00Z";
            let wrong = |_| Refusal::field(Code::InvalidRequest, "/since", detail);
            let since = sent.text("since").parse().map_err(wrong)?;
            let to = format!("/operator/deliveries?webhook={id}");
            visitor.change(state, form, RedeliverSince { id, since, by }).await?;
            return Ok(Redirect::to(&to).into_response());
        }
        Act::Pause => Change::Pause,
        Act::Resume => Change::Resume,
        Act::Delete => Change::Delete,
        Act::Rotate => {
            let (headers, body) = sent.once();
            let asked = (&headers, body.as_slice());
            let (endpoint, secret) = renew(state, &visitor.operator, asked, id, None).await?;
            return Ok(shown(state, visitor, &endpoint, secret));
        }
    };
    visitor.change(state, form, ActOnWebhook { id, act: change, by }).await?;
    let to = if act == Act::Delete { LIST.0 } else { &to };
    Ok(Redirect::to(to).into_response())
}
