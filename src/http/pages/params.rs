//! What the holder handed in with a lease, on a page of its own, to be changed.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::catalogue::param_fields;
use super::field::{Field, Kind};
use super::form::Sent;
use super::holding::Holding;
use super::mistakes::Mistakes;
use super::problem::Wrong;
use super::{Frame, render};
use crate::app::change_params::ChangeParams;
use crate::app::{AppError, held};
use crate::http::HttpState;

#[derive(Template)]
#[template(path = "params.html")]
struct ParamsPage {
    frame: Frame,
    lease: String,
    params: Vec<Field>,
    problem: Option<String>,
}

impl ParamsPage {
    /// The form, with the values that `value` gives.
    async fn new(
        state: &HttpState,
        mine: &Holding,
        value: impl Fn(&str) -> String,
    ) -> Result<Self, Wrong> {
        let mut params = param_fields(&held::terms_of(&state.db, &mine.lease).await?.params);
        for param in &mut params {
            param.value = value(&param.name);
        }
        let lease = mine.id().to_owned();
        Ok(Self { frame: Frame::new(state), lease, params, problem: None })
    }
}

/// Shows what was handed in.
pub(super) async fn ask(State(state): State<HttpState>, mine: Holding) -> Result<Response, Wrong> {
    let value = |name: &str| mine.lease.params.get(name).cloned().unwrap_or_default();
    Ok(render(&ParamsPage::new(&state, &mine, value).await?))
}

/// Takes something else.
pub(super) async fn set(
    State(state): State<HttpState>,
    mine: Holding,
    sent: Sent,
) -> Result<Response, Wrong> {
    let lease = mine.lease.facts.id.clone();
    let item = ChangeParams { lease, params: sent.params(), now: state.clock.now() };
    match state.db.write(item).await {
        Ok(_) => Ok(Redirect::to(&mine.page()).into_response()),
        Err(AppError::Refused(refusal)) if !refusal.errors.is_empty() => {
            let value = |name: &str| sent.text(&format!("param.{name}")).to_owned();
            let mut page = ParamsPage::new(&state, &mine, value).await?;
            let mut mistakes = Mistakes::default();
            mistakes.add(refusal, &mut page.params, "");
            mistakes.mark_first(&mut page.params);
            page.problem = mistakes.problem;
            Ok(render(&page))
        }
        Err(error) => Err(error.into()),
    }
}
