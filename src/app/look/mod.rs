//! What operators look at: lists a part at a time, and one thing with everything about it. The
//! API and the pages show the same; both ask here, and neither the database.

mod about;
mod days;
mod history;
mod lists;
mod overview;
mod search;

use std::str::FromStr;

use crate::db;
use crate::domain::time::Timestamp;

use super::{AppError, Code, Refusal};

pub use about::*;
pub use days::{DAYS, Day, Used, UsedDay};
pub use history::*;
pub use lists::*;
pub use overview::*;
pub use search::*;

/// Which part of a list.
#[derive(Clone, Debug)]
pub struct Part {
    limit: u32,
    cursor: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Listing<R> {
    /// What is in it.
    pub rows: Vec<R>,
    /// The cursor of what follows; `None` at the end.
    pub next: Option<String>,
}

/// A cursor that no answer had.
fn no_cursor() -> Refusal {
    let detail = "this is no cursor; take next_cursor of the answer before, or leave it out";
    Refusal::field(Code::InvalidRequest, "/cursor", detail)
}

fn moment(at: Timestamp, id: &impl ToString) -> String {
    format!("{}.{}", at.millis(), id.to_string())
}

impl Part {
    /// At most `limit` rows after `cursor`.
    pub fn new(limit: u32, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// How many to ask the database for: one more tells whether something follows.
    fn with_next(&self) -> u32 {
        self.limit + 1
    }

    fn most(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// A cursor of two parts: what the list is ordered by, then what tells equals apart.
    fn before<A: FromStr>(&self) -> Result<Option<(A, String)>, Refusal> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let parts = cursor.split_once('.');
        let parsed = parts.and_then(|(first, id)| Some((first.parse().ok()?, id.to_owned())));
        Ok(Some(parsed.ok_or_else(no_cursor)?))
    }

    /// A cursor that [`moment`] made.
    fn before_moment(&self) -> Result<Option<(Timestamp, String)>, Refusal> {
        let found = self.before()?;
        Ok(found.map(|(millis, id)| (Timestamp::from_millis(millis), id)))
    }

    /// A cursor that is a number.
    fn before_number<N: FromStr>(&self) -> Result<Option<N>, Refusal> {
        let number = |cursor: &String| cursor.parse().map_err(|_| no_cursor());
        self.cursor.as_ref().map(number).transpose()
    }

    /// From up to [`Self::with_next`] rows; `cursor` is that of what comes after one.
    fn listing<R>(&self, mut rows: Vec<R>, cursor: impl Fn(&R) -> String) -> Listing<R> {
        let more = rows.len() > self.most();
        rows.truncate(self.most());
        let next = rows.last().filter(|_| more).map(cursor);
        Listing { rows, next }
    }

    /// Of a list that has an order of its own: the cursor is the last item's name.
    ///
    /// # Errors
    /// A cursor that names nothing.
    pub fn named<R>(
        &self,
        mut rows: Vec<R>,
        name: impl Fn(&R) -> &str,
    ) -> Result<Listing<R>, Refusal> {
        if let Some(cursor) = &self.cursor {
            let last = rows.iter().position(|row| name(row) == cursor).ok_or_else(no_cursor)?;
            rows.drain(..=last);
        }
        Ok(self.listing(rows, |row| name(row).to_owned()))
    }
}

impl<R> Listing<R> {
    /// The same with each row shown by `show`.
    pub fn map<S>(self, show: impl FnMut(R) -> S) -> Listing<S> {
        Listing { rows: self.rows.into_iter().map(show).collect(), next: self.next }
    }
}

/// A resource to filter by has to be there, retired ones included.
async fn known_resource(conn: &mut db::Conn, resource: Option<&str>) -> Result<(), AppError> {
    let Some(resource) = resource else { return Ok(()) };
    if db::terms::find(conn, resource).await?.is_some() {
        return Ok(());
    }
    let known = db::terms::list(conn).await?;
    let known: Vec<&str> = known.iter().map(|resource| resource.id.as_str()).collect();
    let detail = format!("there is no resource {resource:?}; there are {}", known.join(", "));
    Err(Refusal::field(Code::InvalidRequest, "/resource", detail).into())
}

/// There is no such `what`.
fn no_such(what: &str, id: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no {what} {id}"))
}
