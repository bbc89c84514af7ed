//! What is refused before anything is asked of the shop: bodies, paths, methods, budgets.

use std::sync::Arc;

use serde_json::json;

use super::desk::{at_desk, at_desk_with, two_hours};
use crate::domain::resource::tests::gpu;
use crate::http::{BODY_LIMIT, limits};

#[test]
fn a_body_that_is_not_json_is_refused_as_bad_json() {
    at_desk(async |desk| {
        for body in ["", "{", "nonsense", r#"{"resource":"gpu-small","duration_s":7200} more"#] {
            let call = desk.call("POST", "/v1/leases").header("content-type", "application/json");
            call.body(body).send().await.problem(400, "bad_json");
        }
        let call = desk.call("POST", "/v1/leases").header("content-type", "application/json");
        call.body(vec![b'"', 0xff, b'"']).send().await.problem(400, "bad_json");
    });
}

#[test]
fn a_body_of_another_kind_or_size_is_refused() {
    at_desk(async |desk| {
        for kind in ["text/plain", "application/jsonp", ""] {
            let call = desk.call("POST", "/v1/leases").header("content-type", kind);
            let answer = call.body(two_hours().to_string()).send().await;
            answer.problem(415, "unsupported_media_type");
        }
        let kind = "Application/JSON; charset=utf-8";
        let call = desk.call("POST", "/v1/leases").header("content-type", kind);
        call.body(two_hours().to_string()).send().await.must(201);
        let mut long = two_hours().to_string();
        long.push_str(&" ".repeat(BODY_LIMIT - long.len()));
        let call = desk.call("POST", "/v1/leases").header("content-type", "application/json");
        call.body(long.clone()).send().await.must(201);
        let call = desk.call("POST", "/v1/leases").header("content-type", "application/json");
        call.body(long + " ").send().await.problem(413, "payload_too_large");
        let call = desk.call("POST", "/v1/introspect").bearer(&format!("key_{}", "a".repeat(52)));
        call.body(vec![b'a'; BODY_LIMIT + 1]).send().await.problem(401, "unauthorized");
    });
}

#[test]
fn a_catalogue_of_another_kind_or_size_is_refused() {
    at_desk(async |desk| {
        let (key, _) = desk.operator("admin", 1).await;
        let send = async |kind: &str, body: Vec<u8>| {
            let call = desk.call("POST", "/v1/admin/catalog").bearer(&key);
            call.header("content-type", kind).body(body).send().await
        };
        let toml = "application/toml";
        for kind in ["text/plain", "application/json", ""] {
            send(kind, b"x = 1".into()).await.problem(415, "unsupported_media_type");
        }
        send(toml, vec![b'#'; BODY_LIMIT + 1]).await.problem(413, "payload_too_large");
        send(toml, vec![b'#', 0xff]).await.problem(422, "invalid_request");
        send(toml, b"x = 1".into()).await.problem(422, "invalid_request");
    });
}

#[test]
fn a_form_that_no_page_sends_is_answered_by_a_page() {
    at_desk(async |desk| {
        let form = "application/x-www-form-urlencoded";
        for (kind, body, status) in [
            (form, vec![b'a'; BODY_LIMIT + 1], 413),
            ("text/plain", b"time=1&unit=h".into(), 415),
            (form, b"time=%ff".into(), 422),
        ] {
            let call = desk.call("POST", "/resources/gpu-small").header("content-type", kind);
            let answer = call.body(body).send().await.must(status);
            assert!(answer.header("content-type").starts_with("text/html"), "{status}");
        }
    });
}

#[test]
fn a_wrong_field_is_named_by_its_pointer() {
    at_desk(async |desk| {
        let cases = [
            (json!({ "resource": "gpu-small", "duration_s": 7200, "colour": 1 }), "/colour"),
            (json!({ "resource": "gpu-small", "duration_s": "7200" }), "/duration_s"),
            (json!({ "resource": "gpu-small", "duration_s": -1 }), "/duration_s"),
            (json!({ "resource": 7, "duration_s": 7200 }), "/resource"),
            (json!({ "resource": "gpu-small" }), "/duration_s"),
            (json!({ "resource": "gpu-small", "duration_s": 7200, "params": [] }), "/params"),
            (
                json!({ "resource": "gpu-small", "duration_s": 7200, "params": { "a/b": "c" } }),
                "/params/a~1b",
            ),
            (
                json!({ "resource": "gpu-small", "duration_s": 7200, "refund_address": "x" }),
                "/refund_address",
            ),
        ];
        for (body, pointer) in cases {
            let answer = desk.post("/v1/leases", body).await.problem(422, "invalid_request");
            assert_eq!(answer.pointers(), [pointer], "{}", answer.text);
        }
        let answer = desk.post("/v1/leases", json!([])).await.problem(422, "invalid_request");
        assert_eq!(answer.pointers(), [""]);
    });
}

#[test]
fn an_unknown_path_method_resource_lease_or_invoice_is_refused() {
    at_desk(async |desk| {
        desk.get("/v1/nothing").await.problem(404, "not_found");
        let answer = desk.call("DELETE", "/v1/leases").send().await;
        let answer = answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "POST");
        desk.post("/v1/leases/x/events", json!({})).await.problem(405, "method_not_allowed");
        let unknown = json!({ "resource": "gpu-large", "duration_s": 7200 });
        desk.post("/v1/leases", unknown).await.problem(404, "unknown_resource");
        for end in ["", "/quote?duration_s=7200", "/accounts", "/events"] {
            let path = format!("/v1/resources/gpu-large{end}");
            desk.get(&path).await.problem(404, "unknown_resource");
        }
        for path in [
            "/v1/leases/lse_x",
            "/v1/leases/lse_x/events",
            "/v1/invoices/inv_x",
            "/v1/invoices/inv_x/qr.svg",
            "/v1/invoices/inv_x/events",
            "/v1/leases/%00",
        ] {
            desk.get(path).await.problem(404, "not_found");
        }
        let more = json!({ "duration_s": 60 });
        desk.post("/v1/leases/lse_x/invoices", more).await.problem(404, "not_found");
        for path in ["/v1/leases/%ff", "/v1/leases/%ff/events", "/v1/resources/%ff"] {
            desk.get(path).await.problem(404, "not_found");
        }
    });
}

#[test]
fn text_that_no_database_takes_is_refused_before_it_is_asked() {
    at_desk(async |desk| {
        let (key, _) = desk.operator("read manage admin", 1).await;
        let ask = |method: &str, path: &str| desk.call(method, path).bearer(&key).send();
        let get = |path: &str| desk.call("GET", path).send();
        for path in
            ["/v1/leases/%00?wait_s=1", "/v1/leases/%00/events", "/v1/resources/%00/accounts"]
        {
            get(path).await.problem(404, "not_found");
        }
        for (path, status, code) in [
            ("/v1/admin/payments/%00", 404, "not_found"),
            ("/v1/admin/payments/pay%0a", 404, "not_found"),
            ("/v1/admin/payments?state=%00", 422, "invalid_request"),
            ("/v1/admin/leases?state=%00", 422, "invalid_request"),
            ("/v1/admin/leases?resource=%00", 422, "invalid_request"),
            ("/v1/admin/invoices?cursor=1.%00", 422, "invalid_request"),
        ] {
            ask("GET", path).await.problem(status, code);
        }
        ask("POST", "/v1/admin/resources/%00/pause").await.problem(404, "not_found");
        ask("POST", "/v1/admin/payments/%00/assign").await.problem(404, "not_found");
        for name in ["a\u{0}b", "a\nb"] {
            let body = json!({ "name": name, "scopes": ["read"] });
            let call = desk.call("POST", "/v1/admin/keys").bearer(&key).json(&body);
            let answer = call.send().await.problem(422, "invalid_request");
            assert_eq!(answer.pointers(), ["/name"]);
        }
        let body = json!({ "resource": "\u{0}", "duration_s": 7200 });
        let answer = desk.post("/v1/leases", body).await.problem(422, "invalid_request");
        assert_eq!(answer.pointers(), ["/resource"]);
        let form = |path: &str, body: &str| desk.call("POST", path).form(body).send();
        form("/resources/gpu-small", "time=2&unit=h&param.name=%00").await.must(422);
        form("/resources/%00", "time=2&unit=h").await.must(404);
        form("/leases/%00/more", "time=2&unit=h").await.must(404);
        for path in ["/resources/%00", "/leases/%00", "/checkout/%00"] {
            get(path).await.must(404);
        }
    });
}

#[test]
fn unknown_api_keys_are_limited_by_source_and_shut_out_nobody_who_has_one() {
    let set = |state: &mut crate::http::HttpState| {
        state.limits = Arc::new(limits::Limits::new(1));
    };
    at_desk_with(gpu(), set, async |desk| {
        let (key, _) = desk.operator("read", 1).await;
        let wrong = format!("key_{}", "a".repeat(52));
        let ask = |key: &str| desk.call("GET", "/v1/admin/wallet").bearer(key);
        for _ in 0..6 {
            ask(&key).send().await.must(200);
            ask(&wrong).send().await.problem(401, "unauthorized");
        }
        let answer = ask(&wrong).send().await.problem(429, "rate_limited");
        assert_eq!(answer.header("retry-after"), "10");
        ask(&key).send().await.must(200);
        ask(&wrong).from("10.0.0.2:1").send().await.problem(401, "unauthorized");
        desk.rig.clock.advance_s(10);
        ask(&wrong).send().await.problem(401, "unauthorized");
    });
}

#[test]
fn a_query_that_does_not_fit_is_refused() {
    at_desk(async |desk| {
        let quote = "/v1/resources/gpu-small/quote";
        for query in ["", "?duration_s=x", "?duration_s=-1", "?duration_s=7200&colour=1"] {
            desk.get(&format!("{quote}{query}")).await.problem(422, "invalid_request");
        }
        for seconds in ["0", "599", "2592001", "18446744073709551615"] {
            let answer = desk.get(&format!("{quote}?duration_s={seconds}")).await;
            answer.problem(422, "duration_out_of_range");
        }
        desk.get(&format!("{quote}?duration_s=600")).await.must(200);
    });
}

#[test]
fn a_source_that_asks_too_often_is_told_when_to_come_back() {
    let set = |state: &mut crate::http::HttpState| {
        state.limits = Arc::new(limits::Limits::new(2));
    };
    at_desk_with(gpu(), set, async |desk| {
        let create = || desk.call("POST", "/v1/leases").json(&two_hours());
        create().send().await.must(201);
        create().send().await.must(201);
        let answer = create().send().await.problem(429, "rate_limited");
        assert_eq!(answer.header("retry-after"), "30");
        create().from("10.0.0.2:1").send().await.must(201);
        desk.get("/v1/resources").await.must(200);
        desk.rig.clock.advance_s(30);
        create().send().await.must(201);
    });
}
