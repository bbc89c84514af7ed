//! Payouts and the batches that pay them. Batches are prepared and signed elsewhere: `leasehold
//! payouts`; here is what became of them.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::asked::{Asked, Asking, resources};
use super::{Button, Cell, DetailPage, Filter, ListPage, Table, Visitor, When};
use crate::app::look::{self, PayoutFilter};
use crate::app::view_payout::{self, BatchView};
use crate::db::payout::PayoutRow;
use crate::http::HttpState;
use crate::http::json::Path;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/payouts", "Payouts");
const BATCHES: (&str, &str) = ("/operator/batches", "Batches");
const STATES: [&str; 5] = ["waiting", "due", "prepared", "broadcast", "confirmed"];
const BATCH_STATES: [&str; 6] =
    ["prepared", "broadcast", "confirmed", "abandoned", "replaced", "conflicted"];

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route(LIST.0, get(list))
        .route("/operator/payouts/{id}", get(one))
        .route(BATCHES.0, get(batches))
        .route("/operator/batches/{id}", get(batch))
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
    page.lead = "Money that is owed to somebody. Batches are made and signed on the command line: \
                 leasehold payouts prepare.";
    page.buttons = vec![Button::new(BATCHES.0, "Batches")];
    let resources =
        Filter { choices: resources(&state).await?, ..asked.filter("resource", "Resource", &[]) };
    page.filters = vec![asked.filter("state", "State", &STATES), resources];
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
    page.timeline = When::all(look::history(&state.db, std::slice::from_ref(&id)).await?, &id);
    Ok(page.show())
}

async fn batches(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let only = asked.choice("state", &BATCH_STATES)?;
    let found = look::batches(&state.db, only.as_deref(), &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, BATCHES);
    page.buttons = vec![Button::new(LIST.0, "Payouts")];
    page.filters = vec![asked.filter("state", "State", &BATCH_STATES)];
    Ok(page.show(&asked, &["Batch", "State", "Fee", "Made"], found, |row| {
        vec![
            Cell::id("batches", &row.id),
            Cell::badge(row.state.as_str()),
            Cell::text(format!("the {} pays", row.fee_policy.as_str())),
            Cell::time(row.created_at),
        ]
    }))
}

async fn batch(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let ground = (
        state.shop.keychain.network(),
        state.readiness.borrow().height(),
        state.batcher.rules.approval,
    );
    let batch = look::batch(&state.db, &id, ground).await?;
    let mut page = DetailPage::new(&state, &visitor, BATCHES, format!("Batch {id}"));
    page.badges = vec![Cell::badge(batch.state.as_str())];
    let waits = "another API key has to approve it";
    page.facts = vec![
        ("Transaction", Cell::code(&batch.txid)),
        ("Version", Cell::text(batch.version)),
        ("Confirmations", Cell::text(batch.confirmations)),
        ("Pays", Cell::sat(batch.pays.total_sat)),
        ("Fee", Cell::sat(batch.pays.fee_sat)),
        ("Fee paid by", Cell::text(batch.fee_policy.as_str())),
        ("Waits", if batch.needs_approval { Cell::text(waits) } else { Cell::default() }),
        ("Taken over by", Cell::some(batch.replaced_by.as_ref(), |id| Cell::id("batches", id))),
        ("Made", Cell::time(batch.created_at)),
    ];
    page.tables = vec![outputs(&batch), versions(&batch)];
    page.timeline = When::all(look::history(&state.db, std::slice::from_ref(&id)).await?, &id);
    Ok(page.show())
}

fn outputs(batch: &BatchView) -> Table {
    let rows = batch.pays.outputs.iter().flat_map(|output| {
        let line =
            |what: Cell| vec![Cell::sat(output.amount_sat), Cell::code(&output.address), what];
        match output.change {
            true => vec![line(Cell::text("our change"))],
            false => {
                output.payouts.iter().map(|share| line(Cell::id("payouts", &share.id))).collect()
            }
        }
    });
    Table {
        title: "Outputs".into(),
        columns: vec!["Amount", "Address", "Pays"],
        rows: rows.collect(),
        empty: "There is none.",
    }
}

fn versions(batch: &BatchView) -> Table {
    let rows = batch.versions.iter().map(|version| {
        let place = match (version.height, version.in_mempool) {
            (Some(height), _) => format!("block {height}"),
            (None, true) => "mempool".to_owned(),
            (None, false) => String::new(),
        };
        vec![
            Cell::number(version.version),
            Cell::code(&version.txid),
            Cell::sat(version.fee_sat),
            Cell::text(place),
            Cell::text(&version.created_by),
            Cell::time(version.created_at),
        ]
    });
    Table {
        title: "Versions".into(),
        columns: vec!["No", "Transaction", "Fee", "Where", "By", "Made"],
        rows: rows.collect(),
        empty: "There is none.",
    }
}
