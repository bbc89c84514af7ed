//! PostgreSQL connections lost at bad moments: what is tried again, what is unknown.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Executor};

use super::items::{Put, Trouble, event_of, events, value};
use super::proxy::{Mode, Proxy};
use crate::db::testing::{Node, Place, on_postgres};
use crate::db::{Db, DbError, OpenOptions, Tx, WriteItem, meta};

/// A connection of somebody else to the test's database.
async fn stranger(place: &Place) -> AnyConnection {
    place.url().parse::<AnyConnectOptions>().unwrap().connect().await.unwrap()
}

/// Writes, then kills its own session the first times it is run.
struct Suicide {
    times: u32,
    runs: AtomicU32,
}

impl WriteItem for Suicide {
    type Out = u32;
    type Error = Trouble;

    async fn run(&self, tx: &mut Tx) -> Result<u32, Trouble> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        meta::record(tx, "run", &run.to_string()).await?;
        tx.event(event_of("suicide", "suicide"));
        if run <= self.times {
            sqlx::query("SELECT CAST(pg_terminate_backend(pg_backend_pid()) AS TEXT)")
                .execute(tx.conn())
                .await
                .map_err(DbError::from)?;
        }
        Ok(run)
    }
}

#[test]
fn a_session_killed_in_a_transaction_is_tried_again() {
    on_postgres(async |place| {
        let (db, mut writer) = Db::open(place.url(), Place::options()).await.unwrap();
        let first = db.write(Put("first".into()));
        let killed = db.write(Suicide { times: 2, runs: AtomicU32::new(0) });
        let last = db.write(Put("last".into()));
        // The last one joins when the group is complete for the first time.
        while writer.step().await != Some(1) {}
        assert_eq!(first.await.unwrap(), "first");
        assert_eq!(killed.await.unwrap(), 3);
        assert_eq!(last.await.unwrap(), "last");
        assert_eq!(value(&db, "run").await.as_deref(), Some("3"));
        assert_eq!(events(&db).await, ["evt_first", "evt_suicide", "evt_last"]);
    });
}

#[test]
fn trying_again_has_an_end() {
    on_postgres(async |place| {
        let options = OpenOptions { retry_time: Duration::from_millis(300), ..Place::options() };
        let node = place.try_open(options).await.unwrap();
        let killed = node.write(Suicide { times: u32::MAX, runs: AtomicU32::new(0) }).await;
        let error = killed.unwrap_err();
        assert!(matches!(error, Trouble::Db(DbError::Unavailable { .. })), "{error:?}");
        node.write(Put("later".into())).await.expect("others are not harmed");
        assert_eq!(events(&node).await, ["evt_later"]);
        node.stop().await;
    });
}

/// Writes through a proxy that cuts at the COMMIT.
async fn cut(place: &Place, mode: Mode) -> (Node, Result<String, Trouble>, Result<(), Trouble>) {
    let proxy = Proxy::start(place.url()).await;
    let (db, writer) = Db::open(proxy.url(), Place::options()).await.unwrap();
    proxy.set(mode);
    let put = db.write(Put("perhaps".into()));
    let refused = db.write(super::items::Do::counted(super::items::Deed::Refuse).0);
    let node = Node::start(db, writer);
    let answers = (put.await, refused.await);
    proxy.set(Mode::Pass);
    (node, answers.0, answers.1)
}

#[test]
fn a_commit_whose_answer_is_lost_is_unknown_and_holds() {
    on_postgres(async |place| {
        let (node, put, refused) = cut(place, Mode::CutAfterCommit).await;
        let error = put.unwrap_err();
        assert!(matches!(error, Trouble::Db(DbError::OutcomeUnknown { .. })), "{error:?}");
        // It was decided on top of what is unknown.
        let error = refused.unwrap_err();
        assert!(matches!(error, Trouble::Db(DbError::Unavailable { .. })), "{error:?}");
        assert_eq!(events(&node).await, ["evt_perhaps"], "it was committed, once");
        node.write(Put("next".into())).await.unwrap();
        assert_eq!(events(&node).await, ["evt_perhaps", "evt_next"]);
        node.stop().await;
    });
}

#[test]
fn a_commit_that_is_lost_itself_is_unknown_and_not_repeated() {
    on_postgres(async |place| {
        let (node, put, _) = cut(place, Mode::CutBeforeCommit).await;
        let error = put.unwrap_err();
        assert!(matches!(error, Trouble::Db(DbError::OutcomeUnknown { .. })), "{error:?}");
        assert_eq!(events(&node).await, [""; 0], "nothing was committed");
        node.write(Put("next".into())).await.unwrap();
        assert_eq!(events(&node).await, ["evt_next"], "the number was not used up");
        node.stop().await;
    });
}

#[test]
fn while_the_server_is_down_the_reason_is_said_and_afterwards_all_is_well() {
    on_postgres(async |place| {
        let options = OpenOptions {
            retry_time: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(2),
            ..Place::options()
        };
        let proxy = Proxy::start(place.url()).await;
        let (db, writer) = Db::open(proxy.url(), options).await.unwrap();
        let node = Node::start(db, writer);
        node.write(Put("before".into())).await.unwrap();
        proxy.set(Mode::Down);
        for key in ["during", "still"] {
            let error = node.write(Put(key.into())).await.unwrap_err();
            let Trouble::Db(error @ DbError::Unavailable { .. }) = error else {
                panic!("{error:?}")
            };
            assert!(error.is_temporary());
        }
        drop(node.read().await); // The pool finds out that its connection is gone.
        let error = node.read().await.unwrap_err();
        let DbError::Unavailable { why, hint } = error else { panic!("{error:?}") };
        assert!(!why.contains("pool"), "{why}");
        assert!(hint.contains("server"), "{hint}");
        proxy.set(Mode::Pass);
        node.write(Put("after".into())).await.unwrap();
        assert_eq!(events(&node).await, ["evt_before", "evt_after"]);
        node.stop().await;
    });
}

/// Changes the row `contended`.
struct Contend;

impl WriteItem for Contend {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        meta::record(tx, "contended", "by the writer").await
    }
}

#[test]
fn a_deadlock_is_tried_again() {
    on_postgres(async |place| {
        let node = place.open().await;
        node.write(Contend).await.unwrap();
        let mut stranger = stranger(place).await;
        let first = "SET deadlock_timeout = '60s'; BEGIN; UPDATE meta SET value = 'by a stranger'";
        stranger.execute(sqlx::raw_sql(first)).await.unwrap();
        let waits = node.write(Contend);
        // Waits for the writer, which waits for the row: the server ends the writer's.
        until_waiting(&node).await;
        let second = "UPDATE write_lock SET n = n; COMMIT";
        stranger.execute(sqlx::raw_sql(second)).await.unwrap();
        waits.await.unwrap();
        assert_eq!(value(&node, "contended").await.as_deref(), Some("by the writer"));
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let mut conn = node.read().await.unwrap();
        let mut seen = 0;
        for _ in 0..200 {
            seen = sqlx::query_scalar::<_, i64>(deadlocks).fetch_one(&mut conn).await.unwrap();
            if seen > 0 {
                break;
            }
            pause().await;
        }
        assert_eq!(seen, 1, "there really was one");
        drop(conn);
        node.stop().await;
    });
}

/// Until a session of this database waits for a lock.
async fn until_waiting(node: &Node) {
    let mut conn = node.read().await.unwrap();
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..400 {
        if sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut conn).await.unwrap() > 0 {
            return;
        }
        pause().await;
    }
    panic!("nobody waits for a lock");
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(25)).await;
}

#[test]
fn a_node_that_stands_still_in_a_transaction_does_not_stop_the_others() {
    on_postgres(async |place| {
        let options = OpenOptions { idle_timeout: Duration::from_millis(300), ..Place::options() };
        let node = place.try_open(options.clone()).await.unwrap();
        let (other, _) = Db::open(place.url(), options).await.unwrap();
        let target = &other.shared.target;
        let mut stopped = crate::db::open::writer(target).await.unwrap();
        let begin = "BEGIN; UPDATE write_lock SET n = n + 1 WHERE id = 1";
        stopped.execute(sqlx::raw_sql(begin)).await.unwrap();
        node.write(Put("goes on".into())).await.unwrap();
        assert!(stopped.execute(sqlx::raw_sql("COMMIT")).await.is_err(), "it was ended");
        node.stop().await;
    });
}

#[test]
fn a_write_lock_that_is_never_free_is_said_so() {
    on_postgres(async |place| {
        let options = OpenOptions { lock_timeout: Duration::from_millis(200), ..Place::options() };
        let node = place.try_open(options).await.unwrap();
        let mut stranger = stranger(place).await;
        let begin = "BEGIN; UPDATE write_lock SET n = n + 1 WHERE id = 1";
        stranger.execute(sqlx::raw_sql(begin)).await.unwrap();
        let error = node.write(Put("waits".into())).await.unwrap_err();
        let Trouble::Db(DbError::Unavailable { why, .. }) = error else { panic!("{error:?}") };
        assert!(why.contains("another node"), "{why}");
        stranger.execute(sqlx::raw_sql("ROLLBACK")).await.unwrap();
        node.write(Put("goes".into())).await.unwrap();
        node.stop().await;
    });
}
