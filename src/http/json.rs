//! Bodies: JSON in, a typed value or a problem document out. Unknown fields are errors.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::app::{Code, Refusal};

use super::Problem;

/// A JSON body with its bytes, which idempotency is held to.
pub struct Body<T> {
    /// The value.
    pub value: T,
    /// As it came.
    pub bytes: Bytes,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let bytes = Bytes::from_request(request, state).await.map_err(too_large)?;
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = "send the body as Content-Type: application/json";
            return Err(Refusal::new(Code::UnsupportedMediaType, detail).into());
        }
        let value = parse(&bytes)?;
        Ok(Self { value, bytes })
    }
}

pub(super) fn too_large(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the body is larger than {} bytes", super::BODY_LIMIT);
        return Refusal::new(Code::PayloadTooLarge, detail).into();
    }
    Refusal::new(Code::BadJson, "the body did not arrive whole").into()
}

/// Reads JSON.
///
/// # Errors
/// `bad_json` for what is not JSON, `invalid_request` with a pointer for what does not fit.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let mut pointer = pointer(error.path());
        let inner = error.into_inner();
        pointer.push_str(&missing(&inner));
        match inner.classify() {
            serde_json::error::Category::Data => {
                Refusal::field(Code::InvalidRequest, &pointer, inner.to_string())
            }
            _ => Refusal::new(Code::BadJson, format!("the body is not JSON: {inner}")),
        }
    })?;
    match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => {
            Err(Refusal::new(Code::BadJson, format!("the body is not JSON: {error}")).into())
        }
    }
}

/// The missing field that an error is about: serde points at the object around it.
fn missing(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let name = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    name.map(|name| format!("/{name}")).unwrap_or_default()
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Seq { index } => format!("/{index}"),
            _ => String::new(),
        })
        .collect()
}

/// A part of the path; what is not even text names nothing that there is.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|_| Refusal::new(Code::NotFound, "there is nothing at this path").into())
    }
}

/// Query parameters, with a problem document for those that do not fit.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| Refusal::new(Code::InvalidRequest, error.body_text()).into())
    }
}
