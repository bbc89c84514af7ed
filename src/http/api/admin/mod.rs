//! What operators do, with API keys. Every change writes a row of the audit log.

mod books;
mod catalog;
mod keys;
mod leases;
mod payments;
pub(super) mod rescan;

use std::fmt::Display;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::app::{Code, Refusal};
use crate::domain::time::Timestamp;
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .merge(leases::router())
        .merge(payments::router())
        .merge(books::router())
        .merge(keys::router())
        .merge(catalog::router())
        .merge(rescan::router())
}

/// The most items of one answer.
const MOST: u32 = 200;

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Page {
    /// At most so many, 1 to 200; 50 if not given.
    limit: Option<u32>,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Only in this state or status.
    state: Option<String>,
    /// Only of this resource.
    resource: Option<String>,
    /// Only money that found no lease.
    #[serde(default)]
    unallocated: bool,
}

impl Page {
    fn limit(&self) -> Result<u32, Problem> {
        match self.limit.unwrap_or(50) {
            limit @ 1..=MOST => Ok(limit),
            other => {
                let detail = format!("limit is {other}; allowed are 1 to {MOST}");
                Err(Refusal::new(Code::InvalidRequest, detail).into())
            }
        }
    }

    /// The (moment, id) that the page begins after.
    fn before(&self) -> Result<Option<(Timestamp, String)>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let parsed = cursor.split_once('.').and_then(|(millis, id)| {
            Some((Timestamp::from_millis(millis.parse().ok()?), id.to_owned()))
        });
        let wrong = || Refusal::new(Code::InvalidRequest, "cursor is none of ours");
        Ok(Some(parsed.ok_or_else(wrong)?))
    }
}

/// A page of a list, newest first.
#[derive(Serialize, ToSchema)]
struct Listed {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    /// Ask with it for what follows; `null` at the end.
    next_cursor: Option<String>,
}

impl Listed {
    /// From rows; `show` gives the moment and the id that the cursor names, and the item.
    fn new<'a, R, I: Display>(
        rows: &'a [R],
        limit: u32,
        show: impl Fn(&'a R) -> (Timestamp, I, Value),
    ) -> Json<Self> {
        let full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
        let next_cursor = rows.last().filter(|_| full).map(|last| {
            let (at, id, _) = show(last);
            format!("{}.{id}", at.millis())
        });
        Json(Self { items: rows.iter().map(|row| show(row).2).collect(), next_cursor })
    }
}
