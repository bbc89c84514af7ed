//! The writer: groups, refusals, failures, panics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::items::{Deed, Do, Put, Trouble, event_of, events, value};
use crate::db::testing::{Node, Place, each, each_place};
use crate::db::{Backend, Db, DbError, Tx, WriteItem, Writer, event};

/// An open database whose writer has not been started: writes pile up.
async fn halted(place: &Place) -> (Db, Writer) {
    Db::open(place.url(), Place::options()).await.unwrap()
}

#[test]
fn what_waits_is_committed_at_once_and_in_order() {
    each_place(async |place| {
        let (db, mut writer) = halted(place).await;
        let answers: Vec<_> = (0..5).map(|n| db.write(Put(format!("item {n}")))).collect();
        assert_eq!(writer.step().await, Some(5), "one group");
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap(), format!("item {n}"));
        }
        let ids: Vec<_> = (0..5).map(|n| format!("evt_item {n}")).collect();
        assert_eq!(events(&db).await, ids);
        if db.backend() == Backend::Postgres {
            let mut conn = db.read().await.unwrap();
            let n: i64 =
                sqlx::query_scalar("SELECT n FROM write_lock").fetch_one(&mut conn).await.unwrap();
            assert_eq!(n, 1, "one transaction");
        }
        Node::start(db, writer).stop().await;
    });
}

#[test]
fn a_thousand_concurrent_writes_leave_no_gap() {
    each(async |db| {
        let writes = (0..1000).map(|n| db.write(Put(n.to_string())));
        let done = futures_util::future::join_all(writes).await;
        assert!(done.iter().all(Result::is_ok));
        assert_eq!(events(&db).await.len(), 1000);
        assert_eq!(*db.subscribe().borrow(), 1000);
    });
}
