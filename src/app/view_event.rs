//! An event as the API shows it, as streams to operators and webhooks carry it: the same bytes
//! wherever somebody meets it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::db::event::Event;
use crate::domain::time::Timestamp;

/// A fact of the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its own id.
    pub id: String,
    /// Its number in the log, without a gap.
    pub seq: i64,
    /// The type, such as `lease.activated`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The id of what it is about.
    pub subject: String,
    /// The resource, when there is one.
    pub resource: Option<String>,
    /// The rest. Never secrets, parameters, e-mail or access details.
    #[schema(value_type = Object)]
    pub data: Value,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            seq: event.seq,
            kind: event.kind,
            at: Timestamp::from_millis(event.at),
            subject: event.subject,
            resource: event.resource,
            data: event.data,
        }
    }
}
