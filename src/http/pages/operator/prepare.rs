//! A batch is prepared: what is due, then what a transaction would pay to whom, then it is made. The
//! server holds no key: it is signed elsewhere.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bitcoin::Txid;

use super::batches::{LIST, outputs};
use super::{Button, Cell, FormPage, Visitor};
use crate::app::view_payout::PreparedView;
use crate::app::{Code, Refusal};
use crate::http::auth::Scope;
use crate::http::pages::field::Field;
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;
use crate::http::{HttpState, Problem};
use crate::payout::{MOST_PAYOUTS, Prepare, feerate, feerate_text};

/// No batch has this id.
const NEW: &str = "/operator/batches/new";

pub(super) fn router() -> Router<HttpState> {
    Router::new().route(NEW, get(ask).post(prepare))
}

/// The button that leads here, for whoever may; to what comes first while payouts are held.
pub(super) async fn button(state: &HttpState, visitor: &Visitor) -> Result<Vec<Button>, Problem> {
    let button = match state.batcher.held().await? {
        Some(_) => Button::danger(super::resume::PATH, "Payouts are held"),
        None => Button::new(NEW, "Prepare a batch"),
    };
    Ok(Some(button).filter(|_| visitor.has(Scope::Payout)).into_iter().collect())
}

/// What the miner may get.
pub(super) fn fee_fields() -> [Field; 2] {
    let rate =
        "Satoshis a virtual byte, such as 3 or 1.5. What the node estimates when it is empty.";
    let most = "Percent of each payout that the fee may take, 1 to 100. What is configured when it \
                is empty.";
    [("feerate", "Fee rate", rate), ("max_fee_pct", "Largest fee (max_fee_pct)", most)]
        .map(|(name, label, hint)| Field { required: false, ..Field::line(name, label, hint) })
}

/// What was typed: milli-satoshi a vbyte, and percent.
pub(super) fn fee_in(sent: &Sent) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let wrong = |name, why| Refusal::field(Code::InvalidRequest, name, format!("give {why}"));
    let rate = sent.some("feerate").map(feerate);
    let rate = rate.transpose().map_err(|why| wrong("/feerate", why))?;
    let most = sent.some("max_fee_pct").map(str::parse).transpose();
    Ok((rate, most.map_err(|_| wrong("/max_fee_pct", "a whole number from 1 to 100"))?))
}

/// What was looked at, if it was.
pub(super) fn seen_in(sent: &Sent) -> Result<Option<Txid>, Refusal> {
    let wrong = |_| Refusal::new(Code::InvalidRequest, "look at what it would pay first");
    sent.some("expect").map(|seen| seen.parse().map_err(wrong)).transpose()
}

/// Sends along what was asked for and what was looked at.
pub(super) fn carry(page: &mut FormPage, made: &PreparedView, sent: &Sent) {
    page.hidden.push(("feerate", feerate_text(made.feerate_msat_vb)));
    page.hidden.extend(sent.some("max_fee_pct").map(|most| ("max_fee_pct", most.to_owned())));
    page.hidden.push(("expect", made.txid.clone()));
}

async fn form(state: &HttpState, visitor: &Visitor) -> Result<FormPage, Problem> {
    let (due, more) = state.batcher.due().await?;
    let place = (NEW.to_owned(), LIST.0.to_owned());
    let words = ("Prepare a batch", "Look at what it would pay");
    let mut page = FormPage::new(state, visitor, place, words);
    page.table = super::payouts::table(&due);
    page.table.empty = "Nothing is due.";
    page.fields.extend(fee_fields());
    let says = match more {
        0 => "One transaction pays all that is due.".to_owned(),
        more => format!(
            "One transaction pays up to {MOST_PAYOUTS} payouts, the largest first; {more} more stay \
             due."
        ),
    };
    Ok(page.words(format!("{says} Nothing is made before you have seen it.")))
}

/// What would be made, to be agreed to.
fn preview(state: &HttpState, visitor: &Visitor, (made, sent): (&PreparedView, &Sent)) -> Response {
    let place = (NEW.to_owned(), NEW.to_owned());
    let mut page = FormPage::new(state, visitor, place, ("Prepare this batch?", "Prepare it"));
    page.table = outputs(&made.pays);
    let [total, fee] = [made.pays.total_sat, made.pays.fee_sat].map(|sat| Cell::sat(sat).text);
    let rate = feerate_text(made.feerate_msat_vb);
    let pays = state.batcher.rules.fee_policy.as_str();
    let mut page = page.words(format!(
        "{total} of what is owed; {fee} of fee at {rate} sat/vB, which the {pays} pays."
    ));
    if made.more_due > 0 {
        let more = made.more_due;
        page = page.words(format!("{more} more stay due: prepare another batch after this one."));
    }
    for left in &made.left_out {
        page = page.words(format!("{} is left out: {}.", left.id, left.why));
    }
    carry(&mut page, made, sent);
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
    let ((feerate_msat, max_fee_pct), expect) = (fee_in(sent)?, seen_in(sent)?);
    let asked = Prepare { only: None, feerate_msat, max_fee_pct, expect };
    if expect.is_none() {
        let made = state.batcher.preview(&asked).await?.view(state.shop.keychain.network());
        return Ok(preview(state, visitor, (&made, sent)));
    }
    let key = visitor.key(NEW, sent)?;
    let made = state.batcher.prepare(&asked, visitor.operator.actor(), key).await?;
    let id = made.body["batch"].as_str().unwrap_or_default();
    Ok(Redirect::to(&format!("{}/{id}", LIST.0)).into_response())
}
