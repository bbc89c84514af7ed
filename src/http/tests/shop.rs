//! What the shop itself refuses: limits, units, amounts, leases that are over.

use serde_json::json;

use super::desk::{Desk, at_desk, at_desk_with, text, two_hours, with_limits};
use crate::app::apply_catalog::ApplyCatalog;
use crate::app::operate::PauseResource;
use crate::clock::Clock;
use crate::domain::resource::Terms;
use crate::domain::resource::tests::gpu;

#[test]
fn a_duration_outside_the_terms_is_refused() {
    at_desk(async |desk| {
        for seconds in [0, 599, 30 * 86_400 + 1, u64::MAX] {
            let body = json!({ "resource": "gpu-small", "duration_s": seconds });
            let answer = desk.post("/v1/leases", body).await;
            assert_eq!(answer.problem(422, "duration_out_of_range").pointers(), ["/duration_s"]);
        }
    });
}

#[test]
fn a_top_up_takes_either_a_duration_or_an_amount_in_bounds() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let path = format!("/v1/leases/{}/invoices", text(&lease, "/lease/id"));
        for body in [json!({}), json!({ "duration_s": 60, "amount_sat": 1000 })] {
            desk.post(&path, body).await.problem(422, "invalid_request");
        }
        let answer = desk.post(&path, json!({ "amount_sat": 1 })).await;
        assert_eq!(answer.problem(422, "amount_too_small").pointers(), ["/amount_sat"]);
        let answer = desk.post(&path, json!({ "amount_sat": u64::MAX })).await;
        assert_eq!(answer.problem(422, "invalid_request").pointers(), ["/amount_sat"]);
        let answer = desk.post(&path, json!({ "duration_s": 0 })).await;
        answer.problem(422, "duration_out_of_range");
        let answer = desk.post(&path, json!({ "amount_sat": 1000 })).await.must(201);
        assert_eq!(text(&answer.body, "/invoice/purpose"), "topup");
        assert_eq!(answer.body["claim_token"], json!(null));
    });
}

#[test]
fn when_every_unit_is_taken_the_next_is_told_when_one_may_come_free() {
    at_desk(async |mut desk| {
        let first = desk.lease().await;
        desk.pay(&first, 1000).await;
        let held = desk.lease().await;
        let answer = desk.post("/v1/leases", two_hours()).await.problem(409, "sold_out");
        let first_free = text(&held, "/invoice/expires_at");
        assert_eq!(answer.body["available_at"], first_free, "a hold ends before a paid lease");
        let quote = desk.get("/v1/resources/gpu-small/quote?duration_s=7200").await.must(200);
        assert_eq!(quote.body["available"], false);
        assert_eq!(quote.body["available_at"], first_free);
    });
}

#[test]
fn a_second_unpaid_request_holds_no_unit_and_says_so() {
    at_desk(async |desk| {
        let first = desk.lease().await;
        assert_eq!(first["lease"]["unit"], "gpu-1");
        assert_eq!(first["lease"]["flags"], json!([]));
        let second = desk.lease().await;
        assert_eq!(second["lease"]["unit"], json!(null));
        assert_eq!(second["lease"]["flags"], json!(["no_hold"]));
    });
}

#[test]
fn a_source_that_holds_its_share_holds_no_more_and_another_does() {
    let set = |state: &mut crate::http::HttpState| with_limits(state, |l| l.holds_per_source = 1);
    let terms = Terms { max_unpaid_holds: 2, ..gpu() };
    at_desk_with(terms, set, async |desk| {
        let from = async |source: &str| {
            let call = desk.call("POST", "/v1/leases").from(source).json(&two_hours());
            call.send().await.must(201).body["lease"].clone()
        };
        assert_eq!(from("10.0.0.1:5000").await["unit"], "gpu-1");
        let again = from("10.0.0.1:5001").await;
        assert_eq!((&again["unit"], &again["flags"]), (&json!(null), &json!(["no_hold"])));
        assert_eq!(from("10.0.0.2:5000").await["unit"], "gpu-2");
        let call = desk.call("POST", "/v1/leases").from("10.0.0.3:5000").json(&two_hours());
        call.send().await.problem(409, "sold_out");
    });
}

#[test]
fn too_many_unpaid_requests_are_told_when_the_first_of_them_ends() {
    let set = |state: &mut crate::http::HttpState| with_limits(state, |l| l.max_open_unpaid = 2);
    at_desk_with(gpu(), set, async |desk| {
        let first = desk.lease().await;
        desk.rig.clock.advance_s(100);
        desk.lease().await;
        let answer = desk.post("/v1/leases", two_hours()).await.problem(503, "too_many_unpaid");
        assert_eq!(answer.header("retry-after"), "1701");
        assert_eq!(answer.body["available_at"], first["invoice"]["expires_at"]);
        desk.rig.clock.advance_s(1700);
        let answer = desk.post("/v1/leases", two_hours()).await.problem(503, "too_many_unpaid");
        assert_eq!(answer.header("retry-after"), "1", "its last millisecond still counts");
        desk.rig.clock.advance_s(1);
        desk.lease().await;
    });
}

#[test]
fn a_paused_resource_takes_no_request_and_no_top_up() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let ground = desk.rig.ground();
        let (resource, actor) = ("gpu-small".to_owned(), "test".to_owned());
        desk.rig.db.write(PauseResource { ground, resource, pause: true, actor }).await.unwrap();
        desk.post("/v1/leases", two_hours()).await.problem(409, "resource_paused");
        let path = format!("/v1/leases/{}/invoices", text(&lease, "/lease/id"));
        desk.post(&path, json!({ "duration_s": 60 })).await.problem(409, "resource_paused");
        let shown = desk.get("/v1/resources/gpu-small").await.must(200).body;
        assert_eq!(
            (&shown["paused"], &shown["availability"]["available"]),
            (&json!(true), &json!(false))
        );
    });
}

async fn act(desk: &Desk, lease: &serde_json::Value, end: &str) -> super::desk::Answer {
    let path = format!("/v1/leases/{}/{end}", text(lease, "/lease/id"));
    desk.call("POST", &path).bearer(text(lease, "/claim_token")).send().await
}

#[test]
fn a_lease_given_back_takes_no_money_no_params_and_gives_no_token() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        act(&desk, &lease, "token").await.problem(409, "lease_ended");
        desk.pay(&lease, 1000).await;
        act(&desk, &lease, "token").await.must(200);
        let given = act(&desk, &lease, "return").await.must(200);
        assert_eq!(
            (&given.body["state"], &given.body["end_reason"]),
            (&json!("ended"), &json!("returned"))
        );
        act(&desk, &lease, "return").await.must(200);
        act(&desk, &lease, "token").await.problem(409, "lease_ended");
        let path = format!("/v1/leases/{}", text(&lease, "/lease/id"));
        let more = json!({ "duration_s": 60 });
        desk.post(&format!("{path}/invoices"), more).await.problem(409, "lease_ended");
        let call = desk.call("PATCH", &path).bearer(text(&lease, "/claim_token"));
        call.json(&json!({ "params": {} })).send().await.problem(409, "lease_ended");
    });
}

#[test]
fn an_invoice_can_be_cancelled_until_money_comes() {
    at_desk(async |mut desk| {
        let (lease, other) = (desk.lease().await, desk.lease().await);
        let path = format!("/v1/invoices/{}/cancel", text(&lease, "/invoice/id"));
        let token = text(&lease, "/claim_token").to_owned();
        let answer = desk.call("POST", &path).send().await.problem(401, "unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        let wrong = text(&other, "/claim_token").to_owned();
        desk.call("POST", &path).bearer(&wrong).send().await.problem(403, "forbidden");
        desk.pay(&lease, 10).await;
        desk.call("POST", &path).bearer(&token).send().await.problem(409, "not_cancellable");
        let path = format!("/v1/invoices/{}/cancel", text(&other, "/invoice/id"));
        for _ in 0..2 {
            let answer = desk.call("POST", &path).bearer(&wrong).send().await.must(200);
            assert_eq!(answer.body["status"], "cancelled");
        }
    });
}

#[test]
fn a_quote_and_an_invoice_show_what_the_specification_names() {
    at_desk(async |desk| {
        let quote = desk.get("/v1/resources/gpu-small/quote?duration_s=7200").await.must(200).body;
        let names: Vec<&String> = quote.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 7, "{names:?}");
        assert_eq!(quote["amount_sat"], 1000);
        let lease = desk.lease().await;
        let path = format!("/v1/invoices/{}", text(&lease, "/invoice/id"));
        let shown = desk.get(&path).await.must(200).body;
        assert_eq!(shown, lease["invoice"]);
        assert_eq!(shown["received"]["due_sat"], 1000);
        assert!(text(&shown, "/uri").starts_with("bitcoin:bcrt1q"));
        let picture = desk.get(&format!("{path}/qr.svg")).await.must(200);
        assert_eq!(picture.header("content-type"), "image/svg+xml");
        let now = desk.rig.clock.now();
        assert_eq!(shown["created_at"], json!(now));
    });
}

#[test]
fn a_claim_shows_its_leases_by_pages_and_its_sums_over_all_of_them() {
    at_desk(async |mut desk| {
        let first = desk.lease().await;
        let token = text(&first, "/claim_token").to_owned();
        let mut made = vec![text(&first, "/lease/id").to_owned()];
        for _ in 0..4 {
            desk.rig.clock.advance_s(1);
            let call = desk.call("POST", "/v1/leases").bearer(&token).json(&two_hours());
            made.push(text(&call.send().await.must(201).body, "/lease/id").to_owned());
        }
        desk.pay(&first, 1000).await;
        let ask =
            |query: &str| desk.call("GET", &format!("/v1/claims{query}")).bearer(&token).send();
        let all = ask("").await.must(200).body;
        assert_eq!((&all["received_sat"], &all["next_cursor"]), (&json!(1000), &json!(null)));
        let (mut shown, mut query) = (Vec::new(), "?limit=2".to_owned());
        loop {
            let page = ask(&query).await.must(200).body;
            assert_eq!(page["received_sat"], 1000, "on every page");
            let leases = page["leases"].as_array().unwrap();
            assert!(leases.len() <= 2);
            shown.extend(leases.iter().map(|lease| text(lease, "/id").to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            query = format!("?limit=2&cursor={cursor}");
        }
        made.reverse();
        assert_eq!(shown, made, "newest first, each once");
        for query in ["?limit=0", "?limit=201", "?cursor=x", "?cursor=1.lse_x", "?page=2"] {
            ask(query).await.problem(422, "invalid_request");
        }
    });
}

#[test]
fn anyone_can_check_the_books_of_a_retired_resource() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        let now = desk.rig.clock.now();
        let item =
            ApplyCatalog { catalog: Vec::new(), now, actor: None, dry_run: false, expect: None };
        desk.rig.db.write(item).await.unwrap();
        desk.get("/v1/resources/gpu-small").await.problem(404, "unknown_resource");
        let books = desk.get("/v1/resources/gpu-small/accounts").await.must(200).body;
        assert_eq!(books["received_sat"], 1000);
        desk.get("/v1/resources/gpu-large/accounts").await.problem(404, "unknown_resource");
    });
}

#[test]
fn accounts_are_asked_for_once_a_second_unless_something_is_booked() {
    at_desk(async |mut desk| {
        let (one, two) = (desk.lease().await, desk.lease().await);
        let accounts =
            async |desk: &Desk| desk.get("/v1/resources/gpu-small/accounts").await.must(200).body;
        desk.pay(&one, 1000).await;
        let before = accounts(&desk).await;
        desk.rig.clock.set(desk.rig.clock.now().plus_millis(999));
        assert_eq!(accounts(&desk).await, before);
        desk.pay(&two, 1000).await;
        let after = accounts(&desk).await;
        assert_eq!((&before["received_sat"], &after["received_sat"]), (&json!(1000), &json!(2000)));
        desk.rig.clock.advance_s(3600);
        let later = accounts(&desk).await;
        assert_ne!(later["earned_sat"], after["earned_sat"]);
        assert_ne!(later["at"], after["at"]);
    });
}
