//! Use cases: one file is one transaction, named by a verb. Everything that changes anything
//! goes through here; HTTP, workers and the command line only call it.

pub mod abandon_batch;
pub mod act_on_lease;
pub mod add_invoice;
pub mod adopt;
pub mod api_keys;
pub mod apply_block;
pub mod apply_catalog;
pub mod apply_mempool;
pub mod approve_batch;
pub mod cancel_invoice;
pub mod change_claim;
pub mod change_params;
pub mod claim_actions;
pub mod deliver;
pub mod end_recovery;
pub mod error;
pub mod gate_code;
pub mod held;
pub mod idempotent;
pub mod issue;
pub mod mend_action;
pub mod operate;
pub mod owe;
pub mod read;
pub mod readiness;
pub mod record_action;
pub mod record_batch;
pub mod record_tx;
pub mod register;
pub mod request_lease;
pub mod rescan;
pub mod settle;
mod settle_batch;
pub mod settle_due;
pub mod shop;
pub mod stale;
pub mod submit_batch;
pub mod view;
pub mod view_event;
pub mod view_payout;
pub mod view_webhook;
pub mod wallet_state;
pub mod webhooks;

use crate::db::NewEvent;
use crate::domain::event::EventKind;
use crate::domain::ids::EventId;
use crate::domain::time::Timestamp;

pub use error::{AppError, Code, FieldError, Refusal};

/// 128 random bits from the operating system.
pub(crate) fn random_128() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// An event about `subject`.
pub(crate) fn event(
    kind: EventKind,
    at: Timestamp,
    subject: &str,
    resource: Option<&str>,
    data: serde_json::Value,
) -> NewEvent {
    NewEvent {
        id: EventId::new(random_128()).as_str().to_owned(),
        kind: kind.as_str(),
        at: at.millis(),
        subject: subject.to_owned(),
        resource: resource.map(str::to_owned),
        data,
    }
}
