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

/// A condition, and the value that `?` in it stands for. One that has no value was not asked for and is
/// left out, so that what is left can use an index. An index on what most rows have would only make a
/// list slower than reading it from its newest end: `column || '' = ?` uses none.
pub(super) type Condition<'a> = (&'a str, Option<&'a str>);

/// The conditions that were asked for, their values numbered from `first` on.
pub(super) fn asked<'a>(conditions: &[Condition<'a>], first: usize) -> (Vec<String>, Vec<&'a str>) {
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    for (text, value) in conditions {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => {
                texts.push(text.replace('?', &format!("${}", first + values.len())));
                values.push(value);
            }
            None if !text.contains('?') => texts.push((*text).to_owned()),
            None => {}
        }
    }
    (texts, values)
}

/// A list of one table.
pub(super) struct Newest<'a> {
    /// The beginning of the statement.
    pub select: &'a str,
    /// What holds of every row.
    pub filter: &'a [Condition<'a>],
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
        let (select, (at, id)) = (self.select, self.key);
        let (mut texts, values) = asked(self.filter, 2);
        let [millis, last] = [2, 3].map(|n| values.len() + n);
        if self.before.is_some() {
            texts.push(format!("{at} <= ${millis} AND ({at} < ${millis} OR {id} < ${last})"));
        }
        let filter = match texts.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", texts.join(" AND ")),
        };
        let text = sqlx::AssertSqlSafe(format!(
            "{select} {filter} ORDER BY {at} DESC, {id} DESC LIMIT $1"
        ));
        let mut query = sqlx::query(text).bind(int(limit));
        for value in values {
            query = query.bind(value);
        }
        if let Some((at, id)) = self.before {
            query = query.bind(at.millis()).bind(id.as_str());
        }
        query.fetch_all(&mut *conn).await?.iter().map(read).collect()
    }
}
