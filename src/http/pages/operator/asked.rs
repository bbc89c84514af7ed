//! What the address of a list asks for.

use std::collections::HashMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::look::{self, Part, catalog};
use crate::app::{AppError, Code, Refusal};
use crate::http::HttpState;
use crate::http::json::Query;
use crate::http::pages::problem::Wrong;

/// Rows of a page of a list.
const ROWS: u32 = 50;

/// Something to filter a list by: a choice of words, or any text.
pub(super) struct Filter {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) choices: Vec<String>,
    pub(super) value: String,
}

/// What the address of a list asks for, as it comes; without secrets, which have no place there.
pub(super) struct Asking(HashMap<String, String>);

impl FromRequestParts<HttpState> for Asking {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Wrong> {
        let Query(asked) =
            Query::<HashMap<String, String>>::from_request_parts(parts, state).await?;
        match asked.values().any(|value| look::is_secret(value)) {
            true => Err(look::secret("filters").into()),
            false => Ok(Self(asked)),
        }
    }
}

/// What the address of a list asks for; nothing by itself.
#[derive(Default)]
pub(super) struct Asked(HashMap<String, String>);

impl Asked {
    pub(super) fn new(Asking(asked): Asking) -> Self {
        Self(asked)
    }

    /// A value that was given and is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// One of `choices`, if one was given.
    pub(super) fn choice(&self, name: &str, choices: &[&str]) -> Result<Option<String>, Refusal> {
        let Some(given) = self.get(name) else { return Ok(None) };
        if choices.contains(&given) {
            return Ok(Some(given.to_owned()));
        }
        let detail = format!("{given:?} is none of {}", choices.join(", "));
        Err(Refusal::field(Code::InvalidRequest, &format!("/{name}"), detail))
    }

    pub(super) fn part(&self) -> Part {
        Part::new(ROWS, self.owned("cursor"))
    }

    pub(super) fn filter(
        &self,
        name: &'static str,
        label: &'static str,
        choices: &[&str],
    ) -> Filter {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        Filter { name, label, choices, value: self.owned(name).unwrap_or_default() }
    }
}

/// There is no such page.
pub(super) fn nothing() -> Refusal {
    Refusal::new(Code::NotFound, "there is nothing at this path")
}

/// The ids of resources, for filters.
pub(super) async fn resources(state: &HttpState) -> Result<Vec<String>, AppError> {
    let all = catalog(&state.db, &Part::new(200, None)).await?;
    Ok(all.rows.into_iter().map(|resource| resource.id).collect())
}
