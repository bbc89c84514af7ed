//! `leasehold openapi`: prints the description of the HTTP API that the server publishes at
//! `/openapi.json`, for programs that make clients from it. Needs no configuration.

use anyhow::Context as _;

use super::{Exit, Output};
use crate::http::openapi::document;

pub(super) fn run(output: &Output) -> Result<(), Exit> {
    output.line(&document().to_pretty_json().context("cannot write JSON")?)
}
