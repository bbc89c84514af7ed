//! Payouts: the list, and one with what became of it.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::asked::{Asked, Asking};
use super::{Button, Cell, DetailPage, ListPage, Table, Visitor};
use crate::app::look::{self, PayoutFilter};
use crate::app::view_payout;
use crate::db::payout::PayoutRow;
use crate::http::HttpState;
use crate::http::json::Path;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/payouts", "Payouts");
const STATES: [&str; 5] = ["waiting", "due", "prepared", "broadcast", "confirmed"];

pub(super) fn router() -> Router<HttpState> {
    Router::new().route(LIST.0, get(list)).route("/operator/payouts/{id}", get(one))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let filter = PayoutFilter {
        state: asked.choice("state", &STATES)?,
        resource: asked.owned("resource"),
        ..PayoutFilter::default()
    };
    let found = look::payouts(&state.db, filter, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.lead = "Money that is owed to somebody. A batch pays what is due, in one transaction.";
    page.buttons = super::prepare::button(&state, &visitor).await?;
    page.buttons.push(Button::new(super::batches::LIST.0, "Batches"));
    page.filters = vec![asked.filter("state", "State", &STATES)];
    page.filter_by_resource(&state, &asked).await?;
    Ok(page.show(&asked, &COLUMNS, found, |row| cells(&row)))
}

const COLUMNS: [&str; 6] = ["Payout", "State", "Amount", "Of", "To", "Since"];

fn cells(row: &PayoutRow) -> Vec<Cell> {
    vec![
        Cell::id("payouts", &row.facts.id),
        Cell::badge(row.state.as_str()),
        Cell::sat(row.facts.amount_sat),
        Cell::subject(&row.subject),
        Cell::some(row.address.as_ref(), Cell::code),
        Cell::time(row.created_at),
    ]
}

/// Payouts on the page of what they come from.
pub(super) fn table(rows: &[PayoutRow]) -> Table {
    Table {
        title: "Payouts".into(),
        columns: COLUMNS.to_vec(),
        rows: rows.iter().map(cells).collect(),
        empty: "Nothing is owed.",
    }
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let payout = view_payout::payout(&look::payout(&state.db, &id).await?);
    let mut page = DetailPage::new(&state, &visitor, LIST, format!("Payout {id}"));
    page.badges = vec![Cell::badge(payout.state.as_str())];
    page.facts = vec![
        ("Kind", Cell::text(&payout.kind)),
        ("Of", Cell::subject(&payout.subject)),
        ("Amount", Cell::sat(payout.amount_sat)),
        ("Can leave now", Cell::sat(payout.ready_sat)),
        ("Waits for", Cell::some(payout.waits_for.as_ref(), Cell::text)),
        ("To", Cell::some(payout.address.as_ref(), Cell::code)),
        ("Batch", Cell::some(payout.batch.as_ref(), |id| Cell::id("batches", id))),
        ("Transaction", Cell::some(payout.txid.as_ref(), Cell::code)),
        ("Since", Cell::time(payout.created_at)),
    ];
    page.history_of(&state, &id).await?;
    Ok(page.show())
}
