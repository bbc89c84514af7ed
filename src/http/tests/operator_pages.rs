//! What operators see: every page, lists by their cursor, the search.

use serde_json::Value;

use super::desk::{Desk, at_desk, at_desk_with, text};
use super::operators::{page, send, signed_in};
use crate::domain::resource::tests::gpu;

const LISTS: [&str; 14] = [
    "/operator",
    "/operator/leases",
    "/operator/invoices",
    "/operator/payments",
    "/operator/payouts",
    "/operator/batches",
    "/operator/actions",
    "/operator/catalog",
    "/operator/events",
    "/operator/webhooks",
    "/operator/deliveries",
    "/operator/ledger",
    "/operator/audit-log",
    "/operator/session",
];

/// Where the links of a page lead.
fn links(html: &str) -> Vec<&str> {
    html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The first link that begins like this.
fn link<'a>(html: &'a str, begins: &str) -> &'a str {
    let found = links(html).into_iter().find(|link| link.starts_with(begins));
    found.unwrap_or_else(|| panic!("no link to {begins} in {html}"))
}

/// A lease that is paid and given back: something is in every list about money.
async fn lived_in(desk: &mut Desk) -> Value {
    let created = desk.lease().await;
    desk.pay(&created, 1000).await;
    let path = format!("/v1/leases/{}/return", text(&created, "/lease/id"));
    let claim = text(&created, "/claim_token").to_owned();
    desk.call("POST", &path).bearer(&claim).send().await.must(200);
    created
}

#[test]
fn every_page_shows_what_there_is_and_keeps_the_policy() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage payout admin", 1).await;
        lived_in(&mut desk).await;
        let mut seen: Vec<String> = LISTS.map(str::to_owned).to_vec();
        seen.push("/operator/keys".into());
        let mut at = 0;
        // Every page that these lead to, too, with the questions before what is changed.
        while at < seen.len() {
            let path = seen[at].clone();
            at += 1;
            let answer = page(&desk, &cookie, &path).await.must(200);
            let policy = answer.header("content-security-policy");
            assert!(
                policy.contains("default-src 'none'") && !policy.contains("unsafe"),
                "{policy}"
            );
            assert_eq!(answer.header("cache-control"), "no-store");
            for inline in [" style=", "<style", "<script>", " onclick=", "javascript:"] {
                assert!(!answer.text.contains(inline), "{path}: {inline}");
            }
            for link in links(&answer.text) {
                let link = link.replace("&amp;", "&").replace("&#38;", "&");
                if link.starts_with("/operator") && !seen.contains(&link) {
                    seen.push(link);
                }
            }
        }
        assert!(seen.iter().any(|path| path == "/operator/batches/new"), "{seen:?}");
        for kind in ["leases/lse_", "invoices/inv_", "payments/pay_", "payouts/pyt_", "events/evt_"]
        {
            let begins = format!("/operator/{kind}");
            assert!(seen.iter().any(|path| path.starts_with(&begins)), "{begins}: {seen:?}");
        }
    });
}

#[test]
fn a_list_goes_on_by_its_cursor_and_back_to_its_first_part_with_its_filters() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read", 1).await;
        let mut ids = Vec::new();
        for _ in 0..53 {
            let created = desk.lease().await;
            ids.push(text(&created, "/lease/id").to_owned());
            desk.rig.clock.advance_s(1);
        }
        ids.reverse();
        let begins = "/operator/leases?state=unfunded&resource=gpu-small";
        let first = page(&desk, &cookie, begins).await.must(200).text;
        assert!(ids[..50].iter().all(|id| first.contains(id)) && !first.contains(&ids[50]));
        assert!(!first.contains(">First<"));
        let next = link(&first, "?state=unfunded").replace("&amp;", "&").replace("&#38;", "&");
        let rest = page(&desk, &cookie, &format!("/operator/leases{next}")).await.must(200).text;
        assert!(ids[50..].iter().all(|id| rest.contains(id)) && !rest.contains(&ids[49]));
        assert!(rest.contains(">First<") && !rest.contains(">Next<"), "{rest}");
        let none = page(&desk, &cookie, "/operator/leases?state=grace").await.must(200).text;
        assert!(none.contains("Nothing fits these filters."), "{none}");
        for wrong in ["state=typo", "resource=typo", "cursor=nonsense"] {
            let path = format!("/operator/leases?{wrong}");
            let html = page(&desk, &cookie, &path).await.must(422).text;
            assert!(html.contains("This cannot be shown"), "{html}");
            assert!(!html.contains("Nothing was changed"), "nobody asked for that: {html}");
        }
    });
}

#[test]
fn what_asks_nothing_is_cancelled_and_a_group_of_types_is_called_so() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage payout admin", 1).await;
        let created = lived_in(&mut desk).await;
        for path in ["/operator/keys/new", "/operator/webhooks/new"] {
            let html = page(&desk, &cookie, path).await.must(200).text;
            assert!(html.contains(">Cancel<") && !html.contains(">No, go back<"), "{html}");
        }
        let path = "/operator/catalog/gpu-small/pause";
        let html = page(&desk, &cookie, path).await.must(200).text;
        assert!(html.contains(">No, go back<") && !html.contains(">Cancel<"), "{html}");
        let html = page(&desk, &cookie, "/operator/events?type=payment.").await.must(200).text;
        let group = "<option value=\"payment.\" selected>payment.* (all)</option>";
        assert!(html.contains(group) && html.contains("<option>payment.seen</option>"), "{html}");
        // Only what was paid to it is on an invoice's page.
        let path = format!("/operator/invoices/{}", text(&created, "/invoice/id"));
        let html = page(&desk, &cookie, &path).await.must(200).text;
        assert_eq!(html.matches("<td role=\"cell\" data-label=\"Payment\">").count(), 1, "{html}");
    });
}

#[test]
fn an_id_an_address_a_txid_and_an_output_are_found_on_the_page_and_by_the_api() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read", 1).await;
        let (key, _) = desk.operator("read", 2).await;
        let created = lived_in(&mut desk).await;
        let [lease, invoice] = ["/lease/id", "/invoice/id"].map(|at| text(&created, at));
        let address = text(&created, "/invoice/address");
        let call = desk.call("GET", "/v1/admin/payments").bearer(&key);
        let payments = call.send().await.must(200).body;
        let [payment, txid] = ["/items/0/id", "/items/0/txid"].map(|at| text(&payments, at));
        let vout = &payments["items"][0]["vout"];
        let output = format!("{txid}:{vout}");
        let upper = format!("BITCOIN:{}?amount=1", address.to_uppercase());
        for (what, found) in [
            (lease, vec![lease]),
            (invoice, vec![invoice]),
            (payment, vec![payment]),
            ("gpu-small", vec!["gpu-small"]),
            (txid, vec![payment]),
            (&output, vec![payment]),
            (address, vec![invoice, lease, payment]),
            (&upper, vec![invoice, lease, payment]),
            ("nothing", vec![]),
            ("lse_x", vec![]),
        ] {
            let call = desk.call("GET", &format!("/v1/admin/search?q={what}")).bearer(&key);
            let body = call.send().await.must(200).body;
            let ids: Vec<&str> =
                body["items"].as_array().unwrap().iter().map(|item| text(item, "/id")).collect();
            assert_eq!(ids, found, "{what}");
            for item in body["items"].as_array().unwrap() {
                if let Some(url) = item["url"].as_str() {
                    let call = desk.call("GET", url).bearer(&key).send().await;
                    assert_eq!(call.must(200).body["id"], item["id"]);
                }
            }
            let answer = send(&desk, &cookie, "/operator/search", &format!("q={what}")).await;
            match found.as_slice() {
                [one] => assert!(answer.must(303).header("location").ends_with(one), "{what}"),
                all => {
                    let html = answer.must(200).text;
                    assert!(all.iter().all(|id| html.contains(&format!("/{id}\""))), "{html}");
                }
            }
        }
        desk.call("GET", "/v1/admin/search?q=x").send().await.must(401);
        // A secret in the wrong box is not looked for, and not said again.
        let claim = text(&created, "/claim_token");
        let html = send(&desk, &cookie, "/operator/search", &format!("q={claim}")).await.must(200);
        assert!(html.text.contains("That is a secret") && !html.text.contains(claim));
    });
}

#[test]
fn an_endpoint_gets_all_events_since_a_time_again() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read manage admin", 1).await;
        let form = "once=0123456789abcdef&url=https%3A%2F%2Fhooks.example%2Fx&types=";
        let made = send(&desk, &cookie, "/operator/webhooks/new", form).await.must(200);
        let at = made.text.find("whk_").expect("its id");
        let path = format!("/operator/webhooks/{}", &made.text[at..at + 30]);
        let question = page(&desk, &cookie, &format!("{path}/redeliver")).await.must(200);
        assert!(question.text.contains("name=\"since\""), "{}", question.text);
        let again = format!("{path}/redeliver");
        let wrong = send(&desk, &cookie, &again, "since=yesterday").await.must(422);
        assert!(wrong.text.contains("2026-11-25T10:00:00Z") && wrong.text.contains("yesterday"));
        let done = send(&desk, &cookie, &again, "since=2026-01-01T00:00:00Z").await.must(303);
        assert!(done.header("location").starts_with("/operator/deliveries?webhook=whk_"));
    });
}

#[test]
fn words_of_others_stay_words() {
    let evil = "<script>alert(1)</script>\" onload=\"x";
    let mut terms = gpu();
    (terms.title, terms.description) = (evil.into(), evil.into());
    at_desk_with(
        terms,
        |_| {},
        async |desk| {
            let cookie = signed_in(&desk, "read manage admin", 1).await;
            for path in
                ["/", "/resources/gpu-small", "/operator/catalog", "/operator/catalog/gpu-small"]
            {
                let seen = page(&desk, &cookie, path).await.must(200).text;
                let shown = seen.contains("alert(1)");
                assert!(
                    shown && !seen.contains("<script>alert") && !seen.contains("\" onload"),
                    "{path}"
                );
            }
        },
    );
}
