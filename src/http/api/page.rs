//! Lists, a page at a time: `{items, next_cursor}` for `?limit=&cursor=`. Filters are fields of
//! each list's own query; what it does not know is refused.

use axum::Json;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::app::look::{Listing, Part};

/// The most items of one answer, and how many there are when nobody says.
const MOST: u32 = 200;
const USUAL: u32 = 50;

/// At most so many items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(u32);

impl Limit {
    /// How many.
    pub(super) fn get(self) -> u32 {
        self.0
    }

    /// The part of a list after `cursor`.
    pub(super) fn after(self, cursor: Option<String>) -> Part {
        Part::new(self.0, cursor)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.parse() {
            Ok(limit @ 1..=MOST) => Ok(Self(limit)),
            _ => Err(serde::de::Error::custom(format!("{text:?}; allowed are 1 to {MOST}"))),
        }
    }
}

/// Which part of a list that has no filters.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Limit,
    /// `next_cursor` of the answer before.
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    /// Ask with it for what follows; `null` at the end.
    next_cursor: Option<String>,
}

impl Listed {
    /// From a part of a list; `show` gives an item.
    pub(super) fn new<R>(listing: Listing<R>, show: impl FnMut(R) -> Value) -> Json<Self> {
        let Listing { rows, next } = listing.map(show);
        Json(Self { items: rows, next_cursor: next })
    }
}
