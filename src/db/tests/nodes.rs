//! Several nodes on one PostgreSQL.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::items::{Put, events};
use crate::db::testing::{Node, each_place, on_postgres};

#[test]
fn nodes_that_write_at_the_same_time_share_one_log_without_a_gap() {
    on_postgres(async |place| {
        let nodes = [place.open().await, place.open().await, place.open().await];
        let done = AtomicBool::new(false);
        let write = async {
            let writes = (0..900).map(|n| nodes[n % 3].write(Put(format!("{}_{n}", n % 3))));
            for written in futures_util::future::join_all(writes).await {
                written.unwrap();
            }
            done.store(true, Ordering::SeqCst);
        };
        let watch = async {
            let mut looks = 0;
            while !done.load(Ordering::SeqCst) {
                let mut conn = nodes[0].read().await.unwrap();
                let (count, last): (i64, i64) =
                    sqlx::query_as("SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM event")
                        .fetch_one(&mut conn)
                        .await
                        .unwrap();
                assert_eq!(count, last, "commit order is the order of the numbers");
                looks += 1;
            }
            looks
        };
        let ((), looks) = tokio::join!(write, watch);
        assert!(looks > 3, "it was looked at in between");
        let ids = events(&nodes[0]).await;
        assert_eq!(ids.len(), 900);
        for node in 0..3 {
            let own: Vec<usize> = ids
                .iter()
                .filter_map(|id| id.strip_prefix(&format!("evt_{node}_")))
                .map(|n| n.parse().unwrap())
                .collect();
            assert!(own.is_sorted(), "a node's writes keep their order");
        }
        for node in nodes {
            node.stop().await;
        }
    });
}

async fn hears(node: &Node, seq: i64) {
    let mut heard = node.subscribe();
    let wait = heard.wait_for(|newest| *newest >= seq);
    let within = tokio::time::timeout(Duration::from_secs(5), wait).await;
    within.expect("the news arrives").unwrap();
}

#[test]
fn a_node_hears_of_the_events_of_another() {
    on_postgres(async |place| {
        let (here, there) = (place.open().await, place.open().await);
        // Each once: then both listen.
        for (seq, from, to) in [(1, &here, &there), (2, &there, &here), (3, &here, &there)] {
            from.write(Put(seq.to_string())).await.unwrap();
            hears(to, seq).await;
        }
        // Ends the session that listens; what is committed meanwhile is heard of all the same.
        let mut conn = here.read().await.unwrap();
        let kill = "SELECT CAST(pg_terminate_backend(pid) AS TEXT) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        let killed: Vec<String> = sqlx::query_scalar(kill).fetch_all(&mut conn).await.unwrap();
        assert_eq!(killed.len(), 2);
        drop(conn);
        here.write(Put("4".into())).await.unwrap();
        hears(&there, 4).await;
        here.write(Put("5".into())).await.unwrap();
        hears(&there, 5).await;
        here.stop().await;
        there.stop().await;
    });
}

#[test]
fn a_hint_tells_the_newest_number_from_the_start() {
    each_place(async |place| {
        let node = place.open().await;
        let mut newest = node.subscribe();
        assert_eq!(*newest.borrow_and_update(), 0);
        node.write(Put("1".into())).await.unwrap();
        assert_eq!(*newest.borrow_and_update(), 1, "before the answer");
        assert!(!newest.has_changed().unwrap());
        node.stop().await;
        drop(newest);
        let node = place.open().await;
        assert_eq!(*node.subscribe().borrow(), 1);
        node.stop().await;
    });
}
