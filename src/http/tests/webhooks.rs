//! Endpoints and deliveries through the API: who may, what is refused, what is shown once.

use axum::body::Body;
use serde_json::{Value, json};

use super::desk::{Answer, Desk, at_desk, at_desk_with, text};
use crate::domain::resource::tests::gpu;
use crate::webhook::Reach;
use crate::worker::rig::START;

const HOOK: &str = "https://hooks.example/in";
const WEBHOOKS: &str = "/v1/admin/webhooks";
const KEY: &str = "0123456789abcdef";

async fn admin(desk: &Desk) -> String {
    desk.operator("read manage payout admin", 9).await.0
}

async fn create(desk: &Desk, by: &str, body: &Value) -> Answer {
    desk.call("POST", WEBHOOKS).bearer(by).json(body).send().await
}

#[test]
fn an_endpoint_is_made_with_a_secret_that_is_shown_once() {
    at_desk(async |desk| {
        let by = admin(&desk).await;
        let body = json!({ "url": HOOK, "types": ["payment.*", "lease.ended"] });
        let made = create(&desk, &by, &body).await.must(201).body;
        let id = text(&made, "/webhook/id").to_owned();
        assert!(text(&made, "/secret").starts_with("whsec_"));
        assert_eq!(made["webhook"]["types"], body["types"]);
        let path = format!("{WEBHOOKS}/{id}");
        let shown = desk.call("GET", &path).bearer(&by).send().await.must(200);
        assert_eq!(shown.body, made["webhook"]);
        let list = desk.call("GET", WEBHOOKS).bearer(&by).send().await.must(200);
        assert_eq!(list.body["items"], json!([shown.body]));
        assert!(!shown.text.contains("whsec_") && !list.text.contains("whsec_"));
        for (what, state) in [("pause", "paused"), ("resume", "active")] {
            let path = format!("{path}/{what}");
            let answer = desk.call("POST", &path).bearer(&by).send().await.must(200);
            assert_eq!(answer.body["state"], state);
        }
        desk.call("DELETE", &path).bearer(&by).send().await.must(204);
        for (method, path) in [("GET", path.clone()), ("DELETE", path.clone())] {
            desk.call(method, &path).bearer(&by).send().await.problem(404, "not_found");
        }
        let log = desk.call("GET", "/v1/admin/audit-log").bearer(&by).send().await.must(200);
        let actions: Vec<&str> = log.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|item| text(item, "/action"))
            .filter(|action| action.starts_with("webhook."))
            .collect();
        let all = ["webhook.create", "webhook.pause", "webhook.resume", "webhook.delete"];
        assert_eq!(actions, all);
        assert!(!log.text.contains("whsec_"));
    });
}

#[test]
fn a_create_or_rotation_asked_twice_gives_the_same_secret_and_happens_once() {
    at_desk(async |desk| {
        let by = admin(&desk).await;
        let body = json!({ "url": HOOK });
        let ask = |path: String, key: &'static str, body: Value| {
            let call = desk.call("POST", &path).bearer(&by).key(key).json(&body);
            call.send()
        };
        let first = ask(WEBHOOKS.into(), KEY, body.clone()).await.must(201).body;
        let second = ask(WEBHOOKS.into(), KEY, body.clone()).await.must(201).body;
        assert_eq!(first, second);
        let other = json!({ "url": "https://hooks.example/other" });
        ask(WEBHOOKS.into(), KEY, other).await.problem(422, "idempotency_key_reused");
        let id = text(&first, "/webhook/id");
        let rotate = format!("{WEBHOOKS}/{id}/rotate");
        let week = json!({ "overlap_s": 604_800 });
        let rotated = ask(rotate.clone(), "0123456789abcdeg", week.clone()).await.must(200).body;
        let again = ask(rotate.clone(), "0123456789abcdeg", week).await.must(200).body;
        assert_eq!(rotated, again);
        assert_ne!(rotated["secret"], first["secret"]);
        let until = START.plus_s(604_800).to_string();
        assert_eq!(text(&rotated, "/webhook/old_secret_until"), until);
        let none = ask(rotate.clone(), "0123456789abcdeh", json!({ "overlap_s": 0 })).await;
        assert_eq!(none.must(200).body["webhook"]["old_secret_until"], Value::Null);
        let stale = ask(rotate.clone(), "0123456789abcdeg", json!({ "overlap_s": 604_800 })).await;
        stale.problem(422, "idempotency_key_reused");
        let long = ask(rotate, "0123456789abcdei", json!({ "overlap_s": 604_801 })).await;
        assert_eq!(long.problem(422, "invalid_request").pointers(), ["/overlap_s"]);
        let delete = format!("{WEBHOOKS}/{id}");
        desk.call("DELETE", &delete).bearer(&by).send().await.must(204);
        ask(WEBHOOKS.into(), KEY, body).await.problem(422, "idempotency_key_reused");
    });
}

#[test]
fn a_private_target_is_refused_unless_the_configuration_allows_it() {
    let urls =
        ["http://127.0.0.1:9000/", "https://[fd00::1]/", "http://localhost/", "http://10.1/"];
    at_desk(async |desk| {
        let by = admin(&desk).await;
        for url in urls.iter().copied().chain(["ftp://a.example/", "https://a:b@a.example/"]) {
            let answer = create(&desk, &by, &json!({ "url": url })).await;
            assert_eq!(answer.problem(422, "invalid_request").pointers(), ["/url"], "{url}");
        }
    });
    let allow = |state: &mut crate::http::HttpState| state.reach = Reach::new(true);
    at_desk_with(gpu(), allow, async |desk| {
        let by = admin(&desk).await;
        for url in urls {
            create(&desk, &by, &json!({ "url": url })).await.must(201);
        }
    });
}

#[test]
fn a_type_that_no_event_has_is_refused_with_those_that_there_are() {
    at_desk(async |desk| {
        let by = admin(&desk).await;
        let body = json!({ "url": HOOK, "types": ["lease.*", "payment.sent"] });
        let answer = create(&desk, &by, &body).await.problem(422, "invalid_request");
        assert_eq!(answer.pointers(), ["/types"]);
        let detail = text(&answer.body, "/detail");
        assert!(detail.contains("payment.sent") && detail.contains("payment.credited"), "{detail}");
    });
}

#[test]
fn each_scope_may_what_is_its_own() {
    at_desk(async |desk| {
        let by = admin(&desk).await;
        let made = create(&desk, &by, &json!({ "url": HOOK })).await.must(201).body;
        let id = text(&made, "/webhook/id");
        let (reads, manages) =
            (desk.operator("read", 1).await.0, desk.operator("manage", 2).await.0);
        let path = |end: &str| format!("{WEBHOOKS}/{id}{end}");
        let since = json!({ "since": START });
        let ask = async |method: &str, path: &str, who: &str, body: &Value| {
            let call = desk.call(method, path).bearer(who);
            let call = if body.is_null() { call.body(Body::empty()) } else { call.json(body) };
            call.send().await.status
        };
        for (method, path, body, [read, manage]) in [
            ("GET", WEBHOOKS.to_owned(), Value::Null, [200, 403]),
            ("GET", path(""), Value::Null, [200, 403]),
            ("GET", "/v1/admin/deliveries".into(), Value::Null, [200, 403]),
            ("GET", "/v1/admin/deliveries/dlv_x".into(), Value::Null, [404, 403]),
            ("POST", WEBHOOKS.into(), json!({ "url": HOOK }), [403, 403]),
            ("POST", path("/rotate"), json!({}), [403, 403]),
            ("DELETE", path(""), Value::Null, [403, 403]),
            ("POST", path("/pause"), Value::Null, [403, 200]),
            ("POST", path("/test"), Value::Null, [403, 409]),
            ("POST", path("/resume"), Value::Null, [403, 200]),
            ("POST", path("/test"), Value::Null, [403, 202]),
            ("POST", path("/redeliver"), since, [403, 200]),
            ("POST", "/v1/admin/deliveries/dlv_x/redeliver".into(), Value::Null, [403, 404]),
        ] {
            let seen = [
                ask(method, &path, &reads, &body).await,
                ask(method, &path, &manages, &body).await,
            ];
            assert_eq!(seen, [read, manage], "{method} {path}");
        }
    });
}

#[test]
fn there_are_enough_endpoints_at_some_time() {
    at_desk(async |desk| {
        let by = admin(&desk).await;
        for _ in 0..50 {
            create(&desk, &by, &json!({ "url": HOOK })).await.must(201);
        }
        create(&desk, &by, &json!({ "url": HOOK })).await.problem(409, "conflict");
        let page = desk.call("GET", &format!("{WEBHOOKS}?limit=30")).bearer(&by).send().await;
        let cursor = text(&page.must(200).body, "/next_cursor").to_owned();
        let next = format!("{WEBHOOKS}?limit=30&cursor={cursor}");
        let rest = desk.call("GET", &next).bearer(&by).send().await.must(200).body;
        assert_eq!(rest["items"].as_array().unwrap().len(), 20);
        assert_eq!(rest["next_cursor"], Value::Null);
    });
}

#[test]
fn the_event_log_says_how_long_it_is() {
    at_desk(async |desk| {
        let by = admin(&desk).await;
        desk.lease().await;
        let path = "/v1/admin/events?limit=1";
        let log = desk.call("GET", path).bearer(&by).send().await.must(200).body;
        assert_eq!((&log["next_after"], &log["items"][0]["seq"]), (&json!(1), &json!(1)));
        assert!(log["last_seq"].as_i64().unwrap() > 1);
    });
}
