//! Why a use case said no. The codes are part of the HTTP contract (SPEC section 9).

use crate::db::DbError;
pub use crate::domain::params::FieldError;
use crate::domain::time::Timestamp;

/// A machine-readable reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The body is not JSON.
    BadJson,
    /// No secret, or a wrong one.
    Unauthorized,
    /// A right secret that is not enough.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// There is no such resource.
    UnknownResource,
    /// The path does not take this method.
    MethodNotAllowed,
    /// Every unit is leased, held or stuck.
    SoldOut,
    /// Money came already, or it is over.
    NotCancellable,
    /// The lease is over.
    LeaseEnded,
    /// The operator takes no money for it.
    ResourcePaused,
    /// It is not in the state for that, or changed meanwhile.
    Conflict,
    /// The body is too large.
    PayloadTooLarge,
    /// The body is not application/json.
    UnsupportedMediaType,
    /// A field is wrong.
    InvalidRequest,
    /// Shorter or longer than the resource allows.
    DurationOutOfRange,
    /// Less than the network relays, or than a second costs.
    AmountTooSmall,
    /// The same key with another body.
    IdempotencyKeyReused,
    /// Too many requests from one source.
    RateLimited,
    /// Our fault.
    Internal,
    /// Too many unpaid invoices are open.
    TooManyUnpaid,
    /// The node or the database is not ready.
    NotReady,
    /// The connection to the database broke during a commit.
    OutcomeUnknown,
}

impl Code {
    /// snake_case, as in problem documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::UnknownResource => "unknown_resource",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::SoldOut => "sold_out",
            Self::NotCancellable => "not_cancellable",
            Self::LeaseEnded => "lease_ended",
            Self::ResourcePaused => "resource_paused",
            Self::Conflict => "conflict",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::InvalidRequest => "invalid_request",
            Self::DurationOutOfRange => "duration_out_of_range",
            Self::AmountTooSmall => "amount_too_small",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::TooManyUnpaid => "too_many_unpaid",
            Self::NotReady => "not_ready",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

/// A refusal: nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// The reason for programs.
    pub code: Code,
    /// The reason for people: what to do.
    pub detail: String,
    /// Wrong fields.
    pub errors: Vec<FieldError>,
    /// When it may work.
    pub available_at: Option<Timestamp>,
}

impl Refusal {
    /// A refusal with a reason only.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), available_at: None }
    }

    /// One wrong field.
    pub fn field(code: Code, pointer: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let errors = vec![FieldError { pointer: pointer.into(), detail: detail.clone() }];
        Self { code, detail, errors, available_at: None }
    }

    /// Wrong parameters of a request.
    pub fn params(errors: Vec<FieldError>) -> Self {
        let detail = "some of params are wrong; see errors".to_owned();
        Self { code: Code::InvalidRequest, detail, errors, available_at: None }
    }

    /// The same with the moment at which it may work.
    #[must_use]
    pub fn until(mut self, available_at: Option<Timestamp>) -> Self {
        self.available_at = available_at;
        self
    }
}

/// What a use case can fail with.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// It said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl AppError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Db(_) => None,
        }
    }
}
