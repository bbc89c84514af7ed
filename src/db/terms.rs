//! Resources and every version of their terms.

use super::row::{Row, doc, int};
use super::{Conn, DbError};
use crate::domain::resource::{Terms, TermsHistory, TermsVersion};
use crate::domain::time::Timestamp;

/// A resource as the catalogue and the operator left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its id.
    pub id: String,
    /// Since when the operator takes no money for it.
    pub paused_at: Option<Timestamp>,
    /// Since when it is missing from the catalogue.
    pub retired_at: Option<Timestamp>,
    /// The terms that hold now.
    pub terms: TermsVersion,
}

impl Resource {
    /// Whether it takes money: neither paused nor retired.
    pub fn accepting(&self) -> bool {
        self.closed_at().is_none()
    }

    /// Since when it takes no money.
    pub fn closed_at(&self) -> Option<Timestamp> {
        [self.paused_at, self.retired_at].into_iter().flatten().min()
    }
}

const SELECT: &str = "SELECT resource.id, resource.paused_at, resource.retired_at, \
     terms.version, terms.created_at, terms.doc FROM resource \
     JOIN terms ON terms.resource = resource.id AND terms.version = resource.terms_version";

fn read(row: &sqlx::any::AnyRow) -> Result<Resource, DbError> {
    let row = Row::new(row, "resource");
    Ok(Resource {
        id: row.text("id")?,
        paused_at: row.opt_at("paused_at")?,
        retired_at: row.opt_at("retired_at")?,
        terms: TermsVersion {
            version: row.u32("version")?,
            created_at: row.at("created_at")?,
            terms: row.json("doc")?,
        },
    })
}

/// All resources in catalogue order, retired ones included.
pub async fn list(conn: &mut Conn) -> Result<Vec<Resource>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY resource.place, resource.id"));
    sqlx::query(text).fetch_all(&mut *conn).await?.iter().map(read).collect()
}

/// One resource.
pub async fn find(conn: &mut Conn, id: &str) -> Result<Option<Resource>, DbError> {
    let text = sqlx::AssertSqlSafe(format!("{SELECT} WHERE resource.id = $1"));
    sqlx::query(text).bind(id).fetch_optional(&mut *conn).await?.as_ref().map(read).transpose()
}

/// What of a resource can change without an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub resource: String,
    /// The version of its terms that holds now.
    pub version: u32,
    /// Since when the operator takes no money for it.
    pub paused_at: Option<Timestamp>,
    /// Since when it is missing from the catalogue.
    pub retired_at: Option<Timestamp>,
}

/// All resources in short, retired ones included.
pub async fn offers(conn: &mut Conn) -> Result<Vec<Offer>, DbError> {
    sqlx::query("SELECT id, terms_version, paused_at, retired_at FROM resource")
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(|row| {
            let row = Row::new(row, "resource");
            Ok(Offer {
                resource: row.text("id")?,
                version: row.u32("terms_version")?,
                paused_at: row.opt_at("paused_at")?,
                retired_at: row.opt_at("retired_at")?,
            })
        })
        .collect()
}

/// All versions of a resource's terms.
pub async fn history(conn: &mut Conn, resource: &str) -> Result<TermsHistory, DbError> {
    let rows = sqlx::query(
        "SELECT resource, version, created_at, doc FROM terms WHERE resource = $1 ORDER BY version",
    )
    .bind(resource)
    .fetch_all(&mut *conn)
    .await?;
    let versions = rows
        .iter()
        .map(|row| {
            let row = Row::new(row, "terms");
            Ok(TermsVersion {
                version: row.u32("version")?,
                created_at: row.at("created_at")?,
                terms: row.json("doc")?,
            })
        })
        .collect::<Result<_, DbError>>()?;
    Ok(TermsHistory::new(versions))
}

/// Stores a new version and makes it the one that holds; a retired resource is back.
pub async fn put(
    conn: &mut Conn,
    place: u32,
    version: u32,
    terms: &Terms,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO resource (id, place, terms_version) VALUES ($1, $2, $3) \
         ON CONFLICT (id) DO UPDATE SET place = excluded.place, \
         terms_version = excluded.terms_version, retired_at = NULL",
    )
    .bind(&terms.id)
    .bind(int(place))
    .bind(int(version))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO terms (resource, version, created_at, doc) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (resource, version) DO NOTHING",
    )
    .bind(&terms.id)
    .bind(int(version))
    .bind(now.millis())
    .bind(doc(terms))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Retires a resource that is missing from the catalogue.
pub async fn retire(conn: &mut Conn, id: &str, now: Timestamp) -> Result<(), DbError> {
    sqlx::query("UPDATE resource SET retired_at = $2 WHERE id = $1 AND retired_at IS NULL")
        .bind(id)
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Pauses a resource, or lets it take money again with `None`.
pub async fn pause(conn: &mut Conn, id: &str, at: Option<Timestamp>) -> Result<(), DbError> {
    sqlx::query("UPDATE resource SET paused_at = $2 WHERE id = $1")
        .bind(id)
        .bind(at.map(Timestamp::millis))
        .execute(&mut *conn)
        .await?;
    Ok(())
}
