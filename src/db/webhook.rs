//! Endpoints of operators that hear of events. Their secrets are stored as they are: messages are
//! signed with them. A deleted one stays, without its secrets, while its deliveries are shown.

use super::list::Newest;
use super::row::{Row, int};
use super::{Conn, DbError};
use crate::domain::ids::WebhookId;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{EndpointState, Secret, Types};

/// An endpoint as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: WebhookId,
    /// Where its messages go.
    pub url: String,
    /// Which events it wants.
    pub types: Types,
    /// Whether it gets anything.
    pub state: EndpointState,
    /// Why it is disabled.
    pub why: Option<String>,
    /// What its messages are signed with; empty once it is deleted.
    secret: String,
    old_secret: Option<String>,
    /// Until when the secret before this one signs, too.
    pub old_secret_until: Option<Timestamp>,
    /// The last event that was looked at for it.
    pub looked_at_seq: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Endpoint {
    /// A new, active one that gets the events after number `after`.
    pub fn new(id: WebhookId, url: &str, types: Types, secret: &Secret, after: i64) -> Self {
        Self {
            id,
            url: url.to_owned(),
            types,
            state: EndpointState::Active,
            why: None,
            secret: secret.reveal(),
            old_secret: None,
            old_secret_until: None,
            looked_at_seq: after,
            created_at: Timestamp::default(),
        }
    }

    /// What its messages are signed with at `now`: the secret, and the one before during a rotation.
    ///
    /// # Errors
    /// [`DbError::Corrupt`]; so it is for one that is deleted.
    pub fn secrets(&self, now: Timestamp) -> Result<Vec<Secret>, DbError> {
        let old = self.old_secret.as_deref();
        let old = old.filter(|_| self.old_secret_until.is_some_and(|until| now < until));
        let corrupt = || DbError::corrupt("webhook", "secret", &self.id);
        [Some(self.secret.as_str()), old]
            .into_iter()
            .flatten()
            .map(|text| Secret::parse(text).ok_or_else(corrupt))
            .collect()
    }

    /// From now on another secret signs; the one so far does so, too, for `overlap_s` seconds.
    pub fn rotate(&mut self, secret: &Secret, now: Timestamp, overlap_s: u64) {
        let old = std::mem::replace(&mut self.secret, secret.reveal());
        self.old_secret = (overlap_s > 0).then_some(old);
        self.old_secret_until = (overlap_s > 0).then(|| now.plus_s(overlap_s));
    }

    /// It is no more.
    pub fn delete(&mut self) {
        self.state = EndpointState::Deleted;
        self.secret.clear();
        (self.old_secret, self.old_secret_until) = (None, None);
    }
}

const SELECT: &str = "SELECT id, url, types, state, why, secret, old_secret, old_secret_until_at, \
     looked_at_seq, created_at FROM webhook";

fn read(row: &sqlx::any::AnyRow) -> Result<Endpoint, DbError> {
    let row = Row::new(row, "webhook");
    Ok(Endpoint {
        id: row.parsed("id", WebhookId::parse)?,
        url: row.text("url")?,
        types: Types::stored(&row.text("types")?),
        state: row.parsed("state", EndpointState::parse)?,
        why: row.opt_text("why")?,
        secret: row.text("secret")?,
        old_secret: row.opt_text("old_secret")?,
        old_secret_until: row.opt_at("old_secret_until_at")?,
        looked_at_seq: row.i64("looked_at_seq")?,
        created_at: row.at("created_at")?,
    })
}

/// An endpoint by its id, deleted or not.
///
/// # Errors
/// [`DbError::Corrupt`]; those of the database.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<Endpoint>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE id = $1"));
    let row = sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?;
    row.as_ref().map(read).transpose()
}

/// All endpoints in a state, oldest first.
///
/// # Errors
/// As [`find`].
pub async fn in_state(conn: &mut Conn, state: EndpointState) -> Result<Vec<Endpoint>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE state = $1 ORDER BY created_at, id"));
    let rows = sqlx::query(text).bind(state.as_str()).fetch_all(&mut *conn).await?;
    rows.iter().map(read).collect()
}

/// How many there are that are not deleted.
///
/// # Errors
/// Those of the database.
pub async fn count(conn: &mut Conn) -> Result<u64, DbError> {
    let text = "SELECT COUNT(*) AS n FROM webhook WHERE state <> 'deleted'";
    Row::new(&sqlx::query(text).fetch_one(&mut *conn).await?, "webhook").u64("n")
}

/// Endpoints that are not deleted, newest first, older than this (created, id).
///
/// # Errors
/// As [`find`].
pub async fn newest(
    conn: &mut Conn,
    before: Option<&(Timestamp, String)>,
    limit: u32,
) -> Result<Vec<Endpoint>, DbError> {
    let filter = &[("state <> 'deleted'", None)];
    let newest = Newest { select: SELECT, filter, key: ("created_at", "id"), before };
    newest.list(conn, limit, read).await
}

/// Adds an endpoint.
///
/// # Errors
/// Those of the database.
pub async fn insert(conn: &mut Conn, endpoint: &Endpoint) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO webhook (id, url, types, state, secret, looked_at_seq, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(endpoint.id.as_str())
    .bind(&endpoint.url)
    .bind(endpoint.types.to_stored())
    .bind(endpoint.state.as_str())
    .bind(&endpoint.secret)
    .bind(endpoint.looked_at_seq)
    .bind(endpoint.created_at.millis())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Writes what can change of an endpoint.
///
/// # Errors
/// Those of the database.
pub async fn record(conn: &mut Conn, endpoint: &Endpoint) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE webhook SET state = $2, why = $3, secret = $4, old_secret = $5, \
         old_secret_until_at = $6, looked_at_seq = $7 WHERE id = $1",
    )
    .bind(endpoint.id.as_str())
    .bind(endpoint.state.as_str())
    .bind(endpoint.why.as_deref())
    .bind(&endpoint.secret)
    .bind(endpoint.old_secret.as_deref())
    .bind(endpoint.old_secret_until.map(Timestamp::millis))
    .bind(endpoint.looked_at_seq)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Forgets deleted endpoints whose last delivery is forgotten, at most `limit`.
///
/// # Errors
/// Those of the database.
pub async fn forget_deleted(conn: &mut Conn, limit: u32) -> Result<(), DbError> {
    sqlx::query(
        "DELETE FROM webhook WHERE id IN (SELECT w.id FROM webhook w WHERE w.state = 'deleted' \
         AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.webhook = w.id) LIMIT $1)",
    )
    .bind(int(limit))
    .execute(&mut *conn)
    .await?;
    Ok(())
}
