//! What operators do, with API keys. Every change writes a row of the audit log.

mod books;
mod catalog;
mod deliveries;
mod fulfil;
mod keys;
mod leases;
mod payments;
mod payouts;
pub(super) mod rescan;
mod ssh_keys;
mod webhooks;

use utoipa_axum::router::OpenApiRouter;

use crate::http::HttpState;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
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
