//! A form of a lease on a page of its own: what is wrong stands beside its fields, in plain words.
//! Other parameters are handed in by one, too.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};

use super::catalogue::param_fields;
use super::cookies::must_hold;
use super::field::{Field, Kind, sentence};
use super::form::{Sent, Time};
use super::problem::{Wrong, words};
use super::{Frame, render};
use crate::app::change_params::ChangeParams;
use crate::app::{AppError, Code, Refusal, held, read};
use crate::db::lease::LeaseRow;
use crate::domain::resource::Terms;
use crate::http::json::Path;
use crate::http::{HttpState, Problem};

/// The form, with the fields that it has.
#[derive(Template)]
#[template(path = "mend.html")]
pub(super) struct Mend {
    pub(super) frame: Frame,
    pub(super) title: &'static str,
    pub(super) words: &'static str,
    pub(super) action: String,
    pub(super) button: &'static str,
    pub(super) hidden: Vec<(&'static str, String)>,
    pub(super) time: Option<Time>,
    pub(super) time_error: Option<String>,
    pub(super) refund: Option<String>,
    pub(super) refund_error: Option<String>,
    pub(super) params: Vec<Field>,
    pub(super) problem: Option<String>,
    pub(super) back: String,
}

impl Mend {
    /// One without fields, for what is done at `/leases/{id}/{what}`.
    pub(super) fn new(state: &HttpState, lease: &str, what: &str) -> Self {
        Self {
            frame: Frame::new(state),
            title: "",
            words: "",
            action: format!("/leases/{lease}/{what}"),
            button: "",
            hidden: Vec::new(),
            time: None,
            time_error: None,
            refund: None,
            refund_error: None,
            params: Vec::new(),
            problem: None,
            back: format!("/leases/{lease}"),
        }
    }

    /// Puts what is wrong beside its field; `range` is said to a duration that is not allowed.
    pub(super) fn tell(&mut self, refusal: Refusal, range: &str) {
        let (params, time) = (self.params.as_mut_slice(), &mut self.time_error);
        let places = Places { params, time, refund: &mut self.refund_error, range };
        self.problem = places.tell(refusal);
    }
}

/// Where on a page something can be said to be wrong.
pub(super) struct Places<'a> {
    pub(super) params: &'a mut [Field],
    pub(super) time: &'a mut Option<String>,
    pub(super) refund: &'a mut Option<String>,
    /// What to say to a duration that is not allowed.
    pub(super) range: &'a str,
}

impl Places<'_> {
    /// Puts what is wrong beside its field; what has none is left.
    pub(super) fn tell(self, refusal: Refusal) -> Option<String> {
        let mut rest = refusal.errors.is_empty().then(|| plain(&refusal));
        for error in refusal.errors {
            let name = error
                .pointer
                .strip_prefix("/params/")
                .map(|name| name.replace("~1", "/").replace("~0", "~"));
            let param = self.params.iter_mut().find(|param| Some(&param.name) == name.as_ref());
            match (error.pointer.as_str(), param) {
                (_, Some(param)) => param.error = Some(sentence(&error.detail)),
                ("/duration_s", _) => *self.time = Some(self.range.to_owned()),
                ("/time", _) => *self.time = Some(error.detail),
                ("/refund_address", _) => *self.refund = Some(sentence(&error.detail)),
                _ => rest = Some(sentence(&error.detail)),
            }
        }
        rest
    }
}

/// A refusal for people; its own words are for programs.
fn plain(refusal: &Refusal) -> String {
    match refusal.code {
        Code::InvalidRequest => sentence(&refusal.detail),
        code => {
            let (title, advice) = words(code);
            format!("{title}. {advice}")
        }
    }
}

/// The form for other parameters of a lease.
fn of_params(
    state: &HttpState,
    row: &LeaseRow,
    terms: &Terms,
    value: impl Fn(&str) -> String,
) -> Mend {
    let mut page = Mend::new(state, row.facts.id.as_str(), "params");
    page.title = "What you handed in";
    page.words = "The lease goes on with what you send here. It may take a moment to arrive.";
    page.button = "Hand this in";
    page.params = param_fields(&terms.params);
    for param in &mut page.params {
        param.value = value(&param.name);
    }
    page
}

/// Shows what the holder handed in, to be changed.
pub(super) async fn ask_params(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    must_hold(&state, &headers, &row.claim).await?;
    let terms = held::terms_of(&state.db, &row).await?;
    let value = |name: &str| row.params.get(name).cloned().unwrap_or_default();
    let mut page = of_params(&state, &row, &terms, value);
    if page.params.is_empty() {
        (page.words, page.button) = ("Nothing was asked of you for this lease.", "");
    }
    Ok(render(&page))
}

/// Takes other parameters; needs the claim in the cookie.
pub(super) async fn set_params(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    must_hold(&state, &headers, &row.claim).await?;
    let lease = row.facts.id.clone();
    let item = ChangeParams { lease, params: sent.params(), now: state.clock.now() };
    match state.db.write(item).await {
        Ok(_) => Ok(Redirect::to(&format!("/leases/{id}")).into_response()),
        Err(AppError::Refused(refusal)) if !refusal.errors.is_empty() => {
            let terms = held::terms_of(&state.db, &row).await?;
            let value = |name: &str| sent.text(&format!("param.{name}")).to_owned();
            let mut page = of_params(&state, &row, &terms, value);
            page.tell(refusal, "");
            Ok(render(&page))
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}
