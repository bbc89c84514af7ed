//! Problem documents (RFC 9457) for everything that goes wrong. What is our fault is logged
//! once, here, and never told.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{AppError, Code, Refusal};
use crate::db::DbError;
use crate::domain::time::Timestamp;

/// One wrong field of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProblemField {
    /// JSON Pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

/// What a problem document says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProblemBody {
    /// A URI reference for the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// The reason for programs.
    pub code: String,
    /// Wrong fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemField>,
    /// When it may work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub available_at: Option<Timestamp>,
}

/// An answer that is a problem document.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    body: Box<ProblemBody>,
    retry_after_s: Option<u64>,
    bad_token: bool,
}

/// The moment for `Retry-After`, for the layer that knows the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryAt(pub Timestamp);

const OUTCOME_UNKNOWN: &str = "it is not known whether this was done; send the same request with \
     the same Idempotency-Key again, or look whether it was done";

fn status(code: Code) -> StatusCode {
    match code {
        Code::BadJson => StatusCode::BAD_REQUEST,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound | Code::UnknownResource => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::SoldOut
        | Code::NotCancellable
        | Code::LeaseEnded
        | Code::ResourcePaused
        | Code::Conflict => StatusCode::CONFLICT,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::InvalidRequest
        | Code::DurationOutOfRange
        | Code::AmountTooSmall
        | Code::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::TooManyUnpaid | Code::NotReady | Code::OutcomeUnknown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

impl Problem {
    /// Something of ours broke; the log says what.
    pub fn internal() -> Self {
        let detail = "something broke on our side; nothing was lost, try again later";
        Refusal::new(Code::Internal, detail).into()
    }

    /// The same with the seconds after which it may work, at least one.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// The same for a secret that came and is none of ours (RFC 6750 section 3).
    #[must_use]
    pub fn bad_token(mut self) -> Self {
        self.bad_token = true;
        self
    }

    /// The same with status 400, where another standard than ours asks for it.
    #[must_use]
    pub fn bad_request(mut self) -> Self {
        self.body.status = StatusCode::BAD_REQUEST.as_u16();
        self.body.title = StatusCode::BAD_REQUEST.canonical_reason().unwrap_or_default().into();
        self
    }

    /// It took too long. A change may still be made.
    pub fn timed_out(reads: bool) -> Self {
        let (code, detail) = match reads {
            true => (Code::NotReady, "the answer took too long; try again"),
            false => (Code::OutcomeUnknown, OUTCOME_UNKNOWN),
        };
        Refusal::new(code, detail).into()
    }

    /// Why.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Gives an answer with other words its status, and when it may work.
    pub fn mark(&self, response: &mut Response) {
        *response.status_mut() =
            StatusCode::from_u16(self.body.status).unwrap_or(status(self.code));
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let (Code::TooManyUnpaid, Some(at)) = (self.code, self.body.available_at) {
            response.extensions_mut().insert(RetryAt(at));
        }
    }

    /// What it says.
    pub fn body(&self) -> &ProblemBody {
        &self.body
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = status(refusal.code);
        let errors = refusal.errors.into_iter();
        let body = ProblemBody {
            kind: format!("/docs#{}", refusal.code.as_str()),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: refusal.detail,
            code: refusal.code.as_str().to_owned(),
            errors: errors
                .map(|field| ProblemField { pointer: field.pointer, detail: field.detail })
                .collect(),
            available_at: refusal.available_at,
        };
        let retry_after_s = match (refusal.code, refusal.available_at) {
            // The layer that knows the time says when.
            (Code::TooManyUnpaid, Some(_)) => None,
            (Code::TooManyUnpaid, None) => Some(60),
            (Code::NotReady, _) => Some(5),
            (Code::OutcomeUnknown, _) => Some(1),
            _ => None,
        };
        Self { code: refusal.code, body: Box::new(body), retry_after_s, bad_token: false }
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        if let DbError::OutcomeUnknown { .. } = error {
            tracing::warn!(%error, "a request has no answer");
            return Refusal::new(Code::OutcomeUnknown, OUTCOME_UNKNOWN).into();
        }
        if error.is_temporary() {
            tracing::warn!(%error, "a request was refused");
            let detail = "the database is not available; try again in some seconds";
            return Refusal::new(Code::NotReady, detail).into();
        }
        tracing::error!(error = chain(&error), "a request failed");
        Self::internal()
    }
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Refused(refusal) => refusal.into(),
            AppError::Db(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Json(&self.body).into_response();
        self.mark(&mut response);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if self.code == Code::Unauthorized {
            let challenge = HeaderValue::from_static(match self.bad_token {
                true => "Bearer realm=\"leasehold\", error=\"invalid_token\"",
                false => "Bearer realm=\"leasehold\"",
            });
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        // For the layer that shows it to people as a page.
        response.extensions_mut().insert(self);
        response
    }
}
