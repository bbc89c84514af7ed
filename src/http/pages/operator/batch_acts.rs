//! What is done with a batch, after a question that shows what is paid to whom: approved by a second
//! person, handed in signed, sent with a higher fee, given up.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::nothing;
use super::batches::{LIST, outputs, own};
use super::prepare::{fee_fields, fee_in, seen_in};
use super::{Button, Cell, FormPage, Visitor};
use crate::app::abandon_batch::AbandonBatch;
use crate::app::approve_batch::ApproveBatch;
use crate::app::view_payout::{BatchView, PreparedView};
use crate::app::{Code, Refusal};
use crate::domain::payout::batch::BatchState;
use crate::http::api::admin::payouts::{PSBT_LIMIT, show};
use crate::http::auth::Scope;
use crate::http::json::Path;
use crate::http::pages::field::{Field, Kind};
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;
use crate::http::{HttpState, Problem};
use crate::payout::{Bump, feerate_text};

pub(super) fn router() -> Router<HttpState> {
    let large = DefaultBodyLimit::max(PSBT_LIMIT);
    Router::new().route("/operator/batches/{id}/{act}", get(ask).post(act).layer(large))
}

/// What can be done with a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Approve,
    Submit,
    Bump,
    Abandon,
}

impl Act {
    pub(super) const ALL: [Self; 4] = [Self::Approve, Self::Submit, Self::Bump, Self::Abandon];

    fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Submit => "submit",
            Self::Bump => "bump",
            Self::Abandon => "abandon",
        }
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::ALL.into_iter().find(|act| act.name() == text).ok_or_else(nothing)
    }

    /// Why it cannot be done as the batch is.
    pub(super) fn unfit(self, batch: &BatchView, visitor: &Visitor) -> Option<Refusal> {
        let (state, alive) = (batch.state.as_str(), batch.state.is_alive());
        let conflict = |detail: String| Some(Refusal::new(Code::Conflict, detail));
        match self {
            Self::Approve if !batch.needs_approval => {
                conflict("it waits for nobody's approval".into())
            }
            Self::Approve if own(batch, visitor) => {
                let detail =
                    "the API key that prepared a batch cannot approve it; another one must";
                Some(Refusal::new(Code::Forbidden, detail))
            }
            Self::Submit | Self::Bump if !alive => {
                conflict(format!("it is {state}: nothing of it is to be sent any more"))
            }
            Self::Abandon if batch.state == BatchState::Confirmed => {
                conflict("it is in the chain: it has paid, and cannot be given up".into())
            }
            Self::Abandon if !alive && batch.state != BatchState::Conflicted => {
                conflict(format!("it is {state} already"))
            }
            _ => None,
        }
    }

    pub(super) fn button(self, id: &str) -> Button {
        let to = format!("/operator/batches/{id}/{}", self.name());
        Button { danger: self == Self::Abandon, ..Button::new(to, self.words().0) }
    }

    /// The button, the question, and what will happen.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Approve => (
                "Approve",
                "May this be paid?",
                "You are the second person: compare it with what is owed. Once it is signed, it can \
                 be sent.",
            ),
            Self::Submit => (
                "Hand in signed",
                "Send this?",
                "Only a transaction that pays exactly this is taken. If more signatures are needed, \
                 those that came are kept. With all of them it goes to the network at once.",
            ),
            Self::Bump => (
                "Raise the fee",
                "Pay a higher fee?",
                "It becomes another version with the same payouts, to be signed again. Only one of \
                 its versions can be mined.",
            ),
            Self::Abandon => (
                "Abandon",
                "Give this batch up?",
                "Its payouts are due again, and whatever pays them next makes this batch impossible. \
                 Until then it pays if somebody sends it.",
            ),
        }
    }
}

fn question(state: &HttpState, visitor: &Visitor, batch: &BatchView, act: Act) -> FormPage {
    let (button, question, words) = act.words();
    let path = format!("{}/{}", LIST.0, batch.id);
    let place = (format!("{path}/{}", act.name()), path);
    let mut page = FormPage::new(state, visitor, place, (question, button));
    page.table = outputs(&batch.pays);
    let [total, fee] = [batch.pays.total_sat, batch.pays.fee_sat].map(|sat| Cell::sat(sat).text);
    let mut page = page.danger(act == Act::Abandon).words(format!(
        "Version {} of {}, {}: {total} of what is owed, {fee} of fee, which the {} pays.",
        batch.version,
        batch.id,
        batch.state.as_str(),
        batch.fee_policy.as_str()
    ));
    if act.unfit(batch, visitor).is_none() {
        page = page.words(words);
    }
    match act {
        Act::Approve => page.hidden.push(("version", batch.version.to_string())),
        Act::Submit => {
            if batch.needs_approval {
                page = page.words(
                    "It waits for approval: until another API key has approved it, it is not sent, \
                     and a file with all signatures is refused.",
                );
            }
            let hint = "In base64, as signers copy it; or the finished transaction in hex.";
            let field = Field::line("psbt", "Signed PSBT", hint);
            page.fields.push(Field { kind: Kind::Long, ..field });
        }
        Act::Bump => page.fields.extend(fee_fields()),
        Act::Abandon => {}
    }
    page
}

async fn ask(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Payout)?;
    let act = Act::parse(&act)?;
    let batch = show(&state, &id).await?;
    match act.unfit(&batch, &visitor) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(question(&state, &visitor, &batch, act).show()),
    }
}

async fn act(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Payout)?;
    let act = Act::parse(&act)?;
    let batch = show(&state, &id).await?;
    let page = question(&state, &visitor, &batch, act);
    match change(&state, &visitor, (&batch, act, &page.action), &sent).await {
        Ok(None) => Ok(Redirect::to(&page.back).into_response()),
        Ok(Some(next)) => Ok(next.show()),
        Err(problem) => page.again(problem, &sent),
    }
}

/// Does it; the page that follows when it is not all done.
async fn change(
    state: &HttpState,
    visitor: &Visitor,
    (batch, act, path): (&BatchView, Act, &str),
    sent: &Sent,
) -> Result<Option<FormPage>, Problem> {
    let (ground, id) = (state.ground(), batch.id.clone());
    match act {
        Act::Approve => {
            let wrong = || Refusal::new(Code::InvalidRequest, "no version was looked at");
            let version = sent.text("version").parse().map_err(|_| wrong())?;
            let actor = visitor.operator.actor();
            let item = ApproveBatch { ground, batch: id, version, actor };
            visitor.change(state, (path, sent), item).await?;
        }
        Act::Submit => {
            let psbt = sent.text("psbt");
            let done = state.batcher.submit(psbt, Some(&id), visitor.name()).await?;
            return Ok(done.missing.map(|missing| {
                let mut next = question(state, visitor, batch, act);
                next.said = Some(format!("The signatures are kept: {missing}."));
                next
            }));
        }
        Act::Bump => {
            let ((feerate_msat, max_fee_pct), expect) = (fee_in(sent)?, seen_in(sent)?);
            let asked = Bump { batch: id, feerate_msat, max_fee_pct, expect };
            if expect.is_none() {
                let made = state.batcher.preview_bump(&asked).await?;
                let made = made.view(state.shop.keychain.network());
                return Ok(Some(bumped(state, visitor, (batch, &made), sent)));
            }
            let key = visitor.key(path, sent)?;
            state.batcher.bump(&asked, visitor.operator.actor(), key).await?;
        }
        Act::Abandon => {
            let item = AbandonBatch { ground, batch: id, actor: visitor.name() };
            visitor.change(state, (path, sent), item).await?;
        }
    }
    Ok(None)
}

/// What the next version would pay, to be agreed to.
fn bumped(
    state: &HttpState,
    visitor: &Visitor,
    (batch, made): (&BatchView, &PreparedView),
    sent: &Sent,
) -> FormPage {
    let path = format!("{}/{}/{}", LIST.0, batch.id, Act::Bump.name());
    let words = ("Make this version?", "Make it");
    let mut page = FormPage::new(state, visitor, (path.clone(), path), words);
    page.table = outputs(&made.pays);
    super::prepare::carry(&mut page, made, sent);
    let [old, new] = [batch.pays.fee_sat, made.pays.fee_sat].map(|sat| Cell::sat(sat).text);
    page.words(format!(
        "The fee becomes {new}, at {} sat/vB; version {} has {old}. The {} pays it.",
        feerate_text(made.feerate_msat_vb),
        batch.version,
        batch.fee_policy.as_str()
    ))
    .words("Then download it and have it signed again.")
}
