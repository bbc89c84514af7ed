//! A batch is prepared: what is due, then what a transaction would pay to whom, then it is made. The
//! server holds no key: it is signed elsewhere.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::batches::{LIST, outputs};
use super::{Button, Cell, FormPage, Visitor};
use crate::app::look::{self, Part, PayoutFilter};
use crate::app::view_payout::PreparedView;
use crate::app::{Code, Refusal};
use crate::http::auth::Scope;
use crate::http::pages::field::Field;
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;
use crate::http::{HttpState, Problem};
use crate::payout::{MOST_PAYOUTS, Prepare, feerate};

/// No batch has this id.
const NEW: &str = "/operator/batches/new";

pub(super) fn router() -> Router<HttpState> {
    Router::new().route(NEW, get(ask).post(prepare))
}

/// The button that leads here, for whoever may.
pub(super) fn button(visitor: &Visitor) -> Vec<Button> {
    let may = visitor.has(Scope::Payout);
    may.then(|| Button::new(NEW, "Prepare a batch")).into_iter().collect()
}

pub(super) fn feerate_field() -> Field {
    let hint =
        "Satoshis a virtual byte, such as 3 or 1.5. What the node estimates when it is empty.";
    Field { required: false, ..Field::line("feerate", "Fee rate", hint) }
}

/// What was typed, in milli-satoshi a vbyte.
pub(super) fn feerate_in(sent: &Sent) -> Result<Option<u64>, Refusal> {
    let wrong = |why| Refusal::field(Code::InvalidRequest, "/feerate", format!("give {why}"));
    sent.some("feerate").map(|text| feerate(text).map_err(wrong)).transpose()
}

async fn form(state: &HttpState, visitor: &Visitor) -> Result<FormPage, Problem> {
    let filter = PayoutFilter { state: Some("due".into()), ..PayoutFilter::default() };
    let due = look::payouts(&state.db, filter, &Part::new(MOST_PAYOUTS, None)).await?;
    let place = (NEW.to_owned(), LIST.0.to_owned());
    let words = ("Prepare a batch", "Look at what it would pay");
    let mut page = FormPage::new(state, visitor, place, words);
    page.table = super::payouts::table(&due.rows);
    page.table.empty = "Nothing is due.";
    page.fields.push(feerate_field());
    Ok(page.words("One transaction pays all that is due. Nothing is made before you have seen it."))
}

/// What would be made, to be agreed to.
fn preview(state: &HttpState, visitor: &Visitor, made: &PreparedView) -> Response {
    let place = (NEW.to_owned(), NEW.to_owned());
    let mut page = FormPage::new(state, visitor, place, ("Prepare this batch?", "Prepare it"));
    page.table = outputs(&made.pays);
    let [total, fee] = [made.pays.total_sat, made.pays.fee_sat].map(|sat| Cell::sat(sat).text);
    let rate = format!("{}.{:03}", made.feerate_msat_vb / 1000, made.feerate_msat_vb % 1000);
    let rate = rate.trim_end_matches('0').trim_end_matches('.').to_owned();
    let pays = state.batcher.rules.fee_policy.as_str();
    let mut page = page.words(format!(
        "{total} of what is owed; {fee} of fee at {rate} sat/vB, which the {pays} pays."
    ));
    for left in &made.left_out {
        page = page.words(format!("{} is left out: {}.", left.id, left.why));
    }
    page.hidden.extend([("feerate", rate), ("expect", made.txid.clone())]);
    let words = "Its coins are bound to it from then on, until it is sent or abandoned. Then download \
                 it, sign it where your keys are, and hand it in.";
    page.words(words).show()
}

async fn ask(State(state): State<HttpState>, visitor: Visitor) -> Result<Response, Wrong> {
    visitor.may(Scope::Payout)?;
    Ok(form(&state, &visitor).await?.show())
}

async fn prepare(
    State(state): State<HttpState>,
    visitor: Visitor,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Payout)?;
    match step(&state, &visitor, &sent).await {
        Ok(response) => Ok(response),
        Err(problem) => form(&state, &visitor).await?.again(problem, &sent),
    }
}

/// Shows what would be made; makes it when that was looked at.
async fn step(state: &HttpState, visitor: &Visitor, sent: &Sent) -> Result<Response, Problem> {
    let mut asked = Prepare { feerate_msat: feerate_in(sent)?, ..Prepare::default() };
    let Some(seen) = sent.some("expect") else {
        let made = state.batcher.preview(&asked).await?.view(state.shop.keychain.network());
        return Ok(preview(state, visitor, &made));
    };
    let wrong = |_| Refusal::new(Code::InvalidRequest, "look at what it would pay first");
    asked.expect = Some(seen.parse().map_err(wrong)?);
    let key = visitor.key(NEW, sent)?;
    let made = state.batcher.prepare(&asked, visitor.operator.actor(), key).await?;
    let id = made.body["batch"].as_str().unwrap_or_default();
    Ok(Redirect::to(&format!("{}/{id}", LIST.0)).into_response())
}
