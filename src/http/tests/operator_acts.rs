//! What operators do on pages: after a question, with the scope for it, and as the API does it.

use std::sync::Arc;

use super::desk::{Desk, at_desk, at_desk_with, text};
use super::operators::{page, send, signed_in};
use crate::domain::keychain::Branch;
use crate::domain::resource::tests::gpu;

async fn state(desk: &Desk, lease: &str) -> String {
    let body = desk.get(&format!("/v1/leases/{lease}")).await.must(200).body;
    text(&body, "/state").to_owned()
}

#[test]
fn a_lease_is_suspended_resumed_and_revoked_after_a_question_each() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage", 1).await;
        let created = desk.lease().await;
        desk.pay(&created, 1000).await;
        let id = text(&created, "/lease/id").to_owned();
        let path = format!("/operator/leases/{id}");
        for (act, before, after) in [
            ("suspend", "active", "suspended"),
            ("resume", "suspended", "active"),
            ("revoke", "active", "ended"),
        ] {
            let one = page(&desk, &cookie, &path).await.must(200).text;
            assert!(one.contains(&format!("href=\"{path}/{act}\"")), "{act}: {one}");
            let ask = page(&desk, &cookie, &format!("{path}/{act}")).await.must(200).text;
            assert!(ask.contains(&format!("action=\"{path}/{act}\"")), "{ask}");
            assert_eq!(state(&desk, &id).await, before);
            let answer = send(&desk, &cookie, &format!("{path}/{act}"), "").await.must(303);
            assert_eq!(answer.header("location"), path);
            assert_eq!(state(&desk, &id).await, after);
        }
        let one = page(&desk, &cookie, &path).await.must(200).text;
        for what in
            ["lease.suspended", "lease.suspend<", "lease.revoke<", "by akey_", "payment.seen"]
        {
            assert!(one.contains(what), "{what}: {one}");
        }
        let refused = send(&desk, &cookie, &format!("{path}/suspend"), "").await.must(409);
        let html = &refused.text;
        assert!(html.contains("role=\"alert\"") && html.contains("Suspend this lease?"), "{html}");
        send(&desk, &cookie, &format!("{path}/explode"), "").await.must(404);
        page(&desk, &cookie, "/operator/leases/lse_x").await.must(404);
    });
}

#[test]
fn what_a_key_may_not_do_is_not_offered_and_is_refused() {
    at_desk(async |mut desk| {
        let reader = signed_in(&desk, "read", 1).await;
        let manager = signed_in(&desk, "read manage", 2).await;
        let created = desk.lease().await;
        desk.pay(&created, 1000).await;
        let id = text(&created, "/lease/id").to_owned();
        let lease = format!("/operator/leases/{id}");
        for (path, act) in [(lease.as_str(), "suspend"), ("/operator/catalog/gpu-small", "pause")] {
            let act = format!("{path}/{act}");
            assert!(!page(&desk, &reader, path).await.must(200).text.contains(&act));
            page(&desk, &reader, &act).await.must(403);
            let answer = send(&desk, &reader, &act, "").await.must(403);
            assert!(answer.text.contains("lacks the scope manage"), "{}", answer.text);
            assert!(page(&desk, &manager, path).await.must(200).text.contains(&act));
        }
        assert_eq!(state(&desk, &id).await, "active");
        for path in ["/operator/keys", "/operator/keys/new", "/operator/webhooks/new"] {
            page(&desk, &manager, path).await.must(403);
        }
        assert!(!page(&desk, &manager, "/operator").await.text.contains("/operator/keys"));
        send(&desk, &manager, "/operator/keys/new", "name=x&scopes.admin=1&once=1").await.must(403);
        send(&desk, &manager, "/operator/catalog/-/apply", "difference=x").await.must(403);
    });
}

#[test]
fn a_key_is_made_once_however_often_its_form_is_sent_and_shown_then_only() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read admin", 1).await;
        let form = "name=Shop&scopes.read=1&scopes.manage=1&once=abcdefghijklmnopqrstuvwxyz";
        let shown = |html: &str| {
            let at = html.find("key_").expect("a key");
            html[at..at + 56].to_owned()
        };
        let first = send(&desk, &cookie, "/operator/keys/new", form).await.must(200).text;
        let again = send(&desk, &cookie, "/operator/keys/new", form).await.must(200).text;
        let key = shown(&first);
        assert_eq!(shown(&again), key);
        desk.call("GET", "/v1/admin/leases").bearer(&key).send().await.must(200);
        let list = page(&desk, &cookie, "/operator/keys").await.must(200).text;
        assert_eq!(list.matches("Shop").count(), 1);
        assert!(!list.contains(&key) && list.contains("read, manage"), "{list}");
        let (admin, id) = desk.operator("admin", 2).await;
        let one = desk.call("GET", &format!("/v1/admin/keys/{id}")).bearer(&admin).send().await;
        assert_eq!(one.must(200).body["name"], "test");
        let none = desk.call("GET", "/v1/admin/keys/akey_x").bearer(&admin).send().await;
        none.problem(404, "not_found");
        // A name is as long as people count.
        for (count, status) in [(100, 200), (101, 422)] {
            let form = format!("name={}&scopes.read=1", "%C3%BC".repeat(count));
            send(&desk, &cookie, "/operator/keys/new", &form).await.must(status);
        }
        let wrong =
            send(&desk, &cookie, "/operator/keys/new", "name=&once=abcdefghijklmnopq").await;
        assert!(wrong.must(422).text.contains("Give some of read, manage, payout, admin."));
    });
}

#[test]
fn an_endpoint_is_made_tried_and_deleted_and_its_secret_shown_once() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read manage admin", 1).await;
        let form = "url=https%3A%2F%2Fexample.org%2Fhook&types=payment.*+lease.ended\
                    &once=abcdefghijklmnopqrstuvwxyz";
        let new = "/operator/webhooks/new";
        let shown = send(&desk, &cookie, new, form).await.must(200).text;
        assert!(shown.contains("whsec_"), "{shown}");
        let list = page(&desk, &cookie, "/operator/webhooks").await.must(200).text;
        assert!(list.contains("payment.*, lease.ended") && !list.contains("whsec_"), "{list}");
        let path =
            list.split('"').find(|part| part.starts_with("/operator/webhooks/whk_")).unwrap();
        for act in ["test", "pause", "resume", "delete"] {
            page(&desk, &cookie, &format!("{path}/{act}")).await.must(200);
            send(&desk, &cookie, &format!("{path}/{act}"), "").await.must(303);
        }
        page(&desk, &cookie, path).await.must(404);
        let wrong = send(&desk, &cookie, new, "url=ftp%3A%2F%2Fx&once=abcdefghijklmnopq").await;
        assert!(wrong.must(422).text.contains("id=\"error-url\""));
    });
}

#[test]
fn money_that_found_no_lease_is_given_to_one_or_back() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage", 1).await;
        let script = |index: u32| desk.rig.shop.keychain.script(Branch::External, index);
        let loose = [script(5), script(6)];
        desk.rig.pay(&loose.map(|script| (script, 1000)));
        desk.rig.chain.mine_pending();
        desk.rig.round().await;
        let inbox = "/operator/payments?inbox=only+money+that+found+no+lease";
        let list = page(&desk, &cookie, inbox).await.must(200).text;
        let found = list.split('"').filter(|part| part.starts_with("/operator/payments/pay_"));
        let [first, second] = found.collect::<Vec<_>>()[..] else { panic!("{list}") };
        assert!(page(&desk, &cookie, "/operator").await.text.contains("2,000 sat found no lease"));
        let wrong = send(&desk, &cookie, &format!("{first}/assign"), "lease=lse_x").await.must(422);
        assert!(wrong.text.contains("This is no lease id.") && wrong.text.contains("lse_x"));
        let lease = desk.lease().await;
        let id = text(&lease, "/lease/id");
        let given = format!("lease={id}");
        send(&desk, &cookie, &format!("{first}/assign"), &given).await.must(303);
        assert!(page(&desk, &cookie, first).await.must(200).text.contains(id));
        let own = text(&lease, "/invoice/address");
        let wrong =
            send(&desk, &cookie, &format!("{second}/refund"), &format!("address={own}")).await;
        wrong.must(422);
        let back = "address=bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        send(&desk, &cookie, &format!("{second}/refund"), back).await.must(303);
        assert!(page(&desk, &cookie, second).await.text.contains("refundable"));
    });
}

#[test]
fn the_difference_to_the_file_is_shown_and_applied_unless_it_is_another_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalog.toml");
    let place: Arc<std::path::Path> = file.as_path().into();
    at_desk_with(
        gpu(),
        |state| state.catalog = place.clone(),
        async |desk| {
            let cookie = signed_in(&desk, "read manage admin", 1).await;
            let list = async || page(&desk, &cookie, "/operator/catalog").await.must(200).text;
            std::fs::write(&file, "[[resource]]\nid = 5\n").unwrap();
            assert!(list().await.contains("The file cannot be read"));
            let catalog = "[[resource]]\nid = \"mirror\"\naccess = \"shared\"\n\
            price = { sat = 50, per = \"1d\" }\nmin_duration = \"1h\"\nmax_duration = \"30d\"\n";
            std::fs::write(&file, catalog).unwrap();
            let shown = list().await;
            assert!(shown.contains(">added<") && shown.contains(">retired<"), "{shown}");
            let (key, _) = desk.operator("read", 2).await;
            let call = desk.call("GET", "/v1/admin/catalog/difference").bearer(&key);
            assert_eq!(call.send().await.must(200).body["changes"].as_array().unwrap().len(), 2);
            let apply = "/operator/catalog/-/apply";
            let seen = |html: &str| {
                let at = html.split("name=\"difference\" value=\"").nth(1).expect("a hash");
                format!("difference={}", &at[..64])
            };
            let first = seen(&page(&desk, &cookie, apply).await.must(200).text);
            std::fs::write(&file, catalog.replace("50", "60")).unwrap();
            let changed = send(&desk, &cookie, apply, &first).await.must(409).text;
            assert!(changed.contains("has changed since you looked"), "{changed}");
            assert!(list().await.contains(">added<"));
            // The same file, but something else is in force.
            std::fs::write(&file, catalog).unwrap();
            let (admin, _) = desk.operator("admin", 3).await;
            let put = async |catalog: &str, expect: &str| {
                let call = desk.call("POST", &format!("/v1/admin/catalog{expect}"));
                let call = call.bearer(&admin).header("content-type", "application/toml");
                call.body(catalog.to_owned()).send().await
            };
            let other = catalog.replace("mirror", "other");
            let done = put(&other, "").await.must(200).body;
            assert_eq!(done["hash"].as_str().map(str::len), Some(64), "{done}");
            let changed = send(&desk, &cookie, apply, &first).await.must(409).text;
            assert!(changed.contains("other") && seen(&changed) != first, "{changed}");
            put(&other.replace("50", "51"), &format!("?expect={}", text(&done, "/hash")))
                .await
                .problem(409, "conflict");
            // What is shown then can be applied; a second click finds it applied.
            for _ in 0..2 {
                send(&desk, &cookie, apply, &seen(&changed)).await.must(303);
            }
            let log = page(&desk, &cookie, "/operator/audit-log").await.must(200).text;
            assert_eq!(log.matches(">catalog.apply<").count(), 4, "two a time: {log}");
            assert!(list().await.contains("The file is in force"));
            send(&desk, &cookie, "/operator/catalog/mirror/pause", "").await.must(303);
            assert!(list().await.contains(">paused<"));
        },
    );
}
