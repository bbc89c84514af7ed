//! The calls, one file a noun. Each is documented where it is written.

pub mod access;
pub mod admin;
pub mod claims;
pub mod health;
pub mod invoices;
pub mod leases;
pub mod resources;
pub mod streams;

use utoipa_axum::router::OpenApiRouter;

use super::HttpState;

/// All calls that are answered at once.
pub fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .merge(resources::router())
        .merge(leases::router())
        .merge(invoices::router())
        .merge(claims::router())
        .merge(access::router())
        .merge(health::router())
        .merge(admin::router())
}
