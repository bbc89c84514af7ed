//! Watching and coming in: ETag, long poll, streams, the gate, introspection, keys, OpenAPI.

use std::time::Duration;

use axum::http::Response;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::desk::{Answer, Desk, at_desk, at_desk_with, text};
use crate::app::api_keys::RevokeKey;
use crate::db;
use crate::domain::ids::InvoiceId;
use crate::domain::resource::ParamRule;
use crate::domain::resource::tests::gpu;
use crate::http::openapi;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_lease_that_did_not_change_is_not_sent_again() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        let path = format!("/v1/leases/{}", text(&lease, "/lease/id"));
        let tag = desk.get(&path).await.must(200).header("etag").to_owned();
        let again = async |desk: &Desk, known: &str| {
            desk.call("GET", &path).header("if-none-match", known).send().await
        };
        let same = again(&desk, &tag).await.must(304);
        assert_eq!((same.text.as_str(), same.header("etag")), ("", tag.as_str()));
        again(&desk, &format!("\"x\", {tag}")).await.must(304);
        let call = desk.call("GET", &path).header("if-none-match", &tag);
        let held = call.bearer(text(&lease, "/claim_token")).send().await.must(200);
        assert_ne!(held.header("etag"), tag, "the holder sees more");
        desk.pay(&lease, 1000).await;
        assert_ne!(again(&desk, &tag).await.must(200).header("etag"), tag);
    });
}

/// Runs `body` while the log is followed.
pub(super) async fn followed(desk: &Desk, body: impl Future<Output = ()>) {
    let state = &desk.state;
    let (live, open) = (state.live.clone(), CancellationToken::new());
    let run = live.run(state.readiness.clone(), open);
    let body = async {
        // What happened before the log is followed wakes nobody.
        while state.live.gate().knows(None).is_err() {
            tokio::task::yield_now().await;
        }
        body.await;
    };
    tokio::select! {
        ended = run => panic!("the log is followed no more: {ended:?}"),
        done = tokio::time::timeout(SOON, body) => done.expect("it takes not so long"),
    }
}

async fn cancel(desk: &Desk, lease: &Value) {
    let path = format!("/v1/invoices/{}/cancel", text(lease, "/invoice/id"));
    desk.call("POST", &path).bearer(text(lease, "/claim_token")).send().await.must(200);
}

#[test]
fn a_long_poll_answers_at_the_change() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let seq = lease["lease"]["seq"].as_u64().unwrap();
        let path = format!("/v1/leases/{}", text(&lease, "/lease/id"));
        followed(&desk, async {
            let at_once = desk.get(&format!("{path}?wait_s=60&after_seq=0")).await.must(200);
            assert_eq!(at_once.body["seq"], seq);
            let waiting = format!("{path}?wait_s=60&after_seq={seq}");
            let (answer, ()) = tokio::join!(desk.get(&waiting), cancel(&desk, &lease));
            assert!(answer.must(200).body["seq"].as_u64().unwrap() > seq);
        })
        .await;
    });
}

#[test]
fn new_params_wake_a_long_poll_and_a_stream_though_the_log_has_no_event() {
    let mut terms = gpu();
    terms.params.insert("name".into(), ParamRule::default());
    at_desk_with(
        terms,
        |_| {},
        async |desk| {
            let lease = desk.lease().await;
            let path = format!("/v1/leases/{}", text(&lease, "/lease/id"));
            let seq = lease["lease"]["seq"].as_u64().unwrap();
            followed(&desk, async {
                let change = async {
                    let body = json!({ "params": { "name": "one" } });
                    let call = desk.call("PATCH", &path).bearer(text(&lease, "/claim_token"));
                    assert_eq!(call.json(&body).send().await.must(200).body["seq"], seq + 1);
                };
                let mut frames = stream(&desk, &format!("{path}/events"), Some("2")).await;
                let waiting = format!("{path}?wait_s=60&after_seq={seq}");
                let (polled, (_, streamed), ()) =
                    tokio::join!(desk.get(&waiting), message(&mut frames), change);
                assert_eq!(polled.must(200).body["seq"], seq + 1);
                assert_eq!(streamed["seq"], seq + 1);
            })
            .await;
        },
    );
}

pub(super) type Frames = axum::body::BodyDataStream;

pub(super) async fn stream(desk: &Desk, path: &str, last: Option<&str>) -> Frames {
    let call = desk.call("GET", path);
    let call = match last {
        Some(last) => call.header("last-event-id", last),
        None => call,
    };
    let response: Response<_> = call.open().await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

/// The next message: its id and its object.
pub(super) async fn message(frames: &mut Frames) -> (String, Value) {
    let frame = frames.next().await.expect("the stream goes on").unwrap();
    let frame = String::from_utf8(frame.to_vec()).unwrap();
    let line = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
    let id = line("id:").unwrap_or_else(|| panic!("{frame}")).trim().to_owned();
    (id, serde_json::from_str(line("data:").unwrap()).unwrap())
}

#[test]
fn a_stream_of_an_invoice_goes_on_when_its_lease_is_over() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        let path = format!("/v1/leases/{}", text(&lease, "/lease/id"));
        let more = json!({ "duration_s": 3600 });
        let more = desk.post(&format!("{path}/invoices"), more).await.must(201).body;
        let events = format!("/v1/invoices/{}/events", text(&more, "/invoice/id"));
        followed(&desk, async {
            let mut frames = stream(&desk, &events, None).await;
            let (_, before) = message(&mut frames).await;
            let token = text(&lease, "/claim_token");
            let back = desk.call("POST", &format!("{path}/return")).bearer(token);
            back.send().await.must(200);
            let (_, after) = message(&mut frames).await;
            assert_eq!(before, after, "the invoice is as it was, its lease is not");
        })
        .await;
    });
}

#[test]
fn a_stream_begins_with_the_object_and_goes_on_at_each_change() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        followed(&desk, async {
            for (noun, id) in [("invoices", "/invoice/id"), ("leases", "/lease/id")] {
                let path = format!("/v1/{noun}/{}/events", text(&lease, id));
                let (id, object) = message(&mut stream(&desk, &path, None).await).await;
                // The number in the log: a lease and its invoice were made by two events.
                assert_eq!((id.as_str(), &object["seq"]), ("2", &json!(1)));
            }
            let resource = "/v1/resources/gpu-small/events";
            let (_, object) = message(&mut stream(&desk, resource, None).await).await;
            assert_eq!(object["availability"]["free"], 1);
            let path = format!("/v1/invoices/{}/events", text(&lease, "/invoice/id"));
            // Seen already: nothing comes before the next change.
            let mut frames = stream(&desk, &path, Some("2")).await;
            let ((id, object), ()) = tokio::join!(message(&mut frames), cancel(&desk, &lease));
            assert_ne!(id, "2");
            assert_eq!(object["status"], "cancelled");
            desk.state.shutdown.cancel();
            assert!(frames.next().await.is_none(), "streams end when the server does");
        })
        .await;
    });
}

#[test]
fn a_stream_shows_money_that_is_less_than_asked_for() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        let path = format!("/v1/invoices/{}/events", text(&lease, "/invoice/id"));
        let mut frames = stream(&desk, &path, Some("2")).await;
        let invoice = InvoiceId::parse(text(&lease, "/invoice/id")).unwrap();
        let script = desk.rig.invoice(&invoice).await.script_pubkey;
        let (live, readiness) = (desk.state.live.clone(), desk.state.readiness.clone());
        let paid = async {
            // What happened before the log is followed wakes nobody.
            while desk.state.live.gate().knows(None).is_err() {
                tokio::task::yield_now().await;
            }
            desk.rig.pay(&[(script, 400)]);
            desk.rig.round().await;
            message(&mut frames).await.1
        };
        let object = tokio::select! {
            _ = live.run(readiness, CancellationToken::new()) => panic!("nobody follows the log"),
            object = tokio::time::timeout(SOON, paid) => object.expect("it takes not so long"),
        };
        // Still open, so that no event of its own tells of it.
        assert_eq!((&object["status"], &object["flags"]), (&json!("open"), &json!(["partial"])));
        assert_eq!(object["received"]["unconfirmed_sat"], 400);
    });
}

async fn token(desk: &Desk, lease: &Value) -> Answer {
    let path = format!("/v1/leases/{}/token", text(lease, "/lease/id"));
    desk.call("POST", &path).bearer(text(lease, "/claim_token")).send().await
}

#[test]
fn the_gate_lets_in_who_has_a_running_lease_and_tells_others_where_to_pay() {
    at_desk(async |mut desk| {
        let gate = "/v1/gate/gpu-small";
        desk.get(gate).await.problem(503, "not_ready");
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        let id = text(&lease, "/lease/id");
        desk.tell_gate().await;
        let pass = text(&token(&desk, &lease).await.must(200).body, "/token").to_owned();
        let answer = desk.call("GET", gate).bearer(&pass).send().await.must(204);
        assert_eq!(answer.header("x-leasehold-lease"), id);
        let answer = desk.get(gate).await.problem(401, "unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        let link = "<http://shop.test/resources/gpu-small>; rel=\"payment\"";
        assert_eq!(answer.header("link"), link);
        let answer = desk.get(&format!("{gate}?deny=402")).await.problem(402, "payment_required");
        assert_eq!(answer.body["price"], json!({ "sat": 500, "per_s": 3600 }));
        let v1 = "http://shop.test/v1";
        let links = json!({
            "checkout": "http://shop.test/resources/gpu-small",
            "quote": format!("{v1}/resources/gpu-small/quote"),
            "request": format!("{v1}/leases"),
            "token": format!("{v1}/leases/{{id}}/token"),
        });
        assert_eq!(answer.body["links"], links);
        let how = "ask for a lease, pay its invoice, and come back with the lease's token as \
            Authorization: Bearer";
        assert_eq!(answer.body["detail"], how);
        desk.get(&format!("{gate}?deny=401")).await.problem(401, "unauthorized");
        for other in ["403", "0", "x", ""] {
            desk.get(&format!("{gate}?deny={other}")).await.problem(422, "invalid_request");
        }
        let forged = format!("{}x", &pass[..pass.len() - 1]);
        let call = desk.call("GET", gate).bearer(&forged);
        assert_eq!(call.send().await.problem(401, "unauthorized").header("link"), link);
        let elsewhere = desk.call("GET", "/v1/gate/gpu-large").bearer(&pass);
        elsewhere.send().await.problem(404, "unknown_resource");
        desk.rig.clock.advance_s(301);
        desk.tell_gate().await;
        desk.call("GET", gate).bearer(&pass).send().await.problem(401, "unauthorized");
    });
}

#[test]
fn introspection_answers_operators_what_a_token_is_worth_now() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        desk.tell_gate().await;
        let pass = text(&token(&desk, &lease).await.must(200).body, "/token").to_owned();
        let (key, id) = desk.operator("read", 1).await;
        let (weak, _) = desk.operator("payout", 2).await;
        let ask = async |secret: &str, body: String| {
            desk.call("POST", "/v1/introspect").bearer(secret).form(&body).send().await
        };
        let right = || format!("token={pass}");
        let answer = ask(&key, right()).await.must(200).body;
        assert_eq!((&answer["active"], &answer["sub"]), (&json!(true), &lease["lease"]["id"]));
        assert_eq!(ask(&key, "token=x".into()).await.must(200).body, json!({ "active": false }));
        let encoded: String = pass.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = ask(&key, format!("token_type_hint=x&token={encoded}")).await.must(200);
        assert_eq!(answer.body["active"], true, "the token is percent-decoded");
        for wrong in ["nothing", "", "xtoken=a", "token=a&token=b"] {
            ask(&key, wrong.into()).await.problem(400, "invalid_request");
        }
        let call = desk.call("POST", "/v1/introspect").bearer(&key);
        call.json(&json!({ "token": pass })).send().await.problem(415, "unsupported_media_type");
        ask(&key, "a".repeat(70_000)).await.problem(413, "payload_too_large");
        ask(&weak, right()).await.problem(403, "forbidden");
        ask(text(&lease, "/claim_token"), right()).await.problem(401, "unauthorized");
        let now = desk.state.clock.now();
        desk.rig.db.write(RevokeKey { id: id.clone(), now, actor: "test".into() }).await.unwrap();
        let mut conn = desk.rig.db.read().await.unwrap();
        let keys = db::api_key::list(&mut conn).await.unwrap();
        drop(conn);
        let used = keys.iter().find(|key| key.id == id).unwrap().used_at;
        assert_eq!(used, Some(desk.state.clock.now()), "the last use is shown");
        ask(&key, right()).await.problem(401, "unauthorized");
    });
}

#[test]
fn the_published_keys_verify_tokens_and_hold_no_secret() {
    at_desk(async |desk| {
        let set = desk.get("/.well-known/jwks.json").await.must(200).body;
        let keys = crate::domain::jwk::parse_key_set(&set).unwrap();
        assert_eq!(keys, desk.state.keys.published);
        assert_eq!(set["keys"][0].get("d"), None);
    });
}

#[test]
fn health_is_told_apart_from_readiness() {
    at_desk(async |desk| {
        assert_eq!(desk.get("/healthz").await.must(200).text, "ok\n");
        assert_eq!(desk.get("/readyz").await.must(200).body["ready"], true);
        desk.get("/metrics").await.must(200);
    });
}

#[test]
fn every_call_and_every_response_is_described() {
    at_desk(async |desk| {
        let served = desk.get("/openapi.json").await.must(200).body;
        assert_eq!(served, serde_json::to_value(openapi::document()).unwrap());
        assert!(text(&served, "/openapi").starts_with("3.1"));
        let mut calls = 0;
        for (path, item) in served["paths"].as_object().unwrap() {
            for (method, call) in item.as_object().unwrap().iter().filter(|(m, _)| m.len() < 7) {
                calls += 1;
                // A described path is a served one: no page is found behind none of them.
                let real = path.replace(['{', '}'], "");
                let answer = desk.call(&method.to_uppercase(), &real).send().await;
                assert_ne!(answer.status, 405, "{method} {path}");
                assert!(!answer.text.contains("/docs lists every call"), "{method} {path}");
                assert!(!call["summary"].as_str().unwrap_or_default().is_empty(), "{path}");
                for (status, response) in call["responses"].as_object().unwrap() {
                    assert!(!text(response, "/description").is_empty(), "{path} {status}");
                }
            }
        }
        assert!(calls >= 20, "{calls}");
        for path in [
            "/v1/leases",
            "/v1/leases/{id}",
            "/v1/invoices/{id}/cancel",
            "/v1/claims",
            "/v1/gate/{resource}",
            "/v1/introspect",
            "/v1/resources/{id}/accounts",
        ] {
            assert!(served["paths"].get(path).is_some(), "{path}");
        }
    });
}

#[test]
fn every_call_that_takes_a_secret_says_which() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    let mut secret = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, call) in item.as_object().unwrap().iter().filter(|(m, _)| m.len() < 7) {
            let named = call["security"].as_array().map(Vec::as_slice).unwrap_or_default();
            let refuses = call["responses"].get("401").is_some();
            if path.starts_with("/v1/admin/") {
                assert_eq!(named, [json!({ "api_key": [] })], "{method} {path}");
            }
            assert!(!refuses || !named.is_empty(), "{method} {path} answers 401");
            secret += usize::from(!named.is_empty());
        }
    }
    assert!(secret > 20, "{secret}");
    let body = |method: &str| {
        let answer = &document["paths"]["/v1/leases/{id}"][method]["responses"]["200"];
        text(answer, "/content/application~1json/schema/$ref").to_owned()
    };
    assert_eq!(body("patch"), "#/components/schemas/HeldLease");
    assert_eq!(body("get"), "#/components/schemas/AnyLease");
    assert_eq!(document["components"]["schemas"]["AnyLease"].get("oneOf"), None);
}

#[test]
fn an_operator_sees_what_happened_to_a_lease_in_words_that_programs_read() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        let (key, _) = desk.operator("read", 1).await;
        let path = format!("/v1/admin/leases/{}", text(&lease, "/lease/id"));
        let shown = desk.call("GET", &path).bearer(&key).send().await.must(200).body;
        let entries = shown["entries"].as_array().unwrap();
        let what: Vec<&str> = entries.iter().map(|entry| text(entry, "/what")).collect();
        assert_eq!(what, ["credit", "started", "ready"]);
        assert_eq!(
            (&entries[0]["seconds"], &entries[0]["amount_sat"]),
            (&json!(7200), &json!(1000))
        );
        assert!(text(&entries[0], "/payment").starts_with("pay_"));
        assert_eq!((&entries[1]["unit"], &entries[1]["generation"]), (&json!("gpu-1"), &json!(1)));
    });
}
