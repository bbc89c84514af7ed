//! Batches of payouts: the list, one with all that it pays, and its file for the signer.

use std::collections::HashMap;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::asked::{Asked, Asking};
use super::batch_acts::Act;
use super::{Button, Cell, DetailPage, ListPage, Table, Visitor};
use crate::app::look;
use crate::app::view_payout::{BatchView, PaysView};
use crate::http::HttpState;
use crate::http::api::admin::payouts::show;
use crate::http::auth::Scope;
use crate::http::json::Path;
use crate::http::pages::problem::Wrong;

pub(super) const LIST: (&str, &str) = ("/operator/batches", "Batches");
const STATES: [&str; 6] =
    ["prepared", "broadcast", "confirmed", "abandoned", "replaced", "conflicted"];

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route(LIST.0, get(list))
        .route("/operator/batches/{id}", get(one))
        .route("/operator/batches/{id}/psbt", get(psbt))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let only = asked.choice("state", &STATES)?;
    let found = look::batches(&state.db, only.as_deref(), &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.lead = "Payouts that leave in one transaction. It is made here, and signed wherever your \
                 keys are.";
    page.buttons = super::prepare::button(&state, &visitor).await?;
    page.buttons.push(Button::new("/operator/payouts", "Payouts"));
    page.filters = vec![asked.filter("state", "State", &STATES)];
    Ok(page.show(&asked, &["Batch", "State", "Fee", "Made"], found, |row| {
        vec![
            Cell::id("batches", &row.id),
            Cell::badge(row.state.as_str()),
            Cell::text(format!("the {} pays", row.fee_policy.as_str())),
            Cell::time(row.created_at),
        ]
    }))
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let batch = show(&state, &id).await?;
    let mut page = DetailPage::new(&state, &visitor, LIST, format!("Batch {id}"));
    page.badges = vec![Cell::badge(batch.state.as_str())];
    if batch.state.is_alive() {
        page.buttons.push(Button::new(format!("/operator/batches/{id}/psbt"), "PSBT to sign"));
    }
    if visitor.has(Scope::Payout) {
        let fitting = Act::ALL.into_iter().filter(|act| act.unfit(&batch, &visitor).is_none());
        page.buttons.extend(fitting.map(|act| act.button(&id)));
    }
    let waits = match own(&batch, &visitor) {
        true => "for another API key than yours, which prepared it, to approve it",
        false => "for an API key other than the one that prepared it to approve it",
    };
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
    let names = look::key_names(&state.db).await?;
    page.tables = vec![outputs(&batch.pays), versions(&batch, &names)];
    page.history_of(&state, &id).await?;
    Ok(page.show())
}

/// Whether whoever looks has prepared what would be sent.
pub(super) fn own(batch: &BatchView, visitor: &Visitor) -> bool {
    let version = batch.versions.iter().find(|version| version.version == batch.version);
    version.is_some_and(|version| version.created_by == visitor.operator.0.id)
}

/// The file for the signer: base64, with the signatures that came so far.
async fn psbt(
    State(state): State<HttpState>,
    _visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let batch = show(&state, &id).await?;
    let name = format!("attachment; filename=\"{}-{}.psbt\"", batch.id, batch.version);
    let kind = "application/octet-stream".to_owned();
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, batch.psbt).into_response())
}

/// What is paid to whom.
pub(super) fn outputs(pays: &PaysView) -> Table {
    let rows = pays.outputs.iter().flat_map(|output| {
        let line = |sat: u64, what: Cell| vec![Cell::sat(sat), Cell::code(&output.address), what];
        match output.change {
            true => vec![line(output.amount_sat, Cell::text("our change"))],
            false => {
                let shares = output.payouts.iter();
                // One output may pay several.
                let arrives = shares.map(|share| {
                    let sat = share.amount_sat.saturating_sub(share.fee_sat);
                    line(sat, Cell::id("payouts", &share.id))
                });
                arrives.collect()
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

fn versions(batch: &BatchView, names: &HashMap<String, String>) -> Table {
    // As the audit log names them.
    let who = |id: &String| match names.get(id) {
        Some(name) => format!("{id} ({name})"),
        None => id.clone(),
    };
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
            Cell::words(who(&version.created_by)),
            Cell::words(version.approved_by.as_ref().map(who).unwrap_or_default()),
            Cell::time(version.created_at),
        ]
    });
    Table {
        title: "Versions".into(),
        columns: vec!["No", "Transaction", "Fee", "Where", "By", "Approved by", "Made"],
        rows: rows.collect(),
        empty: "There is none.",
    }
}
