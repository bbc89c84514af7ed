//! The receipt of a lease, for print. Says nothing that its page does not.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::frame::{Frame, Moment, span};
use super::leasing::{CreditWords, held_sat, shown_end, words};
use super::paying::Shut;
use super::problem::Wrong;
use super::render;
use crate::app::view;
use crate::app::{held, read};
use crate::domain::payment::Counted;
use crate::domain::uri::sat_text;
use crate::http::HttpState;
use crate::http::json::Path;

#[derive(Template)]
#[template(path = "receipt.html")]
struct Receipt {
    frame: Frame,
    id: String,
    title: String,
    unit: Option<String>,
    asked: Moment,
    starts: Option<Moment>,
    until: Option<Moment>,
    state: &'static str,
    credits: Vec<CreditWords>,
    paid: String,
    /// Money that bought no time yet.
    waits: Option<String>,
    refundable: Option<String>,
    refunded: Option<String>,
    seconds: String,
    made: Moment,
}

/// What was paid for.
pub(super) async fn receipt(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let resource = held::resource(&state.db, &row.facts.resource).await?;
    let shut = Shut::of_resource(resource.as_ref());
    let view = view::lease(&row, &state.scene());
    let frame = Frame::new(&state);
    let some = |sat: u64| (sat > 0).then(|| sat_text(sat));
    let waits = some(held_sat(&row, frame.now));
    let standing = row.doc.standing.credits.iter();
    let standing = standing.filter(|line| line.counted == Counted::Standing);
    Ok(render(&Receipt {
        state: words(&view, waits.as_deref().unwrap_or_default(), shut).0,
        until: shown_end(&row.doc.standing.at(frame.now)).map(Into::into),
        title: resource.map_or(view.resource, |found| found.terms.terms.title),
        unit: view.unit,
        asked: view.created_at.into(),
        starts: view.starts_at.map(Into::into),
        credits: CreditWords::all(&row),
        paid: sat_text(view.paid_sat),
        waits,
        refundable: some(view.refundable_sat),
        refunded: some(row.doc.books(frame.now).refunded_sat),
        seconds: span(standing.map(|line| line.seconds).sum()),
        made: frame.now.into(),
        id: view.id,
        frame,
    }))
}
