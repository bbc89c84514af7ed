//! Lists: pages, cursors, and filters that each list takes or refuses.

use serde_json::{Value, json};

use super::desk::{Answer, Desk, at_desk};

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
