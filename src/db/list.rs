//! What was made, newest first, a page at a time: how leases, invoices and payments are listed.
//! Called by their tables.

use sqlx::any::AnyRow;

use super::row::int;
use super::{Conn, DbError};
use crate::domain::time::Timestamp;

/// Which leases or invoices an operator wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only in this state or status.
    pub state: Option<String>,
    /// Only of this resource.
    pub resource: Option<String>,
    /// Only older than this (created, id): the cursor.
    pub before: Option<(Timestamp, String)>,
}

/// A list of one table.
pub(super) struct Newest<'a> {
    /// The beginning of the statement.
    pub select: &'a str,
    /// What holds of every row; `$1`, `$2`, … are `values`.
    pub filter: &'a str,
    /// Empty for what was not given.
    pub values: &'a [Option<&'a str>],
    /// The columns of the moment and the id that a cursor names.
    pub key: (&'a str, &'a str),
    /// The cursor.
    pub before: Option<&'a (Timestamp, String)>,
}

impl Newest<'_> {
    /// Up to `limit` rows.
    pub async fn list<T>(
        &self,
        conn: &mut Conn,
        limit: u32,
        read: impl Fn(&AnyRow) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let (select, filter, (at, id)) = (self.select, self.filter, self.key);
        let [millis, last, most] = [1, 2, 3].map(|n| self.values.len() + n);
        let text = sqlx::AssertSqlSafe(format!(
            "{select} WHERE {filter} AND ({at} < ${millis} OR ({at} = ${millis} AND {id} < ${last})) \
             ORDER BY {at} DESC, {id} DESC LIMIT ${most}"
        ));
        let (millis, last) = match self.before {
            Some((at, id)) => (at.millis(), id.as_str()),
            None => (i64::MAX, ""),
        };
        let values = self.values.iter().map(|value| value.unwrap_or_default());
        values
            .fold(sqlx::query(text), |query, value| query.bind(value))
            .bind(millis)
            .bind(last)
            .bind(int(limit))
            .fetch_all(&mut *conn)
            .await?
            .iter()
            .map(read)
            .collect()
    }
}
