//! Lists: pages, cursors, and filters that each list takes or refuses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::desk::{Answer, Desk, at_desk, at_desk_with, text};
use crate::app::deliver::PassEvents;
use crate::app::look::{self, Listing, Part};
use crate::app::{AppError, random_128};
use crate::db::batch::BatchRow;
use crate::db::{self, Db, DbError, Tx, WriteItem};
use crate::domain::ids::{BatchId, InvoiceId};
use crate::domain::payout::batch::BatchState;
use crate::domain::payout::fee::FeePolicy;
use crate::domain::resource::Provisioner;
use crate::domain::resource::tests::gpu;
use crate::domain::time::Timestamp;
use crate::worker::rig::START;

async fn ask(desk: &Desk, key: &str, path: &str) -> Answer {
    desk.call("GET", path).bearer(key).send().await
}

/// What is at `name` of each item.
fn each<'a>(body: &'a Value, name: &str) -> Vec<&'a Value> {
    body["items"].as_array().unwrap().iter().map(|item| &item[name]).collect()
}

const LISTS: [&str; 7] = [
    "/v1/resources",
    "/v1/admin/leases",
    "/v1/admin/invoices",
    "/v1/admin/payments",
    "/v1/admin/ledger",
    "/v1/admin/audit-log",
    "/v1/admin/keys",
];

#[test]
fn every_list_refuses_a_wrong_limit_cursor_or_filter_and_says_what_is_allowed() {
    at_desk(async |desk| {
        let (key, _) = desk.operator("read admin", 1).await;
        for list in LISTS.into_iter().chain(["/v1/admin/catalog", "/v1/admin/events"]) {
            for limit in ["0", "201", "999", "-1", "x", ""] {
                let answer = ask(&desk, &key, &format!("{list}?limit={limit}")).await;
                let answer = answer.problem(422, "invalid_request");
                assert_eq!(answer.pointers(), ["/limit"], "{list} {}", answer.text);
                assert!(answer.text.contains("1 to 200"), "{list} {}", answer.text);
            }
            ask(&desk, &key, &format!("{list}?limit=200")).await.must(200);
            let answer = ask(&desk, &key, &format!("{list}?colour=red")).await;
            assert_eq!(answer.problem(422, "invalid_request").pointers(), ["/colour"]);
        }
        for list in LISTS.into_iter().chain(["/v1/admin/catalog"]) {
            let answer = ask(&desk, &key, &format!("{list}?cursor=nonsense")).await;
            assert_eq!(answer.problem(422, "invalid_request").pointers(), ["/cursor"], "{list}");
        }
        for (list, named) in [("leases", "grace"), ("invoices", "expired"), ("payments", "gone")] {
            let answer = ask(&desk, &key, &format!("/v1/admin/{list}?state=typo")).await;
            let answer = answer.problem(422, "invalid_request");
            assert_eq!(answer.pointers(), ["/state"]);
            assert!(answer.text.contains(named), "{}", answer.text);
            let answer = ask(&desk, &key, &format!("/v1/admin/{list}?resource=typo")).await;
            let answer = answer.problem(422, "invalid_request");
            assert_eq!(answer.pointers(), ["/resource"]);
            assert!(answer.text.contains("gpu-small"), "{}", answer.text);
        }
        for list in ["leases", "invoices"] {
            let answer = ask(&desk, &key, &format!("/v1/admin/{list}?unallocated=true")).await;
            assert_eq!(answer.problem(422, "invalid_request").pointers(), ["/unallocated"]);
        }
    });
}

#[test]
fn pages_of_one_hold_together_what_a_list_holds_newest_first() {
    at_desk(async |mut desk| {
        let (key, _) = desk.operator("read admin", 1).await;
        desk.operator("read", 2).await;
        for _ in 0..2 {
            let created = desk.lease().await;
            desk.pay(&created, 1000).await;
        }
        for list in LISTS {
            let whole = ask(&desk, &key, list).await.must(200).body;
            assert_eq!(whole["next_cursor"], Value::Null);
            let (mut items, mut path) = (Vec::new(), format!("{list}?limit=1"));
            loop {
                let part = ask(&desk, &key, &path).await.must(200).body;
                let part_items = part["items"].as_array().unwrap();
                assert_eq!(part_items.len(), 1, "{path}");
                items.extend(part_items.clone());
                let Some(cursor) = part["next_cursor"].as_str() else { break };
                path = format!("{list}?limit=1&cursor={cursor}");
            }
            assert_eq!(json!(items), whole["items"], "{list}");
        }
        let actions = ask(&desk, &key, "/v1/admin/audit-log").await.body;
        let numbers: Vec<u64> =
            each(&actions, "id").iter().map(|number| number.as_u64().unwrap()).collect();
        assert!(numbers.len() > 1 && numbers.is_sorted_by(|a, b| a > b), "{numbers:?}");
        let lines = ask(&desk, &key, "/v1/admin/ledger").await.body;
        let entries: Vec<u64> =
            each(&lines, "entry").iter().map(|number| number.as_u64().unwrap()).collect();
        assert!(entries.len() > 3 && entries.is_sorted_by(|a, b| a >= b), "{entries:?}");
    });
}

#[test]
fn leases_invoices_and_payments_are_found_by_state_and_resource() {
    at_desk(async |mut desk| {
        let (key, _) = desk.operator("read", 1).await;
        let paid = desk.lease().await;
        desk.pay(&paid, 1000).await;
        let open = desk.lease().await;
        let found = async |query: &str| {
            let body = ask(&desk, &key, &format!("/v1/admin/{query}")).await.must(200).body;
            each(&body, "id").into_iter().cloned().collect::<Vec<_>>()
        };
        let ids = |what: &str| [&open[what]["id"], &paid[what]["id"]].map(Clone::clone);
        assert_eq!(found("leases?resource=gpu-small").await.len(), 2);
        assert_eq!(found("leases?state=unfunded").await, ids("lease")[..1]);
        assert_eq!(found("invoices?resource=gpu-small").await.len(), 2);
        assert_eq!(found("invoices?state=open&resource=gpu-small").await, ids("invoice")[..1]);
        assert_eq!(found("payments?resource=gpu-small").await.len(), 1);
        assert!(found("payments?unallocated=true").await.is_empty());
        assert!(found("payments?state=mempool").await.is_empty());
    });
}

/// All of a list, two at a time.
async fn whole(desk: &Desk, key: &str, list: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/admin/{list}&limit=2{cursor}");
        let part = ask(desk, key, &path).await.must(200).body;
        items.extend(part["items"].as_array().unwrap().clone());
        let Some(next) = part["next_cursor"].as_str() else { return items };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn a_filter_finds_what_it_says_in_the_order_of_the_whole_list() {
    let mut terms = gpu();
    terms.units.push("gpu-3".into());
    terms.provisioner = Provisioner::Exec { command: vec!["/nowhere".into()], timeout_s: 60 };
    at_desk_with(
        terms,
        |_| {},
        async |mut desk| {
            let (key, _) = desk.operator("read", 9).await;
            busy(&mut desk).await;
            let created = desk.lease().await;
            desk.pay(&created, 1000).await;
            for (list, name) in [
                ("leases", "state"),
                ("invoices", "status"),
                ("payments", "state"),
                ("payouts", "state"),
                ("deliveries", "status"),
            ] {
                let all = whole(&desk, &key, &format!("{list}?")).await;
                assert!(all.len() > 2, "{list}");
                let states: BTreeSet<&str> =
                    all.iter().map(|item| text(item, &format!("/{name}"))).collect();
                let asked = if list == "deliveries" { "status" } else { "state" };
                for state in &states {
                    let found = whole(&desk, &key, &format!("{list}?{asked}={state}")).await;
                    let mut wanted = all.clone();
                    wanted.retain(|item| item[name] == **state);
                    assert_eq!(found, wanted, "{list} {state}");
                    if ["leases", "invoices", "payments", "payouts"].contains(&list) {
                        let of = format!("{list}?{asked}={state}&resource=gpu-small");
                        assert_eq!(whole(&desk, &key, &of).await, wanted, "{of}");
                    }
                }
            }
            let all = whole(&desk, &key, "actions?").await;
            let mut open = all.clone();
            open.retain(|action| action["done_at"].is_null());
            assert!(!open.is_empty() && open.len() < all.len(), "{all:?}");
            assert_eq!(whole(&desk, &key, "actions?state=open").await, open);
            assert_eq!(whole(&desk, &key, "actions?resource=gpu-small").await, all);
            for state in ["failing", "failed", "stuck"] {
                assert!(whole(&desk, &key, &format!("actions?state={state}")).await.is_empty());
            }
        },
    );
}

/// Batches that nobody asked for: a node would have to fill their transactions.
struct Batches(usize);

impl WriteItem for Batches {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for _ in 0..self.0 {
            let row = BatchRow {
                id: BatchId::new(random_128()),
                state: BatchState::Prepared,
                fee_policy: FeePolicy::Recipient,
                created_at: START,
                abandoned_at: None,
                replaced_by: None,
                places: String::new(),
                versions: Vec::new(),
            };
            db::batch::insert(tx.conn(), &row).await?;
        }
        Ok(())
    }
}

/// Something in every list, all of it in one millisecond.
async fn busy(desk: &mut Desk) {
    let (key, _) = desk.operator("read manage admin", 1).await;
    for n in 0..3 {
        desk.operator("read", 2 + n).await;
        let body = json!({ "url": "https://hooks.example/in" });
        desk.call("POST", "/v1/admin/webhooks").bearer(&key).json(&body).send().await.must(201);
    }
    let mut created = Vec::new();
    let mut outputs = Vec::new();
    for _ in 0..3 {
        let lease = desk.lease().await;
        let id = InvoiceId::parse(text(&lease, "/invoice/id")).unwrap();
        outputs.push((desk.rig.invoice(&id).await.script_pubkey, 1000));
        created.push(lease);
    }
    desk.rig.pay(&outputs);
    desk.rig.chain.mine_pending();
    desk.rig.round().await;
    for lease in &created {
        let path = format!("/v1/leases/{}/return", text(lease, "/lease/id"));
        let claim = text(lease, "/claim_token");
        desk.call("POST", &path).bearer(claim).send().await.must(200);
    }
    desk.rig.db.write(Batches(3)).await.unwrap();
    desk.rig.db.write(PassEvents { now: START }).await.unwrap();
}

/// Walks a list in pages of one and of two: together they are the list. `row` names a row
/// and its moment, which is that of all.
async fn walks<R>(
    name: &str,
    list: impl AsyncFn(Part) -> Result<Listing<R>, AppError>,
    row: impl Fn(&R) -> (String, Timestamp),
) {
    let whole = list(Part::new(200, None)).await.unwrap();
    assert!(whole.next.is_none(), "{name}");
    let whole: Vec<_> = whole.rows.iter().map(&row).collect();
    assert!(whole.len() >= 3, "{name}: {whole:?}");
    assert!(whole.iter().all(|(_, at)| *at == START), "{name}: {whole:?}");
    for limit in [1, 2] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let part = list(Part::new(limit, cursor)).await.unwrap();
            assert!(part.rows.len() <= limit as usize, "{name}");
            seen.extend(part.rows.iter().map(&row));
            assert!(seen.len() <= whole.len(), "{name}: it never ends");
            cursor = part.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, whole, "{name} by {limit}");
    }
}

/// Lists of what customers ask for and pay.
async fn walk_customers(db: &Db) {
    walks(
        "leases",
        async |part| look::leases(db, look::Filter::default(), &part).await,
        |it| (it.facts.id.to_string(), it.facts.created_at),
    )
    .await;
    walks(
        "invoices",
        async |part| look::invoices(db, look::Filter::default(), &part).await,
        |it| (it.facts.id.to_string(), it.facts.created_at),
    )
    .await;
    walks(
        "payments",
        async |part| look::payments(db, look::PaymentFilter::default(), &part).await,
        |it| (it.facts.id.to_string(), it.facts.first_seen_at),
    )
    .await;
    walks(
        "payouts",
        async |part| look::payouts(db, look::PayoutFilter::default(), &part).await,
        |it| (it.facts.id.to_string(), it.created_at),
    )
    .await;
    walks(
        "batches",
        async |part| look::batches(db, None, &part).await,
        |it| (it.id.to_string(), it.created_at),
    )
    .await;
}

/// Lists of what follows from that, and of what operators do.
async fn walk_the_rest(db: &Db) {
    walks(
        "actions",
        async |part| look::actions(db, look::ActionFilter::default(), &part).await,
        |it| (it.id.clone(), it.created_at),
    )
    .await;
    walks(
        "webhooks",
        async |part| look::webhooks(db, &part).await,
        |it| (it.id.clone(), it.created_at),
    )
    .await;
    walks(
        "deliveries",
        async |part| look::deliveries(db, look::DeliveryFilter::default(), None, &part).await,
        |it| (it.id.to_string(), it.created_at),
    )
    .await;
    walks("keys", async |part| look::keys(db, &part).await, |it| (it.id.clone(), it.created_at))
        .await;
    walks(
        "ledger",
        async |part| look::ledger(db, &part).await,
        |it| (format!("{} {:?}", it.entry, it.account), it.happened_at),
    )
    .await;
    walks(
        "audit log",
        async |part| look::audit_log(db, None, &part).await,
        |it| (it.id.to_string(), it.happened_at),
    )
    .await;
    walks(
        "events",
        async |part| look::events(db, &look::EventFilter::default(), &part).await,
        |it| (it.id.clone(), Timestamp::from_millis(it.at)),
    )
    .await;
}

#[test]
fn rows_of_one_millisecond_are_neither_lost_nor_doubled_over_the_pages_of_any_list() {
    let mut terms = gpu();
    terms.units.push("gpu-3".into());
    terms.provisioner = Provisioner::Exec { command: vec!["/nowhere".into()], timeout_s: 60 };
    at_desk_with(
        terms,
        |_| {},
        async |mut desk| {
            busy(&mut desk).await;
            walk_customers(&desk.rig.db).await;
            walk_the_rest(&desk.rig.db).await;
        },
    );
}
