//! The rows of the event log: numbered without a gap in commit order, never changed or removed.
//! Only the writer inserts them, at the end of a group ([`super::Tx::event`] collects).
//! The event tail and the event lists read them.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::insert::Insert;
use super::list::asked;
use super::{Conn, DbError};
use crate::domain::event::EventKind;
use crate::domain::time::Timestamp;

/// A fact to be reported, before it has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its own id, unique for ever (`evt_…`).
    pub id: String,
    /// The type, such as `lease.activated`.
    pub kind: &'static str,
    /// When it happened, Unix milliseconds.
    pub at: i64,
    /// What it is about: the id of a lease, an invoice, a fund.
    pub subject: String,
    /// The resource, when there is one.
    pub resource: Option<String>,
    /// The rest, as the API shows it. Never a secret, parameters, e-mail or access details.
    pub data: serde_json::Value,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number in the log; 1 is the first.
    pub seq: i64,
    /// Its own id.
    pub id: String,
    /// The type.
    pub kind: String,
    /// When it happened, Unix milliseconds.
    pub at: i64,
    /// What it is about.
    pub subject: String,
    /// The resource, when there is one.
    pub resource: Option<String>,
    /// The rest, as the API shows it.
    pub data: serde_json::Value,
}

static INSERT: Insert = Insert::new(
    "INSERT INTO event (seq, id, type, happened_at, subject, resource, data) VALUES",
    7,
    "",
);

/// Inserts `events` numbered from `last + 1`; returns the last number given.
pub(super) async fn insert(
    conn: &mut Conn,
    last: i64,
    events: &[NewEvent],
) -> Result<i64, DbError> {
    let numbered: Vec<(i64, &NewEvent)> = (last + 1..).zip(events).collect();
    INSERT
        .run(conn, &numbered, |query, (seq, event)| {
            query
                .bind(*seq)
                .bind(event.id.as_str())
                .bind(event.kind)
                .bind(event.at)
                .bind(event.subject.as_str())
                .bind(event.resource.as_deref())
                .bind(event.data.to_string())
        })
        .await?;
    Ok(numbered.last().map_or(last, |(seq, _)| *seq))
}

/// The newest committed number; 0 when the log is empty.
///
/// # Errors
/// Those of the database.
pub async fn last_seq(conn: &mut Conn) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM event").fetch_one(&mut *conn).await?)
}

/// The events after number `after`, oldest first, at most `limit`.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn list(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<Event>, DbError> {
    let rows = sqlx::query(
        "SELECT seq, id, type, happened_at, subject, resource, data FROM event
         WHERE seq > $1 ORDER BY seq LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await?;
    rows.iter().map(Event::try_from).collect()
}

/// The event with this number.
///
/// # Errors
/// As [`list`].
pub async fn find(conn: &mut Conn, seq: i64) -> Result<Option<Event>, DbError> {
    let found = list(conn, seq - 1, 1).await?;
    Ok(found.into_iter().next().filter(|event| event.seq == seq))
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this type, or of this group: `payment.`.
    pub kind: Option<String>,
    /// Only about this.
    pub subject: Option<String>,
    /// Only with this id in their data.
    pub mentions: Option<String>,
}

impl Filter {
    /// Those about `subject`.
    pub fn about(subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ..Self::default() }
    }
}

/// Events before number `before`, newest first.
///
/// # Errors
/// As [`list`].
pub async fn newest(
    conn: &mut Conn,
    filter: &Filter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Event>, DbError> {
    filtered(conn, filter, ("seq < $1", "DESC"), before.unwrap_or(i64::MAX), limit).await
}

/// Events after number `after`, oldest first.
///
/// # Errors
/// As [`list`].
pub async fn oldest(
    conn: &mut Conn,
    filter: &Filter,
    after: i64,
    limit: u32,
) -> Result<Vec<Event>, DbError> {
    filtered(conn, filter, ("seq > $1", "ASC"), after, limit).await
}

async fn filtered(
    conn: &mut Conn,
    filter: &Filter,
    (range, order): (&str, &str),
    bound: i64,
    limit: u32,
) -> Result<Vec<Event>, DbError> {
    let of_group = filter.kind.as_deref().filter(|kind| kind.ends_with('.')).map(|group| {
        let alone = filter.subject.is_none() && filter.mentions.is_none();
        of_group(group, alone.then_some((range, order)))
    });
    let (texts, values) = asked(
        &[
            (range, None),
            match &of_group {
                Some(text) => (text, None),
                None => ("type = ?", filter.kind.as_deref()),
            },
            ("subject = ?", filter.subject.as_deref()),
            ("data LIKE '%' || ? || '%'", filter.mentions.as_deref()),
        ],
        3,
    );
    let text = sqlx::AssertSqlSafe(format!(
        "SELECT seq, id, type, happened_at, subject, resource, data FROM event
         WHERE {} ORDER BY seq {order} LIMIT $2",
        texts.join(" AND ")
    ));
    let query = sqlx::query(text).bind(bound).bind(i64::from(limit));
    let query = values.into_iter().fold(query, |query, value| query.bind(value));
    let rows = query.fetch_all(&mut *conn).await?;
    rows.iter().map(Event::try_from).collect()
}

/// That an event is of a group of types. Where nothing else narrows the log, the first of each type
/// are taken from its index: `within` says where they begin, and their order.
fn of_group(group: &str, within: Option<(&str, &str)>) -> String {
    let types = EventKind::ALL.iter().map(|kind| kind.as_str());
    let types = types.filter(|kind| kind.starts_with(group));
    let Some((range, order)) = within else {
        let names: Vec<String> = types.map(|kind| format!("'{kind}'")).collect();
        return format!("type IN ({})", names.join(", "));
    };
    let of_each = types.map(|kind| {
        format!(
            "SELECT seq FROM (SELECT seq FROM event WHERE type = '{kind}' AND {range} \
             ORDER BY seq {order} LIMIT $2) AS firsts"
        )
    });
    format!("seq IN ({})", of_each.collect::<Vec<_>>().join(" UNION ALL "))
}

/// The event with this id of its own.
///
/// # Errors
/// As [`list`].
pub async fn find_by_id(conn: &mut Conn, id: &str) -> Result<Option<Event>, DbError> {
    let row = sqlx::query(
        "SELECT seq, id, type, happened_at, subject, resource, data FROM event WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(&mut *conn)
    .await?;
    row.as_ref().map(Event::try_from).transpose()
}

/// The lowest number of an event that happened at `since` or later.
///
/// # Errors
/// Those of the database.
pub async fn first_since(conn: &mut Conn, since: Timestamp) -> Result<Option<i64>, DbError> {
    Ok(sqlx::query_scalar("SELECT MIN(seq) FROM event WHERE happened_at >= $1")
        .bind(since.millis())
        .fetch_one(&mut *conn)
        .await?)
}

/// Number of the newest event about a lease or one of its invoices; 0 when there is none.
///
/// # Errors
/// Those of the database.
pub async fn newest_of_lease(conn: &mut Conn, lease: &str) -> Result<i64, DbError> {
    let own: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM event WHERE subject = $1")
        .bind(lease)
        .fetch_one(&mut *conn)
        .await?;
    let of_invoices: i64 = sqlx::query_scalar(
        "SELECT COALESCE(MAX(event.seq), 0) FROM invoice JOIN event ON event.subject = invoice.id
         WHERE invoice.lease = $1",
    )
    .bind(lease)
    .fetch_one(&mut *conn)
    .await?;
    Ok(own.max(of_invoices))
}

impl TryFrom<&AnyRow> for Event {
    type Error = DbError;

    fn try_from(row: &AnyRow) -> Result<Event, DbError> {
        let seq: i64 = row.try_get(0)?;
        let data: String = row.try_get(6)?;
        Ok(Event {
            seq,
            id: row.try_get(1)?,
            kind: row.try_get(2)?,
            at: row.try_get(3)?,
            subject: row.try_get(4)?,
            resource: row.try_get(5)?,
            data: serde_json::from_str(&data)
                .map_err(|_| DbError::corrupt("event", "data", seq))?,
        })
    }
}
