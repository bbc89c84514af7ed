//! The ledger and the audit log.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::asked::{Asked, Asking};
use super::{Cell, ListPage, Visitor};
use crate::app::look;
use crate::http::HttpState;
use crate::http::pages::problem::Wrong;

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route("/operator/ledger", get(ledger))
        .route("/operator/audit-log", get(audit_log))
}

async fn ledger(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let found = look::ledger(&state.db, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, ("/operator/ledger", "Ledger"));
    page.lead = "Lines of entries, newest first; debits are positive. The lines of an entry sum to \
                 zero.";
    let columns = ["Entry", "Account", "Amount", "About", "Resource", "When"];
    Ok(page.show(&asked, &columns, found, |row| {
        vec![
            Cell::number(row.entry),
            Cell::text(row.account.as_str()),
            Cell::signed_sat(row.amount_sat),
            Cell::subject(&row.subject),
            Cell::text(row.resource.unwrap_or_default()),
            Cell::time(row.happened_at),
        ]
    }))
}

async fn audit_log(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let found = look::audit_log(&state.db, asked.get("subject"), &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, ("/operator/audit-log", "Audit log"));
    page.lead = "What operators did, by API key.";
    page.filters = vec![asked.filter("subject", "To (an id)", &[])];
    Ok(page.show(&asked, &["No", "What", "To", "By", "More", "When"], found, |row| {
        vec![
            Cell::number(row.id),
            Cell::text(row.action),
            Cell::subject(&row.subject),
            Cell::words(row.actor),
            Cell::words(row.detail),
            Cell::time(row.happened_at),
        ]
    }))
}
