//! Lists, a page at a time: `{items, next_cursor}` for `?limit=&cursor=`. Filters are fields of
//! each list's own query; what it does not know is refused.

use std::str::FromStr;

use axum::Json;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::app::{Code, Refusal};
use crate::db;
use crate::domain::time::Timestamp;
use crate::http::Problem;

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

    /// How many to ask the database for: one more tells whether something follows.
    pub(super) fn with_next(self) -> u32 {
        self.0 + 1
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

/// A cursor of two parts: what the list is ordered by, then what tells equals apart.
pub(super) fn before<A: FromStr>(cursor: Option<&str>) -> Result<Option<(A, String)>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let parts = cursor.split_once('.');
    let parsed = parts.and_then(|(first, id)| Some((first.parse().ok()?, id.to_owned())));
    Ok(Some(parsed.ok_or_else(no_cursor)?))
}

/// A cursor of a moment and an id.
pub(super) fn before_moment(cursor: Option<&str>) -> Result<Option<(Timestamp, String)>, Problem> {
    let found = before(cursor)?;
    Ok(found.map(|(millis, id)| (Timestamp::from_millis(millis), id)))
}

/// The cursor that [`before_moment`] reads.
pub(super) fn moment(at: Timestamp, id: &impl ToString) -> String {
    format!("{}.{}", at.millis(), id.to_string())
}

/// A cursor that no answer had.
pub(super) fn no_cursor() -> Refusal {
    let detail = "this is no cursor; take next_cursor of the answer before, or leave it out";
    Refusal::field(Code::InvalidRequest, "/cursor", detail)
}

/// A resource to filter by has to be there, retired ones included.
pub(super) async fn known_resource(
    conn: &mut db::Conn,
    resource: Option<&str>,
) -> Result<(), Problem> {
    let Some(resource) = resource else { return Ok(()) };
    if db::terms::find(conn, resource).await?.is_some() {
        return Ok(());
    }
    let known = db::terms::list(conn).await?;
    let known: Vec<&str> = known.iter().map(|resource| resource.id.as_str()).collect();
    let detail = format!("there is no resource {resource:?}; there are {}", known.join(", "));
    Err(Refusal::field(Code::InvalidRequest, "/resource", detail).into())
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
    /// From up to [`Limit::with_next`] rows; `show` gives an item and the cursor for what comes
    /// after it.
    pub(super) fn new<R>(
        rows: &[R],
        limit: Limit,
        show: impl Fn(&R) -> (String, Value),
    ) -> Json<Self> {
        let most = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let more = rows.len() > most;
        let (mut items, mut next_cursor) = (Vec::new(), None);
        for row in &rows[..rows.len().min(most)] {
            let (cursor, item) = show(row);
            items.push(item);
            next_cursor = Some(cursor).filter(|_| more);
        }
        Json(Self { items, next_cursor })
    }

    /// From a part of a list that [`named`] took.
    pub(super) fn of<R>(
        (rows, next_cursor): (&[R], Option<String>),
        show: impl Fn(&R) -> Value,
    ) -> Json<Self> {
        Json(Self { items: rows.iter().map(show).collect(), next_cursor })
    }
}

/// A page of a list that has an order of its own: the cursor is the last item's name.
pub(super) fn named<'a, R>(
    rows: &'a [R],
    page: &Page,
    name: impl Fn(&R) -> &str,
) -> Result<(&'a [R], Option<String>), Problem> {
    let start = match &page.cursor {
        None => 0,
        Some(cursor) => rows.iter().position(|row| name(row) == cursor).ok_or_else(no_cursor)? + 1,
    };
    let rest = &rows[start..];
    let most = usize::try_from(page.limit.get()).unwrap_or(usize::MAX).min(rest.len());
    let next = rest[..most].last().filter(|_| most < rest.len());
    Ok((&rest[..most], next.map(|row| name(row).to_owned())))
}
