//! Deliveries on both databases, with a receiver that answers as each test says and a clock that is
//! moved by hand.

use serde_json::json;

use super::*;
use crate::app::event;
use crate::app::webhooks::{Act, ActOnWebhook, By, CreateWebhook, Redeliver, RedeliverSince};
use crate::clock::{Clock as _, ManualClock};
use crate::db::delivery::{Delivery, Filter};
use crate::db::testing::each;
use crate::db::webhook::Endpoint;
use crate::db::{Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::webhook::{DeliveryStatus, Secret, Types};
use crate::webhook::Reach;
use crate::webhook::tests::sink::{Reply, Sink};
use crate::worker::housekeeping;
use crate::worker::rig::START;

/// Events happen.
struct Happen(EventKind, Timestamp, usize);

impl WriteItem for Happen {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for n in 0..self.2 {
            tx.event(event(self.0, self.1, "lse_x", None, json!({ "n": n })));
        }
        Ok(())
    }
}

struct Bench {
    db: Db,
    clock: Arc<ManualClock>,
    deliver: Deliver,
}

impl Bench {
    fn new(db: Db) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let deliver = deliver(&db, &clock);
        Self { db, clock, deliver }
    }

    fn by(&self) -> By {
        By { actor: "test".into(), now: self.clock.now() }
    }

    async fn endpoint(&self, url: &str, types: &[&str]) -> WebhookId {
        let item = CreateWebhook {
            url: url.to_owned(),
            types: Types::parse(types).unwrap(),
            secret: Secret::new([1; 32]),
            key: None,
            by: self.by(),
        };
        WebhookId::parse(&self.db.write(item).await.unwrap().id).unwrap()
    }

    async fn happen(&self, kind: EventKind, count: usize) {
        self.db.write(Happen(kind, self.clock.now(), count)).await.unwrap();
    }

    async fn act(&self, id: &WebhookId, act: Act) {
        let item = ActOnWebhook { id: id.to_string(), act, by: self.by() };
        self.db.write(item).await.unwrap();
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        let mut conn = self.db.read().await.unwrap();
        let mut all = db::delivery::newest(&mut conn, &Filter::default(), 5000).await.unwrap();
        all.sort_by_key(|delivery| delivery.event);
        all
    }

    async fn row(&self, id: &WebhookId) -> Endpoint {
        let mut conn = self.db.read().await.unwrap();
        db::webhook::find(&mut conn, id.as_str()).await.unwrap().unwrap()
    }

    async fn attempts(&self, delivery: &Delivery) -> Vec<Attempt> {
        let mut conn = self.db.read().await.unwrap();
        db::delivery::attempts(&mut conn, &delivery.id).await.unwrap()
    }
}

fn deliver(db: &Db, clock: &Arc<ManualClock>) -> Deliver {
    Deliver::new(db.clone(), clock.clone(), Client::new(Reach::new(true)).unwrap())
}

fn seqs(sink: &Sink) -> Vec<i64> {
    let mut seqs: Vec<i64> = sink.got().iter().map(|got| got.seq()).collect();
    seqs.sort_unstable();
    seqs
}

#[test]
fn each_wanted_event_arrives_once_and_later_than_the_endpoint_was_made() {
    each(async |db| {
        let mut bench = Bench::new(db);
        let (all, some) = (Sink::taking(), Sink::taking());
        bench.happen(EventKind::LeaseCreated, 2).await;
        bench.endpoint(&all.url("/"), &[]).await;
        bench.endpoint(&some.url("/"), &["payment.*", "lease.ended"]).await;
        bench.happen(EventKind::LeaseCreated, 120).await;
        bench.happen(EventKind::PaymentSeen, 3).await;
        bench.deliver.settle().await;
        bench.deliver.settle().await;
        assert_eq!(seqs(&all), (3..=125).collect::<Vec<_>>());
        assert_eq!(seqs(&some), [123, 124, 125]);
        let shown = bench.deliveries().await;
        assert!(shown.iter().all(|one| one.status == DeliveryStatus::Delivered));
        let got = &some.got()[0];
        let same = shown.iter().find(|one| one.id.as_str() == got.header("webhook-id")).unwrap();
        assert_eq!((same.event, same.attempts), (got.seq(), 1));
        let mut conn = bench.db.read().await.unwrap();
        let event = db::event::find(&mut conn, got.seq()).await.unwrap().unwrap();
        assert_eq!(got.body, serde_json::to_vec(&EventView::from(event)).unwrap());
    });
}

#[test]
fn a_failed_try_is_followed_by_others_with_the_same_id_after_what_the_schedule_says() {
    each(async |db| {
        let mut bench = Bench::new(db);
        let sink = Sink::start(|n, _| match n {
            0 => Reply::Status(500),
            1 => Reply::With(429, ("retry-after", "900".into()), b"later".to_vec()),
            _ => Reply::Status(200),
        });
        bench.endpoint(&sink.url("/"), &[]).await;
        bench.happen(EventKind::LeaseCreated, 1).await;
        bench.deliver.settle().await;
        let waits = async |bench: &Bench| {
            let one = bench.deliveries().await.remove(0);
            bench.clock.now().seconds_until(one.due_at)
        };
        assert!((3..=6).contains(&waits(&bench).await), "{}", waits(&bench).await);
        bench.deliver.settle().await;
        assert_eq!(sink.got().len(), 1, "it is not due yet");
        bench.clock.advance_s(7);
        bench.deliver.settle().await;
        assert_eq!(waits(&bench).await, 900, "what the endpoint asked for");
        bench.clock.advance_s(900);
        bench.deliver.settle().await;
        let one = bench.deliveries().await.remove(0);
        assert_eq!((one.status, one.attempts), (DeliveryStatus::Delivered, 3));
        let ids: Vec<String> =
            sink.got().iter().map(|got| got.header("webhook-id").to_owned()).collect();
        assert_eq!(ids, vec![one.id.to_string(); 3]);
        let log = bench.attempts(&one).await;
        let answers: Vec<_> = log.iter().map(|it| (it.n, it.response_status)).collect();
        assert_eq!(answers, [(1, Some(500)), (2, Some(429)), (3, Some(200))]);
        assert_eq!((log[1].response.as_str(), log[2].failure.as_deref()), ("later", None));
    });
}

#[test]
fn after_the_last_try_the_endpoint_is_disabled_and_its_events_wait_until_it_is_resumed() {
    each(async |db| {
        let mut bench = Bench::new(db);
        let (dead, alive) = (Sink::start(|_, _| Reply::Status(500)), Sink::taking());
        let id = bench.endpoint(&dead.url("/"), &["lease.*"]).await;
        bench.endpoint(&alive.url("/"), &["webhook.disabled"]).await;
        bench.happen(EventKind::LeaseCreated, 1).await;
        for _ in 0..10 {
            bench.deliver.settle().await;
            bench.clock.advance_s(86_400 * 6 / 5 + 1);
        }
        assert_eq!(dead.got().len(), 10);
        let row = bench.row(&id).await;
        assert_eq!(row.state, EndpointState::Disabled);
        bench.happen(EventKind::LeaseEnded, 1).await;
        bench.deliver.settle().await;
        assert_eq!((dead.got().len(), alive.got().len()), (10, 1));
        let told = alive.got()[0].event();
        assert_eq!((&told["type"], &told["subject"]), (&json!("webhook.disabled"), &json!(id)));
        assert_eq!(told["data"]["why"], json!(row.why.unwrap()));
        dead.answer(|_, _| Reply::Status(200));
        bench.act(&id, Act::Resume).await;
        bench.deliver.settle().await;
        assert_eq!(dead.got().len(), 11);
        assert_eq!(dead.got()[10].event()["type"], "lease.ended");
        let since = RedeliverSince { id: id.to_string(), since: START, by: bench.by() };
        bench.db.write(since).await.unwrap();
        bench.deliver.settle().await;
        assert_eq!(dead.got().len(), 13, "both again, also the one that was given up");
        assert!(bench.deliveries().await.iter().all(|it| it.status == DeliveryStatus::Delivered));
    });
}

#[test]
fn an_endpoint_that_is_gone_is_disabled_at_once() {
    each(async |db| {
        let mut bench = Bench::new(db);
        let sink = Sink::start(|_, _| Reply::Status(410));
        let id = bench.endpoint(&sink.url("/"), &[]).await;
        bench.happen(EventKind::LeaseCreated, 1).await;
        bench.deliver.settle().await;
        let row = bench.row(&id).await;
        assert_eq!(row.state, EndpointState::Disabled);
        assert!(row.why.unwrap().contains("410"));
        assert_eq!(bench.deliveries().await[0].status, DeliveryStatus::Failed);
    });
}

#[test]
fn a_test_is_for_one_endpoint_only_whatever_it_wants() {
    each(async |db| {
        let mut bench = Bench::new(db);
        let (tried, other) = (Sink::taking(), Sink::taking());
        let id = bench.endpoint(&tried.url("/"), &["lease.ended"]).await;
        bench.endpoint(&other.url("/"), &[]).await;
        bench.act(&id, Act::Test).await;
        bench.deliver.settle().await;
        assert_eq!((tried.got().len(), other.got().len()), (1, 0));
        assert_eq!(tried.got()[0].event()["type"], "webhook.test");
    });
}

#[test]
fn a_claim_that_ran_out_is_taken_again_and_a_late_failure_counts_no_more() {
    each(async |db| {
        let mut bench = Bench::new(db);
        let sink = Sink::taking();
        let id = bench.endpoint(&sink.url("/"), &[]).await;
        bench.happen(EventKind::LeaseCreated, 1).await;
        bench.db.write(PassEvents { now: START }).await.unwrap();
        let (room, until) = (vec![(id.clone(), 4)], START.plus_s(CLAIM_S));
        let item = ClaimDeliveries { room, now: START, until };
        let lost = bench.db.write(item).await.unwrap().remove(0);
        bench.deliver.settle().await;
        assert!(sink.got().is_empty(), "somebody else has it");
        bench.clock.advance_s(i64::try_from(CLAIM_S).unwrap());
        bench.deliver.settle().await;
        assert_eq!(sink.got().len(), 1);
        let item = Redeliver { id: lost.id.to_string(), by: bench.by() };
        bench.db.write(item).await.unwrap();
        let failed = Exchange { failure: Some("late".into()), ..Exchange::default() };
        let clock: SharedClock = bench.clock.clone();
        record(&bench.db, &clock, lost, START, failed).await.unwrap();
        let one = bench.deliveries().await.remove(0);
        assert_eq!((one.status, one.failure), (DeliveryStatus::Pending, None));
        bench.deliver.settle().await;
        let ids: Vec<_> =
            sink.got().iter().map(|got| got.header("webhook-id").to_owned()).collect();
        assert_eq!(ids, vec![one.id.to_string(); 2], "asked for again, it keeps its id");
    });
}

#[test]
fn a_backlog_is_bounded_and_the_rest_waits_in_the_log() {
    each(async |db| {
        let bench = Bench::new(db);
        let id = bench.endpoint("http://127.0.0.1:1/", &[]).await;
        bench.happen(EventKind::LeaseCreated, 1050).await;
        let now = START;
        while bench.db.write(PassEvents { now }).await.unwrap() {}
        assert_eq!(bench.deliveries().await.len(), 1000);
        assert_eq!(bench.row(&id).await.looked_at_seq, 1000);
        bench.act(&id, Act::Delete).await;
        let kept = bench.deliveries().await;
        assert!(kept.iter().all(|one| one.status == DeliveryStatus::Failed));
        let clock: SharedClock = bench.clock.clone();
        bench.clock.advance_s(30 * 86_400);
        housekeeping::step(&bench.db, &clock).await.unwrap();
        assert_eq!(bench.deliveries().await.len(), 1000, "they are kept for 30 days");
        bench.clock.advance_s(1);
        housekeeping::step(&bench.db, &clock).await.unwrap();
        assert!(bench.deliveries().await.is_empty());
        let mut conn = bench.db.read().await.unwrap();
        assert_eq!(db::webhook::find(&mut conn, id.as_str()).await.unwrap(), None);
    });
}

#[test]
fn an_endpoint_that_never_answers_delays_no_other() {
    each(async |db| {
        let mut bench = Bench::new(db);
        let (dead, alive) = (Sink::start(|_, _| Reply::Hang), Sink::taking());
        bench.endpoint(&dead.url("/"), &[]).await;
        bench.endpoint(&alive.url("/"), &[]).await;
        bench.happen(EventKind::LeaseCreated, 40).await;
        let all = async {
            while alive.got().len() < 40 {
                bench.deliver.begin().await.unwrap();
                let ended = bench.deliver.under_way.next().await.unwrap();
                bench.deliver.ended(ended).unwrap();
            }
        };
        // Far below the limit of one exchange.
        tokio::time::timeout(Duration::from_secs(8), all).await.unwrap();
        assert_eq!(dead.got().len(), 4, "no more than so many at once");
    });
}
