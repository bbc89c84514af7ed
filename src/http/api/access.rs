//! What lease tokens are worth, for whoever guards something: introspection, published keys.

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{Code, Refusal};
use crate::domain::jwk::key_set;
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::unfit_form;
use crate::http::{HttpState, Problem};
use crate::live::gate::Closed;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(introspect)).routes(routes!(published_keys))
}

/// What introspection answers (RFC 7662).
#[derive(Serialize, ToSchema)]
struct Introspection {
    /// Whether the token lets in now.
    active: bool,
    /// The claims of an active token.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    claims: Option<Value>,
}

/// What introspection is asked.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form")]
struct IntrospectionForm {
    /// The lease token.
    token: String,
}

/// What a lease token is worth now (RFC 7662). Needs an API key with scope `read`.
#[utoipa::path(post, path = "/v1/introspect", tag = "access",
    security(("api_key" = [])),
    request_body(content = IntrospectionForm,
        content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "Active or not", body = Introspection),
        (status = 400, description = "invalid_request: not one token", body = ProblemBody),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 415, description = "unsupported_media_type", body = ProblemBody),
        (status = 503, description = "not_ready: changes were not heard of", body = ProblemBody)))]
async fn introspect(
    State(state): State<HttpState>,
    operator: Operator,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Json<Introspection>, Problem> {
    operator.may(Scope::Read)?;
    let Form(form) = form.map_err(unfit)?;
    let mut tokens = form.iter().filter(|(name, _)| name == "token");
    let (Some((_, token)), None) = (tokens.next(), tokens.next()) else {
        return Err(no_token("send token=… once"));
    };
    let claims =
        match state.live.gate().check(None, token, &state.keys.published, state.clock.now()) {
            Ok(pass) => Some(json!(pass.claims)),
            Err(deaf @ Closed::Deaf) => {
                return Err(Refusal::new(Code::NotReady, deaf.to_string()).into());
            }
            Err(_) => None,
        };
    Ok(Json(Introspection { active: claims.is_some(), claims }))
}

/// Without a token, or with several: 400, as OAuth says (RFC 6749 section 5.2).
fn no_token(detail: &str) -> Problem {
    Problem::from(Refusal::new(Code::InvalidRequest, detail)).bad_request()
}

fn unfit(rejection: FormRejection) -> Problem {
    match rejection {
        FormRejection::BytesRejection(_) | FormRejection::InvalidFormContentType(_) => {
            unfit_form(rejection)
        }
        _ => no_token("the body is not a form"),
    }
}

/// The keys that lease tokens are verified with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "access",
    responses((status = 200, description = "A JWK set", body = Object)))]
async fn published_keys(State(state): State<HttpState>) -> Json<Value> {
    Json(key_set(&state.keys.published))
}
