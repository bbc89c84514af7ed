//! What operators see and do in a browser, signed in with an API key: everything here is a call of
//! the API, too. One file a noun, on the blocks of `blocks.rs`; what changes something is asked
//! once more on a page of its own.

mod actions;
mod asked;
mod batch_acts;
mod batches;
mod blocks;
mod books;
mod catalog;
mod cells;
mod days;
mod deliveries;
mod events;
mod invoices;
mod keys;
mod leases;
mod overview;
mod payments;
mod payouts;
mod plot;
mod prepare;
mod resume;
mod search;
mod session;
mod webhooks;

use axum::Router;

use crate::http::HttpState;
use blocks::{Button, DetailPage, FormPage, ListPage};
use cells::{Cell, Table, When};
use session::Visitor;

/// Where all of it is.
const HOME: &str = "/operator";

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .merge(session::router())
        .merge(overview::router())
        .merge(search::router())
        .merge(leases::router())
        .merge(invoices::router())
        .merge(payments::router())
        .merge(payouts::router())
        .merge(batches::router())
        .merge(batch_acts::router())
        .merge(prepare::router())
        .merge(resume::router())
        .merge(actions::router())
        .merge(events::router())
        .merge(deliveries::router())
        .merge(webhooks::router())
        .merge(keys::router())
        .merge(books::router())
        .merge(catalog::router())
}
