//! The calls, one file a noun. Each is documented where it is written.

pub mod access;
pub mod admin;
pub mod claims;
pub mod enter;
pub mod gate;
pub mod health;
pub mod invoices;
pub mod leases;
mod page;
pub mod resources;
pub mod streams;

use utoipa_axum::router::OpenApiRouter;

use super::HttpState;

/// Calls of customers: limited by source.
pub fn customers() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .merge(resources::router())
        .merge(leases::router())
        .merge(enter::router())
        .merge(invoices::router())
        .merge(claims::router())
}

/// Calls of proxies, supervisors and operators: not limited by source.
pub fn machines() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .merge(gate::router())
        .merge(access::router())
        .merge(health::router())
        .merge(admin::router())
}
