//! The tail, the gate and the long poll on both databases.

use std::time::Duration;

use futures_util::FutureExt;
use secp256k1::SecretKey;
use tokio_util::sync::CancellationToken;

use super::gate::{Closed, MAX_STALENESS};
use super::tail::Tail;
use super::{Live, Subject, wait_for};
use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::change_params::ChangeParams;
use crate::app::operate::PauseResource;
use crate::app::readiness::Readiness;
use crate::clock::Clock;
use crate::db::testing::{each, each_place};
use crate::db::{Backend, Db, DbError, NewEvent, Tx, WriteItem};
use crate::domain::ids::LeaseId;
use crate::domain::jwk::SigningKey;
use crate::domain::resource::ParamRule;
use crate::domain::resource::tests::gpu;
use crate::domain::token::{Claims, Subject as TokenSubject, sign};
use crate::worker::rig::Rig;

/// A live part whose tail is moved by hand.
async fn news(db: &Db) -> (Live, Tail) {
    let live = Live::new(db.clone(), MAX_STALENESS);
    let mut tail = Tail::new(live.clone());
    tail.step().await.unwrap();
    (live, tail)
}

fn signing() -> SigningKey {
    SigningKey::new(SecretKey::from_slice(&[7; 32]).unwrap())
}

async fn knock(live: &Live, rig: &Rig, lease: &LeaseId) -> Result<(), Closed> {
    let row = rig.lease(lease).await;
    let now = rig.clock.now();
    let subject = TokenSubject {
        lease: lease.clone(),
        resource: "gpu-small".into(),
        generation: row.doc.standing.generation,
        seq: row.seq,
        expires_at: now.plus_s(3600),
    };
    let token = sign(&Claims::new(subject, "http://shop.test", now, 3600, [1; 16]), &signing());
    live.gate().check(Some("gpu-small"), &token, &[signing().verifying()], now).map(|_| ())
}

async fn act(rig: &Rig, lease: &LeaseId, action: Action) {
    let item = ActOnLease { ground: rig.ground(), lease: lease.clone(), action, actor: None };
    rig.db.write(item).await.unwrap();
}

async fn paid(rig: &mut Rig) -> LeaseId {
    let (lease, invoice) = rig.request(7200).await;
    rig.pay(&[(invoice.script_pubkey.clone(), 1000)]);
    rig.chain.mine_pending();
    rig.round().await;
    lease
}

#[test]
fn a_payment_wakes_who_follows_its_lease_its_invoice_or_the_resource() {
    each(async |db| {
        let mut rig = Rig::new(db.clone(), gpu()).await;
        let (lease, invoice) = rig.request(7200).await;
        let (other, _) = rig.request(7200).await;
        let (live, mut tail) = news(&db).await;
        let mut followed = [
            live.subscribe(Subject::id(lease.as_str())),
            live.subscribe(Subject::id(invoice.facts.id.as_str())),
            live.subscribe(Subject::resource("gpu-small")),
            live.subscribe(Subject::id(other.as_str())),
        ];
        rig.pay(&[(invoice.script_pubkey.clone(), 1000)]);
        rig.round().await;
        tail.step().await.unwrap();
        let mut woken = || -> Vec<bool> {
            followed.iter_mut().map(|one| one.changed().now_or_never().is_some()).collect()
        };
        assert_eq!(woken(), [true, true, true, false]);
        assert_eq!(woken(), [false; 4]);
    });
}

#[test]
fn the_gate_follows_a_lease_through_its_life() {
    each(async |db| {
        let mut rig = Rig::new(db.clone(), gpu()).await;
        let (live, mut tail) = news(&db).await;
        let lease = paid(&mut rig).await;
        assert_eq!(knock(&live, &rig, &lease).await, Err(Closed::Lease), "not heard yet");
        tail.step().await.unwrap();
        assert_eq!(knock(&live, &rig, &lease).await, Ok(()));
        act(&rig, &lease, Action::Suspend).await;
        tail.step().await.unwrap();
        assert_eq!(knock(&live, &rig, &lease).await, Err(Closed::Lease));
        act(&rig, &lease, Action::Resume).await;
        tail.step().await.unwrap();
        assert_eq!(knock(&live, &rig, &lease).await, Ok(()));
        assert_eq!(live.gate().len(), 1);
        act(&rig, &lease, Action::Revoke).await;
        tail.step().await.unwrap();
        assert_eq!(knock(&live, &rig, &lease).await, Err(Closed::Lease));
        assert!(live.gate().is_empty());
    });
}

/// What a standby has that took over without the newest events.
struct Lost(LeaseId);

impl WriteItem for Lost {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for text in
            ["DELETE FROM event WHERE seq > 1", "UPDATE lease SET state = 'unfunded' WHERE id = $1"]
        {
            let query = sqlx::query(text);
            let query = if text.contains("$1") { query.bind(self.0.as_str()) } else { query };
            query.execute(&mut *tx.conn()).await?;
        }
        Ok(())
    }
}

#[test]
fn a_log_that_lost_its_newest_events_makes_the_gate_forget_them() {
    each(async |db| {
        let mut rig = Rig::new(db.clone(), gpu()).await;
        let (live, mut tail) = news(&db).await;
        let lease = paid(&mut rig).await;
        tail.step().await.unwrap();
        assert_eq!(knock(&live, &rig, &lease).await, Ok(()));
        db.write(Lost(lease.clone())).await.unwrap();
        tail.look_anew();
        tail.step().await.unwrap();
        assert_eq!(knock(&live, &rig, &lease).await, Err(Closed::Lease));
        assert!(live.gate().is_empty());
    });
}

#[test]
fn a_node_that_starts_knows_the_leases_that_run() {
    each(async |db| {
        let mut rig = Rig::new(db.clone(), gpu()).await;
        let (first, second) = (paid(&mut rig).await, paid(&mut rig).await);
        let (live, _) = news(&db).await;
        assert_eq!(live.gate().len(), 2);
        assert_eq!(knock(&live, &rig, &first).await, Ok(()));
        assert_eq!(knock(&live, &rig, &second).await, Ok(()));
    });
}

#[test]
fn a_pause_wakes_who_follows_the_resource_although_it_is_no_event() {
    each(async |db| {
        let rig = Rig::new(db.clone(), gpu()).await;
        let (live, _) = news(&db).await;
        let mut follower = live.subscribe(Subject::resource("gpu-small"));
        let item = PauseResource {
            ground: rig.ground(),
            resource: "gpu-small".into(),
            pause: true,
            actor: "test".into(),
        };
        let readiness = tokio::sync::watch::Sender::new(Readiness::default());
        let shutdown = CancellationToken::new();
        let run = live.clone().run(readiness.subscribe(), shutdown.clone());
        let follow = async {
            live.caught_up().await;
            db.write(item).await.unwrap();
            follower.changed().await;
            shutdown.cancel();
        };
        let both = async { tokio::join!(run, follow).0 };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap().unwrap();
    });
}

struct Many(&'static str, i64);

impl WriteItem for Many {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for n in 0..self.1 {
            tx.event(NewEvent {
                id: format!("evt_{}_{n}", self.0),
                kind: "invoice.created",
                at: 0,
                subject: self.0.into(),
                resource: None,
                data: serde_json::json!({}),
            });
        }
        Ok(())
    }
}

#[test]
fn a_tail_that_was_left_far_behind_reads_everything() {
    each(async |db| {
        let (live, mut tail) = news(&db).await;
        let mut last = live.subscribe(Subject::id("last"));
        db.write(Many("first", 1200)).await.unwrap();
        db.write(Many("last", 1)).await.unwrap();
        tail.step().await.unwrap();
        assert!(last.changed().now_or_never().is_some());
        assert_eq!(*live.inner.heard.borrow(), 1201);
    });
}

#[test]
fn ten_thousand_followers_are_woken_by_one_reading() {
    each(async |db| {
        let (live, mut tail) = news(&db).await;
        let ids: Vec<String> = (0..10_000).map(|n| format!("lse_{}", n % 5000)).collect();
        let mut followers: Vec<_> = ids.iter().map(|id| live.subscribe(Subject::id(id))).collect();
        assert_eq!(live.followed(), 5000);
        db.write(Many("lse_7", 1)).await.unwrap();
        tail.step().await.unwrap();
        let woken: Vec<usize> = (0..followers.len())
            .filter(|n| followers[*n].changed().now_or_never().is_some())
            .collect();
        assert_eq!(woken, [7, 5007]);
        drop(followers);
        assert_eq!(live.followed(), 0);
    });
}

#[test]
fn what_another_node_did_is_heard() {
    each_place(async |place| {
        let one = place.open().await;
        let mut rig = Rig::new(one.db.clone(), gpu()).await;
        // A second node on PostgreSQL, a second tail on SQLite.
        let other = match place.backend() {
            crate::db::Backend::Postgres => Some(place.open().await),
            crate::db::Backend::Sqlite => None,
        };
        let live = Live::new(other.as_ref().map_or(&one, |other| other).db.clone(), MAX_STALENESS);
        let readiness = tokio::sync::watch::Sender::new(Readiness::default());
        let shutdown = CancellationToken::new();
        let run = live.clone().run(readiness.subscribe(), shutdown.clone());
        let follow = async {
            let mut all = live.subscribe(Subject::resource("gpu-small"));
            let lease = paid(&mut rig).await;
            while knock(&live, &rig, &lease).await.is_err() {
                tokio::select! {
                    () = all.changed() => {}
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
            }
            shutdown.cancel();
        };
        let both = async { tokio::join!(run, follow).0 };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap().unwrap();
        if let Some(other) = other {
            other.stop().await;
        }
        one.stop().await;
    });
}

#[test]
fn a_long_poll_answers_at_the_next_change_or_at_once_when_it_was_already() {
    each(async |db| {
        let mut rig = Rig::new(db.clone(), gpu()).await;
        let (lease, invoice) = rig.request(7200).await;
        let (live, mut tail) = news(&db).await;
        let shutdown = CancellationToken::new();
        let wait = async |after_seq: u64, wait_s: u64| {
            wait_for(&live, &db, &lease, after_seq, wait_s, &shutdown).await.unwrap()
        };
        let seq = rig.lease(&lease).await.seq;
        assert_eq!(wait(seq - 1, 60).await.unwrap().seq, seq, "at once");
        assert_eq!(wait(seq, 0).await.unwrap().seq, seq, "the time is over");
        assert!(
            wait_for(&live, &db, &LeaseId::new([9; 16]), 0, 60, &shutdown).await.unwrap().is_none()
        );
        let pay = async {
            rig.pay(&[(invoice.script_pubkey.clone(), 1000)]);
            rig.chain.mine_pending();
            rig.round().await;
            tail.step().await.unwrap();
        };
        let waited = async { tokio::join!(wait(seq, 60), pay).0 };
        let found = tokio::time::timeout(Duration::from_secs(20), waited).await.unwrap().unwrap();
        assert!(found.seq > seq);
        shutdown.cancel();
        assert_eq!(wait(found.seq, 60).await.unwrap().seq, found.seq, "shutdown ends it");
    });
}

#[test]
fn new_params_wake_who_follows_the_lease_on_every_node() {
    each_place(async |place| {
        let one = place.open().await;
        let other = match place.backend() {
            Backend::Postgres => Some(place.open().await),
            Backend::Sqlite => None,
        };
        let mut terms = gpu();
        terms.params.insert("name".into(), ParamRule::default());
        let rig = Rig::new(one.db.clone(), terms).await;
        let (lease, _) = rig.request(7200).await;
        let live = Live::new(other.as_ref().unwrap_or(&one).db.clone(), MAX_STALENESS);
        let (shutdown, seq) = (CancellationToken::new(), rig.lease(&lease).await.seq);
        let (_sender, readiness) = tokio::sync::watch::channel(Readiness::default());
        let follow = live.clone().run(readiness, shutdown.clone());
        let change = async {
            let mut followed = live.subscribe(Subject::id(lease.as_str()));
            // The log is followed and the other node listens: what was before wakes nobody later.
            while live.gate().knows(None).is_err() {
                tokio::task::yield_now().await;
            }
            for n in 1_u64.. {
                let params =
                    serde_json::Map::from_iter([("name".to_owned(), n.to_string().into())]);
                let item =
                    ChangeParams { lease: lease.clone(), params, now: crate::worker::rig::START };
                assert_eq!(one.db.write(item).await.unwrap().seq, seq + n);
                let woken = tokio::time::timeout(Duration::from_secs(2), followed.changed()).await;
                // A node that has just begun to listen may not have heard of the first ones.
                if woken.is_ok() && n > 1 {
                    break;
                }
            }
            shutdown.cancel();
        };
        let both = async { tokio::join!(follow, change).0 };
        tokio::time::timeout(Duration::from_secs(30), both).await.unwrap().unwrap();
        if let Some(other) = other {
            other.stop().await;
        }
        one.stop().await;
    });
}
