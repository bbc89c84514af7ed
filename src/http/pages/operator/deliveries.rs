//! Deliveries of events to endpoints: the list, one with its attempts, and asking for it again.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::{Asked, Asking};
use super::{Button, Cell, DetailPage, FormPage, ListPage, Table, Visitor};
use crate::app::look::{self, DeliveryFilter};
use crate::app::view_webhook::{self, DeliveryView};
use crate::app::webhooks::{By, Redeliver};
use crate::db::delivery::Delivery;
use crate::domain::webhook::DeliveryStatus;
use crate::http::HttpState;
use crate::http::auth::Scope;
use crate::http::json::Path;
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/deliveries", "Deliveries");
const STATES: [&str; 3] = ["pending", "delivered", "failed"];

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route(LIST.0, get(list))
        .route("/operator/deliveries/{id}", get(one))
        .route("/operator/deliveries/{id}/redeliver", get(ask).post(redeliver))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let status = asked.choice("status", &STATES)?;
    let filter = DeliveryFilter {
        webhook: asked.owned("webhook"),
        status: status.as_deref().and_then(DeliveryStatus::parse),
        ..DeliveryFilter::default()
    };
    let found = look::deliveries(&state.db, filter, asked.get("event"), &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.lead = "Messages to endpoints. Those that are done are kept for 30 days.";
    page.filters = vec![
        asked.filter("status", "Status", &STATES),
        asked.filter("webhook", "Webhook", &[]),
        asked.filter("event", "Event", &[]),
    ];
    Ok(page.show(&asked, &COLUMNS, found, |row| cells(&row)))
}

const COLUMNS: [&str; 7] = ["Delivery", "Status", "Event", "Webhook", "Tries", "Answer", "Made"];

fn cells(row: &Delivery) -> Vec<Cell> {
    let delivery = view_webhook::delivery(row);
    vec![
        Cell::id("deliveries", &delivery.id),
        Cell::badge(&delivery.status),
        Cell { class: "words", ..event(&delivery) },
        webhook(&delivery),
        Cell::number(delivery.attempts),
        Cell::words(answer(&delivery)),
        Cell::time(delivery.created_at),
    ]
}

/// Deliveries on the page of their event.
pub(super) fn table(rows: &[Delivery]) -> Table {
    Table {
        title: "Deliveries".into(),
        columns: COLUMNS.to_vec(),
        rows: rows.iter().map(cells).collect(),
        empty: "It went to no endpoint, or that is over for 30 days.",
    }
}

fn event(delivery: &DeliveryView) -> Cell {
    Cell::link(format!("/operator/events/{}", delivery.event), &delivery.kind)
}

/// Its page, while it has one.
fn webhook(delivery: &DeliveryView) -> Cell {
    match delivery.webhook_deleted {
        true => Cell::code(&delivery.webhook),
        false => Cell::id("webhooks", &delivery.webhook),
    }
}

/// What came back last.
fn answer(delivery: &DeliveryView) -> String {
    let status = delivery.response_status.map(|status| status.to_string());
    let parts = [status, delivery.failure.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let found = look::delivery(&state.db, &id).await?;
    let delivery = &found.delivery;
    let mut page = DetailPage::new(&state, &visitor, LIST, format!("Delivery {id}"));
    page.badges = vec![Cell::badge(&delivery.status)];
    if visitor.has(Scope::Manage) && !delivery.webhook_deleted {
        let to = format!("/operator/deliveries/{id}/redeliver");
        page.buttons = vec![Button::new(to, "Deliver it again")];
    }
    page.facts = vec![
        ("Event", event(delivery)),
        ("Number", Cell::text(delivery.seq)),
        ("Webhook", webhook(delivery)),
        ("Tries", Cell::text(delivery.attempts)),
        ("Last answer", Cell::text(answer(delivery))),
        ("Next try", Cell::some(delivery.due_at, Cell::time)),
        ("Made", Cell::time(delivery.created_at)),
        ("Done", Cell::some(delivery.done_at, Cell::time)),
    ];
    let rows = found.log.iter().map(|attempt| {
        vec![
            Cell::number(attempt.n),
            Cell::time(attempt.started_at),
            Cell::number(format!("{} ms", attempt.latency_ms)),
            Cell::some(attempt.response_status, Cell::number),
            Cell::words(attempt.failure.clone().unwrap_or_default()),
            Cell::code(&attempt.response),
        ]
    });
    page.tables = vec![Table {
        title: "Attempts".into(),
        columns: vec!["No", "Began", "Took", "Status", "Why it failed", "Answer"],
        rows: rows.collect(),
        empty: "None was made yet.",
    }];
    Ok(page.show())
}

async fn ask(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Manage)?;
    Ok(question(&state, &visitor, &id).await?.show())
}

async fn question(state: &HttpState, visitor: &Visitor, id: &str) -> Result<FormPage, Wrong> {
    let delivery = look::delivery(&state.db, id).await?.delivery;
    let path = format!("/operator/deliveries/{id}");
    let place = (format!("{path}/redeliver"), path);
    let words = ("Deliver this event again?", "Deliver it again");
    let page = FormPage::new(state, visitor, place, words);
    let page =
        page.words(format!("{}, number {}, to {}.", delivery.kind, delivery.seq, delivery.webhook));
    Ok(page.words("The message has the same webhook-id as before."))
}

async fn redeliver(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Manage)?;
    let by = By { actor: visitor.name(), now: state.clock.now() };
    let to = format!("/operator/deliveries/{id}");
    let item = Redeliver { id: id.clone(), by };
    match visitor.change(&state, (&format!("{to}/redeliver"), &sent), item).await {
        Ok(()) => Ok(Redirect::to(&to).into_response()),
        Err(problem) => question(&state, &visitor, &id).await?.again(problem, &sent),
    }
}
