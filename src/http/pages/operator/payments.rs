//! Payments: the list, the inbox of money that found no lease, and what becomes of it.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::{Asked, Asking, nothing};
use super::{Button, Cell, DetailPage, FormPage, ListPage, Table, Visitor};
use crate::app::look::{self, PaymentFilter};
use crate::app::operate::{AssignPayment, RefundPayment};
use crate::app::{Code, Refusal};
use crate::db::payment::PaymentRow;
use crate::domain::ids::LeaseId;
use crate::http::api::leases::checked_address;
use crate::http::auth::Scope;
use crate::http::json::Path;
use crate::http::pages::field::Field;
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;
use crate::http::{HttpState, Problem};

const LIST: (&str, &str) = ("/operator/payments", "Payments");
const STATES: [&str; 8] =
    ["mempool", "confirming", "credited", "final", "gone", "conflicted", "replaced", "reversed"];
const INBOX: &str = "only money that found no lease";

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route(LIST.0, get(list))
        .route("/operator/payments/{id}", get(one))
        .route("/operator/payments/{id}/{act}", get(ask).post(act))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let filter = PaymentFilter {
        state: asked.choice("state", &STATES)?,
        resource: asked.owned("resource"),
        unallocated: asked.choice("inbox", &[INBOX])?.is_some(),
        ..PaymentFilter::default()
    };
    let found = look::payments(&state.db, filter, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.lead = "Every output that pays an address of ours. What found no lease waits for you: give \
                 it to one, or say where it goes back to.";
    page.filters = vec![asked.filter("state", "State", &STATES)];
    page.filter_by_resource(&state, &asked).await?;
    page.filters.push(asked.filter("inbox", "Inbox", &[INBOX]));
    let tip = state.readiness.borrow().height();
    Ok(page.show(&asked, &COLUMNS, found, |row| cells(&row, tip)))
}

const COLUMNS: [&str; 6] = ["Payment", "State", "Amount", "Goes to", "Confirmations", "First seen"];

fn cells(row: &PaymentRow, tip: u32) -> Vec<Cell> {
    let goes_to = match &row.lease {
        Some(lease) => Cell::id("leases", lease),
        None => Cell::some(look::disposition(row), Cell::badge),
    };
    vec![
        Cell::id("payments", &row.facts.id),
        Cell::badge(row.state.as_str()),
        Cell::sat(row.facts.amount_sat),
        goes_to,
        Cell::number(row.facts.confirmations(tip)),
        Cell::time(row.facts.first_seen_at),
    ]
}

/// Payments on the page of what they belong to.
pub(super) fn table(rows: &[PaymentRow], tip: u32) -> Table {
    Table {
        title: "Payments".into(),
        columns: COLUMNS.to_vec(),
        rows: rows.iter().map(|row| cells(row, tip)).collect(),
        empty: "Nothing was paid.",
    }
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let row = look::payment(&state.db, &id).await?;
    let facts = &row.facts;
    let mut page = DetailPage::new(&state, &visitor, LIST, format!("Payment {id}"));
    page.badges = vec![Cell::badge(row.state.as_str())];
    page.badges.extend(look::disposition(&row).map(Cell::badge));
    let payouts = match row.lease {
        None => look::payouts_of(&state.db, &id).await?,
        Some(_) => Vec::new(),
    };
    if look::is_loose(&row) && visitor.has(Scope::Manage) {
        let at = |act: &str| format!("/operator/payments/{id}/{act}");
        if row.refund_address.is_none() {
            page.buttons.push(Button::new(at("assign"), "Give it to a lease"));
        }
        // What a transaction pays goes nowhere else.
        if payouts.iter().all(|payout| payout.state.is_open()) {
            page.buttons.push(Button::new(at("refund"), "Refund it"));
        }
    }
    page.facts = vec![
        ("Amount", Cell::sat(facts.amount_sat)),
        ("Transaction", Cell::code(facts.outpoint.txid)),
        ("Output", Cell::text(facts.outpoint.vout)),
        ("Lease", Cell::some(row.lease.as_ref(), |lease| Cell::id("leases", lease))),
        ("Invoice", Cell::some(facts.invoice.as_ref(), |id| Cell::id("invoices", id))),
        ("Confirmations", Cell::text(facts.confirmations(state.readiness.borrow().height()))),
        ("Height", Cell::some(facts.mined.as_ref(), |mined| Cell::text(mined.height))),
        ("First seen", Cell::time(facts.first_seen_at)),
        ("Index", Cell::text(row.index)),
        ("Refund to", Cell::some(row.refund_address.as_ref(), Cell::code)),
    ];
    if !payouts.is_empty() {
        page.tables.push(super::payouts::table(&payouts));
    }
    let history = look::history_of_part(&state.db, &id, row.lease.as_ref()).await?;
    page.happened(history, &id);
    Ok(page.show())
}

/// The form of an action, with the payment that it is about.
fn form(
    state: &HttpState,
    visitor: &Visitor,
    row: &PaymentRow,
    act: &str,
) -> Result<FormPage, Refusal> {
    let id = &row.facts.id;
    let path = format!("/operator/payments/{id}");
    let place = (format!("{path}/{act}"), path);
    let (words, says, input) = match act {
        "assign" => (
            ("Give this payment to a lease", "Give it"),
            "It counts for the lease as if it had been paid to it. This cannot be undone.",
            Field::line("lease", "Lease", "Its id: lse_…"),
        ),
        "refund" => (
            ("Refund this payment", "Refund it"),
            "It becomes a payout to this address, and leaves with the next batch.",
            Field::line("address", "Address", "An address of whoever paid."),
        ),
        _ => return Err(nothing()),
    };
    let amount = Cell::sat(row.facts.amount_sat).text;
    let page = FormPage::new(state, visitor, place, words).words(format!("{id}: {amount}."));
    let mut page = match &row.refund_address {
        Some(address) => page.words(format!("It is to go back to {address} already.")),
        None => page,
    }
    .words(says);
    page.fields.push(input);
    Ok(page)
}

async fn ask(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Manage)?;
    let row = look::payment(&state.db, &id).await?;
    Ok(form(&state, &visitor, &row, &act)?.show())
}

async fn act(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Manage)?;
    let row = look::payment(&state.db, &id).await?;
    let page = form(&state, &visitor, &row, &act)?;
    match change(&state, &visitor, (&id, &page.action), &sent).await {
        Ok(()) => Ok(Redirect::to(&page.back).into_response()),
        Err(problem) => page.again(problem, &sent),
    }
}

async fn change(
    state: &HttpState,
    visitor: &Visitor,
    (id, path): (&str, &str),
    sent: &Sent,
) -> Result<(), Problem> {
    let (ground, actor, payment) = (state.ground(), visitor.name(), id.to_owned());
    if path.ends_with("/assign") {
        let unknown = || Refusal::field(Code::InvalidRequest, "/lease", "this is no lease id");
        let lease = LeaseId::parse(sent.text("lease")).ok_or_else(unknown)?;
        let item = AssignPayment { ground, payment, lease, actor };
        visitor.change(state, (path, sent), item).await
    } else {
        let given = Some(sent.text("address"));
        let address = checked_address(state, "/address", given)?.unwrap_or_default();
        let item = RefundPayment { ground, payment, address, actor };
        visitor.change(state, (path, sent), item).await
    }
}
