//! Bodies (JSON; of a catalogue TOML), forms, queries and paths: a typed value or a problem
//! document. Unknown fields are errors. The one place that refuses text no database takes: PostgreSQL fails on a NUL, and with
//! it everything in its transaction.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FormRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

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
        let essence = essence(&request);
        let bytes = Bytes::from_request(request, state).await.map_err(too_large)?;
        if !is_json(&essence) {
            let detail = "send the body as Content-Type: application/json";
            return Err(Refusal::new(Code::UnsupportedMediaType, detail).into());
        }
        let value = parse(&bytes)?;
        refuse_nul(&bytes)?;
        Ok(Self { value, bytes })
    }
}

const NUL: &str = "text must not contain the character U+0000";

/// In JSON a NUL can only stand escaped, so that almost no body is read twice.
fn refuse_nul(bytes: &[u8]) -> Result<(), Refusal> {
    if !bytes.windows(6).any(|window| window == br"\u0000") {
        return Ok(());
    }
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    match find_nul(&value, "") {
        Some(pointer) => Err(Refusal::field(Code::InvalidRequest, &pointer, NUL)),
        None => Ok(()),
    }
}

/// Where a NUL is, as a JSON Pointer.
fn find_nul(value: &Value, at: &str) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| at.to_owned()),
        Value::Array(items) => {
            (0..).zip(items).find_map(|(n, item): (usize, _)| find_nul(item, &format!("{at}/{n}")))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, item)| {
            let at = format!("{at}/{}", escaped(name));
            if name.contains('\0') { Some(at) } else { find_nul(item, &at) }
        }),
        _ => None,
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// The media type without its parameters, in lower case.
fn essence(request: &Request) -> String {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(essence: &str) -> bool {
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

pub(super) fn too_large(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the body is larger than {} bytes", super::BODY_LIMIT);
        return Refusal::new(Code::PayloadTooLarge, detail).into();
    }
    Refusal::new(Code::BadJson, "the body did not arrive whole").into()
}

/// A body of TOML, not read yet.
pub struct Toml(pub String);

impl<S: Send + Sync> FromRequest<S> for Toml {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let essence = essence(&request);
        let bytes = Bytes::from_request(request, state).await.map_err(too_large)?;
        if essence != "application/toml" {
            let detail = "send the body as Content-Type: application/toml";
            return Err(Refusal::new(Code::UnsupportedMediaType, detail).into());
        }
        let wrong = |_| Refusal::new(Code::InvalidRequest, "the body is not UTF-8, TOML must be");
        Ok(Self(String::from_utf8(bytes.into()).map_err(wrong)?))
    }
}

/// Reads JSON.
///
/// # Errors
/// `bad_json` for what is not JSON, `invalid_request` with a pointer for what does not fit.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = pointer(error.path());
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => wrong_field(path, &inner.to_string()),
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

/// A value that does not fit. A missing field, and one that is too many, is only named in the
/// text.
fn wrong_field(mut pointer: String, text: &str) -> Refusal {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let named = ["missing field `", "unknown field `"]
        .into_iter()
        .find_map(|start| text.strip_prefix(start)?.split_once('`'));
    let Some((name, _)) = named else {
        return Refusal::field(Code::InvalidRequest, &pointer, text);
    };
    let known = pointer.rsplit('/').next() == Some(escaped(name).as_str());
    if !known {
        pointer = format!("{pointer}/{}", escaped(name));
    }
    Refusal::field(Code::InvalidRequest, &pointer, text)
}

/// A name in a JSON Pointer (RFC 6901 section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Map { key } => format!("/{}", escaped(key)),
            Segment::Seq { index } => format!("/{index}"),
            _ => String::new(),
        })
        .collect()
}

/// Query parameters, with a problem document for those that do not fit.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let pairs = pairs.map(|query| query.0).unwrap_or_default();
        if let Some((name, _)) =
            pairs.iter().find(|(name, text)| has_control(name) || has_control(text))
        {
            let detail = "must not contain control characters";
            let pointer = format!("/{}", escaped(name));
            return Err(Refusal::field(Code::InvalidRequest, &pointer, detail).into());
        }
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            use std::error::Error as _;
            let text = error.source().map_or_else(|| error.body_text(), ToString::to_string);
            // "duration_s: invalid digit found in string"
            match text.split_once(": ") {
                Some((name, why)) if !name.contains(' ') => {
                    let detail = format!("{name}: {why}");
                    Refusal::field(Code::InvalidRequest, &format!("/{}", escaped(name)), detail)
                }
                _ => wrong_field(String::new(), &text),
            }
            .into()
        })
    }
}

/// The form of a page: its fields by name.
pub struct Form(pub HashMap<String, String>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let form = axum::extract::Form::<HashMap<String, String>>::from_request(request, state);
        let fields = form.await.map_err(unfit_form)?.0;
        match fields.iter().find(|(name, text)| name.contains('\0') || text.contains('\0')) {
            Some((name, _)) => {
                let pointer = format!("/{}", escaped(name));
                Err(Refusal::field(Code::InvalidRequest, &pointer, NUL).into())
            }
            None => Ok(Self(fields)),
        }
    }
}

/// What an answer says of a body that is no form.
pub(super) fn unfit_form(rejection: FormRejection) -> Problem {
    match rejection {
        FormRejection::BytesRejection(rejection) => too_large(rejection),
        FormRejection::InvalidFormContentType(_) => {
            let detail = "send the body as application/x-www-form-urlencoded";
            Refusal::new(Code::UnsupportedMediaType, detail).into()
        }
        _ => Refusal::new(Code::InvalidRequest, "the body is not a form").into(),
    }
}

/// Ids in the path, with a problem document when the path is not plain text.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let nothing = || Refusal::new(Code::NotFound, "there is nothing at this path");
        let parts_of_it = axum::extract::RawPathParams::from_request_parts(parts, state).await;
        if parts_of_it.map_err(|_| nothing())?.iter().any(|(_, text)| has_control(text)) {
            return Err(nothing().into());
        }
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        Ok(Self(path.map_err(|_| nothing())?.0))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only read")]
        b: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Outer {
        a: Option<Inner>,
        n: u64,
    }

    #[test]
    fn what_does_not_fit_is_pointed_at() {
        for (text, pointer) in [
            (r#"{"n": "5"}"#, "/n"),
            (r#"{"n": -1}"#, "/n"),
            (r#"{"n": 1.5}"#, "/n"),
            (r#"{"n": null}"#, "/n"),
            ("{}", "/n"),
            (r#"{"n": 1, "x/y": 2}"#, "/x~1y"),
            (r#"{"n": 1, "a": {"b": "x"}}"#, "/a/b"),
            (r#"{"n": 1, "a": {}}"#, "/a/b"),
            (r#"{"n": 1, "a": {"b": 1, "c": 2}}"#, "/a/c"),
            (r#"{"n": 1, "a": 5}"#, "/a"),
            ("[]", ""),
            ("5", ""),
        ] {
            let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
            let body = problem.body();
            assert_eq!(body.code, "invalid_request", "{text}");
            assert_eq!(body.errors[0].pointer, pointer, "{text}: {}", body.detail);
            assert!(!body.detail.contains("line"), "{}", body.detail);
        }
    }

    #[test]
    fn what_is_not_json_is_told_apart_from_json_that_does_not_fit() {
        for text in ["", "{", "{\"n\": 5} x", "hello", "\u{0}", "{'n': 5}"] {
            let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.body().code, "bad_json", "{text}");
        }
    }
}
