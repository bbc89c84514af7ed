//! Forms of operators: what is wrong stands beside its field; what is sent twice is done once.

use super::desk::{Desk, at_desk, at_desk_with, text};
use super::operators::{hand_in, page, send, signed_in};
use crate::domain::keychain::Branch;
use crate::domain::resource::tests::gpu;

/// How often something was done, by the audit log.
async fn done(desk: &Desk, cookie: &str, act: &str) -> usize {
    let log = page(desk, cookie, "/operator/audit-log").await.must(200).text;
    log.matches(&format!(">{act}<")).count()
}

/// A new endpoint: the path of its page.
async fn endpoint(desk: &Desk, cookie: &str) -> String {
    let form = "url=https%3A%2F%2Fexample.org%2Fhook&types=";
    send(desk, cookie, "/operator/webhooks/new", form).await.must(200);
    let list = page(desk, cookie, "/operator/webhooks").await.must(200).text;
    let own = |part: &&str| part.starts_with("/operator/webhooks/whk_");
    list.split('"').find(own).expect("a link").to_owned()
}

/// Payments that found no lease: the paths of their pages.
async fn loose(desk: &mut Desk, cookie: &str) -> Vec<String> {
    let script = |index: u32| desk.rig.shop.keychain.script(Branch::External, index);
    desk.rig.pay(&[script(5), script(6)].map(|script| (script, 1000)));
    desk.rig.chain.mine_pending();
    desk.rig.round().await;
    let list = page(desk, cookie, "/operator/payments").await.must(200).text;
    let own = |part: &&str| part.starts_with("/operator/payments/pay_");
    list.split('"').filter(own).map(str::to_owned).collect()
}

#[test]
fn a_mistake_stands_beside_its_field_and_what_was_typed_stays() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage admin", 1).await;
        let paid = loose(&mut desk, &cookie).await;
        let hook = endpoint(&desk, &cookie).await;
        let gone = "lse_aaaaaaaaaaaaaaaaaaaaaaaaaa";
        for (path, form, field, says, status) in [
            ("/operator/webhooks/new", "url=ftp%3A%2F%2Fx&types=", "url", "", 422),
            ("/operator/webhooks/new", "url=https%3A%2F%2Fx.org&types=nothing", "types", "", 422),
            ("/operator/keys/new", "name=&scopes.read=1", "name", "Give a name of 1 to 100", 422),
            ("/operator/keys/new", "name=Desk", "scopes", "Give some of read, manage", 422),
            (&format!("{hook}/redeliver"), "since=noon", "since", "This is no moment", 422),
            (&format!("{}/assign", paid[0]), "lease=lse_x", "lease", "This is no lease id.", 422),
            (&format!("{}/assign", paid[0]), &format!("lease={gone}"), "lease", "There is no", 404),
            (&format!("{}/refund", paid[0]), "address=x", "address", "This is not a bitcoin", 422),
        ] {
            let html = send(&desk, &cookie, path, form).await.must(status).text;
            let error = format!("id=\"error-{field}\">{says}");
            assert!(html.contains(&error), "{path} {form}: {error}: {html}");
            let mut described = html.split("aria-describedby=\"").skip(1);
            let named = format!("error-{field}");
            let names =
                |rest: &str| rest.split('"').next().unwrap().split(' ').any(|id| id == named);
            assert!(described.any(names), "{html}");
            assert!(
                html.contains("aria-invalid=\"true\"") && !html.contains("role=\"alert\""),
                "{html}"
            );
            // Without JavaScript nothing else tells who does not look.
            assert!(html.contains("<title>Mistake: "), "{html}");
            assert_eq!(html.matches(" autofocus").count(), 1, "{html}");
            let fresh = page(&desk, &cookie, path).await.must(200).text;
            assert!(!fresh.contains("Mistake: ") && !fresh.contains(" autofocus"), "{fresh}");
            let typed = form.split('=').nth(1).unwrap_or_default().split('&').next();
            let typed = typed.unwrap_or_default().replace("%3A", ":").replace("%2F", "/");
            assert!(html.contains(&format!("value=\"{typed}\"")), "{typed}: {html}");
        }
        let html = hand_in(&desk, "nonsense", "").await.must(403).text;
        assert!(html.contains("id=\"error-key\">An API key begins with key_"), "{html}");
        assert!(html.contains("<title>Mistake: Sign in") && html.contains(" autofocus"), "{html}");
        assert!(
            html.contains("aria-describedby=\"hint-key error-key\"") && !html.contains("nonsense"),
            "{html}"
        );
    });
}

#[test]
fn what_is_sent_twice_is_done_once_and_answered_alike() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage admin", 1).await;
        let paid = loose(&mut desk, &cookie).await;
        let hook = endpoint(&desk, &cookie).await;
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        let (id, shelf) = (text(&lease, "/lease/id"), "/operator/catalog/gpu-small");
        let since = "since=2026-01-01T00%3A00%3A00Z&once=0bcdefghijklmnopqrstuvwxyz";
        let (key, akey) = desk.operator("read", 7).await;
        for (path, form, act) in [
            (format!("{hook}/test"), "once=abcdefghijklmnopqrstuvwxyz", "webhook.test"),
            (format!("{hook}/redeliver"), since, "webhook.redeliver"),
            (format!("{hook}/pause"), "once=1bcdefghijklmnopqrstuvwxyz", "webhook.pause"),
            (format!("{hook}/delete"), "once=2bcdefghijklmnopqrstuvwxyz", "webhook.delete"),
            (format!("/operator/leases/{id}/suspend"), "once=5bcdefghijklmnopqr", "lease.suspend"),
            (format!("/operator/leases/{id}/resume"), "once=6bcdefghijklmnopqr", "lease.resume"),
            (format!("/operator/leases/{id}/revoke"), "once=7bcdefghijklmnopqr", "lease.revoke"),
            (format!("{shelf}/pause"), "once=8bcdefghijklmnopqr", "resource.pause"),
            (format!("{shelf}/resume"), "once=9bcdefghijklmnopqr", "resource.resume"),
            (format!("/operator/keys/{akey}/revoke"), "once=abcdefghijklmnopqr", "key.revoke"),
        ] {
            let first = send(&desk, &cookie, &path, form).await.must(303);
            desk.rig.clock.advance_s(1);
            let second = send(&desk, &cookie, &path, form).await.must(303);
            assert_eq!(first.header("location"), second.header("location"), "{path}");
            assert_eq!(done(&desk, &cookie, act).await, 1, "{path}");
            // It is known by its `once`, not by what it would do again.
            let changed = send(&desk, &cookie, &path, &format!("{form}&more=1")).await;
            if act != "webhook.delete" {
                let html = changed.must(422).text;
                assert!(html.contains("This form was sent before"), "{path}: {html}");
                assert!(html.contains(&format!("action=\"{path}\"")), "{path}: {html}");
            }
            assert_eq!(done(&desk, &cookie, act).await, 1, "{path}");
        }
        // A copy that comes late does not undo what was done since.
        let copy = (format!("{shelf}/pause"), "once=8bcdefghijklmnopqr");
        send(&desk, &cookie, &copy.0, copy.1).await.must(303);
        assert!(!page(&desk, &cookie, shelf).await.must(200).text.contains(">paused<"));
        hand_in(&desk, &key, "").await.must(403);
        // Of another form it is another wish.
        let other = endpoint(&desk, &cookie).await;
        for once in ["3bcdefghijklmnopqrstuvwxyz", "4bcdefghijklmnopqrstuvwxyz"] {
            send(&desk, &cookie, &format!("{other}/test"), &format!("once={once}")).await.must(303);
        }
        assert_eq!(done(&desk, &cookie, "webhook.test").await, 3);
        // Also from another page: the money is where it was to go.
        let other = desk.lease().await;
        let (other, assign) = (text(&other, "/lease/id"), format!("{}/assign", paid[0]));
        let [here, elsewhere] = [other, id].map(|id| format!("lease={id}"));
        for _ in 0..2 {
            let answer = send(&desk, &cookie, &assign, &here).await.must(303);
            assert_eq!(answer.header("location"), paid[0]);
        }
        assert_eq!(done(&desk, &cookie, "payment.assign").await, 1);
        let refused = send(&desk, &cookie, &assign, &elsewhere).await.must(422).text;
        assert!(refused.contains(&format!("This payment belongs to {other}.")), "{refused}");
        let back = "address=bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        for _ in 0..2 {
            send(&desk, &cookie, &format!("{}/refund", paid[1]), back).await.must(303);
        }
        assert_eq!(done(&desk, &cookie, "payment.refund").await, 1);
    });
}

#[test]
fn a_form_that_comes_again_with_something_else_keeps_what_was_typed() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read admin", 1).await;
        let (new, once) = ("/operator/keys/new", "once=abcdefghijklmnopqrstuvwxyz");
        let form = |name: &str| format!("name={name}&scopes.read=1&{once}");
        send(&desk, &cookie, new, &form("Desk")).await.must(200);
        let html = send(&desk, &cookie, new, &form("Shop")).await.must(422).text;
        for what in ["This form was sent before", "value=\"Shop\"", "<title>Mistake: "] {
            assert!(html.contains(what), "{what}: {html}");
        }
        assert!(!html.contains(&once["once=".len()..]), "a once of its own: {html}");
        let fresh = html.split("name=\"once\" value=\"").nth(1).expect("a once");
        let fresh = fresh.split('"').next().unwrap_or_default();
        let form = format!("name=Shop&scopes.read=1&once={fresh}");
        send(&desk, &cookie, new, &form).await.must(200);
        assert_eq!(done(&desk, &cookie, "key.create").await, 3, "one of them signed in");
    });
}

#[test]
fn a_resource_may_be_called_apply() {
    let mut terms = gpu();
    (terms.id, terms.title) = ("apply".into(), "Apply here".into());
    at_desk_with(
        terms,
        |_| {},
        async |desk| {
            let cookie = signed_in(&desk, "read manage admin", 1).await;
            let one = page(&desk, &cookie, "/operator/catalog/apply").await.must(200).text;
            assert!(one.contains("<h1 class=\"id\">Apply here</h1>"), "{one}");
            send(&desk, &cookie, "/operator/catalog/apply/pause", "").await.must(303);
            let one = page(&desk, &cookie, "/operator/catalog/apply").await.must(200).text;
            assert!(one.contains(">paused<"), "{one}");
        },
    );
}

#[test]
fn a_signed_file_may_be_larger_than_other_forms() {
    at_desk(async |desk| {
        let cookie = signed_in(&desk, "read payout", 1).await;
        let form = format!("psbt={}", "A".repeat(2 * crate::http::BODY_LIMIT));
        // There is no such batch; but the form was read.
        send(&desk, &cookie, "/operator/batches/bat_x/submit", &form).await.must(404);
        send(&desk, &cookie, "/operator/batches/new", &form).await.must(413);
    });
}
