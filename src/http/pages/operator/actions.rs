//! What provisioners were told: what waits, what fails, what is stuck.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::asked::{Asked, Asking};
use super::{Cell, ListPage, Table, Visitor, When};
use crate::app::look::{self, ActionFilter};
use crate::db::action::ActionRow;
use crate::http::HttpState;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/actions", "Actions");
const STATES: [&str; 4] = ["open", "failing", "failed", "stuck"];

pub(super) fn router() -> Router<HttpState> {
    Router::new().route(LIST.0, get(list))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let filter = ActionFilter {
        state: asked.choice("state", &STATES)?,
        resource: asked.owned("resource"),
        lease: asked.owned("lease"),
        before: None,
    };
    let found = look::actions(&state.db, filter, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.lead = "What provisioners were told. A lease's page has the buttons to try again and to \
                 force a release.";
    page.filters = vec![asked.filter("state", "State", &STATES)];
    page.filter_by_resource(&state, &asked).await?;
    page.filters.push(asked.filter("lease", "Lease", &[]));
    Ok(page.show(&asked, &COLUMNS, found, |row| cells(&row)))
}

const COLUMNS: [&str; 6] = ["Action", "State", "Lease", "Tries", "What was said", "Caused"];

/// A word on where an action is.
fn state(row: &ActionRow) -> &'static str {
    match (row.done_at, row.failed_at, &row.failure) {
        (Some(_), ..) => match row.outcome.as_deref() {
            Some("failed") => "failed",
            Some("superseded") => "superseded",
            Some("forced") => "forced",
            _ => "done",
        },
        (None, Some(_), _) => "failed",
        (None, None, Some(_)) => "failing",
        (None, None, None) => "waiting",
    }
}

fn cells(row: &ActionRow) -> Vec<Cell> {
    vec![
        Cell::text(row.action.as_str()),
        Cell::badge(state(row)),
        Cell::id("leases", &row.subject),
        Cell::number(row.attempt),
        Cell::words(row.failure.clone().unwrap_or_default()),
        Cell::time(row.created_at),
    ]
}

/// Actions on the page of their lease.
pub(super) fn table(rows: &[ActionRow]) -> Table {
    Table {
        title: "What its provisioner was told".into(),
        columns: COLUMNS.to_vec(),
        rows: rows.iter().map(cells).collect(),
        empty: "Nothing yet.",
    }
}

/// An action in the timeline of its lease.
pub(super) fn steps(row: &ActionRow) -> Vec<When> {
    let step = |at, word: &str, detail: Option<&String>| When {
        at,
        what: format!("provisioner: {} {word}", row.action.as_str()),
        cells: Vec::new(),
        detail: detail.cloned().unwrap_or_default(),
    };
    let failed = row.failed_at.map(|at| step(at, "failed", row.failure.as_ref()));
    let ended = row.done_at.map(|at| step(at, state(row), None));
    [Some(step(row.created_at, "asked", None)), failed, ended].into_iter().flatten().collect()
}
