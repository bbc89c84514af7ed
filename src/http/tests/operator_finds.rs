//! What leads operators from one thing to another: the search, the audit log and the deliveries of
//! one thing, and what is never looked for.

use serde_json::{Value, json};

use super::desk::{Desk, at_desk, text};
use super::operators::{page, send, signed_in};
use crate::app::deliver::PassEvents;
use crate::app::event;
use crate::app::look::{self, EventFilter};
use crate::db::{DbError, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::time::Timestamp;

const HOOK: &str = "https://hooks.example/leasehold";

/// What the API answers with to somebody.
async fn items(desk: &Desk, key: &str, path: &str) -> Vec<Value> {
    let body = desk.call("GET", path).bearer(key).send().await.must(200).body;
    body["items"].as_array().unwrap().clone()
}

/// An endpoint; its id.
async fn endpoint(desk: &Desk, key: &str) -> String {
    let call = desk.call("POST", "/v1/admin/webhooks").bearer(key);
    let made = call.json(&json!({ "url": HOOK, "types": [] })).send().await.must(201).body;
    text(&made, "/webhook/id").to_owned()
}

#[test]
fn a_secret_is_in_no_filter_and_is_not_looked_for() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read", 1).await;
        let (key, _) = desk.operator("read", 2).await;
        let created = desk.lease().await;
        for secret in [text(&created, "/claim_token"), &key] {
            let form = format!("q={secret}");
            let html = send(&desk, &cookie, "/operator/search", &form).await.must(200).text;
            assert!(html.contains("That is a secret") && !html.contains(secret), "{html}");
            let path = format!("/v1/admin/search?q={secret}");
            let refused = desk.call("GET", &path).bearer(&key).send().await.must(422);
            assert_eq!(refused.body["errors"][0]["pointer"], "/q");
            assert!(!refused.text.contains(secret), "{}", refused.text);
            for list in ["events?subject", "deliveries?webhook", "leases?state", "ledger?other"] {
                let path = format!("/operator/{list}={secret}");
                let refused = page(&desk, &cookie, &path).await.must(422).text;
                let said = refused.contains("a secret, which does not belong into an address");
                assert!(said && !refused.contains(secret), "{list}: {refused}");
            }
        }
        // A browser does not even send it.
        let list = page(&desk, &cookie, "/operator/events").await.must(200).text;
        assert!(list.contains(r#"pattern="(?!(clm|key)_|ey.*\..*\.).*""#), "{list}");
    });
}

#[test]
fn keys_are_found_by_those_who_may_see_them_and_deleted_endpoints_by_nobody() {
    at_desk(async |desk| {
        let (admin, id) = desk.operator("read manage admin", 1).await;
        let (reader, _) = desk.operator("read", 2).await;
        let path = format!("/v1/admin/search?q={id}");
        let found = items(&desk, &admin, &path).await;
        assert_eq!(found[0]["id"].as_str(), Some(id.as_str()));
        let call = desk.call("GET", text(&found[0], "/url")).bearer(&admin);
        assert_eq!(call.send().await.must(200).body["id"], found[0]["id"]);
        assert_eq!(items(&desk, &reader, &path).await, [] as [Value; 0]);
        let hook = endpoint(&desk, &admin).await;
        let path = format!("/v1/admin/search?q={hook}");
        assert_eq!(items(&desk, &reader, &path).await.len(), 1);
        let call = desk.call("DELETE", &format!("/v1/admin/webhooks/{hook}")).bearer(&admin);
        call.send().await.must(204);
        assert_eq!(items(&desk, &reader, &path).await, [] as [Value; 0]);
    });
}

#[test]
fn the_audit_log_of_one_thing_has_only_what_was_done_to_it() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage", 1).await;
        let (key, _) = desk.operator("read manage", 2).await;
        let mut leases = Vec::new();
        for _ in 0..2 {
            let created = desk.lease().await;
            desk.pay(&created, 1000).await;
            leases.push(text(&created, "/lease/id").to_owned());
        }
        for lease in &leases {
            for act in ["suspend", "resume"] {
                let path = format!("/v1/admin/leases/{lease}/{act}");
                desk.call("POST", &path).bearer(&key).send().await.must(200);
            }
        }
        let path = format!("/v1/admin/audit-log?subject={}", leases[0]);
        let acts = items(&desk, &key, &path).await;
        let acts: Vec<&str> = acts.iter().map(|act| text(act, "/action")).collect();
        assert_eq!(acts, ["lease.resume", "lease.suspend"]);
        let path = format!("/operator/audit-log?subject={}", leases[0]);
        let html = page(&desk, &cookie, &path).await.must(200).text;
        assert!(html.contains(&leases[0]) && !html.contains(&leases[1]), "{html}");
    });
}

#[test]
fn an_event_leads_to_its_deliveries() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read manage", 1).await;
        let (key, _) = desk.operator("read manage admin", 2).await;
        let hooks = [endpoint(&desk, &key).await, endpoint(&desk, &key).await];
        desk.lease().await;
        desk.rig.db.write(PassEvents { now: desk.state.clock.now() }).await.unwrap();
        let all = items(&desk, &key, "/v1/admin/deliveries").await;
        let event = text(&all[0], "/event").to_owned();
        assert!(all.iter().any(|other| text(other, "/event") != event), "{all:?}");
        let its = items(&desk, &key, &format!("/v1/admin/deliveries?event={event}")).await;
        let mut to: Vec<&str> = its.iter().map(|delivery| text(delivery, "/webhook")).collect();
        to.sort_unstable();
        let mut hooks = hooks.each_ref().map(String::as_str);
        hooks.sort_unstable();
        assert_eq!(to, hooks);
        assert!(its.iter().all(|delivery| text(delivery, "/event") == event));
        let html = page(&desk, &cookie, &format!("/operator/events/{event}")).await.must(200).text;
        for delivery in &its {
            let link = format!("/operator/deliveries/{}", text(delivery, "/id"));
            assert!(html.contains(&link), "{html}");
        }
        let call = desk.call("GET", &format!("/v1/admin/events/{event}")).bearer(&key);
        assert_eq!(call.send().await.must(200).body["id"], event.as_str());
        let found = items(&desk, &key, &format!("/v1/admin/search?q={event}")).await;
        assert_eq!(text(&found[0], "/url"), format!("/v1/admin/events/{event}"));
        let call = desk.call("GET", "/v1/admin/events/evt_x").bearer(&key);
        call.send().await.problem(404, "not_found");
        let path = "/v1/admin/deliveries?event=evt_x";
        let refused = desk.call("GET", path).bearer(&key).send().await.must(422);
        assert_eq!(refused.body["errors"][0]["pointer"], "/event");
    });
}

#[test]
fn a_delivery_to_a_deleted_endpoint_leads_nowhere_and_is_not_offered_again() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read manage", 1).await;
        let (key, _) = desk.operator("read manage admin", 2).await;
        let hook = endpoint(&desk, &key).await;
        desk.lease().await;
        desk.rig.db.write(PassEvents { now: desk.state.clock.now() }).await.unwrap();
        let all = items(&desk, &key, "/v1/admin/deliveries").await;
        let path = format!("/operator/deliveries/{}", text(&all[0], "/id"));
        let link = format!("href=\"/operator/webhooks/{hook}\"");
        let shown = async || {
            let one = page(&desk, &cookie, &path).await.must(200).text;
            let list = page(&desk, &cookie, "/operator/deliveries").await.must(200).text;
            assert!(one.contains(&hook) && list.contains(&hook), "{one}");
            (one.contains(&link), list.contains(&link), one.contains("Deliver it again"))
        };
        assert_eq!(shown().await, (true, true, true));
        let call = desk.call("DELETE", &format!("/v1/admin/webhooks/{hook}")).bearer(&key);
        call.send().await.must(204);
        assert_eq!(shown().await, (false, false, false));
        let all = items(&desk, &key, "/v1/admin/deliveries").await;
        assert!(all.iter().all(|delivery| delivery["webhook_deleted"] == true), "{all:?}");
    });
}

/// So many events about a lease, of no interest to its payments.
struct Noise(String, u32);

impl WriteItem for Noise {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let Self(lease, n) = self;
        let event = |_| {
            let data = json!({ "payment": "pay_another" });
            event(
                EventKind::LeaseExtended,
                Timestamp::from_millis(0),
                lease,
                Some("gpu-small"),
                data,
            )
        };
        (0..*n).map(event).for_each(|event| tx.event(event));
        Ok(())
    }
}

#[test]
fn a_payment_of_a_lease_with_a_long_history_keeps_its_own() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read", 1).await;
        let (key, _) = desk.operator("read", 2).await;
        let created = desk.lease().await;
        desk.pay(&created, 1000).await;
        let noise = Noise(text(&created, "/lease/id").to_owned(), 300);
        desk.rig.db.write(noise).await.unwrap();
        let payments = items(&desk, &key, "/v1/admin/payments").await;
        let path = format!("/operator/payments/{}", text(&payments[0], "/id"));
        let html = page(&desk, &cookie, &path).await.must(200).text;
        assert!(html.contains("payment.credited") && !html.contains("lease.extended"), "{html}");
        // What is left out of a history is said, with where it is.
        assert!(!html.contains("Not all is shown"), "{html}");
        let lease = text(&created, "/lease/id");
        let path = format!("/operator/leases/{lease}");
        let html = page(&desk, &cookie, &path).await.must(200).text;
        assert!(html.contains("Not all is shown: of each thing the newest 200 "), "{html}");
        for log in ["events", "audit-log"] {
            let link = format!("href=\"/operator/{log}?subject={lease}\"");
            assert!(html.contains(&link), "{link}: {html}");
        }
    });
}

#[test]
fn the_event_log_of_one_thing_or_type_goes_on_by_its_number() {
    at_desk(async |mut desk| {
        let (key, _) = desk.operator("read", 2).await;
        let created = desk.lease().await;
        desk.pay(&created, 1000).await;
        let lease = text(&created, "/lease/id");
        let read = async |query: &str| {
            let path = format!("/v1/admin/events?{query}");
            desk.call("GET", &path).bearer(&key).send().await.must(200).body
        };
        let all = read("limit=200").await;
        let types = |events: &Value| -> Vec<String> {
            let items = events["items"].as_array().unwrap();
            items.iter().map(|event| text(event, "/type").to_owned()).collect()
        };
        let mut wanted = types(&all);
        wanted.retain(|kind| kind.starts_with("payment."));
        assert!(wanted.len() > 2, "{all}");
        // A part at a time, as programs read it.
        let (mut seen, mut after) = (Vec::new(), Value::from(0));
        while after != all["last_seq"] {
            let part = read(&format!("type=payment.&subject={lease}&limit=1&after={after}")).await;
            assert!(part["next_after"].as_i64() > after.as_i64(), "{part}");
            seen.extend(types(&part));
            after = part["next_after"].clone();
        }
        assert_eq!(seen, wanted);
        // A group of the whole log, forwards and backwards.
        for group in ["payment.", "lease.", "invoice."] {
            let mut wanted = types(&all);
            wanted.retain(|kind| kind.starts_with(group));
            assert_eq!(types(&read(&format!("type={group}")).await), wanted);
            let first = types(&read(&format!("type={group}&limit=2")).await);
            assert_eq!(first, wanted[..2]);
            let filter = EventFilter { kind: Some(group.into()), ..EventFilter::default() };
            let part = look::Part::new(2, None);
            let newest = look::events(&desk.rig.db, &filter, &part).await.unwrap();
            let last: Vec<_> = newest.rows.into_iter().rev().map(|event| event.kind).collect();
            assert_eq!(last, wanted[wanted.len() - 2..]);
        }
        assert_eq!(types(&read("type=lease.created").await), ["lease.created"]);
        assert_eq!(types(&read("subject=lse_x").await), [] as [String; 0]);
        let path = "/v1/admin/events?type=payment.typo";
        let refused = desk.call("GET", path).bearer(&key).send().await.must(422);
        assert_eq!(refused.body["errors"][0]["pointer"], "/type");
    });
}
