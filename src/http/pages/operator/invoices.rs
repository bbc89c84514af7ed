//! Invoices: the list, and one with what was paid to it.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::asked::{Asked, Asking};
use super::{Cell, DetailPage, ListPage, Visitor};
use crate::app::look::{self, Filter as Which};
use crate::app::{read, view};
use crate::http::HttpState;
use crate::http::json::Path;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/invoices", "Invoices");
const STATES: [&str; 5] = ["open", "confirming", "settled", "expired", "cancelled"];

pub(super) fn router() -> Router<HttpState> {
    Router::new().route(LIST.0, get(list)).route("/operator/invoices/{id}", get(one))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let filter = Which {
        state: asked.choice("state", &STATES)?,
        resource: asked.owned("resource"),
        before: None,
    };
    let found = look::invoices(&state.db, filter, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.filters = vec![asked.filter("state", "Status", &STATES)];
    page.filter_by_resource(&state, &asked).await?;
    let scene = state.scene();
    let columns = ["Invoice", "Status", "For", "Amount", "Credited", "Lease", "Made"];
    Ok(page.show(&asked, &columns, found, |row| {
        let invoice = view::invoice(&row, &scene);
        vec![
            Cell::id("invoices", &invoice.id),
            Cell::badge(invoice.status.as_str()),
            Cell::text(format!("{} {}", invoice.purpose.as_str(), invoice.resource)),
            Cell::sat(invoice.amount_sat),
            Cell::sat(invoice.received.credited_sat),
            Cell::id("leases", invoice.lease),
            Cell::time(invoice.created_at),
        ]
    }))
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let row = read::invoice(&state.db, &id).await?;
    let invoice = view::invoice(&row, &state.scene());
    let mut page = DetailPage::new(&state, &visitor, LIST, format!("Invoice {id}"));
    page.badges = vec![Cell::badge(invoice.status.as_str())];
    page.badges.extend(invoice.flags.iter().map(Cell::flag));
    page.facts = vec![
        ("Lease", Cell::id("leases", &invoice.lease)),
        ("Resource", Cell::id("catalog", &invoice.resource)),
        ("For", Cell::text(invoice.purpose.as_str())),
        ("Amount", Cell::sat(invoice.amount_sat)),
        ("Credited", Cell::sat(invoice.received.credited_sat)),
        ("On its way", Cell::sat(invoice.received.unconfirmed_sat)),
        ("Still due", Cell::sat(invoice.received.due_sat)),
        ("Confirmations", Cell::text(format!("{} needed", invoice.confirmations_required))),
        ("Address", Cell::code(&invoice.address)),
        ("Index", Cell::text(invoice.derivation_index)),
        ("Refund to", Cell::some(row.refund_address.as_ref(), Cell::code)),
        ("Made", Cell::time(invoice.created_at)),
        ("Price until", Cell::time(invoice.expires_at)),
        ("Its page", Cell::link(format!("/checkout/{id}"), "as customers see it")),
    ];
    let payments = look::payments_to(&state.db, &row.facts.id).await?;
    page.tables.push(super::payments::table(&payments, state.readiness.borrow().height()));
    let history = look::history_of_part(&state.db, &id, Some(&row.facts.lease)).await?;
    page.happened(history, &id);
    Ok(page.show())
}
