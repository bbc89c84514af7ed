//! What operators do, with API keys. Every change writes a row of the audit log.

mod books;
pub(in crate::http) mod catalog;
mod deliveries;
mod fulfil;
pub(in crate::http) mod keys;
mod leases;
mod overview;
mod payments;
pub(in crate::http) mod payouts;
pub(super) mod rescan;
mod ssh_keys;
pub(in crate::http) mod webhooks;

use utoipa_axum::router::OpenApiRouter;

use crate::http::HttpState;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .merge(overview::router())
        .merge(leases::router())
        .merge(fulfil::router())
        .merge(payments::router())
        .merge(payouts::router())
        .merge(books::router())
        .merge(keys::router())
        .merge(catalog::router())
        .merge(rescan::router())
        .merge(webhooks::router())
        .merge(deliveries::router())
        .merge(ssh_keys::router())
}
