//! What is wrong with a form, in plain words beside its fields.

use super::field::{Field, sentence};
use super::problem::words;
use crate::app::{Code, Refusal};

/// What is wrong with what was typed; with a parameter it stands there.
#[derive(Default)]
pub(super) struct Mistakes {
    pub(super) time: Option<String>,
    pub(super) refund: Option<String>,
    /// It is wrong with the refund address first.
    pub(super) refund_first: bool,
    /// What is wrong with no field.
    pub(super) problem: Option<String>,
}

impl Mistakes {
    /// Puts what was refused beside its field; `range` is said to a duration that is not allowed.
    pub(super) fn add(&mut self, refusal: Refusal, params: &mut [Field], range: &str) {
        if refusal.errors.is_empty() {
            self.problem = Some(plain(&refusal));
        }
        for error in refusal.errors {
            let name = error
                .pointer
                .strip_prefix("/params/")
                .map(|name| name.replace("~1", "/").replace("~0", "~"));
            let param = params.iter_mut().find(|param| Some(&param.name) == name.as_ref());
            match (error.pointer.as_str(), param) {
                (_, Some(param)) => param.error = Some(sentence(&error.detail)),
                ("/duration_s", _) => self.time = Some(range.to_owned()),
                ("/time", _) => self.time = Some(error.detail),
                ("/refund_address", _) => self.refund = Some(sentence(&error.detail)),
                _ => self.problem = Some(sentence(&error.detail)),
            }
        }
    }

    /// Marks the first field that is wrong, when that is not the time.
    pub(super) fn mark_first(&mut self, params: &mut [Field]) {
        let param = params.iter_mut().find(|param| param.error.is_some());
        match param.filter(|_| self.time.is_none()) {
            Some(param) => param.first = true,
            None => self.refund_first = self.time.is_none() && self.refund.is_some(),
        }
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
