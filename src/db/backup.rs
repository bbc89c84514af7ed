//! A copy of a SQLite database beside a running server, marked as a backup inside the copy, so
//! that the first start on it can be known. PostgreSQL has pg_dump for that.

use std::fs::File;
use std::path::Path;

use sqlx::{ConnectOptions, Connection, Executor};

use super::{Db, DbError, meta, open};

/// See [`Db::backup`].
pub(super) async fn run(db: &Db, to: &Path, at: i64) -> Result<(), DbError> {
    let target = &db.shared.target;
    let Some(from) = &target.path else {
        return Err(DbError::Unsupported {
            what: "a copy of a PostgreSQL database by this program",
            instead: format!(
                "run: pg_dump --format=custom --file={} {} \
                 (and start a restored one with `leasehold serve --recovered`)",
                quoted(&to.display().to_string()),
                quoted(&target.shown()),
            ),
        });
    };
    // Holds the name: an older backup is never overwritten.
    open::create_private(to)?;
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let done = match copy(from, part, at).await {
        Ok(()) => rename(part, to).map_err(|error| DbError::file("name", to, error)),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(part);
        let _ = std::fs::remove_file(to);
    }
    done
}

fn rename(part: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(part, to)?;
    // The new name reaches the disk with the folder.
    let folder = to.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

async fn copy(from: &Path, part: &Path, at: i64) -> Result<(), DbError> {
    let name = part.to_str().ok_or_else(|| DbError::Unsupported {
        what: "a backup to a path that is not UTF-8",
        instead: "choose another path".into(),
    })?;
    // One left by a copy that was killed. VACUUM INTO takes an empty file.
    if part.exists() {
        std::fs::remove_file(part).map_err(|error| DbError::file("remove", part, error))?;
    }
    open::create_private(part)?;
    // Not a reader of the pool: `query_only` forbids writing the copy too.
    let mut source = open::sqlite_url(from, "ro")?.connect().await?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut source).await?;
    source.close().await?;

    let mut copy = open::sqlite_url(part, "rw")?.connect().await?;
    copy.execute(sqlx::raw_sql("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL")).await?;
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(meta::BACKUP_AT)
    .bind(at.to_string())
    .execute(&mut copy)
    .await?;
    copy.close().await?;
    // VACUUM INTO does not wait for the disk.
    let file = File::open(part).and_then(|file| file.sync_all());
    file.map_err(|error| DbError::file("write", part, error))
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
