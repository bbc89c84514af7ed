//! `/openapi.json` and a readable reference at `/docs`, without anything from another host.

use axum::Router;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use super::{HttpState, api};

#[derive(OpenApi)]
#[openapi(info(
    title = "Leasehold",
    description = "Time on resources for bitcoin, without accounts. Secrets travel as \
        Authorization: Bearer: a claim token (clm_…) manages what was created with it, an API \
        key (key_…) is an operator's, a lease token (JWT, ES256K) proves a lease. Problems are \
        RFC 9457 documents with a code. Streams: GET /v1/invoices/{id}/events, \
        /v1/leases/{id}/events and /v1/resources/{id}/events send the object at each change.",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
))]
struct Base;

fn described() -> (Router<HttpState>, Document) {
    OpenApiRouter::with_openapi(Base::openapi()).merge(api::router()).split_for_parts()
}

/// The OpenAPI document.
pub fn document() -> Document {
    described().1
}

/// All calls, their description and its reader.
pub fn router() -> Router<HttpState> {
    let (calls, document) = described();
    calls.merge(SwaggerUi::new("/docs").url("/openapi.json", document))
}
