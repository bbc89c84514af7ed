//! Opening: what is refused, and what the message says.

use sqlx::any::AnyConnectOptions;
use sqlx::{ConnectOptions, Executor};

use super::items::{Put, Trouble, value};
use crate::db::testing::{Place, each_place, on_sqlite};
use crate::db::{Backend, Db, DbError, OpenOptions, migrate};

#[test]
fn a_second_server_on_one_file_is_refused_until_the_first_ends() {
    on_sqlite(async |place| {
        let node = place.open().await;
        let error = place.try_open(Place::options()).await.unwrap_err();
        assert!(matches!(error, DbError::Locked { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("leasehold.db-lock is locked by another process"), "{text}");
        assert!(text.contains("stop the other"), "{text}");
        // The same file by another name has the same lock.
        let link = place.folder().join("link.db");
        std::os::unix::fs::symlink(place.folder().join("leasehold.db"), &link).unwrap();
        let error =
            Db::open(&format!("sqlite:{}", link.display()), Place::options()).await.unwrap_err();
        assert!(matches!(error, DbError::Locked { .. }), "{error:?}");
        node.write(Put("still served".into())).await.unwrap();
        node.stop().await;
        place.open().await.stop().await;
    });
}

/// Makes the database look as if a newer program had opened it.
async fn from_the_future(place: &Place) {
    let mut conn = place.url().parse::<AnyConnectOptions>().unwrap().connect().await.unwrap();
    let later = "INSERT INTO _sqlx_migrations
        (version, description, installed_on, success, checksum, execution_time)
        SELECT 9999, description, installed_on, success, checksum, execution_time
        FROM _sqlx_migrations WHERE version = 1";
    conn.execute(later).await.unwrap();
}

#[test]
fn a_newer_database_is_refused() {
    each_place(async |place| {
        place.open().await.stop().await;
        from_the_future(place).await;
        let served = place.try_open(Place::options()).await.unwrap_err();
        let read = Db::open_read_only(place.url(), Place::options()).await.unwrap_err();
        for error in [served, read] {
            let DbError::Newer { found, known } = error else { panic!("{error:?}") };
            assert_eq!((found, known), (9999, migrate::known()));
            assert!(error.to_string().contains("start the newer program"), "{error}");
        }
    });
}

#[test]
fn a_changed_migration_is_refused() {
    each_place(async |place| {
        place.open().await.stop().await;
        let mut conn = place.url().parse::<AnyConnectOptions>().unwrap().connect().await.unwrap();
        let change = "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1";
        conn.execute(change).await.unwrap();
        let error = place.try_open(Place::options()).await.unwrap_err();
        assert!(matches!(error, DbError::Migrate(_)), "{error:?}");
    });
}

#[test]
fn an_empty_database_is_not_opened_for_reading_only() {
    each_place(async |place| {
        if place.backend() == Backend::Sqlite {
            let error = Db::open_read_only(place.url(), Place::options()).await.unwrap_err();
            assert!(error.to_string().contains("there is no database at"), "{error}");
            let options = OpenOptions { create: false, ..Place::options() };
            let error = place.try_open(options).await.unwrap_err();
            assert!(matches!(error, DbError::Unavailable { .. }), "{error:?}");
            std::fs::File::create_new(place.folder().join("leasehold.db")).unwrap();
        }
        let error = Db::open_read_only(place.url(), Place::options()).await.unwrap_err();
        assert!(matches!(error, DbError::Older { found: 0, .. }), "{error:?}");
    });
}

#[test]
fn beside_a_running_server_it_is_read_but_not_written() {
    each_place(async |place| {
        let node = place.open().await;
        node.write(Put("1".into())).await.unwrap();
        let beside = Db::open_read_only(place.url(), Place::options()).await.unwrap();
        assert!(value(&beside, "1").await.is_some());
        assert_eq!(*beside.subscribe().borrow(), 1);
        node.write(Put("2".into())).await.unwrap();
        assert!(value(&beside, "2").await.is_some());
        let error = beside.write(Put("3".into())).await.unwrap_err();
        let Trouble::Db(error @ DbError::Unsupported { .. }) = error else { panic!("{error:?}") };
        assert!(error.to_string().contains("ask the running server"), "{error}");
        node.stop().await;
        // Also when the server has ended, and its log was cleaned away.
        let beside = Db::open_read_only(place.url(), Place::options()).await.unwrap();
        assert!(value(&beside, "2").await.is_some());
    });
}

#[test]
fn servers_that_start_at_once_make_the_schema_once() {
    each_place(async |place| {
        let opens = (0..6).map(|_| place.try_open(Place::options()));
        let opened = futures_util::future::join_all(opens).await;
        let mut nodes = Vec::new();
        for node in opened {
            match (node, place.backend()) {
                (Ok(node), _) => nodes.push(node),
                (Err(DbError::Locked { .. }), Backend::Sqlite) => {}
                (Err(error), _) => panic!("{error:?}"),
            }
        }
        let all = if place.backend() == Backend::Sqlite { 1 } else { 6 };
        assert_eq!(nodes.len(), all);
        for (n, node) in nodes.into_iter().enumerate() {
            node.write(Put(n.to_string())).await.unwrap();
            node.stop().await;
        }
    });
}

#[test]
fn a_url_that_cannot_be_used_is_explained_without_its_password() {
    on_sqlite(async |_| {
        let cases = [
            ("mysql://me:hunter2@host/db", "write sqlite:FILE or postgres://"),
            ("host=x password=hunter2", "write sqlite:FILE or postgres://"),
            ("postgres://me:hunter2@host:port/db", "write sqlite:FILE or postgres://"),
            ("sqlite:", "a file name is needed"),
            ("sqlite::memory:", "a plain file"),
            ("sqlite:a.db?mode=ro", "a plain file"),
        ];
        for (url, expected) in cases {
            let error = Db::open(url, OpenOptions::default()).await.unwrap_err();
            assert!(matches!(error, DbError::Url { .. }), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let error = Db::open("sqlite:/no/such/folder/a.db", OpenOptions::default()).await;
        assert!(error.unwrap_err().to_string().contains("/no/such/folder"));
    });
}

#[test]
fn a_server_that_is_not_there_is_said_so() {
    on_sqlite(async |_| {
        // Nothing listens on port 1.
        let url = "postgres://me:hunter2@127.0.0.1:1/db";
        for error in [
            Db::open(url, OpenOptions::default()).await.map(|_| ()).unwrap_err(),
            Db::open_read_only(url, OpenOptions::default()).await.map(|_| ()).unwrap_err(),
        ] {
            assert!(matches!(error, DbError::Unavailable { .. }), "{error:?}");
            assert!(error.to_string().contains("check that the database server runs"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    });
}

#[test]
fn a_file_name_may_hold_what_a_url_may_not() {
    on_sqlite(async |place| {
        let path = place.folder().join("my leases 100% é.db");
        let url = format!("sqlite:{}", path.display());
        let (db, writer) = Db::open(&url, Place::options()).await.unwrap();
        assert!(path.exists());
        assert_eq!(value(&db, "nothing").await, None);
        drop((db, writer));
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "only its owner reads it");
    });
}

#[test]
fn a_file_is_opened_with_all_that_durability_needs() {
    on_sqlite(async |place| {
        let (db, _writer) = Db::open(place.url(), Place::options()).await.unwrap();
        let mut conn = crate::db::open::writer(&db.shared.target).await.unwrap();
        let pragmas = [
            ("PRAGMA journal_mode", "wal"),
            ("PRAGMA synchronous", "2"),
            ("PRAGMA foreign_keys", "1"),
            ("PRAGMA busy_timeout", "10000"),
        ];
        for (pragma, expected) in pragmas {
            let row = conn.fetch_one(sqlx::raw_sql(pragma)).await.unwrap();
            use sqlx::Row;
            let found = row.try_get::<String, _>(0);
            let found = found.unwrap_or_else(|_| row.get::<i64, _>(0).to_string());
            assert_eq!(found, expected, "{pragma}");
        }
    });
}
