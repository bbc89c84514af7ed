//! The writer: groups, refusals, failures, panics.

use std::sync::atomic::Ordering;

use metrics_exporter_prometheus::PrometheusBuilder;

use super::items::{Deed, Do, Put, Trouble, event_of, events, value};
use crate::db::testing::{Node, Place, each, each_place};
use crate::db::{Backend, Db, DbError, OpenOptions, Tx, WriteItem, Writer};

/// An open database whose writer has not been started: writes pile up.
async fn halted(place: &Place) -> (Db, Writer) {
    Db::open(place.url(), Place::options()).await.unwrap()
}

/// How often the write lock was taken and kept, on PostgreSQL.
async fn transactions(db: &Db) -> i64 {
    let mut conn = db.read().await.unwrap();
    sqlx::query_scalar("SELECT n FROM write_lock").fetch_one(&mut conn).await.unwrap()
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
            assert_eq!(transactions(&db).await, 1);
        }
        Node::start(db, writer).stop().await;
    });
}

#[test]
fn a_group_takes_no_more_than_its_bounds() {
    each_place(async |place| {
        let options = OpenOptions { group_items: 3, ..Place::options() };
        let (db, mut writer) = Db::open(place.url(), options).await.unwrap();
        let answers: Vec<_> = (0..7).map(|n| db.write(Put(n.to_string()))).collect();
        assert_eq!(writer.step().await, Some(3));
        assert_eq!(writer.step().await, Some(3));
        assert_eq!(writer.step().await, Some(1));
        drop(answers);

        let options = OpenOptions { group_time: std::time::Duration::ZERO, ..Place::options() };
        drop((db, writer));
        let (db, mut writer) = Db::open(place.url(), options).await.unwrap();
        let answers: Vec<_> = (7..9).map(|n| db.write(Put(n.to_string()))).collect();
        assert_eq!(writer.step().await, Some(1), "the time was over after the first");
        assert_eq!(writer.step().await, Some(1));
        drop(answers);
        assert_eq!(events(&db).await.len(), 9);
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

#[test]
fn a_refusal_leaves_the_group_alone() {
    each_place(async |place| {
        for deed in [Deed::Refuse, Deed::RefuseAfterNoRow] {
            let (db, mut writer) = halted(place).await;
            let (item, runs) = Do::counted(deed);
            let before = events(&db).await.len();
            let first = db.write(Put(format!("first {deed:?}")));
            let refused = db.write(item);
            let last = db.write(Put(format!("last {deed:?}")));
            assert_eq!(writer.step().await, Some(3));
            assert!(first.await.is_ok());
            assert!(matches!(refused.await, Err(Trouble::Refused)));
            assert!(last.await.is_ok());
            assert_eq!(runs.load(Ordering::SeqCst), 1, "the group was not run again");
            assert_eq!(events(&db).await.len(), before + 2, "a refused item reports nothing");
        }
    });
}

#[test]
fn an_item_at_fault_is_rolled_back_alone() {
    let at_fault = [Deed::RefuseAfterWrite, Deed::Violate, Deed::ViolateAndHide, Deed::Abandon];
    each_place(async |place| {
        for deed in at_fault {
            let (db, mut writer) = halted(place).await;
            let (item, runs) = Do::counted(deed);
            let before = events(&db).await.len();
            let first = db.write(Put(format!("first {deed:?}")));
            let fault = db.write(item);
            let last = db.write(Put(format!("last {deed:?}")));
            assert_eq!(writer.step().await, Some(2), "{deed:?} ends the group at once");
            assert_eq!(writer.step().await, Some(1));
            assert!(first.await.is_ok(), "{deed:?}");
            assert!(last.await.is_ok(), "{deed:?}");
            let fault = fault.await.unwrap_err();
            match deed {
                Deed::RefuseAfterWrite => assert!(matches!(fault, Trouble::Refused), "{fault:?}"),
                Deed::Violate => {
                    let Trouble::Db(fault) = fault else { panic!("{fault:?}") };
                    assert!(fault.is_unique_violation(), "{fault:?}");
                }
                _ => assert!(matches!(fault, Trouble::Db(DbError::Swallowed(_))), "{fault:?}"),
            }
            assert_eq!(runs.load(Ordering::SeqCst), 2, "in the group, then alone");
            assert_eq!(value(&db, "must not stay").await, None, "{deed:?}");
            assert_eq!(events(&db).await.len(), before + 2);
        }
    });
}

#[test]
fn a_panic_is_answered_and_harms_nobody() {
    each_place(async |place| {
        let (db, mut writer) = halted(place).await;
        let (item, runs) = Do::counted(Deed::Panic);
        let first = db.write(Put("first".into()));
        let panics = db.write(item);
        assert_eq!(writer.step().await, Some(1), "the item that panicked has left");
        assert!(first.await.is_ok());
        let panic = panics.await.unwrap_err();
        let Trouble::Db(DbError::Panicked { item, message }) = panic else { panic!("{panic:?}") };
        assert!(item.ends_with("::Do"), "{item}");
        assert_eq!(message, "on purpose");
        assert_eq!(runs.load(Ordering::SeqCst), 1, "it is not tried again");
        assert_eq!(value(&db, "must not stay").await, None);

        let node = Node::start(db, writer);
        node.write(Put("later".into())).await.unwrap();
        assert_eq!(events(&node).await, ["evt_first", "evt_later"]);
        node.stop().await;
    });
}

#[test]
fn an_event_that_cannot_be_stored_fails_only_its_item() {
    each_place(async |place| {
        let (db, mut writer) = halted(place).await;
        let first = db.write(Put("same".into()));
        let second = db.write(Report("same"));
        let third = db.write(Put("other".into()));
        assert_eq!(writer.step().await, Some(3));
        assert!(first.await.is_ok());
        let error = second.await.unwrap_err();
        assert!(error.is_unique_violation(), "{error:?}");
        assert!(third.await.is_ok());
        assert_eq!(events(&db).await, ["evt_same", "evt_other"]);
    });
}

/// Only reports an event.
struct Report(&'static str);

impl WriteItem for Report {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.event(event_of(self.0, "report"));
        Ok(())
    }
}

#[test]
fn a_write_goes_on_when_nobody_waits_for_it() {
    each(async |db| {
        drop(db.write(Put("dropped".into())));
        db.write(Put("waited for".into())).await.unwrap();
        assert_eq!(events(&db).await, ["evt_dropped", "evt_waited for"]);
    });
}

#[test]
fn a_group_that_wrote_nothing_is_not_committed() {
    each_place(async |place| {
        let (db, mut writer) = halted(place).await;
        let read = db.write(Do::counted(Deed::Read).0);
        let refused = db.write(Do::counted(Deed::Refuse).0);
        assert_eq!(writer.step().await, Some(2));
        assert!(read.await.is_ok());
        assert!(refused.await.is_err());
        if db.backend() == Backend::Postgres {
            assert_eq!(transactions(&db).await, 0);
        }
    });
}

#[test]
fn shutting_down_finishes_what_is_queued() {
    each_place(async |place| {
        let (db, writer) = halted(place).await;
        let answers: Vec<_> = (0..100).map(|n| db.write(Put(n.to_string()))).collect();
        db.shut_down();
        writer.run().await;
        for answer in answers {
            answer.await.unwrap();
        }
        let late = db.write(Put("late".into())).await.unwrap_err();
        assert!(matches!(late, Trouble::Db(DbError::Stopped)), "{late:?}");
        assert_eq!(events(&db).await.len(), 100);
    });
}

#[test]
fn the_writer_ends_when_all_handles_are_gone() {
    each_place(async |place| {
        let (db, writer) = halted(place).await;
        let answer = db.write(Put("last".into()));
        drop(db);
        writer.run().await;
        answer.await.unwrap();
    });
}

#[test]
fn a_dropped_writer_leaves_the_outcome_open() {
    each_place(async |place| {
        let (db, writer) = halted(place).await;
        let answer = db.write(Put("never".into()));
        drop(writer);
        let error = answer.await.unwrap_err();
        assert!(matches!(error, Trouble::Db(DbError::OutcomeUnknown { .. })), "{error:?}");
        let error = db.write(Put("after".into())).await.unwrap_err();
        assert!(matches!(error, Trouble::Db(DbError::Stopped)), "{error:?}");
    });
}

#[test]
fn a_full_queue_refuses_at_once() {
    each_place(async |place| {
        let options = OpenOptions { queue_items: 2, ..Place::options() };
        let (db, mut writer) = Db::open(place.url(), options).await.unwrap();
        let waiting = [db.write(Put("1".into())), db.write(Put("2".into()))];
        let error = db.write(Put("3".into())).await.unwrap_err();
        assert!(matches!(error, Trouble::Db(DbError::Unavailable { .. })), "{error:?}");
        writer.step().await;
        drop(waiting);
        let answer = db.write(Put("4".into()));
        writer.step().await;
        answer.await.expect("there is room again");
    });
}

#[test]
fn groups_are_measured() {
    each_place(async |place| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let shown = recorder.handle();
        let _here = metrics::set_default_local_recorder(&recorder);
        let (db, mut writer) = halted(place).await;
        let answers: Vec<_> = (0..3).map(|n| db.write(Put(n.to_string()))).collect();
        let depth = |n| format!("leasehold_write_queue_depth {n}\n");
        assert!(shown.render().contains(&depth(3)), "{}", shown.render());
        writer.step().await;
        drop(answers);
        let shown = shown.render();
        assert!(shown.contains(&depth(0)), "{shown}");
        assert!(shown.contains("leasehold_write_group_size_sum 3\n"), "{shown}");
        assert!(shown.contains("leasehold_write_commit_seconds_count 1\n"), "{shown}");
    });
}

#[test]
fn items_of_a_group_see_what_those_before_them_wrote() {
    each_place(async |place| {
        let (db, mut writer) = halted(place).await;
        let answers: Vec<_> = (0..10).map(|_| db.write(Next)).collect();
        assert_eq!(writer.step().await, Some(10));
        for (n, answer) in (1..).zip(answers) {
            assert_eq!(answer.await.unwrap(), n);
        }
    });
}

/// Takes the next number.
struct Next;

impl WriteItem for Next {
    type Out = i64;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<i64, DbError> {
        let last = crate::db::meta::find(tx, "next").await?;
        let next = last.map_or(1, |last| last.parse::<i64>().unwrap() + 1);
        crate::db::meta::record(tx, "next", &next.to_string()).await?;
        Ok(next)
    }
}
