//! The calls with their description: `/openapi.json`, and a readable reference at `/docs` that
//! fetches nothing from another host. What all calls share is described here, once.
//! Called by the router and by `leasehold openapi`.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::Config;

use super::error::ProblemBody;
use super::json::Path;
use super::{HttpState, Problem, api, layers};
use crate::app::{Code, Refusal};

/// What is below takes an API key, whatever it is.
const ADMIN: &str = "/v1/admin/";
const PROBLEM_JSON: &str = "application/problem+json";

/// Swagger UI sets styles on its elements and has small pictures in its style sheet.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Leasehold",
        description = "Time on resources for bitcoin, without accounts. Secrets travel as \
            Authorization: Bearer: a claim token (clm_…) manages what was created with it, an \
            API key (key_…) is an operator's, a lease token (JWT, ES256K) proves a lease. \
            Whatever goes wrong is an RFC 9457 document with a code. Amounts are whole satoshis, \
            durations whole seconds, times RFC 3339 in UTC. Lists answer {items, next_cursor}.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ProblemBody)),
    modifiers(&Secrets),
    tags(
        (name = "resources", description = "What is offered, and where its money is"),
        (name = "leases", description = "Time on a resource"),
        (name = "invoices", description = "Requests for one payment each"),
        (name = "claims", description = "Everything under one claim token"),
        (name = "access", description = "Proof of a lease, for whoever guards a resource"),
        (name = "health", description = "For supervisors and monitoring"),
    )
)]
struct Base;

/// The secrets that calls take.
struct Secrets;

impl Modify for Secrets {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        for (name, format, what) in [
            ("claim_token", "clm_…", "Manages what was created with it"),
            ("api_key", "key_…", "An operator's, with scopes read, manage, payout, admin"),
            ("lease_token", "JWT", "Proves a lease: ES256K, short-lived"),
        ] {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format(format)
                .description(Some(what))
                .build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
        let session = ApiKeyValue::with_description("leasehold", "A browser's session at the gate");
        let code = ApiKeyValue::with_description("code", "Lets a browser in, once");
        for (name, key) in
            [("gate_session", ApiKey::Cookie(session)), ("gate_code", ApiKey::Query(code))]
        {
            components.add_security_scheme(name, SecurityScheme::ApiKey(key));
        }
    }
}

/// All calls, by what holds for them.
pub(super) struct Routers {
    /// Limited by source and in time.
    pub customers: Router<HttpState>,
    /// Limited by source; they stay open.
    pub streams: Router<HttpState>,
    /// Limited in time only: operators, proxies, supervisors.
    pub machines: Router<HttpState>,
    /// The description and its reader.
    pub docs: Router<HttpState>,
}

fn described() -> (Routers, Document) {
    let (customers, one) = api::customers().split_for_parts();
    let (streams, two) = api::streams::router().split_for_parts();
    let (machines, three) = api::machines().split_for_parts();
    let base = OpenApiRouter::<HttpState>::with_openapi(Base::openapi()).into_openapi();
    let mut document = [one, two, three].into_iter().fold(base, Document::merge_from);
    describe_all(&mut document);
    let docs = docs(&document);
    (Routers { customers, streams, machines, docs }, document)
}

/// The OpenAPI document.
pub fn document() -> Document {
    described().1
}

pub(super) fn routers() -> Routers {
    described().0
}

/// What is not written down with each call: its name, who may, and the problems that it can have.
fn describe_all(document: &mut Document) {
    for (path, item) in &mut document.paths.paths {
        let all = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("put", &mut item.put),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in all {
            let Some(operation) = operation else { continue };
            operation.operation_id = Some(operation_id(method, path));
            if path.starts_with(ADMIN) {
                let none: [&str; 0] = [];
                operation.security = Some(vec![SecurityRequirement::new("api_key", none)]);
            }
            describe_refusals_of(operation, path);
            describe_problems_of(operation);
        }
    }
}

/// Unique, as OpenAPI wants it (the handlers' names are not): `post_leases_id_token`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty() && *word != "v1");
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

/// What is answered before a call's own code runs; where a call says more, that stands.
fn describe_refusals_of(operation: &mut Operation, path: &str) {
    let takes = |place: ParameterIn| {
        let mut all = operation.parameters.iter().flatten();
        all.any(|one| matches!(one, RefOr::T(one) if one.parameter_in == place))
    };
    let (ids, query) = (takes(ParameterIn::Path), takes(ParameterIn::Query));
    let body = operation.request_body.is_some();
    let admin = path.starts_with(ADMIN);
    let all = [
        (body, "400", "bad_json"),
        (admin, "401", "unauthorized"),
        (admin, "403", "forbidden"),
        (ids, "404", "not_found"),
        (body, "413", "payload_too_large"),
        (body, "415", "unsupported_media_type"),
        (body || query, "422", "invalid_request"),
    ];
    for (_, status, code) in all.into_iter().filter(|(possible, ..)| *possible) {
        let response = || ResponseBuilder::new().description(code).build().into();
        operation.responses.responses.entry(status.into()).or_insert_with(response);
    }
}

/// Problems have a media type of their own, and every call can have some.
fn describe_problems_of(operation: &mut Operation) {
    let problem = || Content::new(Some(RefOr::Ref(Ref::from_schema_name("ProblemBody"))));
    let responses = &mut operation.responses.responses;
    for (_, response) in responses.iter_mut().filter(|(status, _)| status.as_str() >= "400") {
        let RefOr::T(response) = response else { continue };
        let is_problem = |content: &RefOr<Content>| match content {
            RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) => {
                schema.ref_location.ends_with("/ProblemBody")
            }
            _ => false,
        };
        if response.content.is_empty() || response.content.values().all(is_problem) {
            response.content.clear();
            response.content.insert(PROBLEM_JSON.into(), problem().into());
        }
    }
    let any = ResponseBuilder::new()
        .description("Any other problem: rate_limited, internal, not_ready, …")
        .content(PROBLEM_JSON, problem())
        .build();
    responses.entry("default".into()).or_insert(any.into());
}

fn docs(document: &Document) -> Router<HttpState> {
    let json: axum::body::Bytes =
        document.to_json().expect("the description has string keys only").into();
    // Its default asks another host what it thinks of the description.
    let config = Arc::new(Config::new(["/openapi.json"]).validator_url("none"));
    let index = Arc::clone(&config);
    Router::new()
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", get(async move || file("index.html", index)))
        .route("/docs/{*file}", get(async move |Path(name): Path<String>| file(&name, config)))
        .layer(layers::fixed(header::CONTENT_SECURITY_POLICY, DOCS_POLICY))
        .route(
            "/openapi.json",
            get(async move || ([(header::CONTENT_TYPE, "application/json")], json.clone())),
        )
        .layer(layers::cors())
        .layer(layers::api_policy())
}

fn file(name: &str, config: Arc<Config<'static>>) -> Result<Response, Problem> {
    let found = utoipa_swagger_ui::serve(name, config).map_err(|_| Problem::internal())?;
    let file = found.ok_or_else(|| {
        Problem::from(Refusal::new(Code::NotFound, "there is no such part of the reference"))
    })?;
    let mut response =
        ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response();
    if file.gzpipped {
        let gzip = axum::http::HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    Ok(response)
}
