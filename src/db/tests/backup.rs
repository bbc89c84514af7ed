//! Backups: beside a running server, marked, never over another file.

use super::items::{Put, events, value};
use crate::db::open::Target;
use crate::db::testing::{Place, on_postgres, on_sqlite};
use crate::db::{Db, DbError, meta};

#[test]
fn a_backup_beside_a_running_server_is_whole_marked_and_can_be_served() {
    on_sqlite(async |place| {
        let node = place.open().await;
        node.write(Put("before".into())).await.unwrap();
        let beside = Db::open_read_only(place.url(), Place::options()).await.unwrap();
        let (of_server, of_reader) =
            (place.folder().join("server's.db"), place.folder().join("reader's.db"));
        node.backup(&of_server, 111).await.unwrap();
        beside.backup(&of_reader, 222).await.unwrap();
        node.write(Put("after".into())).await.unwrap();

        for (path, at) in [(&of_server, 111), (&of_reader, 222)] {
            let url = format!("sqlite:{}", path.display());
            let (copy, _writer) = Db::open(&url, Place::options()).await.unwrap();
            let mark = meta::find_backup_mark(&mut copy.read().await.unwrap()).await.unwrap();
            assert_eq!(mark, Some(at));
            assert_eq!(events(&copy).await, ["evt_before"]);
        }
        let mark = meta::find_backup_mark(&mut node.read().await.unwrap()).await.unwrap();
        assert_eq!(mark, None, "the original is not marked");
        node.stop().await;
    });
}

#[test]
fn a_backup_while_the_server_writes_is_one_state() {
    on_sqlite(async |place| {
        let node = place.open().await;
        let writes = (0..300).map(|n| node.write(Put(n.to_string())));
        let path = place.folder().join("copy.db");
        let (written, copied) =
            tokio::join!(futures_util::future::join_all(writes), node.backup(&path, 1));
        copied.unwrap();
        assert!(written.iter().all(Result::is_ok));
        let url = format!("sqlite:{}", path.display());
        let copy = Db::open_read_only(&url, Place::options()).await.unwrap();
        for id in events(&copy).await {
            assert!(value(&copy, id.strip_prefix("evt_").unwrap()).await.is_some());
        }
        node.stop().await;
    });
}

#[test]
fn a_backup_overwrites_nothing_and_leaves_nothing_half() {
    on_sqlite(async |place| {
        let node = place.open().await;
        let path = place.folder().join("copy.db");
        std::fs::write(&path, "precious").unwrap();
        let error = node.backup(&path, 1).await.unwrap_err();
        assert!(matches!(error, DbError::File { .. }), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");

        let error = node.backup(&place.folder().join("no folder/copy.db"), 1).await.unwrap_err();
        assert!(matches!(error, DbError::File { .. }), "{error:?}");

        // A copy that fails: what stands in its way cannot be removed as a file.
        let path = place.folder().join("other.db");
        std::fs::create_dir(place.folder().join("other.db.part")).unwrap();
        node.backup(&path, 1).await.unwrap_err();
        assert!(!path.exists());

        // What a killed backup left is no obstacle.
        std::fs::remove_dir(place.folder().join("other.db.part")).unwrap();
        std::fs::write(place.folder().join("other.db.part"), "half").unwrap();
        node.backup(&path, 1).await.unwrap();
        assert!(!place.folder().join("other.db.part").exists());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        node.stop().await;
    });
}

#[test]
fn postgresql_gets_the_line_for_pg_dump() {
    on_postgres(async |place| {
        let node = place.open().await;
        let path = place.folder().join("it's.dump");
        let error = node.backup(&path, 1).await.unwrap_err();
        assert!(matches!(error, DbError::Unsupported { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("pg_dump --format=custom --file='"), "{text}");
        assert!(text.contains("it'\\''s.dump'"), "{text}");
        assert!(text.contains("'postgres://"), "{text}");
        assert!(!path.exists());
        node.stop().await;
    });
}

#[test]
fn a_shown_url_has_no_secret() {
    let url = "postgres://me:hunter2@host:5433/db?sslmode=require&password=hunter2";
    let shown = Target::parse(url, Place::options()).unwrap().shown();
    assert_eq!(shown, "postgres://me@host:5433/db?sslmode=require");
}
