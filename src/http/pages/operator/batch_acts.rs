//! What is done with a batch, after a question that shows what is paid to whom: approved by a second
//! person, handed in signed, sent with a higher fee, given up.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::nothing;
use super::batches::{outputs, own};
use super::{Button, Cell, FormPage, Visitor};
use crate::app::abandon_batch::AbandonBatch;
use crate::app::approve_batch::ApproveBatch;
use crate::app::view_payout::BatchView;
use crate::app::{Code, Refusal};
use crate::domain::payout::batch::BatchState;
use crate::http::api::admin::payouts::{PSBT_LIMIT, show};
use crate::http::auth::Scope;
use crate::http::json::Path;
use crate::http::pages::field::{Field, Kind};
use crate::http::pages::form::Sent;
use crate::http::pages::problem::Wrong;
use crate::http::{HttpState, Problem};
use crate::payout::Bump;

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

    pub(super) fn fits(self, batch: &BatchView, visitor: &Visitor) -> bool {
        match self {
            Self::Approve => batch.needs_approval && !own(batch, visitor),
            Self::Submit | Self::Bump => batch.state.is_alive(),
            Self::Abandon => batch.state.is_alive() || batch.state == BatchState::Conflicted,
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

async fn question(
    state: &HttpState,
    visitor: &Visitor,
    id: &str,
    act: Act,
) -> Result<FormPage, Problem> {
    let batch = show(state, id).await?;
    let (button, question, words) = act.words();
    let path = format!("/operator/batches/{id}");
    let place = (format!("{path}/{}", act.name()), path);
    let mut page = FormPage::new(state, visitor, place, (question, button));
    page.table = outputs(&batch.pays);
    let [total, fee] = [batch.pays.total_sat, batch.pays.fee_sat].map(|sat| Cell::sat(sat).text);
    let page = page.words(format!(
        "Version {} of {id}, {}: {total} of what is owed, {fee} of fee, which the {} pays.",
        batch.version,
        batch.state.as_str(),
        batch.fee_policy.as_str()
    ));
    let mut page = page.words(words).danger(act == Act::Abandon);
    match act {
        Act::Approve => page.hidden.push(("version", batch.version.to_string())),
        Act::Submit => {
            let hint = "In base64, as signers copy it; or the finished transaction in hex.";
            let field = Field::line("psbt", "Signed PSBT", hint);
            page.fields.push(Field { kind: Kind::Long, ..field });
        }
        Act::Bump => page.fields.push(super::prepare::feerate_field()),
        Act::Abandon => {}
    }
    Ok(page)
}

async fn ask(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Payout)?;
    let act = Act::parse(&act)?;
    Ok(question(&state, &visitor, &id, act).await?.show())
}

async fn act(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Payout)?;
    let act = Act::parse(&act)?;
    let page = question(&state, &visitor, &id, act).await?;
    match change(&state, &visitor, (&id, act, &page.action), &sent).await {
        Ok(None) => Ok(Redirect::to(&page.back).into_response()),
        Ok(Some(said)) => Ok(page.words(said).show()),
        Err(problem) => page.again(problem, &sent),
    }
}

/// Does it; what there is to say when it is not all done.
async fn change(
    state: &HttpState,
    visitor: &Visitor,
    (id, act, path): (&str, Act, &str),
    sent: &Sent,
) -> Result<Option<String>, Problem> {
    let (ground, batch) = (state.ground(), id.to_owned());
    match act {
        Act::Approve => {
            let wrong = || Refusal::new(Code::InvalidRequest, "no version was looked at");
            let version = sent.text("version").parse().map_err(|_| wrong())?;
            let item = ApproveBatch { ground, batch, version, actor: visitor.operator.actor() };
            visitor.change(state, (path, sent), item).await?;
        }
        Act::Submit => {
            let psbt = sent.text("psbt");
            let done = state.batcher.submit(psbt, Some(id), visitor.name()).await?;
            return Ok(done.missing.map(|missing| format!("The signatures are kept: {missing}.")));
        }
        Act::Bump => {
            let feerate_msat = super::prepare::feerate_in(sent)?;
            let asked = Bump { batch, feerate_msat, max_fee_pct: None };
            let key = visitor.key(path, sent)?;
            state.batcher.bump(&asked, visitor.operator.actor(), key).await?;
        }
        Act::Abandon => {
            let item = AbandonBatch { ground, batch, actor: visitor.name() };
            visitor.change(state, (path, sent), item).await?;
        }
    }
    Ok(None)
}
