//! What pages of customers say and where they lead: the same of one lease everywhere, nowhere to
//! nothing, and nothing that was typed is loaded away.

use serde_json::json;

use super::customers::{as_holder, has, has_not, page, page_of, pause};
use super::desk::{Answer, Desk, at_desk, at_desk_with, text, two_hours};
use super::pages::OWN;
use super::stopped::retire;
use crate::app::act_on_lease::{ActOnLease, Action};
use crate::domain::ids::LeaseId;
use crate::domain::resource::Terms;
use crate::domain::resource::tests::gpu;

const REFRESH: &str = "http-equiv=\"refresh\"";

async fn post(desk: &Desk, path: &str, form: &str) -> Answer {
    desk.call("POST", path).header(OWN.0, OWN.1).form(form).send().await
}

#[test]
fn a_page_that_answers_a_form_does_not_load_itself_again() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        pause(&desk, true).await;
        has(&desk.get("/resources/gpu-small?time=2&unit=h").await.must(200).text, &[REFRESH]);
        let price = post(&desk, "/resources/gpu-small/price", "time=2&unit=h").await;
        has_not(&price.must(200).text, &[REFRESH]);
        let refused = post(&desk, "/resources/gpu-small", "time=2&unit=h").await;
        has_not(&refused.must(409).text, &[REFRESH]);
        pause(&desk, false).await;
        has(&desk.get(&page_of(&lease)).await.must(200).text, &[REFRESH]);
        let more = format!("{}/more", page_of(&lease));
        has_not(&post(&desk, &more, "time=soon&unit=h").await.must(200).text, &[REFRESH]);
    });
}

#[test]
fn open_it_leads_to_the_page_of_a_lease_whose_time_stands_still() {
    let guarded = Terms { site: Some("https://box.test".into()), ..gpu() };
    at_desk_with(
        guarded,
        |_| {},
        async |mut desk| {
            let lease = desk.lease().await;
            desk.pay(&lease, 1000).await;
            let (key, _) = desk.operator("manage", 1).await;
            let path = format!("/v1/admin/leases/{}/suspend", text(&lease, "/lease/id"));
            desk.call("POST", &path).bearer(&key).json(&json!({})).send().await.must(200);
            let cookie = format!("leasehold_claim={}", text(&lease, "/claim_token"));
            let open = desk.call("POST", &format!("{}/open", page_of(&lease)));
            let open = open.header(OWN.0, OWN.1).header("cookie", &cookie).form("to=/in");
            let to = open.send().await.must(303);
            assert_eq!(to.header("location"), format!("{}?to=%2Fin", page_of(&lease)));
            has(&page(&desk, &lease).await, &["Stopped by the operator"]);
        },
    );
}

#[test]
fn more_time_begins_with_what_is_taken_and_an_ended_lease_starts_anew_with_enough_only() {
    let short = Terms { min_duration_s: 600, max_duration_s: 1800, grace_s: 0, ..gpu() };
    at_desk_with(
        short,
        |_| {},
        async |mut desk| {
            let body = json!({ "resource": "gpu-small", "duration_s": 1800 });
            let lease = desk.post("/v1/leases", body).await.must(201).body;
            desk.pay(&lease, 250).await;
            let shown = page(&desk, &lease).await;
            has(&shown, &["value=\"30\" required", "<option value=\"m\" selected>"]);
            let more = format!("{}/more", page_of(&lease));
            post(&desk, &more, "time=5&unit=m").await.must(303);
            desk.rig.clock.advance_s(1801);
            desk.rig.round().await;
            let refused = post(&desk, &more, "time=5&unit=m").await.must(200).text;
            has(&refused, &["From 10 minutes to 30 minutes.", "10 minutes or more starts it anew"]);
            post(&desk, &more, "time=10&unit=m").await.must(303);
            // A program may pay less: it waits for more.
            let invoices = format!("/v1/leases/{}/invoices", text(&lease, "/lease/id"));
            desk.post(&invoices, json!({ "duration_s": 300 })).await.must(201);
        },
    );
}

#[test]
fn a_moment_that_is_past_is_no_answer_to_when_a_unit_comes_free() {
    let one = Terms { units: vec!["gpu-1".into()], max_unpaid_holds: 1, ..gpu() };
    at_desk_with(
        one,
        |_| {},
        async |desk| {
            let held = desk.lease().await;
            let ends = text(&held, "/invoice/expires_at");
            let at = async || {
                let view = desk.get("/v1/resources/gpu-small").await.must(200).body;
                let sold = desk.post("/v1/leases", two_hours()).await.problem(409, "sold_out").body;
                let free = view["availability"]["available_at"].clone();
                assert_eq!(sold.get("available_at").cloned().unwrap_or_default(), free);
                let paths = ["/", "/resources/gpu-small"];
                for path in paths {
                    let shown = desk.get(path).await.must(200).text;
                    assert_eq!(shown.contains("next perhaps free"), free.is_string(), "{shown}");
                }
                free
            };
            assert_eq!(at().await, json!(ends));
            // Nobody has looked at it yet.
            desk.rig.clock.advance_s(1801);
            assert_eq!(at().await, json!(null));
        },
    );
}

#[test]
fn every_page_says_the_same_end_of_a_lease_and_none_while_it_stands_still() {
    let banks = Terms { max_duration_s: 7200, ..gpu() };
    at_desk_with(
        banks,
        |_| {},
        async |mut desk| {
            let lease = desk.lease().await;
            desk.pay(&lease, 3000).await;
            let id = text(&lease, "/lease/id");
            let view = desk.get(&format!("/v1/leases/{id}")).await.must(200).body;
            assert_ne!(view["expires_at"], view["paid_until"]);
            let paid = text(&view, "/paid_until").replace('T', " ");
            let minute = paid.split('.').next().unwrap().trim_end_matches('Z').to_owned();
            let paths = [page_of(&lease), "/claim".into(), "/resources/gpu-small".into()];
            for path in &paths {
                has(&as_holder(&desk, &lease, path).await.must(200).text, &[&minute]);
            }
            let receipt = format!("{}/receipt", page_of(&lease));
            has(&desk.get(&receipt).await.must(200).text, &["<dt>Until</dt>", &minute]);
            let item = ActOnLease {
                ground: desk.rig.ground(),
                lease: LeaseId::parse(id).unwrap(),
                action: Action::Suspend,
                actor: Some("test".into()),
            };
            desk.rig.db.write(item).await.unwrap();
            for path in &paths {
                has_not(&as_holder(&desk, &lease, path).await.must(200).text, &[&minute]);
            }
            has_not(&desk.get(&receipt).await.must(200).text, &["<dt>Until</dt>"]);
            let mine = as_holder(&desk, &lease, "/claim").await.must(200).text;
            has(&mine, &[">Stopped by the operator</span>"]);
        },
    );
}

#[test]
fn a_list_of_leases_does_not_ask_for_money_that_must_not_be_paid() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let mine = async || as_holder(&desk, &lease, "/claim").await.must(200).text;
        has(&mine().await, &[">Waits for payment</span>"]);
        pause(&desk, true).await;
        has(&mine().await, &[">Paused</span>"]);
        has_not(&mine().await, &["Waits for payment"]);
    });
}

#[test]
fn nothing_leads_to_a_resource_that_is_not_offered_any_more() {
    at_desk(async |mut desk| {
        let (paid, given_up) = (desk.lease().await, desk.lease().await);
        desk.pay(&paid, 1000).await;
        let back = format!("/v1/leases/{}/return", text(&paid, "/lease/id"));
        desk.call("POST", &back).bearer(text(&paid, "/claim_token")).send().await.must(200);
        let cancel = format!("/v1/invoices/{}/cancel", text(&given_up, "/invoice/id"));
        desk.call("POST", &cancel).bearer(text(&given_up, "/claim_token")).send().await.must(200);
        let (link, again) = ("href=\"/resources/gpu-small", "Ask for it again");
        let checkout = |it: &serde_json::Value| format!("/checkout/{}", text(it, "/invoice/id"));
        let paths = [page_of(&paid), checkout(&given_up)];
        for path in &paths {
            has(&desk.get(path).await.must(200).text, &[link]);
        }
        has(&desk.get(&paths[1]).await.must(200).text, &[again]);
        retire(&desk).await;
        for path in &paths {
            has_not(&desk.get(path).await.must(200).text, &[link, again]);
        }
        has(&desk.get(&paths[1]).await.must(200).text, &["What is for rent</a>"]);
    });
}

#[test]
fn a_refused_form_says_so_by_its_status_and_when_to_try_again() {
    let set = |state: &mut crate::http::HttpState| {
        super::desk::with_limits(state, |limits| limits.max_open_unpaid = 1);
    };
    at_desk_with(gpu(), set, async |desk| {
        let first = post(&desk, "/resources/gpu-small", "time=2&unit=h").await;
        first.must(303);
        let second = post(&desk, "/resources/gpu-small", "time=2&unit=h").await.must(503);
        has(&second.text, &["Too many requests wait for payment", "For how long?"]);
        assert_eq!(second.header("retry-after"), "1801");
        assert!(second.header("content-type").starts_with("text/html"));
        let wrong = post(&desk, "/resources/gpu-small", "time=99&unit=d").await;
        has(&wrong.must(422).text, &["From 10 minutes to 30 days."]);
    });
}
