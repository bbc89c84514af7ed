//! Readers: they see what is committed, and cannot write.

use sqlx::Executor;

use super::items::{Put, event_of, value};
use crate::db::testing::{each, each_place};
use crate::db::{Backend, Db, DbError, Insert, OpenOptions, Tx, WriteItem, event, meta};

/// Writes, then reads the same through a reader, which no real item may do.
struct Peek(Db);

impl WriteItem for Peek {
    type Out = (Option<String>, Option<String>);
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Self::Out, DbError> {
        meta::record(tx, "key", "value").await?;
        let inside = meta::find(tx, "key").await?;
        let outside = meta::find(&mut self.0.read().await?, "key").await?;
        Ok((inside, outside))
    }
}

#[test]
fn a_reader_sees_only_what_is_committed() {
    each(async |db| {
        let (inside, outside) = db.write(Peek(db.clone())).await.unwrap();
        assert_eq!(inside.as_deref(), Some("value"));
        assert_eq!(outside, None);
        assert_eq!(value(&db, "key").await.as_deref(), Some("value"));
    });
}

#[test]
fn a_snapshot_stands_still() {
    each(async |db| {
        db.write(Put("before".into())).await.unwrap();
        let mut snapshot = db.snapshot().await.unwrap();
        assert!(meta::find(&mut snapshot, "before").await.unwrap().is_some());
        db.write(Put("after".into())).await.unwrap();
        assert_eq!(meta::find(&mut snapshot, "after").await.unwrap(), None);
        assert_eq!(event::last_seq(&mut snapshot).await.unwrap(), 1);
        drop(snapshot);
        assert!(value(&db, "after").await.is_some());
        let mut snapshot = db.snapshot().await.unwrap();
        assert_eq!(event::last_seq(&mut snapshot).await.unwrap(), 2);
    });
}

#[test]
fn a_reader_cannot_write() {
    each(async |db| {
        for mut conn in [db.read().await.unwrap(), db.snapshot().await.unwrap()] {
            let written = conn.execute("INSERT INTO meta (key, value) VALUES ('a', 'b')").await;
            assert!(written.unwrap_err().to_string().to_lowercase().contains("read"));
        }
        assert_eq!(value(&db, "a").await, None);
    });
}

#[test]
fn too_many_readers_are_told_so() {
    each_place(async |place| {
        let options = OpenOptions {
            readers: 1,
            connect_timeout: std::time::Duration::from_secs(1),
            ..OpenOptions::default()
        };
        let node = place.try_open(options).await.unwrap();
        let held = node.read().await.unwrap();
        let error = node.snapshot().await.unwrap_err();
        let DbError::Unavailable { why, .. } = error else { panic!("{error:?}") };
        assert!(why.contains("in use"), "{why}");
        drop(held);
        node.read().await.expect("it is free again");
        node.stop().await;
    });
}

/// Reports events of all shapes.
struct Report(usize);

impl WriteItem for Report {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for n in 0..self.0 {
            let mut event = event_of(n, if n % 2 == 0 { "even" } else { "odd" });
            event.resource = (n % 3 == 0).then(|| "third".into());
            event.at = i64::MAX - i64::try_from(n).unwrap();
            event.data = serde_json::json!({ "text": "'é\u{1F600}\u{0}\n\"$1?", "n": n });
            tx.event(event);
        }
        Ok(())
    }
}

#[test]
fn events_come_back_as_they_were() {
    each(async |db| {
        db.write(Report(150)).await.unwrap();
        let mut conn = db.read().await.unwrap();
        let all = event::list(&mut conn, 0, 1000).await.unwrap();
        assert_eq!(all.len(), 150);
        for (n, event) in all.iter().enumerate() {
            let number = i64::try_from(n).unwrap();
            assert_eq!(event.seq, number + 1);
            assert_eq!(event.id, format!("evt_{n}"));
            assert_eq!(event.kind, "test.happened");
            assert_eq!(event.at, i64::MAX - number);
            assert_eq!(event.resource.as_deref(), (n % 3 == 0).then_some("third"));
            assert_eq!(event.data["text"], "'é\u{1F600}\u{0}\n\"$1?");
        }
        let page = event::list(&mut conn, 140, 5).await.unwrap();
        assert_eq!(page, all[140..145]);
        let numbers = |events: Vec<event::Event>| events.iter().map(|e| e.seq).collect::<Vec<_>>();
        let odd = event::Filter::about("odd");
        let some = event::oldest(&mut conn, &odd, 100, 3).await.unwrap();
        assert_eq!(numbers(some), [102, 104, 106]);
        let some = event::newest(&mut conn, &odd, Some(102), 2).await.unwrap();
        assert_eq!(numbers(some), [100, 98]);
        let none = event::oldest(&mut conn, &event::Filter::about("none"), 0, 9).await.unwrap();
        assert_eq!(none, []);
    });
}

/// Inserts 150 rows, every second of which is there already.
struct Many;

static ROWS: Insert =
    Insert::new("INSERT INTO meta (key, value) VALUES", 2, "ON CONFLICT (key) DO NOTHING");

impl WriteItem for Many {
    type Out = [u64; 3];
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<[u64; 3], DbError> {
        let all: Vec<i64> = (0..150).collect();
        let even: Vec<i64> = (0..150).step_by(2).collect();
        let mut written = [0; 3];
        for (written, rows) in written.iter_mut().zip([&even, &all, &Vec::new()]) {
            *written = ROWS
                .run(tx, rows, |query, row| {
                    query.bind(row.to_string()).bind((row * row).to_string())
                })
                .await?;
        }
        Ok(written)
    }
}

#[test]
fn many_rows_are_inserted_in_few_statements() {
    each(async |db| {
        assert_eq!(db.write(Many).await.unwrap(), [75, 75, 0]);
        for n in [0, 1, 63, 64, 127, 149] {
            assert_eq!(value(&db, &n.to_string()).await, Some((n * n).to_string()));
        }
    });
}

#[test]
fn a_value_that_cannot_be_read_is_named() {
    each(async |db| {
        db.write(Spoil).await.unwrap();
        let error = meta::find_backup_mark(&mut db.read().await.unwrap()).await.unwrap_err();
        let text = "table meta, row backup_at: column value holds a value that cannot be read";
        assert_eq!(error.to_string(), text);
        assert!(matches!(db.backend(), Backend::Sqlite | Backend::Postgres));
    });
}

struct Spoil;

impl WriteItem for Spoil {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        meta::record(tx, meta::BACKUP_AT, "yesterday").await
    }
}
