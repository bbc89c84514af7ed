//! The event log, newest first, and one event with its deliveries' way.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::asked::{Asked, Asking};
use super::deliveries;
use super::{Cell, DetailPage, ListPage, Visitor};
use crate::app::look::{self, DeliveryFilter, EventFilter};
use crate::domain::time::Timestamp;
use crate::http::HttpState;
use crate::http::json::Path;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/events", "Events");

pub(super) fn router() -> Router<HttpState> {
    Router::new().route(LIST.0, get(list)).route("/operator/events/{id}", get(one))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let types = look::event_types();
    let filter = EventFilter {
        kind: asked.choice("type", &types)?,
        subject: asked.owned("subject"),
        mentions: None,
    };
    let found = look::events(&state.db, &filter, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.filters =
        vec![asked.filter("type", "Type", &types), asked.filter("subject", "About (an id)", &[])];
    Ok(page.show(&asked, &["No", "Type", "About", "More", "When"], found, |event| {
        vec![
            Cell::link(format!("/operator/events/{}", event.id), event.seq),
            Cell::text(event.kind),
            Cell::subject(&event.subject),
            Cell::words(look::words(&event.data)),
            Cell::time(Timestamp::from_millis(event.at)),
        ]
    }))
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let event = look::event(&state.db, &id).await?;
    let mut page = DetailPage::new(&state, &visitor, LIST, &event.kind);
    page.facts = vec![
        ("Event", Cell::code(&event.id)),
        ("Number", Cell::text(event.seq)),
        ("When", Cell::time(Timestamp::from_millis(event.at))),
        ("About", Cell::subject(&event.subject)),
        ("Resource", Cell::some(event.resource.as_ref(), |id| Cell::id("catalog", id))),
    ];
    for (name, value) in event.data.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        page.facts.push(("Data", Cell::words(format!("{name}: {text}"))));
    }
    // An event goes to an endpoint once; there are as many as a page shows.
    let filter = DeliveryFilter { event: Some(event.seq), ..DeliveryFilter::default() };
    let sent = look::deliveries(&state.db, filter, None, &Asked::default().part()).await?;
    page.tables = vec![deliveries::table(&sent.rows)];
    Ok(page.show())
}
